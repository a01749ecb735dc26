"""Measurements are of labs of their own, which are gone at the end, and find what they look for."""

import json
import signal
from pathlib import Path

import pytest
from conftest import LiveLab, docker_do, environment


@pytest.fixture
def bench(state: Path) -> LiveLab:
    """Return a lab that does not exist yet, in a slot of its own."""
    return LiveLab("bench", environment(state, 17))


def left_behind() -> str:
    """Return what there is of the lab of a measurement."""
    mine = ("-q", "--filter", "label=mail-policy-lab.name=bench")
    return docker_do("ps", "-a", *mine) + docker_do("volume", "ls", *mine)


def test_a_measurement_prints_its_figures_keeps_them_and_leaves_nothing(
    bench: LiveLab, state: Path
) -> None:
    """What is printed as JSON is what is kept; it exits with 1 exactly if a limit is missed."""
    done = bench.ran("bench", "scenario", "--rounds", "1", "-o", "json")
    data = json.loads(done.out)
    kept = [path.read_text() for path in state.glob("bench/*-scenario.json")]
    assert json.loads(done.out) in [json.loads(text) for text in kept]
    missed = [each["name"] for each in data["figures"] if each["holds"] is False]
    assert done.code == (1 if missed else 0)
    waiting = next(each for each in data["figures"] if "waiting" in each["name"])
    assert 0 < waiting["value"] < data["figures"][0]["value"]
    assert left_behind() == ""


def test_an_interrupt_leaves_nothing(bench: LiveLab) -> None:
    """Ctrl-C ends it with 130; its lab, its volumes and its files are gone."""
    process = bench.start("bench", "scenario", "--rounds", "500")
    for line in process.stderr or ():
        if "same story" in line:
            process.send_signal(signal.SIGINT)
            break
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert left_behind() == ""
    assert bench.ran("status").code == 3


def test_a_lab_that_exists_is_not_measured(lab: LiveLab) -> None:
    """Somebody's lab is refused with exit code 2, and goes on."""
    done = lab.ran("bench", "scenario", "--short")
    assert done.code == 2
    assert "would be changed" in done.err
    lab.run("send", "--from", "alice", "--to", "bob")
