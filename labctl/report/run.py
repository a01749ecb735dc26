"""Steps, cases and runs, gathered from a flat sequence of events.

A step is held until it is over, and so are the steps of a case; of a run there are only sums, so
that it may be as long as it likes. An interrupted run has steps or an end missing; it is still a
run, and its outcome says so.
"""

from collections import Counter
from dataclasses import dataclass, field
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
from labctl.report.wording import INTERRUPTED, OPEN, OUTCOMES, count

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
    def kind(self) -> str:
        """How it ended, or `expected open` if it passed because a known way is open."""
        return OPEN if self.outcome == "passed" and self.meaning == OPEN else self.outcome

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


@dataclass(slots=True)
class Sum:
    """How many steps or cases ended which way, how long they took together, in seconds, and the
    first reason for each way.
    """

    ways: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, way: str, each: Step | Case) -> None:
        """Count one more."""
        self.ways[way] += 1
        self.seconds += each.seconds
        if each.reason:
            self.reasons.setdefault(way, each.reason)

    @property
    def number(self) -> int:
        """How many there are."""
        return self.ways.total()


@dataclass(slots=True)
class Sums:
    """What is counted while a run goes on: its steps, those that take back, its cases by their
    kind, and the expectations that were held against something.
    """

    steps: Sum = field(default_factory=Sum)
    undos: Sum = field(default_factory=Sum)
    cases: Sum = field(default_factory=Sum)
    checks: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a scenario, in sums; `ended` is None if its transcript ends early."""

    started: RunStarted
    ended: RunEnded | None
    sums: Sums

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
    def told(self) -> bool:
        """Say whether a case or a step has told the reason already."""
        if self.sums.cases.reasons:
            return True
        reasons = (*self.sums.steps.reasons.values(), *self.sums.undos.reasons.values())
        return any(self.reason in each for each in reasons)

    @property
    def began(self) -> datetime:
        """When it began, in UTC."""
        return datetime.fromtimestamp(self.started.at, UTC)

    @property
    def seconds(self) -> float:
        """How long it took; where its end is missing, how long its steps took."""
        if self.ended:
            return self.ended.seconds
        return self.sums.steps.seconds + self.sums.undos.seconds

    @property
    def outcomes(self) -> dict[str, int]:
        """How many steps, or cases, ended which way, without those that none did; undo steps are
        not counted.
        """
        ways = Counter(self.sums.cases.ways or self.sums.steps.ways)
        ways["passed"] += ways[OPEN]
        return {name: ways[name] for name in OUTCOMES if ways[name]}

    @property
    def open(self) -> int:
        """How many cases passed because a way is open that is known to be."""
        return self.sums.cases.ways[OPEN]

    @property
    def checks(self) -> int:
        """How many expectations were held against something."""
        return self.ended.checks if self.ended else self.sums.checks

    @property
    def tally(self) -> str:
        """The run in numbers: `12 steps, 31 checks, 0.84 s`."""
        steps = count(sum(self.outcomes.values()), "case" if self.sums.cases.number else "step")
        ways = [f"{number} {name}" for name, number in self.outcomes.items()]
        if self.open:
            ways.append(f"{self.open} expected open")
        if self.open or self.outcomes.keys() - {"passed"}:
            steps = f"{steps} ({', '.join(ways)})"
        return f"{steps}, {count(self.checks, 'check')}, {self.seconds:.2f} s"


class Gathering:
    """A run in the making: takes events one by one and says when a step or a case is over."""

    def __init__(self, started: RunStarted) -> None:
        self._started = started
        self._sums = Sums()
        self._case: CaseStarted | None = None
        self._steps: list[Step] = []  # of the open case
        self._step: StepStarted | None = None
        self._happened: list[Happening] = []

    def add(self, event: Event) -> Step | Case | None:
        """Take one event. Return the step that it ends, or the case, with its last step.

        A step whose end is missing is over where the next begins. What happens between two steps
        belongs to the later one.
        """
        over: Step | Case | None = None
        match event:
            case StepStarted():
                over, self._step = self._close_step(None), event
            case StepEnded():
                over = self._close_step(event)
            case CaseStarted():
                over, self._case = self.close(), event
            case CaseEnded():
                over = self.close(event)
            case Wire() | Change() | Check() | Command() | Clue() | Note():
                self._happened.append(event)
        return over

    def close(self, ended: CaseEnded | None = None) -> Step | Case | None:
        """End the open case, or else the open step, and return it; without an end it was
        interrupted.
        """
        step = self._close_step(None)
        if self._case is None:
            return step
        case = Case(self._case, tuple(self._steps), ended)
        self._sums.cases.add(case.kind, case)
        self._case, self._steps = None, []
        return case

    def run(self, ended: RunEnded | None = None) -> Run:
        """Return the run as it stands; a step that is still open counts as interrupted."""
        self.close()
        return Run(self._started, ended, self._sums)

    def _close_step(self, ended: StepEnded | None) -> Step | None:
        if self._step is None:
            return None
        step = Step(self._step, tuple(self._happened), ended)
        self._step, self._happened = None, []
        (self._sums.undos if step.started.undo else self._sums.steps).add(step.outcome, step)
        self._sums.checks += len(step.checks)
        if self._case is not None:
            self._steps.append(step)
        return step
