"""Cases: a table over one list of steps, each row with its own verdict."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from test_report_sample import Told, rendered
from test_runner import STACK, Doing, changing, failing, passing, raising

from labctl.events import (
    CaseEnded,
    CaseStarted,
    Event,
    RunEnded,
    StepEnded,
    StepStarted,
    Verdict,
    from_dict,
    to_dict,
)
from labctl.report.replay import runs
from labctl.report.terminal import Terminal
from labctl.scenario.loader import load
from labctl.scenario.model import Case, Needs, Scenario
from labctl.scenario.runner import run
from labctl.scenario.session import Session

Action = Callable[[Session], None]


def case(name: str, *actions: Action, needs: Needs | None = None, open_on: str | None = None):
    """Return a case of such steps, the same on both profiles."""
    steps = tuple(Doing(action=action) for action in actions)
    return Case(name, needs or Needs(), open_on, {"hardened": steps})


def told(*cases: Case, policy: str = "hardened") -> tuple[RunEnded, list[Event]]:
    """Run the cases, and return how it ended and all that was told."""
    scenario = Scenario(Path("s.yaml"), "t", "", (), (), (), Needs(), cases)
    events: list[Event] = []
    return run(scenario, Session(replace(STACK, policy=policy), "r", events.append)), events


def verdicts(events: list[Event]) -> list[Verdict]:
    """Return the verdicts of the cases."""
    return [event.verdict for event in events if isinstance(event, CaseEnded)]


def test_a_case_that_fails_does_not_end_the_others() -> None:
    """Every row runs and has its own verdict; the exit code is 0 only if all passed."""
    ended, events = told(case("a", passing), case("b", failing, passing), case("c", passing))
    assert verdicts(events) == [Verdict.PASSED, Verdict.FAILED, Verdict.PASSED]
    assert (ended.verdict, ended.exit_code) == (Verdict.FAILED, 1)
    assert (ended.passed, ended.failed, ended.checks) == (2, 1, 3)
    assert ended.reason.startswith("b: x: expected 1")


def test_all_passed_is_a_success() -> None:
    """The run passes with its cases."""
    ended, _ = told(case("a", passing), case("b", passing))
    assert (ended.verdict, ended.exit_code, ended.passed) == (Verdict.PASSED, 0, 2)


def test_a_case_without_a_check_is_no_success() -> None:
    """A row that held nothing against anything makes the run red."""
    ended, events = told(case("a", passing), case("b", lambda _: None))
    assert verdicts(events) == [Verdict.PASSED, Verdict.SKIPPED]
    assert ended.exit_code == 1


def test_a_case_takes_back_what_it_changed_before_the_next_begins() -> None:
    """The undos of a row run at its end, also when it failed."""
    undone: list[str] = []
    seen: list[list[str]] = []
    _, events = told(
        case("a", changing("a", undone, failing)), case("b", lambda _: seen.append([*undone]))
    )
    assert seen == [["a"]]
    kinds = [type(event) for event in events if not isinstance(event, StepStarted | StepEnded)]
    assert kinds[1] is CaseStarted
    undo = next(i for i, e in enumerate(events) if isinstance(e, StepStarted) and e.undo)
    assert undo < next(i for i, e in enumerate(events) if isinstance(e, CaseEnded))


def test_a_case_knows_nothing_of_the_one_before() -> None:
    """Messages and the run's identity are a row's own."""
    runs_seen: list[str] = []

    def action(session: Session) -> None:
        assert session.messages == {}
        session.messages["x"] = None  # type: ignore[assignment]
        runs_seen.append(session.run)
        passing(session)

    ended, _ = told(case("a", action), case("b", action))
    assert ended.exit_code == 0
    assert runs_seen == ["r.1", "r.2"]


def test_a_case_that_does_not_fit_the_stack_is_skipped_with_the_reason() -> None:
    """An unmet need skips that row alone, and is no failure."""
    ended, events = told(case("a", passing), case("b", failing, needs=Needs(policy="baseline")))
    assert ended.exit_code == 0
    reasons = [event.reason for event in events if isinstance(event, CaseEnded)]
    assert reasons == ["", "needs the policy profile baseline; this is hardened"]


@pytest.mark.parametrize(("policy", "note"), [("baseline", "expected open"), ("hardened", "")])
def test_a_way_that_is_known_to_be_open_says_so(policy: str, note: str) -> None:
    """On the profile it is open on, the case passes with a word that says so."""
    _, events = told(case("a", passing, open_on="baseline"), policy=policy)
    assert [event.note for event in events if isinstance(event, CaseEnded)] == [note]


def test_an_interrupt_ends_the_cases() -> None:
    """The open row takes back what it changed; the rest is not begun."""
    undone: list[str] = []
    ended, events = told(
        case("a", changing("a", undone, raising(KeyboardInterrupt()))), case("b", passing)
    )
    assert (ended.exit_code, undone) == (130, ["a"])
    assert sum(isinstance(event, CaseStarted) for event in events) == 1


TABLE = """\
title: t
accounts: [alice, bob]
defaults: {to: bob, said: [<- 250]}
cases:
  - {name: one, sender: alice, open: baseline}
  - name: two
    sender: {hardened: alice, baseline: bob}
    said: ['-> {x}', {hardened: <- 5, baseline: [<- 250, <- 4]}]
steps:
  - send: {from: "{sender}", to: ["{to}", "{sender}"], subject: "{{{to}}} {sender}"}
  - smtp: {dialogue: [-> NOOP, "{said}", <- 221]}
"""


def test_each_row_is_written_out_on_each_profile(tmp_path: Path) -> None:
    """Texts, lists in lists, braces written twice, and values that depend on the profile."""
    file = tmp_path / "t.yaml"
    file.write_text(TABLE)
    one, two = load(file).cases
    assert one.steps_on("baseline") == one.steps_on("hardened")
    assert (one.open_on, two.open_on) == ("baseline", None)
    send, smtp = two.steps_on("baseline")
    assert (send.sender, send.to, send.subject) == ("bob", ("bob", "bob"), "{bob} bob")
    assert smtp.dialogue == ("-> NOOP", "-> {x}", "<- 250", "<- 4", "<- 221")
    send, smtp = two.steps_on("hardened")
    assert send.to == ("bob", "alice")
    assert smtp.dialogue == ("-> NOOP", "-> {x}", "<- 5", "<- 221")


MIXED = [case("good", passing, open_on="hardened"), case("bad", failing), case("late", passing)]


def test_the_transcript_survives_json() -> None:
    """Cases are events like the others."""
    _, events = told(*MIXED)
    assert [from_dict(json.loads(json.dumps(to_dict(event)))) for event in events] == events


def shown(events: list[Event], verbose: int = 0) -> list[str]:
    """Return the lines for people, without their times."""
    stream = StringIO()
    with Terminal(stream, verbose=verbose) as emit:
        for event in events:
            emit(event)
    return [re.sub(r"  +<?[\d.]+ m?s$", "", line) for line in stream.getvalue().splitlines()]


def test_a_case_is_one_line_and_a_failed_one_shows_its_steps() -> None:
    """The steps of a row are told with -v, or when the row did not pass."""
    lines = shown(told(*MIXED)[1])
    rows = [line.split() for line in lines[2:]]
    assert rows[0] == ["1", "✓", "passed", "case", "good", "expected", "open:", "1"]
    assert rows[1][:5] == ["2", "✗", "failed", "case", "bad"]
    assert rows[2][:4] == ["1", "✗", "failed", "doing"]
    assert "3 cases (2 passed, 1 failed, 1 expected open)" in lines[-1]
    assert sum("doing" in line for line in lines) == 1
    assert sum("doing" in line for line in shown(told(*MIXED)[1], verbose=1)) == 3


def test_an_interrupted_case_is_told_as_such() -> None:
    """A transcript that breaks off within a row still shows it."""
    _, events = told(*MIXED)
    broken = events[: next(i for i, e in enumerate(events) if isinstance(e, StepEnded))]
    assert any("interrupted" in line and "good" in line for line in shown(broken))
    assert [case.outcome for case in runs([Told(broken)])[0].cases()] == ["interrupted"]


def test_a_case_is_a_test_case_of_junit() -> None:
    """The suite has the rows, not their steps; a failure holds its steps."""
    suite = ET.fromstring(rendered("junit", told(*MIXED)[1]))[0]  # noqa: S314
    found = suite.findall("testcase")
    assert [each.attrib["name"] for each in found] == ["001 good", "002 bad", "003 late"]
    assert [[part.tag for part in each] for each in found] == [["system-out"], ["failure"], []]
    assert "expected  1" in (found[1][0].text or "")


def test_the_page_shows_cases_and_opens_those_that_failed() -> None:
    """Each row is there with its steps beneath, in the group of how it ended, the worst first."""
    page = rendered("html", told(*MIXED)[1])
    assert page.count('<li id="r1-c') == 3
    assert page.count("<details open>") == 1
    headings = [
        page.index(f"<h2>{title}") for title in ("Failed: 1", "Expected open: 1", "Passed: 1")
    ]
    assert headings == sorted(headings)
