"""Runs a scenario, or each of its cases: step after step, then what takes them back, always."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from labctl.errors import Exit, ExpectationFailed, InvalidScenario, LabctlError
from labctl.events import (
    CaseEnded,
    CaseStarted,
    Emit,
    RunEnded,
    RunStarted,
    StepEnded,
    StepStarted,
    Verdict,
)
from labctl.scenario.clue import clue
from labctl.scenario.model import Case, Needs, Scenario, Step
from labctl.scenario.session import Session, Skipped
from labctl.scenario.tally import Result, Tally


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
            scenario.why,
        )
    )
    tally = Tally()
    if scenario.cases:
        with closing(session):
            _run_cases(scenario, session, tally)
    else:
        _play(scenario.steps, _unmet(scenario.needs, session), session, tally)
    ended = tally.fold(session.checks, time.monotonic() - begun)
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


def _unmet(needs: Needs, session: Session) -> str:
    return needs.unmet(session.endpoints, containers=session.containers is not None)


def _run_cases(scenario: Scenario, session: Session, tally: Tally) -> None:
    unmet = _unmet(scenario.needs, session)
    for number, case in enumerate(scenario.cases, start=1):
        ended = _run_case(case, number, session, unmet or _unmet(case.needs, session))
        tally.count(ended.verdict, f"{case.name}: {ended.reason}", ended.exit_code)
        if ended.exit_code == Exit.INTERRUPTED:
            break


def _run_case(case: Case, number: int, session: Session, unmet: str) -> RunEnded:
    policy, begun = session.endpoints.policy, time.monotonic()
    session.emit(CaseStarted(number, case.name, time.time()))
    own, tally = session.for_case(number), Tally()
    _play(case.steps_on(policy), unmet, own, tally)
    session.checks += own.checks
    session.fingerprint = own.fingerprint
    ended = tally.fold(own.checks, time.monotonic() - begun)
    if unmet:
        ended = replace(ended, reason=unmet, exit_code=Exit.OK)
    open_here = ended.verdict is Verdict.PASSED and case.open_on == policy
    note = "expected open" if open_here else ""
    session.emit(CaseEnded(number, ended.verdict, ended.reason, ended.seconds, note))
    return ended


def _play(steps: Sequence[Step], unmet: str, session: Session, tally: Tally) -> None:
    try:
        _perform_all(steps, unmet, session, tally)
    except KeyboardInterrupt:
        tally.exit_code, tally.reason = Exit.INTERRUPTED, "interrupted"
    finally:
        with interrupts_held():
            _take_back(steps, session, tally)
            session.close()


_NOT_REACHED: Result = (Verdict.SKIPPED, "an earlier step did not pass", Exit.OK)


def _perform_all(steps: Sequence[Step], unmet: str, session: Session, tally: Tally) -> None:
    prepared = False
    for number, step in enumerate(steps, start=1):
        session.begin(number)
        _begin(session.listener, number, step.verb, step.summary())
        begun = time.monotonic()
        if unmet:
            result: Result = (Verdict.SKIPPED, unmet, Exit.OK)
        elif tally.exit_code != Exit.OK:
            result = _NOT_REACHED
        else:
            result = _perform(steps, step, session, prepared=prepared)
            prepared = True
        _end(session.listener, number, result, time.monotonic() - begun)
        tally.count(*result)


def _perform(steps: Sequence[Step], step: Step, session: Session, *, prepared: bool) -> Result:
    try:
        if not prepared:
            for each in steps:
                each.prepare(session)
        step.perform(session)
    except Skipped as reason:
        return Verdict.SKIPPED, str(reason), Exit.OK
    except LabctlError as error:
        session.emit(clue(step, session, error))
        failed = isinstance(error, ExpectationFailed)
        return Verdict.FAILED if failed else Verdict.ERROR, str(error), error.exit_code
    return Verdict.PASSED, "", Exit.OK


def _take_back(steps: Sequence[Step], session: Session, tally: Tally) -> None:
    while session.undos:
        undo = session.undos.pop()
        _begin(session.listener, undo.number, undo.verb, undo.summary, undo=True)
        begun = time.monotonic()
        try:
            undo.action()
        except LabctlError as error:
            session.emit(clue(steps[undo.number - 1], session, error))
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


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ignore interrupts meanwhile: what was changed is put back, what is to be kept is written."""
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
