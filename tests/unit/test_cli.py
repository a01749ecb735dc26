"""The command line: help everywhere, clear errors, documented exit codes, stdout for data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
USER = ("list", "show", "set", "disable", "enable", "offboard", "kick", "add", "remove")


def labctl(*arguments: str, state: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run labctl in a process of its own, with a state directory of the test's own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "LABCTL_"))}
    return subprocess.run(
        [sys.executable, "-m", "labctl", *arguments],
        env={**kept, "LAB_STATE_DIR": str(state), **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_is_in_the_help(tmp_path: Path) -> None:
    """`labctl --help` lists each command with a line about it, and the exit codes."""
    done = labctl("--help", state=tmp_path)
    listed = done.stdout.partition("Commands:")[2].split("\n")
    assert {line.split()[0] for line in listed if len(line.split()) > 2} == set(COMMANDS)
    assert "130 interrupted" in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", [*COMMANDS, *(f"user {verb}" for verb in USER)])
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    """--help of each command says what it does, exit code 0."""
    done = labctl(*command.split(), "--help", state=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.split("\n\n")[1].strip()) > 20


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["frobnicate"], 2, "No such command"),
        (["up", "--policy", "lenient"], 2, "hardened"),
        (["-n", "../x", "status"], 2, "cannot name a lab"),
        (["scenario"], 2, "Missing argument"),
        (["scenario", "ofboarding"], 2, "Did you mean 'offboarding'?"),
        (["scenario", "offboarding"], 3, "labctl up"),
        (["scenario", "missing.yaml"], 6, "missing.yaml:1:1: cannot be read"),
        (["check", "tests/unit/cases/typo-in-a-key.yaml"], 6, "did you mean 'from'?"),
        (["report", "last"], 2, "no run yet"),
        (["report", "nothing"], 2, "no transcript"),
        (["user", "set", "alice"], 2, "nothing to set"),
        (["user", "show", "alice"], 3, "labctl up"),
        (["send", "--from", "alice", "--to", "bob"], 3, "labctl up"),
        (["send", "--from", "alice"], 2, "--to"),
        (["inbox", "alice", "--count", "0"], 2, "--count"),
        (["explain", "alice"], 3, "labctl up"),
        (["explain", "alice", "--port", "26"], 2, "--port"),
        (["explain", "alice", "--to", ""], 2, "cannot be empty"),
        (["shadow"], 3, "labctl up"),
        (["shadow", "--on"], 3, "labctl up"),
        (["shadow", "on"], 2, "unexpected extra argument"),
        (["endpoints"], 3, "labctl up"),
        (["status"], 3, "labctl up"),
        (["reset"], 3, "labctl up"),
        (["logs"], 3, "labctl up"),
        (["inbox", "alice", "--endpoints", "README.md"], 2, "no endpoints file"),
        (["completion", "tcsh"], 2, "tcsh"),
    ],
)
def test_what_is_wrong_is_said_on_stderr_with_the_documented_code(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    """Each mistake has its exit code and its words, on stderr; stdout stays empty."""
    done = labctl(*arguments, state=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["scenarios", "version"])
@pytest.mark.parametrize("output", ["json", "yaml", "table"])
def test_reading_commands_print_data_and_nothing_else(
    tmp_path: Path, command: str, output: str
) -> None:
    """JSON is one object with the schema, YAML the same, the table plain text without escapes."""
    done = labctl(command, "-o", output, state=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    if output == "json":
        assert json.loads(done.stdout)["schema"] == "labctl/v1"
    elif output == "yaml":
        assert "schema: labctl/v1" in done.stdout
    assert "\x1b" not in done.stdout


def test_options_come_from_the_environment_too(tmp_path: Path) -> None:
    """LABCTL_* mirrors each option; a flag is stronger."""
    by_env = labctl("scenarios", state=tmp_path, LABCTL_SCENARIOS_OUTPUT="json")
    assert json.loads(by_env.stdout)["scenarios"]
    flag = labctl("scenarios", "-o", "table", state=tmp_path, LABCTL_SCENARIOS_OUTPUT="json")
    assert flag.stdout.startswith("NAME")
    named = labctl("status", state=tmp_path, LABCTL_NAME="blue")
    assert "labctl -n blue up" in named.stderr


def test_a_setting_that_cannot_be_used_is_a_usage_error(tmp_path: Path) -> None:
    """The variable is named, exit code 2."""
    done = labctl("status", state=tmp_path, LAB_SLOT="99")
    assert done.returncode == 2
    assert "LAB_SLOT='99'" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(tmp_path: Path, shell: str) -> None:
    """Each shell gets a script that asks labctl."""
    assert "_LABCTL_COMPLETE" in labctl("completion", shell, state=tmp_path).stdout


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    """What the script asks is answered with the commands that begin so."""
    env = {"_LABCTL_COMPLETE": "bash_complete", "COMP_WORDS": "labctl sce", "COMP_CWORD": "1"}
    assert "scenario" in labctl(state=tmp_path, **env).stdout
