"""The run as JUnit XML, for a CI server: a suite for the run, a case for each step, or for each
case of a scenario that has cases.

A step that was not met is a failure, one that could not be performed or did not end is an error.
A run that was interrupted, or did not pass although all its steps did (nothing was checked), gets a
case of its own that says so, and no reader takes it for a success.
"""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from labctl.report.replay import Replay
from labctl.report.run import Case, Step, Sum
from labctl.report.wording import INTERRUPTED, OPEN, lines, visible, wire_mark

_RESULTS = {"failed": "failure", "error": "error", INTERRUPTED: "error", "skipped": "skipped"}
_COUNTED = {"failures": ("failed",), "errors": ("error", INTERRUPTED), "skipped": ("skipped",)}


def to_junit(runs: Sequence[Replay]) -> Iterator[str]:
    """Yield runs as JUnit XML, piece by piece."""
    suites = [_suite(run) for run in runs]
    report = Element("testsuites", name="labctl")
    for name in ("tests", *_COUNTED):
        report.set(name, str(sum(int(suite.attrib[name]) for suite in suites)))
    report.set("time", str(round(sum(float(suite.attrib["time"]) for suite in suites), 3)))
    yield _opened(report)
    for run, suite in zip(runs, suites, strict=True):
        yield _opened(suite)
        yield tostring(_properties(run), "unicode")
        for case in _cases(run):
            yield tostring(case, "unicode")
        yield _closed(suite)
    yield _closed(report)


def _opened(element: Element) -> str:
    """Return the beginning of an element, up to where others go in."""
    return tostring(element, "unicode").removesuffix(" />") + ">"


def _closed(element: Element) -> str:
    return f"</{element.tag}>"


def _suite(run: Replay) -> Element:
    """Return the suite with its numbers, and nothing in it."""
    suite = Element("testsuite", name=visible(run.started.scenario))
    suite.set("timestamp", run.began.isoformat(timespec="seconds"))
    listed, of_itself = _listed(run), _is_a_case(run)
    suite.set("tests", str(sum(each.number for each in listed) + of_itself))
    for name, outcomes in _COUNTED.items():
        number = sum(each.ways[outcome] for each in listed for outcome in outcomes)
        suite.set(name, str(number + (of_itself and run.outcome in outcomes)))
    suite.set("time", str(round(sum(each.seconds for each in listed), 3)))
    return suite


def _properties(run: Replay) -> Element:
    properties = Element("properties")
    for name in ("title", "lab", "policy", "run"):
        SubElement(properties, "property", name=name, value=visible(getattr(run.started, name)))
    return properties


def _listed(run: Replay) -> list[Sum]:
    """Return the sums of what is a test case here: cases, or else all steps."""
    return [run.sums.cases] if run.sums.cases.number else [run.sums.steps, run.sums.undos]


def _is_a_case(run: Replay) -> bool:
    """Say whether nothing else would tell that the run did not pass."""
    none_red = all(each.ways.keys() <= {"passed", OPEN} for each in _listed(run))
    return run.outcome == INTERRUPTED or (run.outcome != "passed" and none_red)


def _cases(run: Replay) -> Iterator[Element]:
    scenario = visible(run.started.scenario)
    if run.sums.cases.number:
        yield from (_of_case(scenario, case) for case in run.cases())
    else:
        yield from (_of_step(scenario, step) for step in run.steps())
    if _is_a_case(run):
        yield _case(scenario, "the run", 0.0, run.outcome, visible(run.reason))


def _of_case(scenario: str, case: Case) -> Element:
    red = case.outcome in _RESULTS
    body = "\n".join(f"{_name(step)}\n{_body(step)}" for step in case.steps) if red else ""
    name = visible(f"{case.started.number:03} {case.started.name}")
    made = _case(scenario, name, case.seconds, case.outcome, visible(case.reason), body)
    seen = [visible(case.note)] if case.ended and case.ended.note else []
    return _saying(made, [*seen, *(text for step in case.steps for text in _notes(step))])


def _of_step(scenario: str, step: Step) -> Element:
    told = (_headline(step), _body(step)) if step.outcome in _RESULTS else ()
    return _saying(_case(scenario, _name(step), step.seconds, step.outcome, *told), _notes(step))


def _notes(step: Step) -> list[str]:
    return ["\n".join(lines(note.text)) for note in step.notes]


def _saying(case: Element, texts: Sequence[str]) -> Element:
    if texts:
        SubElement(case, "system-out").text = "\n".join(texts)
    return case


def _case(  # noqa: PLR0917  a case has that many parts
    scenario: str, name: str, seconds: float, outcome: str, message: str = "", text: str = ""
) -> Element:
    case = Element("testcase", name=name, classname=scenario, time=str(round(seconds, 3)))
    if result := _RESULTS.get(outcome):
        SubElement(case, result, message=message or outcome, type=outcome).text = text or None
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
