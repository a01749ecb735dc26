"""Many labs side by side: what is told of those that were measured, and whom each must reach."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.bench.figure import Figure
from labctl.bench.measurements import labs
from labctl.bench.measurements.labs import Place, Side, opened
from labctl.bench.usage import available
from labctl.errors import LabNotReady

OWN = Place(("10.0.0.2/389", "10.0.0.3/25"), "10.0.0.1", (2025, 2587))
OTHER = Place(("10.0.1.2/389", "10.0.1.3/25"), "10.0.1.1", (3025, 3587))


def lab(*found: str) -> Any:
    """Return a lab from which these doors open, and that notes where it knocked."""
    knocked: list[str] = []

    def execute(_: str, command: list[str]) -> str:
        knocked.extend(command[3:])
        return "\n".join(door for door in found if door in command)

    return SimpleNamespace(name="one", containers=SimpleNamespace(execute=execute), knocked=knocked)


def test_every_door_and_every_published_port_of_another_lab_is_knocked_at() -> None:
    """The ports at this host as the lab that knocks sees it; what opens is told."""
    through = "10.0.0.1/3587"
    knocking = lab(*OWN.servers, through)
    assert opened(knocking, OWN, [OTHER]) == [through]
    expected = {*OWN.servers, *OTHER.servers, "10.0.0.1/3025", through}
    assert set(knocking.knocked) == expected
    assert opened(lab(*OWN.servers), OWN, [OTHER]) == []


def test_a_lab_that_does_not_reach_each_of_its_own_servers_tells_nothing_of_others() -> None:
    """Those that it does not reach are named."""
    with pytest.raises(LabNotReady, match=r"does not reach its own 10\.0\.0\.3/25$"):
        opened(lab("10.0.0.2/389"), OWN, [OTHER])


def figures(*sides: Side) -> dict[str, Figure]:
    """Return the figures of what was measured, by name."""
    return {each.name: each for each in labs._figures(sides) if isinstance(each, Figure)}


def test_a_lab_that_is_slower_than_the_others_does_not_hide_among_them() -> None:
    """Its own median is a figure, against the first lab alone; of one lab there is none."""
    alone = Side(1, [2.0], idle=[38.0], decisions=[[10.0, 10.0, 10.0]])
    three = Side(3, [2.0, 2.0], idle=[38.0], decisions=[[10.0] * 3, [90.0, 95.0, 10.0], [10.0] * 3])
    found = figures(alone, three)
    assert found["decision at RCPT while the others send, 3 labs"].value == 10
    slowest = found["decision at RCPT in the slowest lab, 3 labs"]
    assert (slowest.value, slowest.n, slowest.ratio, slowest.limit) == (90, 3, 9, None)
    assert "decision at RCPT in the slowest lab, 1 lab" not in found


def test_what_this_host_pays_is_told_for_each_lab() -> None:
    """Where it was measured, with no limit."""
    one = Side(1, [2.0], idle=[38.0], decisions=[[10.0]])
    two = Side(2, [2.0], idle=[38.0], decisions=[[10.0], [10.0]], host=130.0)
    found = figures(one, two)
    host = found["memory of this host for each, 2 labs"]
    assert (host.value, host.unit, host.n, host.holds) == (65, "MB", 2, None)
    assert "memory of this host for each, 1 lab" not in found


def test_the_memory_that_is_available_is_read_where_the_kernel_tells_it(tmp_path: Path) -> None:
    """In MB; None from a kernel without that line, or a system without that file."""
    file = tmp_path / "meminfo"
    assert available(file) is None
    file.write_text("MemTotal:  2000000 kB\n")
    assert available(file) is None
    file.write_text("MemTotal:  2000000 kB\nMemAvailable:   1000000 kB\n")
    assert available(file) == pytest.approx(1024)
