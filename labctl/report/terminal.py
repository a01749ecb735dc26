"""The run as lines for people, printed as the events arrive.

One line a step; beneath a step that did not pass: what was expected, what was seen, why, the end
of the wire, the policy attributes at that moment, and the command to look further. A case is one
line, with its steps beneath if it did not pass. `verbose=1` shows the steps of every case, and adds
to every step the commands that do the same by hand and the LDIF, `verbose=2` the wire. Undo steps
stay in the background. On a terminal the step that is running shows already. How the lines get
their colour, or none, is the ink's business. On a stage the steps of a case show one by one, too,
and the wire as whoever presents it explains it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TextIO

from labctl.events import (
    CaseEnded,
    CaseStarted,
    Event,
    Moved,
    RunEnded,
    RunStarted,
    StepStarted,
    Wire,
)
from labctl.report.ink import INDENT, Ink, Row, ink_for
from labctl.report.run import Case, Gathering, Run, Step
from labctl.report.wording import INTERRUPTED, MARKS, lines, milliseconds, visible, wire_mark

_COMMANDS, _WIRE = 1, 2
_UNTIMED = ("running", "skipped", INTERRUPTED)

Detail = tuple[str, str, str]
"""A label, a text, the name of a style."""


@dataclass(frozen=True, slots=True)
class WireLine:
    """A line of the wire as it is shown: who, the mark, what, and what it means."""

    label: str
    mark: str
    text: str
    note: str = ""


def as_it_was(wires: Sequence[Wire]) -> Iterator[WireLine]:
    """Yield every line of the wire, and nothing else."""
    return (WireLine(wire.peer, wire.mark, wire.line) for wire in wires)


class Terminal:
    """Prints a run on `stream`. Call it with an event: it is an `Emit`.

    As a context manager, or by `close`, it also tells how an interrupted run stands.
    `colour` None means: if `stream` is a terminal and NO_COLOR is not set. `width` overrides the
    terminal's; plain text has none. `big` is for a projector, `stepwise` shows the steps of a case
    as they end, and `wire` says how a wire is shown.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: int = 0,
        colour: bool | None = None,
        width: int | None = None,
        big: bool = False,
        stepwise: bool = False,
        wire: Callable[[Sequence[Wire]], Iterable[WireLine]] = as_it_was,
    ) -> None:
        self.ink: Ink = ink_for(stream, colour=colour, width=width, big=big)
        self.wire_shown = verbose >= _WIRE
        self._verbose = verbose
        self._last: Step | None = None
        self._stepwise = stepwise
        self._wire = wire
        self._gathering: Gathering | None = None
        self._fresh = True
        self._in_case = False

    def __call__(self, event: Event) -> None:
        """Take one event and print what it completes."""
        if isinstance(event, RunStarted):
            self.close()
            self._begin(event)
        elif self._gathering:
            self._take(event, self._gathering)

    def close(self) -> None:
        """Print how things stand, if the run has not ended."""
        if self._gathering:
            self._finish(self._gathering, None)

    def toggle_wire(self) -> None:
        """Show no wire from now on; or show it, beginning with the last step's."""
        self.wire_shown = not self.wire_shown
        if self.wire_shown and self._last is not None:
            self._show_wire(self._last.wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, run: RunStarted) -> None:
        if not self._fresh:
            self.ink.blank()
        self._fresh = False
        meta = f"lab {run.lab} · policy {run.policy} · run {run.run}"
        self.ink.title(visible(run.title or run.scenario), visible(meta))
        if run.why:
            self.ink.prose(run.why)
        self.ink.blank()
        self._gathering = Gathering(run)

    def _take(self, event: Event, gathering: Gathering) -> None:
        if isinstance(event, RunEnded):
            self._finish(gathering, event)
        elif isinstance(event, CaseEnded):
            self._end_case(gathering, event)
        elif isinstance(step := gathering.add(event), Step) and self._one_by_one:
            self._step(step)
        if isinstance(event, Moved):
            self._moved(event)
        if isinstance(event, CaseStarted):
            self._in_case = True
            show = self.ink.row if self._stepwise else self.ink.pending
            show(_case_row(Case(event, (), None), "running"))
        if isinstance(event, StepStarted) and self._one_by_one:
            self.ink.pending(_row(Step(event, (), None), "running"))

    def _moved(self, event: Moved) -> None:
        """Tell what no step tells; one that is skipped gives its reason."""
        done = {"back": "goes back over step", "repeat": "repeats step"}.get(event.move)
        if done:
            self.ink.detail("presenter", f"{done} {event.behind}")

    @property
    def _one_by_one(self) -> bool:
        return self._stepwise or not self._in_case

    def _end_case(self, gathering: Gathering, ended: CaseEnded | None) -> None:
        if not self._in_case:
            return
        self._in_case = False
        if isinstance(case := gathering.close(ended), Case):
            self.ink.row(_case_row(case, case.outcome))
            if self._stepwise:
                return
            if self._verbose or case.outcome not in ("passed", "skipped"):
                for step in case.steps:
                    self._step(step)
            elif case.reason:
                self.ink.detail("reason", visible(case.reason))

    def _finish(self, gathering: Gathering, ended: RunEnded | None) -> None:
        self._end_case(gathering, None)
        if isinstance(step := gathering.close(), Step):
            self._step(step)
        run = gathering.run(ended)
        self.ink.blank()
        if news := _news(run):
            self.ink.closing("reason", visible(news))
        self.ink.closing(run.outcome, run.tally)
        self._gathering = None

    def _step(self, step: Step) -> None:
        row = _row(step, step.outcome)
        self.ink.row(row)
        for note in step.notes:
            if note.text != step.started.summary:  # which has told it already
                self.ink.prose(note.text, INDENT)
        for label, text, style in self._details(step):
            quiet = row.quiet and style != "command"
            self.ink.detail(label, text, "quiet" if quiet else style)
        if self.wire_shown:
            self._show_wire(step.wire)
        elif step.outcome not in ("passed", "skipped"):
            left_out, wire = step.last_wire
            if left_out:
                self.ink.detail("wire", f"… {left_out}, shown by -vv", "quiet")
            self._show_wire(wire)
        for label, text, style in _clues(step):
            self.ink.detail(label, text, style)
        if step.wire:
            self._last = step

    def _show_wire(self, shown: Sequence[Wire]) -> None:
        for line in self._wire(shown):
            text, mark = visible(line.text), wire_mark(line.mark)
            self.ink.detail(visible(line.label), text, line.mark, mark, line.note)

    def _details(self, step: Step) -> Iterator[Detail]:
        yield from _why(step)
        if self._verbose >= _COMMANDS:
            yield from _by_hand(step)


def _row(step: Step, word: str) -> Row:
    started = step.started
    background = started.undo and word in ("passed", "running")
    shown = "undo" if background else word
    verb = f"undo {started.verb}" if started.undo and not background else started.verb
    return Row(
        number=started.number,
        mark=MARKS[shown],
        word=shown,
        verb=visible(verb),
        body=visible(started.summary),
        note="" if background else visible(step.seen),
        right="" if word in _UNTIMED else milliseconds(step.seconds),
        quiet=background,
    )


def _case_row(case: Case, word: str) -> Row:
    return Row(
        number=case.started.number,
        mark=MARKS[word],
        word=word,
        verb="case",
        body=visible(case.started.name),
        note=visible(case.note),
        right="" if word in _UNTIMED else milliseconds(case.seconds),
    )


def _why(step: Step) -> Iterator[Detail]:
    for check in step.unmet:
        yield from _labelled("check", check.what)
        yield from _labelled("expected", check.expected)
        yield from _labelled("seen", check.seen, "unmet")
    yield from _labelled("reason", step.reason)


def _by_hand(step: Step) -> Iterator[Detail]:
    for command in step.commands:
        yield from _labelled("by hand", command.line, "command")
    for change in step.changes:
        yield from _labelled("ldif", change.ldif.rstrip("\n"))


def _clues(step: Step) -> Iterator[Detail]:
    for clue in step.clues:
        yield from _labelled("policy", clue.policy)
        yield from _labelled("look further", clue.further, "command")


def _labelled(label: str, text: str, style: str = "") -> Iterator[Detail]:
    """Yield a label with its text, which may have several lines, or none at all."""
    for number, line in enumerate(lines(text) if text else ()):
        yield "" if number else label, line, style


def _news(run: Run) -> str:
    """Return the run's reason, unless a step or a case has told it already."""
    return "" if run.told or run.reason == run.outcome else run.reason
