"""labctl is killed in the middle of `up`, at moments all over it: the next `up` makes it whole."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import pytest
from conftest import LiveLab, docker_do, environment

MOMENTS = 8
SLOT = 5


@pytest.fixture(scope="module")
def victim(state: Path) -> Iterator[tuple[LiveLab, float]]:
    """A lab that is down, its images built, and how long it took to come up (seconds)."""
    lab = LiveLab("victim", environment(state, SLOT))
    try:
        lab.run("up")
        lab.run("down", "--volumes")
        begun = time.monotonic()
        lab.run("up")
        took = time.monotonic() - begun
        lab.run("down", "--volumes")
        yield lab, took
    finally:
        lab.ran("down", "--volumes")


def left_of(slot: int) -> dict[str, list[str]]:
    """Return what the engine has of the lab in a slot."""
    label = f"label=com.docker.compose.project=mail-policy-lab-{slot}"
    return {
        "containers": docker_do("ps", "-aq", "--filter", label).split(),
        "networks": docker_do("network", "ls", "-q", "--filter", label).split(),
        "volumes": docker_do("volume", "ls", "-q", "--filter", label).split(),
    }


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_up_after_a_killed_up(victim: tuple[LiveLab, float], moment: int, state: Path) -> None:
    """Killed (SIGKILL) at any moment of a first `up`: the next one works at once, every service
    runs once, the story holds, and `down --volumes` leaves nothing.
    """
    lab, took = victim
    slot = int(lab.env["LAB_SLOT"])
    process = lab.start("up")
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=took * moment / MOMENTS)
    process.kill()  # where it was quicker than before there is none to kill, and nothing to mend
    process.communicate()
    lab.run("up")
    assert len(left_of(slot)["containers"]) == len(lab.json("status")["services"]) == 4
    lab.run("scenario", "offboarding")
    lab.run("down", "--volumes")
    assert not any(left_of(slot).values())
    assert not (state / "labs" / lab.name).exists()


def test_a_port_that_the_engine_is_about_to_take_is_waited_for(
    victim: tuple[LiveLab, float],
) -> None:
    """After a killed `up` the engine holds a port before it says that the container runs. Held here
    by the test for so long, for a lab whose containers are there and stopped; and without end.
    """
    lab, _ = victim
    lab.run("up")
    port = lab.json("endpoints")["ldap"]["port"]
    try:
        docker_do("stop", "-t", "5", *left_of(int(lab.env["LAB_SLOT"]))["containers"])
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", port))
            holder.listen()
            done = lab.ran("up")
            assert (done.code, f":{port} for ldap cannot be used" in done.err) == (4, True)
            Timer(2.0, holder.close).start()
            lab.run("up")
    finally:
        lab.run("down", "--volumes")
