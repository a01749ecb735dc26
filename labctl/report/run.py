"""Runs and steps, gathered from a flat sequence of events.

An interrupted run has steps or an end missing; it is still a run, and its outcome says so.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from labctl.events import (
    CaseEnded,
    CaseStarted,
    Change,
    Check,
    Clue,
    Command,
    Event,
    Note,
    RunEnded,
    RunStarted,
    StepEnded,
    StepStarted,
    Wire,
)
from labctl.report.wording import INTERRUPTED, OUTCOMES, count

Happening = Wire | Change | Check | Command | Clue | Note
LAST = 20
"""How many lines of the wire a view shows that does not show it whole."""
_BY_SIGNAL: Final = 130  # the exit code of a run that was interrupted


@dataclass(frozen=True, slots=True)
class Step:
    """One step: how it began, what happened, how it ended (None if it did not)."""

    started: StepStarted
    happened: tuple[Happening, ...]
    ended: StepEnded | None

    @property
    def outcome(self) -> str:
        """A verdict's word, or `interrupted`."""
        return self.ended.verdict.value if self.ended else INTERRUPTED

    @property
    def reason(self) -> str:
        """Why it did not pass."""
        return self.ended.reason if self.ended else ""

    @property
    def seconds(self) -> float:
        """How long it took; 0 if it did not end."""
        return self.ended.seconds if self.ended else 0.0

    @property
    def wire(self) -> list[Wire]:
        """Its lines on the wire."""
        return [event for event in self.happened if isinstance(event, Wire)]

    @property
    def last_wire(self) -> tuple[str, list[Wire]]:
        """The end of the wire, after a word on how much of it is left out, if any is."""
        wire = self.wire
        left_out = len(wire) - LAST
        return (f"{count(left_out, 'line')} before" if left_out > 0 else ""), wire[-LAST:]

    @property
    def changes(self) -> list[Change]:
        """The changes it made in the directory."""
        return [event for event in self.happened if isinstance(event, Change)]

    @property
    def checks(self) -> list[Check]:
        """The expectations held against what was seen."""
        return [event for event in self.happened if isinstance(event, Check)]

    @property
    def unmet(self) -> list[Check]:
        """The expectations that were not met."""
        return [check for check in self.checks if not check.ok]

    @property
    def commands(self) -> list[Command]:
        """The commands that do the same by hand."""
        return [event for event in self.happened if isinstance(event, Command)]

    @property
    def clues(self) -> list[Clue]:
        """What helps to understand why it did not pass."""
        return [event for event in self.happened if isinstance(event, Clue)]

    @property
    def notes(self) -> list[Note]:
        """What the speaker says."""
        return [event for event in self.happened if isinstance(event, Note)]

    @property
    def seen(self) -> str:
        """What was seen, in short: by the last check that was not met, else by the last."""
        decisive = self.unmet or self.checks
        return decisive[-1].seen if decisive else ""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a scenario: how it began, its steps, how it ended (None if it did not)."""

    started: CaseStarted
    steps: tuple[Step, ...]
    ended: CaseEnded | None

    @property
    def outcome(self) -> str:
        """A verdict's word, or `interrupted`."""
        if self.ended is None or any(step.ended is None for step in self.steps):
            return INTERRUPTED
        return self.ended.verdict.value

    @property
    def reason(self) -> str:
        """Why it did not pass."""
        return self.ended.reason if self.ended else ""

    @property
    def seconds(self) -> float:
        """How long it took; 0 if it did not end."""
        return self.ended.seconds if self.ended else 0.0

    @property
    def meaning(self) -> str:
        """What its having passed means, if it is not the usual: `expected open`."""
        return self.ended.note if self.ended else ""

    @property
    def seen(self) -> str:
        """What was seen, in short, by the last step that has something to tell."""
        seen = [step.seen for step in self.steps if step.seen]
        unmet = [step.seen for step in self.steps if step.unmet]
        return (unmet or seen or [""])[-1]

    @property
    def note(self) -> str:
        """What was seen in short, after what that means if it is not the usual."""
        return ": ".join(filter(None, (self.meaning, self.seen)))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a scenario; `ended` is None if its transcript ends early."""

    started: RunStarted
    steps: tuple[Step, ...]
    ended: RunEnded | None
    cases: tuple[Case, ...] = ()

    @property
    def outcome(self) -> str:
        """A verdict's word, or `interrupted`."""
        if self.ended is None or self.ended.exit_code == _BY_SIGNAL:
            return INTERRUPTED
        return self.ended.verdict.value

    @property
    def reason(self) -> str:
        """Why it did not pass."""
        return self.ended.reason if self.ended else "the transcript ends before the run did"

    @property
    def began(self) -> datetime:
        """When it began, in UTC."""
        return datetime.fromtimestamp(self.started.at, UTC)

    @property
    def seconds(self) -> float:
        """How long it took; where its end is missing, how long its steps took."""
        return self.ended.seconds if self.ended else sum(step.seconds for step in self.steps)

    @property
    def outcomes(self) -> dict[str, int]:
        """How many steps, or cases, ended which way, without those that none did; undo steps are
        not counted.
        """
        counted = self.cases or [step for step in self.steps if not step.started.undo]
        ways = Counter(each.outcome for each in counted)
        return {name: ways[name] for name in OUTCOMES if ways[name]}

    @property
    def open(self) -> int:
        """How many cases passed because a way is open that is known to be."""
        return sum(bool(case.meaning) for case in self.cases)

    @property
    def checks(self) -> int:
        """How many expectations were held against something."""
        return self.ended.checks if self.ended else sum(len(step.checks) for step in self.steps)

    @property
    def tally(self) -> str:
        """The run in numbers: `12 steps, 31 checks, 0.84 s`."""
        steps = count(sum(self.outcomes.values()), "case" if self.cases else "step")
        ways = [f"{number} {name}" for name, number in self.outcomes.items()]
        if self.open:
            ways.append(f"{self.open} expected open")
        if self.open or self.outcomes.keys() - {"passed"}:
            steps = f"{steps} ({', '.join(ways)})"
        return f"{steps}, {count(self.checks, 'check')}, {self.seconds:.2f} s"


class Gathering:
    """A run in the making: takes events one by one and says when a step is over."""

    def __init__(self, started: RunStarted) -> None:
        self._run = started
        self._steps: list[Step] = []
        self._cases: list[Case] = []
        self._case: CaseStarted | None = None
        self._first = 0  # of the steps, the one that the open case begins with
        self._step: StepStarted | None = None
        self._happened: list[Happening] = []

    def add(self, event: Event) -> Step | None:
        """Take one event. Return the step that it ends, if any.

        A step whose end is missing is over where the next begins. What happens between two steps
        belongs to the later one.
        """
        match event:
            case StepStarted():
                step, self._step = self.close(), event
                return step
            case StepEnded():
                return self.close(event)
            case CaseStarted():
                self.close_case()
                self._case, self._first = event, len(self._steps)
            case CaseEnded():
                self.close_case(event)
            case Wire() | Change() | Check() | Command() | Clue() | Note():
                self._happened.append(event)
        return None

    def run(self, ended: RunEnded | None = None) -> Run:
        """Return the run as it stands; a step that is still open counts as interrupted."""
        self.close_case()
        return Run(self._run, tuple(self._steps), ended, tuple(self._cases))

    def close_case(self, ended: CaseEnded | None = None) -> Case | None:
        """End the open case, if there is one, and its open step; return the last case."""
        self.close()
        if self._case is not None:
            steps = tuple(self._steps[self._first :])
            self._cases.append(Case(self._case, steps, ended))
            self._case = None
        return self._cases[-1] if self._cases else None

    def close(self, ended: StepEnded | None = None) -> Step | None:
        """End the open step, if there is one, and return it; without an end it was interrupted."""
        if self._step is None:
            return None
        step = Step(self._step, tuple(self._happened), ended)
        self._steps.append(step)
        self._step, self._happened = None, []
        return step


def runs(events: Iterable[Event]) -> list[Run]:
    """Return the runs in a transcript, finished or not.

    Raises ValueError if there is none: a report about nothing would read like a success.
    """
    found = list(_runs(events))
    if not found:
        raise ValueError("the transcript holds no run: it has no run-started event")
    return found


def _runs(events: Iterable[Event]) -> Iterator[Run]:
    gathering: Gathering | None = None
    for event in events:
        if isinstance(event, RunStarted):
            if gathering:
                yield gathering.run()
            gathering = Gathering(event)
        elif gathering and isinstance(event, RunEnded):
            yield gathering.run(event)
            gathering = None
        elif gathering:
            gathering.add(event)
    if gathering:
        yield gathering.run()
