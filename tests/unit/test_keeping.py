"""What is kept of a run is written whatever ends it, whole or not at all."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from test_report_sample import INTERRUPTED, PASSED, rendered, stored

from labctl.cli.keeping import REPORTS, kept_reports, reserved
from labctl.errors import HostProblem, LabNotReady, UsageError
from labctl.report.replay import Replay
from labctl.report.views import write


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Let an interrupt be one, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_until_everything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever presses Ctrl-C twice has the reports all the same."""

    def interrupted(form: str, runs: list[Replay], stream: TextIO, *, verbose: int = 0) -> None:
        signal.raise_signal(signal.SIGINT)
        write(form, runs, stream, verbose=verbose)

    monkeypatch.setattr("labctl.report.views.write", interrupted)
    places = [tmp_path / "r.txt", tmp_path / "r.xml"]
    transcripts = [stored(tmp_path / "t.jsonl", INTERRUPTED)]
    with (
        pytest.raises(KeyboardInterrupt),
        reserved(places, REPORTS) as targets,
        kept_reports(targets, transcripts, output="text", verbose=0),
    ):
        raise KeyboardInterrupt
    assert ["interrupted" in place.read_text() for place in places] == [True, True]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # later ones count again


@pytest.mark.parametrize("error", [LabNotReady("gone"), ZeroDivisionError()])
def test_what_ran_is_reported_although_an_error_ends_it(tmp_path: Path, error: Exception) -> None:
    """Runs before the one that could not begin are not lost; the error goes on its way."""
    place = tmp_path / "r.jsonl"
    transcripts = [stored(tmp_path / "t.jsonl", PASSED), tmp_path / "never-begun.jsonl"]
    with (
        pytest.raises(type(error)),
        reserved([place], REPORTS) as targets,
        kept_reports(targets, transcripts, output="text", verbose=0),
    ):
        raise error
    assert place.read_text() == rendered("jsonl", PASSED)


def test_where_nothing_ran_nothing_is_written(tmp_path: Path) -> None:
    """Neither a report nor anything beside; an older one stays."""
    place = tmp_path / "r.html"
    place.write_text("old")
    with (
        reserved([place, tmp_path / "r.xml"], REPORTS) as targets,
        kept_reports(targets, [], output="text", verbose=0),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert place.read_text() == "old"


def test_a_place_that_cannot_be_written_leaves_nothing_at_the_others(tmp_path: Path) -> None:
    """Each is looked at before anything runs."""
    places = [tmp_path / "good.html", tmp_path / "nowhere" / "bad.html"]
    with pytest.raises(UsageError, match="nowhere"), reserved(places, REPORTS):
        pytest.fail("it was entered")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_gone_at_the_end_is_told(tmp_path: Path) -> None:
    """Not as a wrong command line, but as something that the host lacks."""
    place = tmp_path / "sub" / "r.html"
    place.parent.mkdir()
    with reserved([place], REPORTS) as (target,):
        target.fresh.unlink()
        place.parent.rmdir()
        with (
            pytest.raises(HostProblem, match="cannot be written: No such file"),
            target.filled(),
        ):
            pytest.fail("it was filled")
