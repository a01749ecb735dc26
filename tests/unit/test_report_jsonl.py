"""The transcript file: whole at every moment, and strict when it is read."""

import io
from pathlib import Path

import pytest
from test_report_sample import MIXED, PASSED, stored

from labctl.report.jsonl import JsonlWriter, read


def test_what_was_written_is_read_back_equal(tmp_path: Path) -> None:
    """Every event survives, also one whose text holds control characters and broken UTF-8."""
    assert list(read(stored(tmp_path / "t.jsonl", MIXED))) == MIXED


def test_each_event_is_one_line_of_ascii(tmp_path: Path) -> None:
    """Nothing in an event can break a line or the file's encoding."""
    data = stored(tmp_path / "t.jsonl", MIXED).read_bytes()
    assert data.isascii()
    assert data.count(b"\n") == len(data.splitlines()) == len(MIXED)


def test_an_event_is_in_the_file_before_the_next_one_comes(tmp_path: Path) -> None:
    """A run that is killed leaves every event it emitted: nothing waits in a buffer."""
    path = tmp_path / "t.jsonl"
    with JsonlWriter(path) as emit:
        for number, event in enumerate(PASSED, 1):
            emit(event)
            assert len(list(read(path))) == number


def test_a_stream_is_written_to_and_left_open() -> None:
    """A text stream, such as stdout, belongs to the caller and is not closed."""
    stream = io.StringIO()
    with JsonlWriter(stream) as emit:
        emit(PASSED[0])
    assert stream.getvalue().startswith('{"schema": "labctl/v1", "event": "run-started"')


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_write_cut_off_by_a_crash_is_left_out(tmp_path: Path, cut: int) -> None:
    """A last line without its end is what a crash left: everything before it still counts."""
    path = stored(tmp_path / "t.jsonl", MIXED)
    path.write_bytes(path.read_bytes()[: -1 - cut])
    assert list(read(path)) == MIXED[:-1]


def test_a_last_event_without_a_line_feed_counts(tmp_path: Path) -> None:
    """A line that is whole but for its line feed is an event like any other."""
    path = stored(tmp_path / "t.jsonl", MIXED)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert list(read(path)) == MIXED


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("\udcff", "not JSON"),
        ("[]", "not an event: list, not an object"),
        ("{}", "not a labctl/v1 event"),
        ('{"schema": "labctl/v1", "event": "party"}', "unknown event 'party'"),
        ('{"schema": "labctl/v1", "event": "wire"}', "incomplete wire event"),
    ],
)
def test_a_broken_line_is_named_with_its_place(tmp_path: Path, line: str, what: str) -> None:
    """A broken line in the middle is an error that starts `path:line:` and says what is wrong."""
    path = stored(tmp_path / "t.jsonl", MIXED)
    broken = f"{line}\n".encode(errors="surrogateescape")
    path.write_bytes(path.read_bytes() + broken)
    with pytest.raises(ValueError, match=what) as caught:
        list(read(path))
    assert str(caught.value).startswith(f"{path}:{len(MIXED) + 1}: ")
