"""The scripts behind the Makefile say what is missing, and never pass without an engine."""

import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.bench.result import read

ROOT = Path(__file__).resolve().parents[2]
RESULTS_OF_FOOTPRINT = ROOT / "benchmarks" / "results" / "footprint.json"
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


@pytest.fixture
def performance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return scripts/performance.py with nothing to measure, and a page and results of its own."""
    script = runpy.run_path(str(ROOT / "scripts" / "performance.py"))
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n{script['BEGIN']}{script['END']}")
    within = script["main"].__globals__  # where its functions look
    places = {"PAGE": page, "RESULTS": tmp_path, "TOGETHER": tmp_path / "together.json"}
    within |= places | {"take": lambda *_, **__: True, "PLOTS": tmp_path}
    shutil.copy(RESULTS_OF_FOOTPRINT, tmp_path)
    monkeypatch.setattr(sys, "argv", ["performance.py"])
    return within


def clock(seconds: float) -> SimpleNamespace:
    """Return a clock on which so much time passes between two looks."""
    told = iter((1000.0, 1000.0 + seconds))
    return SimpleNamespace(monotonic=lambda: next(told), strftime=time.strftime, gmtime=time.gmtime)


@pytest.mark.parametrize(("seconds", "verdict"), [(600.0, "holds"), (600.5, "MISSED")])
def test_all_measurements_together_must_not_take_longer_than_ten_minutes(
    performance: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    verdict: str,
) -> None:
    """It is told, kept, and on the page; longer is as bad as a limit that is missed."""
    performance["time"] = clock(seconds)
    with pytest.raises(SystemExit) as ended:
        performance["main"]()
    told = f"all in their short form took {seconds:.0f} s (≤ 600 s: {verdict})"
    assert ended.value.code == (verdict == "MISSED")
    said = capsys.readouterr().err
    assert said.endswith(f"missed: {told}\n" if verdict == "MISSED" else f"\n{told}\n")
    assert json.loads(performance["TOGETHER"].read_text())["seconds"] == seconds
    assert f": {told}.\n" in performance["PAGE"].read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["footprint"], ["--full"], ["--keep"]])
def test_some_or_full_measurements_may_take_as_long_as_they_take(
    performance: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    """Nothing is said of the time, and nothing kept."""
    performance["time"] = clock(9999)
    monkeypatch.setattr(sys, "argv", ["performance.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        performance["main"]()
    assert not ended.value.code
    assert "took" not in capsys.readouterr().err
    assert not performance["TOGETHER"].exists()


def test_what_all_took_is_not_kept_if_one_could_not_be_taken(performance: dict[str, Any]) -> None:
    """It would say little; the run fails as it is."""
    performance["take"] = lambda name, **_: name != "scale"
    with pytest.raises(SystemExit) as ended:
        performance["main"]()
    assert ended.value.code == 1
    assert not performance["TOGETHER"].exists()


def test_the_page_says_that_other_files_than_the_commits_were_measured(
    performance: dict[str, Any],
) -> None:
    """And which servers, where the result knows them."""
    kept = read(RESULTS_OF_FOOTPRINT)
    for commit, told in (
        ("0" * 40, "commit 0000000."),
        (f"{'0' * 40}-dirty", "commit 0000000-dirty."),
        ("unknown: this is no git checkout", "commit unknown."),
    ):
        versions = {"labctl's commit": commit, "slapd": "2.5.13", "python": "3.11"}
        page = performance["section"](replace(kept, versions=versions))
        assert f"; python 3.11, slapd 2.5.13, {told}\n" in page
