"""Runs are read again from where they begin, as often as a view wants, and always the same."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_sample import INTERRUPTED, MIXED, PASSED, SENT, STARTED, Told, cases, step, stored

from labctl.events import CaseEnded, CaseStarted, Event, RunEnded, Verdict
from labctl.report.jsonl import Stored
from labctl.report.replay import Replay, runs

SECOND = replace(STARTED, run="second", title="Größer")
THREE = [*INTERRUPTED, SECOND, *MIXED[1:], *cases(3, failed={2}, open_={3})]


def words(run: Replay) -> list[str]:
    """Return what the steps and the cases of a run are about, and how they ended."""
    return [
        *(f"{each.started.verb} {each.outcome}" for each in run.steps()),
        *(f"{each.started.name} {each.kind}" for each in run.cases()),
    ]


def test_every_run_of_a_file_is_read_from_where_it_begins(tmp_path: Path) -> None:
    """Each has its own steps and cases, and the same again when they are read again."""
    first, second, third = runs([Stored.at(stored(tmp_path / "t.jsonl", THREE))])
    assert [each.started.run for each in (first, second, third)] == ["9f3c1a", "second", "9f3c1a"]
    for _ in range(2):
        assert words(first)[-1] == "resend interrupted"
        assert len(list(second.steps())) == 8
        assert words(third)[-3:] == ["way 1 passed", "way 2 failed", "way 3 expected open"]
    assert list(second.events()) == [SECOND, *MIXED[1:]]


def test_what_is_written_later_is_not_in_it(tmp_path: Path) -> None:
    """A run may go on while it is rendered: its sums and its details agree all the same."""
    path = stored(tmp_path / "t.jsonl", INTERRUPTED)
    whole = stored(tmp_path / "whole.jsonl", MIXED).read_bytes()
    with path.open("ab") as file:
        file.write(whole[path.stat().st_size :][:30])
    (run,) = runs([Stored.at(path)])
    path.write_bytes(whole)
    assert list(run.events()) == INTERRUPTED
    assert run.tally == "3 steps (2 passed, 1 interrupted), 1 check, 0.14 s"
    assert len(list(run.steps())) == 3


def test_several_files_are_several_transcripts(tmp_path: Path) -> None:
    """A run that broke off ends with its file."""
    one = stored(tmp_path / "one.jsonl", INTERRUPTED)
    other = stored(tmp_path / "other.jsonl", PASSED[1:] + PASSED)
    first, second = runs([Stored.at(one), Stored.at(other)])
    assert (first.outcome, second.outcome) == ("interrupted", "passed")
    assert list(second.events()) == PASSED, "what precedes it belongs to no run"


STEPS = st.sampled_from(
    [
        step(1, "send x", SENT),
        step(1, "send x", SENT)[:-1],
        step(2, "send y", (), Verdict.FAILED, undo=True),
        [CaseStarted(1, "c", 0.0)],
        [CaseEnded(1, Verdict.PASSED, "", 0.1)],
        [RunEnded(Verdict.PASSED, "", 1, 0, 0, 0, 1, 0.1, 0)],
        [STARTED],
    ]
)


@given(st.lists(STEPS, max_size=8))
def test_sums_and_details_agree(parts: list[list[Event]]) -> None:
    """In whatever order the events come, there are as many steps and cases as were counted."""
    for run in runs([Told([STARTED, *(event for part in parts for event in part)])]):
        sums = run.sums
        assert sums.cases.number == len(list(run.cases()))
        assert sums.cases.seconds == pytest.approx(sum(case.seconds for case in run.cases()))
        if not sums.cases.number:
            assert sums.steps.number + sums.undos.number == len(list(run.steps()))
            assert sums.checks == sum(len(each.checks) for each in run.steps())
