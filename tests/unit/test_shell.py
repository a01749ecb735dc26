"""The shell in a container, played by a shell on this host: `docker` is a stand-in on PATH."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labctl.errors import HostProblem, LabNotReady
from labctl.lab.shell import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a shell that the stand-in opens: it drops `exec -i CONTAINER` and runs the rest."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Shell("container")


def test_output_and_exit_code_come_back(shell: Shell) -> None:
    """What a command prints, errors too, and how it ends, one command after the other."""
    assert shell.run(["printf", "%s", "a b\nc"]) == (0, "a b\nc")
    assert shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr\n")
    assert shell.run(["true"]) == (0, "")
    shell.close()


@pytest.mark.parametrize("text", ["$(id)", "`id`", "a; id", "'", '"', "\\", "\n", "*", "-n", "é"])
def test_words_are_never_interpreted(shell: Shell, text: str) -> None:
    """Whatever a word holds, the command gets it as it is."""
    assert shell.run(["printf", "%s", text]) == (0, text)
    shell.close()


def test_a_command_gets_no_input(shell: Shell) -> None:
    """A command that reads finds the end at once, and does not swallow the next command."""
    assert shell.run(["cat"]) == (0, "")
    assert shell.run(["echo", "still here"]) == (0, "still here\n")
    shell.close()


def test_several_threads_may_share_it(shell: Shell) -> None:
    """Each gets its own command's answer."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: shell.run(["echo", str(n)]), range(100)))
    assert answers == [(0, f"{n}\n") for n in range(100)]
    shell.close()


def test_a_shell_that_ends_says_what_it_last_said(shell: Shell) -> None:
    """The container is gone: the reason is the engine's, and the shell is not used again."""
    with pytest.raises(LabNotReady, match="gone"):
        shell.run(["sh", "-c", "echo gone; kill -9 $PPID"])
    assert not shell.alive


def test_no_docker_command_is_a_host_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Docker's command line the message says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostProblem, match="no docker command"):
        Shell("container")
