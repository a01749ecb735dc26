"""Runs a scenario: step after step, then what takes them back, always."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from labctl.errors import Exit, ExpectationFailed, InvalidScenario, LabctlError
from labctl.events import Emit, RunEnded, RunStarted, StepEnded, StepStarted, Verdict
from labctl.scenario.model import Scenario, Step
from labctl.scenario.session import Session, Skipped


@dataclass(slots=True)
class _Tally:
    """What the steps came to; folded once, at the end, into verdict and exit code."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    reason: str = ""
    exit_code: int = Exit.OK

    def count(self, verdict: Verdict, reason: str, exit_code: int) -> None:
        self.verdicts[verdict] += 1
        if self.exit_code == Exit.OK and exit_code != Exit.OK:
            self.exit_code, self.reason = exit_code, reason


def run(scenario: Scenario, session: Session) -> RunEnded:
    """Run a scenario on a session, emitting every event to the session's listener.

    Raises InvalidScenario, before anything is done, when the stack lacks one of its accounts.
    An interrupt ends the steps, not the undoing; it is told in the result (exit code 130).
    """
    _require_accounts(scenario, session)
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
        )
    )
    tally = _Tally()
    try:
        _perform_all(scenario, session, tally)
    except KeyboardInterrupt:
        tally.exit_code, tally.reason = Exit.INTERRUPTED, "interrupted"
    finally:
        with _interrupts_held():
            _take_back(session, tally)
            session.close()
    ended = _fold(tally, session.checks, time.monotonic() - begun)
    emit(ended)
    return ended


def _require_accounts(scenario: Scenario, session: Session) -> None:
    known = session.endpoints.accounts
    problems = [
        f"{place}: the stack has no account {name!r}; it has: {', '.join(sorted(known)) or 'none'}"
        for name, place in zip(scenario.accounts, scenario.account_positions, strict=True)
        if name not in known
    ]
    if problems:
        raise InvalidScenario(problems)


Result = tuple[Verdict, str, int]
_NOT_REACHED: Result = (Verdict.SKIPPED, "an earlier step did not pass", Exit.OK)


def _perform_all(scenario: Scenario, session: Session, tally: _Tally) -> None:
    unmet = scenario.needs.unmet(
        session.endpoints.policy, containers=session.containers is not None
    )
    prepared = False
    for number, step in enumerate(scenario.steps, start=1):
        session.number = number
        _begin(session.listener, number, step.verb, step.summary())
        begun = time.monotonic()
        if unmet:
            result: Result = (Verdict.SKIPPED, unmet, Exit.OK)
        elif tally.exit_code != Exit.OK:
            result = _NOT_REACHED
        else:
            result = _perform(scenario, step, session, prepared=prepared)
            prepared = True
        _end(session.listener, number, result, time.monotonic() - begun)
        tally.count(*result)


def _perform(scenario: Scenario, step: Step, session: Session, *, prepared: bool) -> Result:
    try:
        if not prepared:
            for each in scenario.steps:
                each.prepare(session)
        step.perform(session)
    except Skipped as reason:
        return Verdict.SKIPPED, str(reason), Exit.OK
    except ExpectationFailed as error:
        return Verdict.FAILED, str(error), error.exit_code
    except LabctlError as error:
        return Verdict.ERROR, str(error), error.exit_code
    return Verdict.PASSED, "", Exit.OK


def _take_back(session: Session, tally: _Tally) -> None:
    while session.undos:
        undo = session.undos.pop()
        _begin(session.listener, undo.number, undo.verb, undo.summary, undo=True)
        begun = time.monotonic()
        try:
            undo.action()
        except LabctlError as error:
            result: Result = (Verdict.ERROR, str(error), error.exit_code)
            tally.count(*result)
        else:
            result = (Verdict.PASSED, "", Exit.OK)
        _end(session.listener, undo.number, result, time.monotonic() - begun, undo=True)


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


def _fold(tally: _Tally, checks: int, seconds: float) -> RunEnded:
    seen = tally.verdicts
    if seen[Verdict.ERROR] or tally.exit_code == Exit.INTERRUPTED:
        verdict = Verdict.ERROR
    elif seen[Verdict.FAILED]:
        verdict = Verdict.FAILED
    elif checks == 0:
        verdict = Verdict.SKIPPED
        tally.count(Verdict.SKIPPED, "nothing was checked", Exit.EXPECTATION)
        seen[Verdict.SKIPPED] -= 1
    else:
        verdict = Verdict.PASSED
    return RunEnded(
        verdict,
        tally.reason,
        seen[Verdict.PASSED],
        seen[Verdict.FAILED],
        seen[Verdict.ERROR],
        seen[Verdict.SKIPPED],
        checks,
        seconds,
        tally.exit_code,
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let an interrupt wait until what was changed is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
