"""Runs a scenario, or each of its cases: step after step, then what takes them back, always.

A conductor may have a step performed again, go back over steps, skip some, or end the run. Every
attempt is told and counted, so nothing that was seen is unseen, and what was skipped was not met.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace

from labctl.endpoints import Endpoints
from labctl.errors import Exit, ExpectationFailed, InvalidScenario, LabctlError, NoSuchService
from labctl.events import (
    CaseEnded,
    CaseStarted,
    Emit,
    Event,
    Moved,
    RunEnded,
    RunStarted,
    StepEnded,
    StepStarted,
    Verdict,
)
from labctl.scenario.clue import clue
from labctl.scenario.conductor import STRAIGHT, Conductor, Move, Standing
from labctl.scenario.interrupts import interrupts_held, interrupts_once
from labctl.scenario.model import Case, Needs, Scenario, Step
from labctl.scenario.session import Session, Skipped, Undo
from labctl.scenario.tally import Result, Tally


def run(scenario: Scenario, session: Session, conductor: Conductor = STRAIGHT) -> RunEnded:
    """Run a scenario on a session, emitting every event to the session's listener.

    Raises InvalidScenario, before anything is done, when the stack lacks one of its accounts.
    An interrupt ends the steps, not the undoing; it is told in the result (exit code 130).
    """
    require_accounts(scenario, session.endpoints)
    emit, begun = session.listener, time.monotonic()
    endpoints = session.endpoints
    emit(
        RunStarted(
            session.run,
            scenario.name,
            scenario.title,
            endpoints.lab,
            endpoints.policy,
            time.time(),
            scenario.why,
        )
    )
    tally = Tally()
    try:
        if scenario.cases:
            with closing(session):
                _run_cases(scenario, session, tally, conductor)
        else:
            _play(scenario.steps, _unmet(scenario.needs, session), session, tally, conductor)
    finally:
        if session.journal is not None and not tally.left:
            session.journal.forget()
    ended = tally.fold(session.checks, time.monotonic() - begun)
    emit(ended)
    return ended


def require_accounts(scenario: Scenario, endpoints: Endpoints) -> None:
    """Raise InvalidScenario if the stack lacks an account that the scenario names."""
    known = endpoints.accounts
    problems = [
        f"{place}: the stack has no account {name!r}; it has: {', '.join(sorted(known)) or 'none'}"
        for name, place in zip(scenario.accounts, scenario.account_positions, strict=True)
        if name not in known
    ]
    if problems:
        raise InvalidScenario(problems)


def _unmet(needs: Needs, session: Session) -> str:
    return needs.unmet(session.endpoints, containers=session.containers is not None)


def _run_cases(scenario: Scenario, session: Session, tally: Tally, conductor: Conductor) -> None:
    unmet = _unmet(scenario.needs, session)
    for number, case in enumerate(scenario.cases, start=1):
        if tally.quit:
            unmet, conductor = _QUIT, STRAIGHT
        hindered = unmet or _unmet(case.needs, session)
        ended = _run_case(case, number, session, hindered, conductor=conductor, whole=tally)
        tally.count(ended.verdict, f"{case.name}: {ended.reason}", ended.exit_code)
        if ended.exit_code == Exit.INTERRUPTED:
            tally.exit_code, tally.reason = Exit.INTERRUPTED, "interrupted"
            break


def _run_case(
    case: Case, number: int, session: Session, unmet: str, *, conductor: Conductor, whole: Tally
) -> RunEnded:
    policy, begun = session.endpoints.policy, time.monotonic()
    session.emit(CaseStarted(number, case.name, time.time()))
    own, tally = session.for_case(number), Tally()
    try:
        _play(case.steps_on(policy), unmet, own, tally, conductor)
    finally:
        whole.left = whole.left or tally.left
    session.checks += own.checks
    session.fingerprint = own.fingerprint
    ended = tally.fold(own.checks, time.monotonic() - begun)
    whole.skipped, whole.quit = whole.skipped or tally.skipped, tally.quit or whole.quit
    if unmet:
        ended = replace(ended, reason=unmet, exit_code=Exit.OK)
    open_here = ended.verdict is Verdict.PASSED and case.open_on == policy
    note = "expected open" if open_here else ""
    session.emit(CaseEnded(number, ended.verdict, ended.reason, ended.seconds, note))
    return ended


def _play(
    steps: Sequence[Step], unmet: str, session: Session, tally: Tally, conductor: Conductor
) -> None:
    with interrupts_once() as interrupts:
        try:
            try:
                _Play(steps, unmet, session, tally, conductor).to_the_end()
            finally:
                interrupts.hold()  # until what was changed is put back
        except KeyboardInterrupt:
            interrupts.came = True
        finally:
            if interrupts.came:
                session.forget_directory()  # an answer may have been cut short on that connection
            _take_back(steps, session, tally)
            session.close()
        if interrupts.came:
            tally.exit_code, tally.reason = Exit.INTERRUPTED, "interrupted"


_BROKEN = "an earlier step did not pass"
_BY_HAND = "skipped by the presenter"
_QUIT = "the presenter ended the run"


@dataclass
class _Play:
    """Steps being played; `behind` of them lie behind, `broken` are those that did not pass."""

    steps: Sequence[Step]
    unmet: str
    session: Session
    tally: Tally
    conductor: Conductor
    behind: int = 0
    broken: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)  # the numbers of steps that were skipped
    prepared: bool = False

    def to_the_end(self) -> None:
        """Do as the conductor says, until all steps lie behind and he goes on."""
        self.session.each_step_undone = self.conductor is not STRAIGHT
        while (move := self._chosen()) is not Move.QUIT:
            if self.behind == len(self.steps) and move is Move.NEXT:
                return
            self._make(move)
        self.tally.quit = True
        while self.behind < len(self.steps):
            self._skip(_QUIT)

    def _chosen(self) -> Move:
        """Ask until the answer is one that is possible here."""
        standing = Standing(self.steps, self.behind, self._hindered, self.session.endpoints)
        while (move := self.conductor.choose(standing)) not in standing.moves:
            pass
        if move is not Move.NEXT:
            self.session.listener(Moved(move.value, self.behind, time.time()))
        return move

    @property
    def _hindered(self) -> str:
        return self.unmet or (_BROKEN if self.broken else self._without_its_fault)

    @property
    def _without_its_fault(self) -> str:
        """Why the next step would be about a server that was to be taken away, and was not."""
        away: dict[str, int] = {}
        for number, step in enumerate(self.steps[: self.behind + 1], 1):
            if mended := step.mends():
                away.pop(mended, None)
            elif number in self.left_out and (service := step.breaks()):
                away[service] = number
        return f"step {min(away.values())} took no server away" if away else ""

    def _make(self, move: Move) -> None:
        match move:
            case Move.NEXT:
                self._step()
            case Move.SKIP:
                self._skip(_BY_HAND)
            case Move.BACK:
                self._back()
            case Move.REPEAT:
                self._back()
                self._step()

    def _step(self) -> None:
        if self._hindered:
            self.left_out.add(self.behind + 1)
            self._told((Verdict.SKIPPED, self._hindered, Exit.OK), self._begin())
            return
        begun = self._begin()
        result = _perform(self.steps, self._current, self.session, prepared=self.prepared)
        self.prepared = True
        if result[2] != Exit.OK:
            self.broken.add(self.behind + 1)
        if result[0] is Verdict.SKIPPED:
            self.left_out.add(self.behind + 1)
        self._told(result, begun)

    def _skip(self, reason: str) -> None:
        self.left_out.add(self.behind + 1)
        self._told((Verdict.SKIPPED, reason, Exit.OK), self._begin())
        self.tally.skipped = self.tally.skipped or reason

    def _back(self) -> None:
        """Take back the last step, and stand before it again."""
        with interrupts_held():
            _take_back(self.steps, self.session, self.tally, self.behind)
            self.session.go_back_before(self.behind)
        self.broken.discard(self.behind)
        self.left_out.discard(self.behind)
        self.behind -= 1
        self.session.messages.pop(self._current.names() or "", None)

    @property
    def _current(self) -> Step:
        return self.steps[self.behind]

    def _begin(self) -> float:
        self.session.begin(self.behind + 1)
        step = self._current
        _begin(self.session.listener, self.session.number, step.verb, step.summary())
        return time.monotonic()

    def _told(self, result: Result, begun: float) -> None:
        _end(self.session.listener, self.session.number, result, time.monotonic() - begun)
        self.tally.count(*result)
        self.behind += 1


def probe(step: Step, number: int, session: Session) -> Result:
    """Perform one step alone, outside of a run, which tells nothing but what the step emits."""
    session.begin(number)
    return _perform([step], step, session, prepared=False)


def _perform(steps: Sequence[Step], step: Step, session: Session, *, prepared: bool) -> Result:
    try:
        if not prepared:
            for each in steps:
                each.prepare(session)
        session.remarks.clear()
        needed = step.refers_to()
        if needed is not None and needed not in session.messages:
            return Verdict.SKIPPED, f"the message {needed!r} was not sent", Exit.OK
        step.perform(session)
        session.follow()
    except Skipped as reason:
        return Verdict.SKIPPED, str(reason), Exit.OK
    except NoSuchService as lack:
        return Verdict.SKIPPED, lack.what, Exit.OK
    except LabctlError as error:
        error.for_lab(session.endpoints.lab if session.containers else "default")
        session.emit(clue(step, session, error))
        failed = isinstance(error, ExpectationFailed)
        return Verdict.FAILED if failed else Verdict.ERROR, str(error), error.exit_code
    return Verdict.PASSED, "; ".join(session.remarks), Exit.OK


def _take_back(steps: Sequence[Step], session: Session, tally: Tally, down_to: int = 0) -> None:
    """Undo, last in first out, what the steps from this number on have changed."""
    with _told_if_possible(session):
        while session.undos and session.undos[-1].number >= down_to:
            _undo(steps, session.undos.pop(), session, tally)


def _undo(steps: Sequence[Step], undo: Undo, session: Session, tally: Tally) -> None:
    _begin(session.listener, undo.number, undo.verb, undo.summary, undo=True)
    result: Result = (Verdict.PASSED, "", Exit.OK)
    begun = time.monotonic()
    try:
        undo.action()
        session.follow()
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are put back
        code = Exit.EXPECTATION
        if isinstance(error, LabctlError):
            code = error.exit_code
            session.emit(clue(steps[undo.number - 1], session, error))
        result = (Verdict.ERROR, str(error), code)
        tally.count(*result)
        tally.left = True
    _end(session.listener, undo.number, result, time.monotonic() - begun, undo=True)


@contextmanager
def _told_if_possible(session: Session) -> Iterator[None]:
    """Tell events as long as that can be done: a terminal that is closed, a disk that is full must
    not keep anything from being put back.
    """
    listener = session.listener

    def tell(event: Event) -> None:
        with suppress(OSError, ValueError):
            listener(event)

    session.listener = tell
    try:
        yield
    finally:
        session.listener = listener


def _begin(emit: Emit, number: int, verb: str, summary: str, *, undo: bool = False) -> None:
    emit(StepStarted(number, verb, summary, time.time(), undo))


def _end(
    emit: Emit,
    number: int,
    result: Result,
    seconds: float,
    *,
    undo: bool = False,
) -> None:
    verdict, reason, _ = result
    emit(StepEnded(number, verdict, reason, seconds, undo))
