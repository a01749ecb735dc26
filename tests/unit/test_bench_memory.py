"""What is run very many times, as far as it needs no lab."""

from collections import Counter
from pathlib import Path

from labctl.bench.measurements.memory import MEMORY, scenario
from labctl.endpoints import Attributes
from labctl.scenario.loader import load


def test_a_run_has_a_thousand_steps_and_walks_through_all_services(tmp_path: Path) -> None:
    """What is sent is accepted and refused, and looked for by IMAP; the attribute is the lab's."""
    path = tmp_path / "long.yaml"
    path.write_text(scenario(Attributes(send_allowed="maySend")), encoding="utf-8")
    steps = load(path).steps
    verbs = Counter(step.verb for step in steps)
    assert len(steps) == 1000
    assert verbs["send"] == 15
    assert verbs["receive"] == verbs["authenticate"] == verbs["directory"] == 5
    assert verbs["disable"] + verbs["offboard"] == verbs["enable"]
    assert "sees: [maySend]" in path.read_text(encoding="utf-8")


def test_the_least_of_steps_has_a_first_mark_and_another() -> None:
    """Else the memory after the first run would be held against itself."""
    (steps,) = (each for each in MEMORY.options if each.name == "steps")
    assert steps.least == 2 * 1000
