"""JUnit XML: valid whatever a server sent, and never green by accident."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from junitparser import JUnitXml
from test_report_sample import (
    FURTHER,
    INTERRUPTED,
    MIXED,
    PASSED,
    POLICY,
    STARTED,
    rendered,
    said,
    step,
)

from labctl.events import Check, Note, RunEnded, Verdict

NOTHING = RunEnded(Verdict.ERROR, "nothing was checked", 1, 0, 0, 0, 0, 0.1, 1)
BY_SIGNAL = RunEnded(Verdict.ERROR, "interrupted", 1, 0, 0, 0, 1, 0.1, 130)


def cases(xml: str) -> dict[str, ET.Element]:
    """Return the test cases by name."""
    return {case.attrib["name"]: case for case in ET.fromstring(xml).iter("testcase")}  # noqa: S314


def test_a_run_is_a_suite_and_a_step_a_case() -> None:
    """Names, class name, times and where it ran are in the places CI servers look for."""
    xml = rendered("junit", PASSED)
    (suite,) = ET.fromstring(xml)  # noqa: S314
    assert suite.attrib["name"] == "alice-leaves"
    assert suite.attrib["timestamp"] == "2025-12-29T09:20:00+00:00"
    assert {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")} == {
        "title": "Alice leaves the company",
        "lab": "default",
        "policy": "hardened",
        "run": "9f3c1a",
    }
    first = cases(xml)["01 send alice to bob, Quarterly report"]
    assert (first.attrib["classname"], first.attrib["time"]) == ("alice-leaves", "0.141")
    assert "02 undo disable alice" in cases(xml)


def test_what_a_speaker_says_is_in_its_case() -> None:
    """A note is the output of its step, and of the case that it stands in."""
    told = [STARTED, *step(1, "note", [Note("Look at *this*.\x1b[2J")]), *PASSED[1:]]
    [element] = [case for name, case in cases(rendered("junit", told)).items() if "note" in name]
    assert element.findtext("system-out") == r"Look at *this*.\x1b[2J"


def test_verdicts_become_failure_error_and_skipped() -> None:
    """Every verdict has its element, and junitparser counts them as we do."""
    xml = rendered("junit", MIXED)
    report = JUnitXml.fromstring(xml)
    assert (report.tests, report.failures, report.errors, report.skipped) == (8, 1, 2, 1)
    found = {name[:7]: [child.tag for child in case] for name, case in cases(xml).items()}
    assert found["04 send"] == ["failure"]
    assert found["05 rece"] == ["error"]
    assert found["06 paus"] == ["skipped"]
    assert found["04 undo"] == ["error"]
    assert found["01 send"] == []


def test_a_failure_holds_expected_seen_and_the_wire() -> None:
    """The failure's text is enough to understand it: no log has to be looked for."""
    (failure,) = ET.fromstring(rendered("junit", MIXED)).iter("failure")  # noqa: S314
    assert failure.attrib["message"] == "the recipient was accepted"
    assert failure.text is not None
    lines = failure.text.splitlines()
    assert lines[:4] == [
        "check     the reply",
        "expected  554 5.7.1 at RCPT",
        "seen      250 2.1.5 at RCPT",
        "submission  -> RCPT TO:<bob@truenorth.local>",
    ]
    assert lines[4].startswith(r"submission <** 250 \x1b[2J\x07 ]]> <script>")
    assert failure.text.endswith(f"\n\npolicy\n{POLICY}\n\nlook further\n{FURTHER}")
    assert r"\x00\x9b31m \u202egro.live \udcff \ufffe é 雪" in lines[4]


def test_the_wire_of_a_failure_is_bounded() -> None:
    """A CI server's page shows the end of it, and how much there is before."""
    wire = [said("->", f"line {number}") for number in range(1, 34)]
    xml = rendered("junit", [STARTED, *step(1, "send x", wire, Verdict.FAILED)])
    assert "… 13 lines before" in xml
    assert xml.count("line ") == 20


def test_the_text_can_be_stored_as_utf_8() -> None:
    """No lone surrogate is left that could not be written to a file."""
    assert ET.fromstring(rendered("junit", MIXED).encode()) is not None  # noqa: S314


def test_an_interrupted_step_is_an_error() -> None:
    """A step without an end makes the suite fail, with the wire so far."""
    case = cases(rendered("junit", INTERRUPTED))["03 resend Quarterly report"]
    assert case[0].tag == "error"
    assert case[0].attrib["message"] == "interrupted"
    assert "RCPT TO" in (case[0].text or "")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ([], "the transcript ends before the run did"),
        ([BY_SIGNAL], "interrupted"),
        ([NOTHING], "nothing was checked"),
    ],
)
def test_a_run_that_did_not_pass_is_never_green(end: list[RunEnded], message: str) -> None:
    """If all steps passed but the run did not, a case of its own is an error."""
    report = rendered("junit", [STARTED, *step(1, "send alice to bob"), *end])
    assert JUnitXml.fromstring(report).errors == 1
    assert cases(report)["the run"][0].attrib["message"] == message


def test_a_failure_without_a_reason_tells_its_check() -> None:
    """The message falls back on what was expected and seen."""
    check = Check("the reply", "554", "250", ok=False)
    xml = rendered("junit", [STARTED, *step(1, "send x", [check], Verdict.FAILED)])
    assert 'message="the reply: expected 554, seen 250"' in xml


def test_two_runs_are_two_suites() -> None:
    """Several runs in one stream of events stay apart, also of the same scenario."""
    xml = rendered("junit", [*PASSED, replace(STARTED, run="other"), *PASSED[1:], *MIXED])
    report = JUnitXml.fromstring(xml)
    assert [(suite.tests, suite.failures) for suite in report] == [(4, 0), (4, 0), (8, 1)]
    assert (report.tests, report.failures, report.errors, report.time) == (16, 1, 2, 6.776)
