"""On a stage: a terminal in which a presenter steps through a story, and one that watches."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from conftest import LABCTL, LiveLab

KEYS = "q quit"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Stage:
    """A terminal of 24 lines with 80 columns, in which labctl runs."""

    def __init__(self, lab: LiveLab, *arguments: str) -> None:
        env = {**lab.env, "TERM": "xterm-256color"}
        del env["NO_COLOR"]
        command = ["-n", lab.name, *arguments]
        self.terminal = pexpect.spawn(
            str(LABCTL), command, env=env, dimensions=(24, 80), encoding="utf-8", timeout=60
        )
        self.screen = ""

    def until(self, text: str) -> str:
        """Wait until a text is shown; returns what was shown up to there."""
        self.terminal.expect_exact(text)
        shown = self.terminal.before + self.terminal.after
        self.screen += shown
        return ESCAPES.sub("", shown)

    def press(self, keys: str) -> str:
        """Press keys, each when the keys are told; returns what the last one brought."""
        shown = ""
        for key in keys:
            self.terminal.send(key)
            shown = self.until(KEYS)
        return shown

    def ends(self) -> int:
        """Wait until it ends; returns the exit code."""
        self.terminal.expect(pexpect.EOF)
        self.screen += self.terminal.before
        self.terminal.close()
        return self.terminal.exitstatus


def flag(lab: LiveLab) -> str | None:
    """Return Alice's flag, as the directory has it."""
    return lab.json("user", "show", "alice")["user"]["tnMailSendAllowed"]


def moves(lab: LiveLab) -> list[str]:
    """Return the steps and moves of the newest run: `3 passed`, `undo 3`, `back 3`."""
    told = []
    for line in lab.run("report", "last", "-o", "jsonl").splitlines():
        event = json.loads(line)
        if event["event"] == "step-ended":
            told.append(f"{'undo ' if event['undo'] else ''}{event['number']} {event['verdict']}")
        elif event["event"] == "moved":
            told.append(f"{event['move']} {event['behind']}")
    return told


def test_a_presenter_steps_back_repeats_skips_and_quits(lab: LiveLab) -> None:
    """What is gone back over is undone in the directory; the transcript has it all; exit code 1."""
    stage = Stage(lab, "scenario", "send-disabled", "--step")
    assert "Enter next · s skip · w wire off" in stage.until(KEYS)
    assert "tnMailSendAllowed: FALSE" in stage.press("\r\r")
    shown = stage.press("\r")
    assert "554 5.7.1 at RCPT" in shown
    assert "step 3, disable alice" in shown
    assert flag(lab) == "FALSE"
    stage.press("b")
    assert flag(lab) == "TRUE"
    stage.press("\rr")
    assert flag(lab) == "FALSE"
    shown = stage.press("\r")
    assert "# the directory is asked" in shown
    assert "refused for good" in shown
    stage.press("\r")
    assert flag(lab) == "TRUE"
    stage.press("b")
    assert flag(lab) == "FALSE"  # as the step before had left it, not as the run had found it
    stage.press("s")
    stage.terminal.send("q")
    assert stage.ends() == 1
    assert flag(lab) == "TRUE"
    assert moves(lab)[:15] == [
        "1 passed", "2 passed", "3 passed", "back 3", "undo 3 passed", "3 passed",
        "repeat 3", "undo 3 passed", "3 passed", "4 passed", "5 passed", "back 5",
        "undo 5 passed", "skip 4", "5 skipped",
    ]  # fmt: skip
    assert "not all was checked" in lab.run("report", "last")


def test_a_message_that_is_sent_again_arrives_again(lab: LiveLab) -> None:
    """A repeated step has a message of its own, which is found once; all was checked: exit 0."""
    stage = Stage(lab, "scenario", "delivery", "--step")
    stage.until(KEYS)
    shown = stage.press("\rr")
    while "Enter end" not in shown:
        shown = stage.press("\r")
    stage.terminal.send("\r")
    assert stage.ends() == 0


def test_an_interrupt_between_steps_puts_back(lab: LiveLab) -> None:
    """Ctrl-C at the keys is an interrupt as ever."""
    stage = Stage(lab, "scenario", "send-disabled", "--step")
    stage.until(KEYS)
    stage.press("\r\r\r")
    assert flag(lab) == "FALSE"
    stage.terminal.sendintr()
    assert stage.ends() == 130
    assert flag(lab) == "TRUE"


def test_on_a_pace_the_story_tells_itself_and_is_recorded(lab: LiveLab, tmp_path: Path) -> None:
    """Nobody presses anything; the recording holds exactly what the terminal showed."""
    cast = tmp_path / "story.cast"
    stage = Stage(lab, "scenario", "send-disabled", "--pace", "0.1", "--record", str(cast))
    assert stage.ends() == 0
    header, *events = [json.loads(line) for line in cast.read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert [event[1] for event in events] == ["o"] * len(events)
    assert [event[0] for event in events] == sorted(event[0] for event in events)
    assert "".join(event[2] for event in events) == stage.screen


def test_the_ldif_of_a_dry_run_is_what_a_run_sends(lab: LiveLab) -> None:
    """Word for word, with the lab's own DNs; and the dry run changed nothing and left no run."""
    before = lab.run("report", "last", "-o", "jsonl"), lab.json("user", "list")
    planned = lab.run("scenario", "offboarding", "--dry-run")
    assert (lab.run("report", "last", "-o", "jsonl"), lab.json("user", "list")) == before
    events = lab.verdicts("offboarding", code=0)
    undo = next(n for n, e in enumerate(events) if e.get("undo"))
    changes = [e["ldif"] for e in events[:undo] if e["event"] == "change"]
    assert changes
    margin = f"\n{'':20}"
    for ldif in changes:
        assert f"ldif{'':9}{margin.join(ldif.splitlines())}\n" in planned


def test_a_probing_dry_run_performs_what_only_reads(lab: LiveLab) -> None:
    """Sign-ins are tried, and changes are not."""
    before = lab.json("user", "list")
    said = lab.run("scenario", "offboarding", "--dry-run=probe")
    assert "now          passed: submission 235 2.7.0 at AUTH" in said
    assert lab.json("user", "list") == before


def test_a_probe_that_sees_something_else_is_no_success(lab: LiveLab, tmp_path: Path) -> None:
    """Before the first change what is seen counts; after it, it says nothing about the story."""
    wrong = "  - authenticate: {account: alice, with: [imap], password: wrong}\n"
    change = "  - disable: {account: alice}\n"
    head = "title: t\naccounts: [alice]\nsteps:\n"
    for steps, code in ((wrong + change, 1), (change + wrong, 0)):
        path = tmp_path / "s.yaml"
        path.write_text(head + steps)
        assert "now          failed" in lab.run("scenario", str(path), "--dry-run=probe", code=code)


@pytest.fixture
def watching(lab: LiveLab) -> Callable[[], str]:
    """Start a watch on Alice; returns what reads its next line."""
    process = subprocess.Popen(
        [LABCTL, "-n", lab.name, "watch", "alice"],
        env=lab.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        yield process.stdout.readline  # type: ignore[misc, union-attr]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_a_watch_sees_a_change_and_its_effect(lab: LiveLab, watching: Callable[[], str]) -> None:
    """RCPT follows the entry, sign-in stays, the time between is told; then back again."""
    first = watching()
    assert "RCPT accepted (250 2.1.5)  sign-in accepted (235 2.7.0)" in first
    try:
        lab.run("user", "disable", "alice")
        while "RCPT refused" not in (line := watching()):
            pass
        assert re.search(r"in effect after \d+ ms at most  RCPT refused \(554 5\.7\.1\)", line)
        assert "sign-in accepted" in line
    finally:
        lab.run("user", "enable", "alice")
    while "RCPT accepted" not in (line := watching()):
        pass
    assert "tnMailSendAllowed=TRUE" in line


def test_a_watch_ends_after_its_count_and_changes_nothing(lab: LiveLab) -> None:
    """Exit code 0; what it sees twice is one line; no mail arrives."""
    before = lab.json("user", "list"), lab.json("inbox", "alice")
    assert len(lab.run("watch", "alice", "--count", "2", "--interval", "0.1").splitlines()) == 1
    assert (lab.json("user", "list"), lab.json("inbox", "alice")) == before


def test_the_panes_of_a_watch_stand_side_by_side(lab: LiveLab) -> None:
    """On a terminal: the directory left, the servers right, on one screen of 80 columns."""
    stage = Stage(lab, "watch", "alice", "--count", "1")
    assert stage.ends() == 0
    text = ESCAPES.sub("", stage.screen)
    row = next(line for line in text.splitlines() if "tnMailSendAllowed  TRUE" in line)
    assert "RCPT     ✓ accepted  250 2.1.5" in row
    assert max(map(len, text.splitlines())) <= 80
