"""For the room: why, notes and pauses, on a screen, on paper, and where nobody presents."""

import os
import pty
import select
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TextIO

import pytest
from test_report_sample import STARTED, step
from test_report_terminal import settled, shown
from test_runner import STACK

from labctl.cli.presenter import AtTerminal, presenter
from labctl.errors import DeadlinePassed
from labctl.events import Event, Note, RunEnded, RunStarted, Verdict, from_dict, to_dict
from labctl.protocols.poll import poll
from labctl.scenario.session import Session
from labctl.scenario.steps.note import Note as NoteStep
from labctl.scenario.steps.pause import Pause

WHY = "The whole claim\nin one story:\n\n- she *signs in*,\n- she receives.\n"
LONG = "Now somebody presses a button, and nothing\nis reloaded.\n\nWatch the stage.\x1b[2J"
ENDED = RunEnded(Verdict.PASSED, "", 2, 0, 0, 0, 1, 0.1, 0)
STORY: list[Event] = [
    RunStarted("r1", "s", "A title", "default", "hardened", 0.0, WHY),
    *step(1, "note Look here.", [Note("Look here.")]),
    *step(2, "note Now somebody presses …", [Note(LONG)]),
    ENDED,
]


def test_on_paper_the_texts_stand_as_they_were_written() -> None:
    """`why` below the title, a long note below its step, a short one in its line and once only."""
    text = shown(STORY)
    assert "\nThe whole claim\nin one story:\n\n- she *signs in*,\n- she receives.\n\n" in text
    assert text.count("Look here.") == 1
    assert "       Now somebody presses a button, and nothing\n       is reloaded.\n\n" in text
    assert "\x1b" not in text


def test_on_a_screen_paragraphs_fill_the_lines() -> None:
    """A line break within a paragraph is none on the screen; lists stay lists."""
    text = settled(shown(STORY, colour=True, width=60))
    assert "The whole claim in one story:\n" in text
    assert "- she *signs in*,\n- she receives.\n" in text
    assert "       Now somebody presses a button, and nothing is\n       reloaded." in text


def test_a_transcript_without_why_can_be_read() -> None:
    """One that was written before there was a `why` has none, and is whole."""
    old = {key: value for key, value in to_dict(STARTED).items() if key != "why"}
    assert from_dict(old) == STARTED
    assert STARTED.why == ""


def test_a_note_is_an_event_and_no_check() -> None:
    """The step says it and does nothing else; its line is how it begins."""
    events: list[Event] = []
    note = NoteStep(text=f"{LONG}\n")
    note.perform(Session(STACK, "r", events.append))
    assert events == [Note(LONG)]
    assert note.summary() == "Now somebody presses a button, and …"


@dataclass
class Recorder:
    """A presenter who goes on at once, and remembers what was asked."""

    waits: list[float | None] = field(default_factory=list)

    def wait(self, seconds: float | None) -> None:
        """Remember it."""
        self.waits.append(seconds)


def test_a_pause_waits_for_the_presenter_and_for_nobody_else() -> None:
    """With a presenter it is his affair; without one it is over at once, however long it says."""
    at = Recorder()
    for seconds in (None, 600.0):
        pause = Pause.model_validate({"for": seconds})
        pause.perform(Session(STACK, "r", lambda _: None, presenter=at))
        pause.perform(Session(STACK, "r", lambda _: None))
    assert at.waits == [None, 600.0]


def test_the_presenter_is_there_in_every_case() -> None:
    """A case's own session knows him, too."""
    at = Recorder()
    session = Session(STACK, "r", lambda _: None, presenter=at)
    assert session.for_case(1).presenter is at


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """A terminal: the end at which keys are pressed, and the one that is read."""
    keys, screen = pty.openpty()
    with os.fdopen(screen, "r", encoding="utf-8") as stream:
        yield keys, stream
    os.close(keys)


def test_enter_goes_on_and_leaves_nothing_on_the_screen(terminal: tuple[int, TextIO]) -> None:
    """The wait ends with Enter, which is not echoed: the line on the screen stays where it is."""
    keys, stream = terminal

    def echoes() -> int:
        return termios.tcgetattr(keys)[3] & termios.ECHO

    def press() -> None:
        with suppress(DeadlinePassed):
            poll(lambda: True if not echoes() else None, what="the wait to begin", seconds=5)
        os.write(keys, b"\n")

    os.write(keys, b"\n")  # too early: it is forgotten
    assert os.read(keys, 10) == b"\r\n"
    presser = threading.Thread(target=press)
    presser.start()
    AtTerminal(stream, prompts=False).wait(None)
    presser.join()
    assert select.select([keys], [], [], 0)[0] == []
    assert echoes()


def test_a_pause_of_a_time_ends_by_itself(
    terminal: tuple[int, TextIO], capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody presses anything; where no other line says so, the presenter is told that he may."""
    _, stream = terminal
    AtTerminal(stream, prompts=True).wait(0.01)
    assert "Press Enter" in capfd.readouterr().err


def test_where_there_is_no_terminal_nobody_presents(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, or with input from a file, a pause waits for nobody."""
    with open(os.devnull, encoding="utf-8") as stream:  # noqa: PTH123  a stream, not a path
        monkeypatch.setattr("sys.stdin", stream)
        assert presenter() is None
