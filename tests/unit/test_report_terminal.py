"""The lines for people: plain on paper, in colour on a terminal, never dangerous."""

import io
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import fields, replace

import pytest
from rich.cells import cell_len
from test_report_sample import (
    AT,
    FURTHER,
    INTERRUPTED,
    LDIF,
    MIXED,
    PASSED,
    POLICY,
    STARTED,
    SWAKS,
    UNKIND,
    said,
    step,
)

from labctl.events import Command, Event, RunEnded, StepStarted, Verdict, Wire
from labctl.report.terminal import Terminal

GOLDEN = """\
Alice leaves the company                                  lab default · policy hardened · run 9f3c1a

  1  ✓ passed   send          alice to bob, Quarterly report          250 2.0.0 at EOM        141 ms
  2  ✓ passed   disable       alice                                                             3 ms
  3  ✓ passed   resend        Quarterly report                        554 5.7.1 at RCPT        38 ms
  2  ↩ undo     disable       alice                                                             2 ms

passed: 3 steps, 2 checks, 0.19 s
"""
SGR = re.compile(r"\x1b\[[0-9;]*m")
REPLACED = re.compile(r"^.*\r\x1b\[2K", re.MULTILINE)


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Say yes."""
        return True


def shown(events: Iterable[Event], **options: int | bool | None) -> str:
    """Return what a Terminal prints for `events`."""
    stream = io.StringIO()
    with Terminal(stream, **options) as emit:  # type: ignore[arg-type]
        for event in events:
            emit(event)
    return stream.getvalue()


def settled(text: str) -> str:
    """Return what stays on a terminal: no colours, and no line that was replaced."""
    return SGR.sub("", REPLACED.sub("", text))


def test_a_run_that_passed_is_one_line_a_step() -> None:
    """The whole plain output of a passed run, character by character."""
    assert shown(PASSED) == GOLDEN


def test_lines_appear_as_the_events_arrive() -> None:
    """A step's line is on the stream once the step is over, not when the run is."""
    stream = io.StringIO()
    emit = Terminal(stream)
    for event in PASSED[:-1]:
        emit(event)
    assert stream.getvalue() == "".join(GOLDEN.splitlines(keepends=True)[:-2])


def test_a_failed_step_says_what_was_expected_seen_and_why() -> None:
    """Beneath a failed step: expected, seen, reason and its wire in swaks' marks."""
    text = shown(MIXED)
    below = text[text.index("✗ failed") :].splitlines()[1:7]
    assert [line.split(None, 1) for line in below[:4]] == [
        ["check", "the reply"],
        ["expected", "554 5.7.1 at RCPT"],
        ["seen", "250 2.1.5 at RCPT"],
        ["reason", "the recipient was accepted"],
    ]
    assert below[4].endswith("submission    -> RCPT TO:<bob@truenorth.local>")
    assert "submission   <** 250 " in below[5]


@pytest.mark.parametrize("colour", [False, True])
def test_a_failed_step_shows_the_policy_and_where_to_look_further(colour: bool) -> None:  # noqa: FBT001
    """After the wire: the policy attributes at that moment, and one command; -v is not needed."""
    text = settled(shown(MIXED, colour=colour, width=80))
    shown_lines = [line.strip() for line in text[text.index("failed   send") :].splitlines()]
    place = shown_lines.index(f"policy       {POLICY.splitlines()[0]}")
    assert shown_lines[place + 1 : place + 4] == [
        *POLICY.splitlines()[1:],
        f"look further {FURTHER}",
    ]


def test_the_wire_beneath_a_failed_step_is_bounded() -> None:
    """Its last twenty lines, and how many there are before; all of them with -vv."""
    wire = [said("->", f"line {number}") for number in range(1, 34)]
    events = [STARTED, *step(1, "send x", wire, Verdict.FAILED)]
    text = shown(events)
    assert "… 13 lines before, shown by -vv\n" in text
    assert [line for line in range(1, 34) if f" line {line}\n" in text] == list(range(14, 34))
    assert shown(events, verbose=2).count("-> line ") == 33
    twenty = [STARTED, *step(1, "send x", wire[:20], Verdict.FAILED)]
    assert "shown by -vv" not in shown(twenty)


def test_every_verdict_is_a_word_and_counts_in_the_last_line() -> None:
    """Colour is never alone: all four verdicts are words, and the last line adds them up."""
    text = shown(MIXED)
    for word in ("✓ passed", "✗ failed", "! error", "skipped", "↩ undo", "undo send"):
        assert word in text
    assert text.splitlines()[-1] == (
        "failed: 6 steps (3 passed, 1 failed, 1 error, 1 skipped), 4 checks, 6.41 s"
    )


def test_a_skipped_step_says_why() -> None:
    """The line after a skipped step is its reason."""
    lines = shown(MIXED).splitlines()
    (place,) = (number for number, line in enumerate(lines) if "skipped  pause" in line)
    assert lines[place + 1].split(None, 1) == ["reason", "needs the lab's containers"]


def test_a_run_says_why_it_failed_if_no_step_did() -> None:
    """A run that checked nothing has steps that passed, so the reason comes before the verdict."""
    ended = RunEnded(Verdict.ERROR, "nothing was checked", 1, 0, 0, 0, 0, 0.1, 1)
    assert shown([STARTED, *step(1, "wait"), ended]).endswith(
        "reason: nothing was checked\nerror: 1 step, 0 checks, 0.10 s\n"
    )


@pytest.mark.parametrize("colour", [False, True])
def test_an_interrupted_run_says_where_it_was(colour: bool) -> None:  # noqa: FBT001  a parameter
    """Without an end the open step and the run are called interrupted, with its wire so far."""
    text = settled(shown(INTERRUPTED, colour=colour))
    assert "! interrupted  resend" in text
    assert "-> RCPT TO:" in text
    assert text.splitlines()[-1] == (
        "interrupted: 3 steps (2 passed, 1 interrupted), 1 check, 0.14 s"
    )


def test_a_step_without_an_end_is_shown_when_the_next_begins() -> None:
    """A step that was cut off, and then undone, is not lost from the lines."""
    cut = [*INTERRUPTED, StepStarted(2, "disable", "alice", AT, undo=True)]
    assert shown(cut).count("interrupted") == 4


def test_two_runs_follow_each_other() -> None:
    """One Terminal shows several runs, a blank line between them."""
    assert shown(PASSED + PASSED) == f"{GOLDEN}\n{GOLDEN}"


def test_verbose_shows_the_commands_and_the_ldif() -> None:
    """`verbose=1` adds how to do the same by hand, and every change, but no wire."""
    text = shown(PASSED, verbose=1)
    assert f"by hand      {SWAKS}\n" in text
    assert all(line in text for line in LDIF.splitlines())
    assert "235 2.7.0" not in text


def test_more_verbose_shows_the_wire_of_every_step() -> None:
    """`verbose=2` adds the wire of steps that passed."""
    assert "submission   <-  235 2.7.0 Authentication successful\n" in shown(PASSED, verbose=2)


def test_plain_text_is_neither_cut_nor_escaped() -> None:
    """On paper a long summary is whole, and there is no control character at all."""
    text = shown(MIXED, verbose=2)
    assert "a subject that goes on for longer than any projector is wide, and more" in text
    assert all(char.isprintable() for char in text.replace("\n", ""))


@pytest.mark.parametrize(
    ("width", "verbose"), [(40, 0), (60, 0), (72, 2), (80, 0), (80, 1), (80, 2), (100, 2), (200, 2)]
)
def test_on_a_terminal_every_line_keeps_within_the_width(width: int, verbose: int) -> None:
    """From 40 columns on nothing sticks out; only words of a command longer than that would."""
    text = settled(shown(MIXED, verbose=verbose, colour=True, width=width))
    longest = max(cell_len(line) for line in text.splitlines())
    assert longest <= width


def test_a_server_cannot_write_to_the_terminal() -> None:
    """In colour too, the only escapes are our own: colours, and replacing the pending line."""
    text = shown(MIXED, verbose=2, colour=True, width=100)
    ours = SGR.sub("", text).replace("\r\x1b[2K", "")
    assert all(char.isprintable() for char in ours.replace("\n", ""))
    assert r"\x1b[2J\x07" in ours


def test_every_text_of_an_event_is_made_visible() -> None:
    """Titles, summaries, reasons and seen texts are as little trusted as the wire."""
    hostile = [
        replace(event, **{f.name: UNKIND for f in fields(event) if f.type in ("str", str)})
        for event in MIXED
    ]
    text = shown(hostile, verbose=2) + SGR.sub("", shown(hostile, verbose=2, colour=True))
    assert all(char.isprintable() for char in text.replace("\r\x1b[2K", "").replace("\n", ""))


def test_a_command_broken_over_lines_still_runs() -> None:
    """Where a command does not fit it goes on after a backslash: copied, it is the same command."""
    text = settled(shown(PASSED, verbose=1, colour=True, width=80))
    block = text[text.index("by hand") :].removeprefix("by hand")
    command = block[: block.index("Quarterly report'") + len("Quarterly report'")]
    said = subprocess.run(
        ["sh", "-c", f"swaks() {{ printf '%s|' \"$@\"; }}; {command}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.endswith("|--header|Subject: Quarterly report|")
    assert command.count("\\\n") > 1


def test_a_command_of_several_lines_can_be_copied() -> None:
    """Piped to the next line, indented and broken between words: pasted, it prints the same."""
    line = (
        """{ echo 'two  blanks'; printf '%s\\n' "It's $((1 + 1))" 'a | b'; } |\ncat - /dev/null"""
    )
    text = settled(
        shown([STARTED, *step(1, "x", [Command(line)])], verbose=1, colour=True, width=60)
    )
    block = text[text.index("by hand") :].removeprefix("by hand").partition("\n\n")[0]
    copied, given = (
        subprocess.run(["bash", "-c", each], capture_output=True, text=True, check=True).stdout
        for each in (block, line)
    )
    assert "\\\n" in block
    assert copied == given == "two  blanks\nIt's 2\na | b\n"


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colour; with NO_COLOR, or TERM=dumb, or to a pipe, no escape is written."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in on(Tty())
    assert "\x1b" not in on(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in on(Tty())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert on(Tty()) == GOLDEN


def on(stream: io.StringIO) -> str:
    """Return what the passed run looks like on `stream`."""
    emit = Terminal(stream)
    for event in PASSED:
        emit(event)
    return stream.getvalue()


def test_a_stream_that_knows_only_ascii_gets_ascii() -> None:
    """Marks have ASCII forms and other text is escaped: a C locale never ends a run."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with Terminal(stream) as emit:
        for event in MIXED:
            emit(event)
    stream.seek(0)
    text = stream.read()
    assert "+ passed" in text
    assert r"\xe9 \u96ea" in text


def test_plain_output_does_not_import_rich() -> None:
    """Start-up counts: a piped run loads neither rich nor what the other views need."""
    code = (
        "import sys, io; from labctl.report.terminal import Terminal;"
        "import labctl.report.html, labctl.report.junit, labctl.report.jsonl;"
        "Terminal(io.StringIO());"
        "sys.exit(bool({'rich', 'jinja2', 'junitparser'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_step_was_doing_is_shown_while_it_runs() -> None:
    """On a terminal the running step is there before it ends, and is replaced when it does."""
    stream = io.StringIO()
    emit = Terminal(stream, colour=True, width=80)
    for event in (STARTED, StepStarted(1, "send", "alice to bob", AT), Wire("a", "->", "b", AT)):
        emit(event)
    assert "… running  send          alice to bob" in SGR.sub("", stream.getvalue())
    assert "running" not in settled(shown(PASSED, colour=True, width=80))
