"""How far replicas are behind, from what each directory says of its newest change."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import DeadlinePassed, LabNotReady, UsageError
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.lab.project import Project
from labctl.lab.replicas import REPLICAS, Ask, Lag, await_copies, lags
from labctl.lab.state import LabFiles, LabRecord
from labctl.settings import load_settings


def answering(newest: Mapping[str, float]) -> Ask:
    """Return who answers for directories with their newest changes; those left out are away."""

    def ask(service: str, command: Sequence[str]) -> str:
        assert command == ["newest-change"]
        if service not in newest:
            raise LabNotReady(f"{service} does not run")
        return f"{newest[service]:.6f}\n"

    return ask


def test_the_lag_is_the_difference_and_never_negative() -> None:
    """A replica that has more than the provider had when it was asked is not behind."""
    now = time.time()
    ask = answering({"openldap": now, "replica1": now - 7.5, "replica2": now + 0.5})
    first, second = lags(ask, REPLICAS)
    assert first.seconds == pytest.approx(7.5)
    assert first.age is not None
    assert first.age >= 7.5
    assert second.seconds == 0.0
    assert str(first) == "7.5 s"


def test_what_cannot_be_known_is_not_told_as_a_number() -> None:
    """Without the provider a replica has an age alone; one that is away has neither."""
    first, second = lags(answering({"replica1": time.time() - 60}), REPLICAS)
    assert first.seconds is None
    assert str(first).startswith("unknown, as of 60.")
    assert second == Lag("replica2", None, None)
    assert str(second) == "unknown"


def test_without_replicas_nobody_is_asked() -> None:
    """The default lab pays nothing for it."""
    assert lags(answering({}), ()) == []


def running(*services: str) -> Callable[[str], bool]:
    """Return who knows that these run."""
    return lambda service: service in services


def test_waiting_for_replicas_ends_when_they_have_it_or_tells_who_has_not() -> None:
    """The deadline is told with the name; a replica that does not run answers nobody, stale or not,
    and one that runs and only does not answer in time may do so a moment later.
    """
    both, first = running(*REPLICAS), running("replica1")
    there = {"openldap": 5.0, "replica1": 5.0}
    await_copies(answering({**there, "replica2": 6.0}), both, REPLICAS, 0.0)
    await_copies(answering(there), first, REPLICAS, 0.0)
    for late in ({**there, "replica2": 4.0}, there):
        with pytest.raises(DeadlinePassed, match="replica2 to follow"):
            await_copies(answering(late), both, REPLICAS, 0.02)
    with pytest.raises(LabNotReady, match="openldap does not run"):
        await_copies(answering({"replica1": 5.0, "replica2": 5.0}), both, REPLICAS, 0.0)


class Stopped(LabContainers):
    """A lab of which these servers run, and whose replicas are on no network."""

    def __init__(self, *services: str) -> None:
        super().__init__(Engine(), "lab", replicas=REPLICAS)
        self.running = services

    def runs(self, service: str) -> bool:
        """Say whether it is one of those."""
        return service in self.running

    def inspected(self, service: str) -> Mapping[str, Any]:
        """Return what the engine says of one that was cut off, and of one that is being so."""
        there: dict[str, Any] = {"lab_lab": {"IPAddress": ""}} if service == "replica2" else {}
        return {"NetworkSettings": {"Networks": there}}


@pytest.mark.parametrize("replica", REPLICAS)
def test_a_replica_that_cannot_be_kept_behind_is_told_so(replica: str) -> None:
    """After `cut` it has no address, and no network; without a provider it hears nobody anyway."""
    with pytest.raises(LabNotReady, match=f"{replica} is not on the lab's network"):
        Stopped("openldap").to_inflict(replica, "behind")
    with pytest.raises(LabNotReady, match="openldap does not run"):
        Stopped().to_inflict(replica, "behind")


@pytest.mark.parametrize("value", ["2", "3601", "5s", "-5", "none"])
def test_a_limit_that_cannot_be_kept_is_refused(tmp_path: Path, value: str) -> None:
    """Below three seconds a replica that follows would be taken for one that does not."""
    with pytest.raises(UsageError, match="LAB_MAX_LAG_SECONDS"):
        load_settings(tmp_path, {"LAB_MAX_LAG_SECONDS": value})


def test_a_limit_opens_no_lab(tmp_path: Path) -> None:
    """What is hidden is a yes on `baseline`; without replicas, or a limit, nothing is hidden."""
    limited = load_settings(tmp_path, {"LAB_MAX_LAG_SECONDS": "5"})
    with pytest.raises(UsageError, match="baseline"):
        LabRecord(0, "baseline", "replicated").bounded(limited)
    assert LabRecord(0, "hardened", "replicated").bounded(limited).max_lag == 5
    assert LabRecord(0, "baseline").bounded(limited).max_lag is None
    unlimited = load_settings(tmp_path, {})
    assert LabRecord(0, "baseline", "replicated", 5).bounded(unlimited).max_lag is None


def test_a_limit_stays_with_the_lab(tmp_path: Path) -> None:
    """What `up` was told holds for the servers whatever the variable says to a later command."""
    there = load_settings(tmp_path, {"LAB_MAX_LAG_SECONDS": "7"})
    files = LabFiles.of(there, "default")
    files.create()
    files.write_record(LabRecord(0, "hardened", "replicated", 5))
    Project(there, files, files.require(), Engine()).write_env({})
    assert "LAB_MAX_LAG_SECONDS=5\n" in files.compose_env.read_text()


def test_a_lab_of_before_is_single() -> None:
    """A record without the word has four servers and no replicas."""
    assert LabRecord(slot=0, policy="hardened").replicas == ()
    assert LabRecord(0, "hardened", "replicated").servers[-2:] == REPLICAS
