"""Breaking a lab on purpose turns a scenario red, and what is broken is a lab of its own."""

import json
import signal
from pathlib import Path

import pytest
from conftest import LiveLab, environment

from labctl.prove.catalogue import MUTATIONS


@pytest.fixture
def prover(state: Path) -> LiveLab:
    """Return a lab that does not exist yet, in a slot of its own."""
    return LiveLab("prover", environment(state, 13))


def test_every_mutation_is_noticed(prover: LiveLab) -> None:
    """None survives, on either profile; for each it is told what noticed, and the lab is gone."""
    report = json.loads(prover.run("prove", "-o", "json"))
    assert [row["mutation"] for row in report["mutations"] if row["survived"]] == []
    assert {row["mutation"] for row in report["mutations"]} == {each.name for each in MUTATIONS}
    assert all(row["line"] and row["seen"] for row in report["mutations"])
    assert prover.ran("status").code == 3


def test_a_lab_that_exists_is_not_broken(lab: LiveLab) -> None:
    """Somebody's lab is refused with exit code 2, and goes on."""
    done = lab.ran("prove", "signing in is off")
    assert done.code == 2
    assert "would be changed" in done.err
    lab.run("send", "--from", "alice", "--to", "bob")


def test_mutations_are_listed_without_a_lab(prover: LiveLab) -> None:
    """The list names each with its profile, and touches nothing."""
    listed = prover.json("prove", "--list")["mutations"]
    assert len(listed) == len(MUTATIONS)
    assert prover.ran("prove", "no such mutation").code == 2


def test_an_interrupt_ends_it_and_leaves_nothing(prover: LiveLab) -> None:
    """In the middle of a scenario: no verdict is made of that, and the lab is gone."""
    process = prover.start("prove", "null sender")
    said = ""
    for line in process.stderr or ():
        said += line
        if "before anything is broken" in line:
            process.send_signal(signal.SIGINT)
            break
    out, more = process.communicate(timeout=120)
    assert process.returncode == 130, said + more
    assert "SURVIVED" not in out + said + more
    assert prover.ran("status").code == 3
