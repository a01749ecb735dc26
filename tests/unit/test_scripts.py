"""The scripts behind the Makefile say what is missing, and never pass without an engine."""

import os
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "env", "dirname", "sed", "tail", "id", "seq", "sleep", "cat", "sha256sum", "cut")


@pytest.fixture
def no_docker(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose PATH has ordinary tools, and no docker and no apt-get."""
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tmp_path / tool).symlink_to(found)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "DOCKER_"))}
    return {**kept, "PATH": str(tmp_path), "LAB_ENGINE_LOG": str(tmp_path / "log")}


def script(name: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts."""
    return subprocess.run(
        [ROOT / "scripts" / name], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"LAB_NO_INSTALL": "1"}, "LAB_NO_INSTALL=1 forbids"),
        ({"DOCKER_HOST": "unix:///nowhere.sock"}, "DOCKER_HOST=unix:///nowhere.sock is set"),
    ],
)
@pytest.mark.parametrize("name", ["engine", "test"])
def test_without_an_engine_nothing_passes_or_is_skipped(
    no_docker: dict[str, str], name: str, setting: dict[str, str], said: str
) -> None:
    """Where no engine can be had, setting up and the whole suite end with 4 and say what to do."""
    done = script(name, {**no_docker, **setting})
    assert done.returncode == 4
    assert said in done.stderr
    assert "Install Docker Engine" in done.stderr


def test_a_python_that_is_too_old_is_named(no_docker: dict[str, str], tmp_path: Path) -> None:
    """Setting up with a Python that cannot run labctl ends with 4 and names the way out."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = script("setup", {**no_docker, "PYTHON": str(old), "LAB_SETUP_FRESH": "1"})
    assert done.returncode == 4
    assert "is not Python 3.11" in done.stderr


@pytest.mark.parametrize("ended", [2, 4])
def test_a_measurement_that_cannot_be_taken_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ended: int
) -> None:
    """It is named, and what was kept of it stays; an interrupt ends all."""
    script = runpy.run_path(str(ROOT / "scripts" / "performance.py"))
    kept = (ROOT / "benchmarks" / "results" / "scale.json").read_bytes()
    done = subprocess.CompletedProcess([], ended, b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert not script["take"]("scale", full=False)
    assert "not taken: scale" in capsys.readouterr().err
    assert (ROOT / "benchmarks" / "results" / "scale.json").read_bytes() == kept
    done.returncode = 130
    with pytest.raises(SystemExit, match="130"):
        script["take"]("scale", full=False)


def test_the_page_of_measurements_shows_what_is_kept() -> None:
    """`scripts/performance.py --keep` would change nothing in docs/performance.md."""
    script = runpy.run_path(str(ROOT / "scripts" / "performance.py"))
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert script["written"](page, list(script["kept"]())) == page
