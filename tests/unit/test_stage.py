"""What a presenter sees: the wire explained, what is next, the keys, recordings."""

import io
import json
import os
import pty
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from rich.cells import cell_len
from test_report_sample import PASSED
from test_report_terminal import SGR, Tty, settled
from test_runner import STACK

from labctl.errors import UsageError
from labctl.events import Wire
from labctl.report.terminal import Terminal
from labctl.scenario.conductor import Move, Standing
from labctl.scenario.model import Expect, Step
from labctl.scenario.steps.policy import Disable
from labctl.scenario.steps.resend import Resend
from labctl.scenario.steps.send import Send
from labctl.stage.cast import Recording
from labctl.stage.director import Director
from labctl.stage.keys import END, ENTER, Keyboard
from labctl.stage.wire import annotated, in_words

SUBMISSION = """\
=== connecting to 127.0.0.1:2587 (submission)
<- 220 mail.x.org ESMTP
-> ehlo me
<- 250-mail.x.org
<- 250 STARTTLS
-> STARTTLS
<- 220 2.0.0 Ready to start TLS
=== TLS begun
-> ehlo me
<- 250-mail.x.org
<- 250-AUTH PLAIN
<- 250 CHUNKING
-> AUTH PLAIN ***
<- 235 2.7.0 Authentication successful
-> MAIL FROM:<alice@x.org>
<- 250 2.1.0 Ok
-> RCPT TO:<bob@x.org>
<- 250 2.1.5 Ok
-> DATA
<- 354 End data with <CR><LF>.<CR><LF>
-> From: alice@x.org
->
-> STARTTLS is a word like any other here.
-> .
<- 250 2.0.0 Ok: queued as 4C1
-> MAIL FROM:<alice@x.org>
<- 250 2.1.0 Ok
-> RCPT TO:<bob@x.org>
<- 554 5.7.1 refused
"""


def wires(text: str) -> list[Wire]:
    """Return the lines of a wire."""
    found = []
    for line in text.splitlines():
        mark, _, rest = line.partition(" ")
        found.append(Wire("submission", mark, rest, 0.0))  # type: ignore[arg-type]
    return found


def test_the_wire_is_folded_where_it_is_routine_and_explained_where_it_decides() -> None:
    """Greetings up to TLS, lists and contents are one line each; no reply that decides is lost."""
    shown = [(line.text, line.note) for line in annotated(wires(SUBMISSION))]
    assert shown == [
        ("connecting to 127.0.0.1:2587 (submission)", ""),
        ("TLS begun", "6 lines of greeting before it"),
        ("ehlo me", "greets"),
        ("250-mail.x.org", "and 2 more lines"),
        ("AUTH PLAIN ***", "signs in"),
        ("235 2.7.0 Authentication successful", "signed in"),
        ("MAIL FROM:<alice@x.org>", "envelope sender"),
        ("250 2.1.0 Ok", ""),
        ("RCPT TO:<bob@x.org>", "the directory is asked"),
        ("250 2.1.5 Ok", "may be sent to"),
        ("DATA", "wants to send it"),
        ("354 End data with <CR><LF>.<CR><LF>", "go on"),
        ("From: alice@x.org", "the message and 3 more lines"),
        ("250 2.0.0 Ok: queued as 4C1", "accepted, queued"),
        ("MAIL FROM:<alice@x.org>", "envelope sender"),
        ("250 2.1.0 Ok", ""),
        ("RCPT TO:<bob@x.org>", "the directory is asked"),
        ("554 5.7.1 refused", "refused for good"),
    ]


def test_who_speaks_is_said_in_words() -> None:
    """No mark and no colour stands alone."""
    labels = {line.mark: line.label for line in annotated(wires("-> x\n<- 250 y\n*** z\n"))}
    assert labels == {"->": "client", "<-": "server", "***": "error"}


def test_a_whole_wire_in_words_leaves_nothing_out() -> None:
    """For a projector without a presenter: every line, and who speaks."""
    shown = list(in_words(wires(SUBMISSION)))
    assert [line.text for line in shown] == [wire.line for wire in wires(SUBMISSION)]
    assert {line.label for line in shown} == {"client", "server", "submission"}


def test_lists_of_imap_are_folded_but_not_what_was_found() -> None:
    """The answer to a search is what the step is about."""
    text = "-> a UID SEARCH x\n<- * 3 EXISTS\n<- * 1 RECENT\n<- * SEARCH 7\n<- a OK done\n"
    assert "* SEARCH 7" in [line.text for line in annotated(wires(text))]


def test_a_wire_that_breaks_off_is_told_to_its_end() -> None:
    """What was held back to be folded is not lost where nothing follows."""
    assert [line.text for line in annotated(wires("<- 250-mail"))] == ["250-mail"]
    assert list(annotated([])) == []


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """A terminal: the end at which keys are pressed, and the one that is read."""
    keys, screen = pty.openpty()
    with os.fdopen(screen, "r", encoding="utf-8") as stream:
        yield keys, stream
    os.close(keys)


def test_keys_come_one_by_one_without_echo(terminal: tuple[int, TextIO]) -> None:
    """Enter, letters and arrows are one key each; afterwards the terminal is as it was."""
    keys, stream = terminal
    before = termios.tcgetattr(stream.fileno())
    with Keyboard(stream) as keyboard:
        seen = []
        for pressed in (b"r", b"\r", b"\x1b[A"):
            os.write(keys, pressed)
            seen.append(keyboard.key(5))
        assert keyboard.key(0.01) is None
    assert seen == ["r", ENTER, "\x1b[A"]
    assert termios.tcgetattr(stream.fileno()) == before


class Pressing(Keyboard):
    """A keyboard on which these keys are pressed, one each time."""

    def __init__(self, *keys: str | None) -> None:
        self._keys = iter(keys)

    def forget(self) -> None:
        """Nothing was typed too early."""

    def key(self, seconds: float | None) -> str | None:  # noqa: ARG002
        """Press the next."""
        return next(self._keys)


REFUSED = Expect.model_validate({"stage": "RCPT", "reply": "554 5.7.1"})
STORY: list[Step] = [
    Send.model_validate({"from": "alice", "to": "bob@y.org", "as": "report"}),
    Disable(account="alice"),
    Resend(message="report", expect=REFUSED),
]


def chosen(behind: int, *keys: str | None, pace: float | None = None) -> tuple[list[Move], str]:
    """Return what the director makes of the keys at a place in a story, and the screen."""
    screen = Tty()
    terminal = Terminal(screen, width=80, stepwise=True, wire=annotated)
    terminal.wire_shown = True
    director = Director(terminal, Pressing(*keys), pace)
    move = director.choose(Standing(STORY, behind, "", STACK))
    return [move], screen.getvalue()


@pytest.mark.parametrize(
    ("key", "move"),
    [
        (ENTER, Move.NEXT),
        ("r", Move.REPEAT),
        ("B", Move.BACK),
        ("s", Move.SKIP),
        ("q", Move.QUIT),
        (END, Move.QUIT),
    ],
)
def test_each_key_has_its_move(key: str, move: Move) -> None:
    """Capital letters do the same; a terminal that is gone quits."""
    assert chosen(1, key)[0] == [move]


def test_keys_that_mean_nothing_here_are_ignored() -> None:
    """Before the first step nothing is repeated or gone back over; x and arrows mean nothing."""
    assert chosen(0, "r", "b", "x", "\x1b[A", ENTER)[0] == [Move.NEXT]
    assert chosen(3, "s", ENTER)[0] == [Move.NEXT]


def test_on_a_pace_it_goes_on_by_itself() -> None:
    """Where no key was pressed in time, and the screen tells the time."""
    moves, screen = chosen(1, None, pace=1.5)
    assert moves == [Move.NEXT]
    assert "Enter next, in 1.5 s" in screen


def test_the_screen_tells_what_comes_what_is_expected_and_after_what() -> None:
    """The step, the LDIF of a change, the expected reply, and the change that is its reason."""
    _, before_change = chosen(1, ENTER)
    assert "2  » next     disable" in settled(before_change)
    assert "dn: uid=alice,ou=users,dc=x" in before_change
    assert "tnMailSendAllowed: FALSE" in before_change
    _, after_change = chosen(2, ENTER)
    text = settled(after_change)
    assert "554 5.7.1 at RCPT: refused" in SGR.sub("", after_change)
    assert "step 2, disable alice: send_allowed=FALSE" in text


@pytest.mark.parametrize("behind", [0, 1, 2, 3])
def test_the_keys_are_told_and_no_line_is_wider_than_80_columns(behind: int) -> None:
    """Those that work here, and no others."""
    _, screen = chosen(behind, "w", ENTER)
    prompts = [line for line in SGR.sub("", screen).split("\n") if "q quit" in line]
    assert "w wire off" in prompts[0]
    assert "w wire on" in prompts[-1]
    assert ("r repeat" in prompts[0], "b back" in prompts[0]) == (behind > 0, behind > 0)
    assert ("s skip" in prompts[0]) == (behind < 3)
    parts = [part for line in SGR.sub("", screen).split("\n") for part in line.split("\r\x1b[2K")]
    assert max(cell_len(part) for part in parts) <= 80


def test_nothing_is_dim_on_a_projector() -> None:
    """With `big` no text has the terminal's faint style."""
    dim, big = Tty(), Tty()
    for stream, flag in ((dim, False), (big, True)):
        ink = Terminal(stream, width=80, big=flag).ink
        ink.title("A title", "about")
        ink.detail("label", "text", "->", " -> ")
    assert "\x1b[2m" in dim.getvalue()
    assert "\x1b[2m" not in big.getvalue()


def test_plain_text_on_a_terminal_breaks_lines_between_words() -> None:
    """Without colour, too, no word is torn at the edge of the screen."""
    screen = Tty()
    ink = Terminal(screen, colour=False, width=40).ink
    ink.detail("what", "words that are more than one line of forty", note="a note")
    rows = screen.getvalue().splitlines()
    assert max(map(len, rows)) <= 40
    assert " ".join(" ".join(rows).split()) == (
        "what words that are more than one line of forty # a note"
    )


def test_a_recording_is_asciicast_v2_and_holds_what_was_shown(tmp_path: Path) -> None:
    """A header, then events in order of time, together what the terminal got."""
    path, stream = tmp_path / "x.cast", io.StringIO()
    times = iter((10.0, 10.5, 12.0))
    with Recording(path, stream, "A title", clock=lambda: next(times)) as recording:
        recording.write("one\n")
        print("zwei → 2", end="")  # noqa: T201
        assert recording.isatty() is False
    header, *events = [json.loads(line) for line in path.read_text().splitlines()]
    assert header["version"] == 2
    assert {"width", "height", "timestamp", "title", "env"} <= set(header)
    assert events == [[0.5, "o", "one\r\n"], [2.0, "o", "zwei → 2"]]
    assert stream.getvalue() == "one\nzwei → 2"


def test_a_recording_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    """Exit code 2, and the name of the file."""
    with pytest.raises(UsageError, match=r"nowhere/x\.cast cannot be written"):
        Recording(tmp_path / "nowhere" / "x.cast", io.StringIO(), "t")


def test_toggling_the_wire_on_shows_the_last_steps() -> None:
    """Whoever turned it off too early need not repeat the step."""
    screen = io.StringIO()
    terminal = Terminal(screen)
    for event in PASSED[:-1]:
        terminal(event)
    before = screen.getvalue()
    terminal.toggle_wire()
    assert terminal.wire_shown
    assert "RCPT" in screen.getvalue().removeprefix(before)
