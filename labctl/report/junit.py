"""The run as JUnit XML, for a CI server: a suite for the run, a case for each step, or for each
case of a scenario that has cases.

A step that was not met is a failure, one that could not be performed or did not end is an error.
A run that was interrupted, or did not pass although all its steps did (nothing was checked), gets a
case of its own that says so, and no reader takes it for a success.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from labctl.events import Event
from labctl.report.run import Case, Run, Step, runs
from labctl.report.wording import INTERRUPTED, lines, visible, wire_mark

if TYPE_CHECKING:
    from junitparser import TestCase, TestSuite


def to_junit(events: Iterable[Event]) -> str:
    """Return the transcript as JUnit XML. Raises ValueError if there is no run in it."""
    from junitparser import JUnitXml

    report = JUnitXml("labctl")
    for run in runs(events):
        report.add_testsuite(_suite(run))
    report.update_statistics()  # type: ignore[no-untyped-call]
    xml: bytes = report.tostring()  # type: ignore[no-untyped-call]
    return xml.decode("utf-8")


def _suite(run: Run) -> "TestSuite":
    from junitparser import TestSuite

    suite = TestSuite(visible(run.started.scenario))
    suite.timestamp = run.began.isoformat(timespec="seconds")
    for name in ("title", "lab", "policy", "run"):
        suite.add_property(name, visible(getattr(run.started, name)))
    suite.add_testcases(_cases(run))
    return suite


def _cases(run: Run) -> list["TestCase"]:
    scenario = visible(run.started.scenario)
    cases = [_of_case(scenario, case) for case in run.cases] or [
        _case(scenario, _name(step), step.seconds, step.outcome, _headline(step), _body(step))
        for step in run.steps
    ]
    none_red = all(each.outcome == "passed" for each in run.cases or run.steps)
    if run.outcome == INTERRUPTED or (run.outcome != "passed" and none_red):
        cases.append(_case(scenario, "the run", 0, run.outcome, visible(run.reason)))
    return cases


def _of_case(scenario: str, case: Case) -> "TestCase":
    body = "\n".join(f"{_name(step)}\n{_body(step)}" for step in case.steps)
    name = visible(f"{case.started.number:03} {case.started.name}")
    made = _case(scenario, name, case.seconds, case.outcome, visible(case.reason), body)
    if case.ended and case.ended.note:
        made.system_out = visible(case.note)
    return made


def _case(  # noqa: PLR0917  a case has that many parts
    scenario: str, name: str, seconds: float, outcome: str, message: str, text: str = ""
) -> "TestCase":
    from junitparser import Error, Failure, Skipped, TestCase

    case = TestCase(name, scenario, round(seconds, 3))
    kinds = {"failed": Failure, "error": Error, INTERRUPTED: Error, "skipped": Skipped}
    if kind := kinds.get(outcome):
        result = kind(message or outcome, outcome)
        if text:
            result.text = text
        case.result = [result]
    return case


def _name(step: Step) -> str:
    verb = f"undo {step.started.verb}" if step.started.undo else step.started.verb
    return visible(f"{step.started.number:02} {verb} {step.started.summary}".rstrip())


def _headline(step: Step) -> str:
    """Return why a step did not pass, on one line."""
    if step.reason or not step.unmet:
        return visible(step.reason)
    check = step.unmet[-1]
    return visible(f"{check.what}: expected {check.expected}, seen {check.seen}")


def _body(step: Step) -> str:
    """Return what was expected, what was seen, the end of the wire, the policy attributes at that
    moment, and the command to look further.
    """
    parts = [
        line
        for check in step.unmet
        for label, text in (
            ("check", check.what),
            ("expected", check.expected),
            ("seen", check.seen),
        )
        for line in lines(f"{label:<9} {text}")
    ]
    left_out, wire = step.last_wire
    parts += [f"… {left_out}"] if left_out else []
    parts += [f"{visible(each.peer)} {wire_mark(each.mark)}{visible(each.line)}" for each in wire]
    for clue in step.clues:
        parts += ["", "policy", *lines(clue.policy)] if clue.policy else []
        parts += ["", "look further", *lines(clue.further)]
    return "\n".join(parts)
