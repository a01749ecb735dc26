"""What is broken on purpose is written down before it is, and found when its process is gone."""

import subprocess
import sys
from pathlib import Path

import pytest

from labctl.cli import run
from labctl.lab.broken import Broken, forget_left, left

KILLED = """
import os, sys
from pathlib import Path
from labctl.lab.broken import Broken
broken = Broken(Path(sys.argv[1]))
broken.note("openldap", "cut")
broken.note("dovecot", "full")
broken.note("dovecot", "pause")
broken.forget("openldap")
os.kill(os.getpid(), 9)
"""


def killed(directory: Path) -> None:
    """Let a process be killed that has left Dovecot broken in two ways."""
    subprocess.run([sys.executable, "-c", KILLED, str(directory)], check=False)


def test_what_a_killed_process_left_is_found_until_it_is_forgotten(tmp_path: Path) -> None:
    """Each service in each way, and nothing that was mended before."""
    killed(tmp_path)
    assert left(tmp_path) == {"dovecot": ["full", "pause"]}
    forget_left(tmp_path)
    assert left(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_breaks_is_its_own_business(tmp_path: Path) -> None:
    """Its note is not found by others, and is gone when it has mended all."""
    broken = Broken(tmp_path)
    broken.note("openldap", "stop")
    broken.note("postfix", "full")
    assert left(tmp_path) == {}
    forget_left(tmp_path)
    broken.forget("openldap")
    assert len(list(tmp_path.iterdir())) == 1
    broken.forget("postfix")
    assert list(tmp_path.iterdir()) == []


def test_one_fault_of_several_is_forgotten_alone(tmp_path: Path) -> None:
    """A fault that this host cannot make leaves the others of the service known."""
    broken = Broken(tmp_path)
    broken.note("dovecot", "full")
    broken.note("dovecot", "slow")
    broken.forget("dovecot", "slow")
    assert broken.kinds("dovecot") == ["full"]
    broken.forget("dovecot")


def test_a_note_that_is_cut_off_tells_what_stood_there_before(tmp_path: Path) -> None:
    """A line that is not whole tells of a fault that did not happen yet."""
    killed(tmp_path)
    [note] = tmp_path.iterdir()
    with note.open("a") as file:
        file.write('{"dovecot": ["full", "pause"], "post')
    assert left(tmp_path) == {"dovecot": ["full", "pause"]}


@pytest.mark.parametrize(
    "line",
    [b"\0\0", b"\xff\xfe", b"[]", b"3", b'{"dovecot": 3}', b'{"dovecot": "stop"}', b"[" * 9999],
)
def test_a_line_that_is_no_note_tells_of_nothing(tmp_path: Path, line: bytes) -> None:
    """Whatever stands in the file: commands go on, and what was readable before it counts."""
    killed(tmp_path)
    [note] = tmp_path.iterdir()
    with note.open("ab") as file:
        file.write(line + b"\n")
    assert left(tmp_path) == {"dovecot": ["full", "pause"]}
    note.write_bytes(line)
    assert left(tmp_path) == {}


@pytest.mark.parametrize("name", ["default", "blue"])
def test_each_command_says_what_is_broken_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """On stderr, with the command that mends it; without anything broken nothing is said."""
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    assert run(["-n", name, "scenarios"]) == 0
    assert capsys.readouterr().err == ""
    killed(tmp_path / "labs" / name / "broken")
    assert run(["-n", name, "scenarios"]) == 0
    said = capsys.readouterr().err
    command = "labctl heal" if name == "default" else f"labctl -n {name} heal"
    assert said.startswith("Warning: dovecot is broken (full, pause)")
    assert f"`{command}`" in said
