"""How long a lab takes to come up, to be reset and to go down, against bare containers.

Before each reset, and outside of its time, mail is delivered and somebody blocked; after it both
are seen to be gone.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median

from labctl.bench.asking import send, signed_in
from labctl.bench.command import labctl, ran
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.errors import ExpectationFailed
from labctl.lab.images import SERVICES, image_of
from labctl.lab.lab import Lab
from labctl.protocols.entry import DISABLE
from labctl.protocols.poll import poll

_UP, _RESET, _DOWN = 2.0, 2.0, 3.0  # seconds, on two cores
_OF_COMPOSE = 1.25
_BARE = len(SERVICES)  # containers that do nothing, as many as a lab has
_MAIL = 20  # messages that a reset has to remove
_DELIVERED = 60.0  # seconds, for them to be
_UP_PHASES = (
    "labctl's own start",
    "Compose creates it",
    "the engine starts it",
    "until it answers",
)
_RESET_PHASES = ("until it answers", "until it answers again")
_DOWN_PHASES = ("until it is told to end", "until it has ended", "until it is removed")
_ENDING = ("kill", "die", "destroy")  # what the engine says at the end of these
_FILES = "find /home/*/Maildir/new /home/*/Maildir/cur -type f | wc -l"

Phases = dict[str, tuple[float, ...]]
"""Of each service the seconds of some phases."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Where the time went, once for each time that it was looked at."""

    up: list[Phases] = field(default_factory=list)
    reset: list[Phases] = field(default_factory=list)
    down: list[Phases] = field(default_factory=list)


def _measure(bench: Bench) -> Yielded:
    taken: dict[str, list[float]] = {}
    looks = Looks()
    rounds = bench.size["rounds"]
    with bench.lab() as lab:
        steps = _steps(lab, looks)
        bench.progress.step("up, reset and down, and bare containers, in turn")
        for number in range(rounds):
            for place, (name, action) in enumerate(steps):
                bench.progress.count(number * len(steps) + place, rounds * len(steps))
                taken.setdefault(name, []).append(action())
        builds = [_build(bench, lab) for _ in range(bench.size["builds"])]
    yield from _figures(taken)
    if builds:
        yield Figure.of("cold build of the images, the base image being there", builds, "s")
    for name, command, names, phases in (
        ("start-reset", "reset", _RESET_PHASES, looks.reset),
        ("start-down", "down", _DOWN_PHASES, looks.down),
        ("start", "up", _UP_PHASES, looks.up),
    ):
        title = f"Where the time of `labctl {command}` goes, by service"
        yield _chart(name, title, names, phases)


def _steps(lab: Lab, looks: Looks) -> list[tuple[str, Callable[[], float]]]:
    """Return what is timed, in the order of a round, which begins with a lab that is up."""
    return [
        ("restart", lambda: _compose(lab, "restart")),
        ("up of a running lab", lambda: labctl(lab, "up").seconds),
        ("reset", lambda: _reset(lab, looks.reset)),
        ("down", lambda: labctl(lab, "down").seconds),
        ("bare containers", lambda: _bare(lab)),
        ("compose up", lambda: _compose(lab, "up", "--detach", "--wait")),
        ("down again", lambda: labctl(lab, "down").seconds),
        ("up", lambda: labctl(lab, "up").seconds),
        ("down, looked at", lambda: _down(lab, looks.down)),
        ("up, looked at", lambda: _up(lab, looks.up)),
    ]


def _figures(taken: dict[str, list[float]]) -> Yielded:
    up, reset = taken["up"], taken["reset"]
    yield Figure.of("up", up, "s", limit=_UP)
    yield Figure.against(
        "up, against bare Compose",
        up,
        "s",
        floor=taken["compose up"],
        floor_is="docker compose up --wait",
        limit=_OF_COMPOSE,
    )
    yield Figure.against(
        "up, against bare containers",
        up,
        "s",
        floor=taken["bare containers"],
        floor_is=f"docker run of {_BARE}, side by side",
    )
    yield Figure.of("up of a running lab", taken["up of a running lab"], "s")
    yield Figure.of("reset", reset, "s", limit=_RESET)
    yield Figure.against(
        "reset, against a restart",
        reset,
        "s",
        floor=taken["restart"],
        floor_is="docker compose restart",
    )
    yield Figure.of("down", taken["down"], "s", limit=_DOWN)


def _compose(lab: Lab, *arguments: str) -> float:
    """Return how long a Compose command takes; where it waits, for checks a second apart, which is
    as often as it looks itself.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "COMPOSE_"))}
    return ran(lab.project.command(*arguments), {**kept, "LAB_HEALTH_SECONDS": "1"}).seconds


def _bare(lab: Lab) -> float:
    """Return how long containers take that do nothing, of an image of ours."""
    image = image_of("openldap", lab.settings.root).reference
    names = [f"{lab.project.name}-bare-{secrets.token_hex(3)}" for _ in range(_BARE)]

    def start(name: str) -> None:
        ran(["docker", "run", "--detach", "--name", name, "--entrypoint", "sleep", image, "600"])

    begun = time.perf_counter()
    try:
        with ThreadPoolExecutor(_BARE) as pool:
            list(pool.map(start, names))
        return time.perf_counter() - begun
    finally:
        ran(["docker", "rm", "--force", "--volumes", *names])


class _Heard:
    """Notes when `labctl` turned to Compose, and saw each service answer: first and last."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def line(self, line: str) -> None:
        """Note what a line tells: `0.2 s  starting openldap, …`, `1.1 s  dovecot: … seen`."""
        what = line.partition(" s  ")[2].partition(" ")[0].removesuffix(":")
        if what in {"starting", *SERVICES}:
            self.last[what] = time.time()
            self.seen.setdefault(what, self.last[what])


def _reset(lab: Lab, phases: list[Phases]) -> float:
    """Give a reset something to put back, and return how long it takes; it must be put back.

    Postfix and Dovecot answer twice: when they are there, and when what the reset did shows.
    """
    _use(lab)
    heard, begun = _Heard(), time.time()
    done = labctl(lab, "reset", tell=heard.line)
    if _files(lab) or "1 corrected" not in done.output:
        raise ExpectationFailed(f"a reset left {_files(lab)} messages; it said: {done.output}")
    phases.append(
        {
            service: (heard.seen[service] - begun, heard.last[service] - heard.seen[service])
            for service in SERVICES
        }
    )
    return done.seconds


def _use(lab: Lab) -> None:
    """Deliver some mail to Bob, and block Alice, who sent it."""
    endpoints = lab.endpoints()
    alice, bob = (endpoints.account(who) for who in ("alice", "bob"))
    with signed_in(endpoints, alice) as connection:
        for _ in range(_MAIL):
            send(connection, alice, bob)
    poll(lambda: _files(lab) == _MAIL, what=f"{_MAIL} messages", seconds=_DELIVERED)
    with lab.directory() as directory:
        directory.set_policy(directory.dn(alice.name), DISABLE)


def _files(lab: Lab) -> int:
    """Return how many messages there are in all mailboxes."""
    return int(lab.containers.execute("dovecot", ["sh", "-c", _FILES]))


def _down(lab: Lab, phases: list[Phases]) -> float:
    """Take the lab down, and note when each server was told to end, ended, and was removed."""
    services = {lab.containers.container_name(service): service for service in SERVICES}
    begun = time.time()
    seconds = labctl(lab, "down").seconds
    rows: dict[str, list[float]] = {service: [begun] for service in SERVICES}
    asked = {"type": "container", "container": list(services), "event": list(_ENDING)}
    events = lab.engine.client.api.events(
        since=int(begun), until=int(time.time()) + 1, filters=asked, decode=True
    )
    for event in events:
        row, at = rows[services[event["Actor"]["Attributes"]["name"]]], event["timeNano"] / 1e9
        expected = _ENDING[len(row) - 1 : len(row)]
        if at >= begun and (event["Action"],) == expected:
            row.append(at)
    phases.append(
        {
            service: tuple(later - before for before, later in pairwise(row))
            for service, row in rows.items()
        }
    )
    return seconds


def _up(lab: Lab, phases: list[Phases]) -> float:
    """Bring the lab up, and note when each service was created, started, and answered first."""
    heard, begun = _Heard(), time.time()
    seconds = labctl(lab, "up", tell=heard.line).seconds
    rows: Phases = {}
    for service in SERVICES:
        attributes = lab.engine.client.api.inspect_container(lab.containers.container_name(service))
        created, started = _at(attributes["Created"]), _at(attributes["State"]["StartedAt"])
        moments = (begun, heard.seen["starting"], created, started, heard.seen[service])
        rows[service] = tuple(later - before for before, later in pairwise(moments))
    phases.append(rows)
    return seconds


def _at(text: str) -> float:
    """Return a time of the engine's, which has nanoseconds, as seconds since the epoch."""
    return datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00").timestamp()


def _chart(name: str, title: str, names: tuple[str, ...], phases: list[Phases]) -> Chart:
    """Return a chart of the medians of each phase, by service."""
    return Chart(
        name,
        title,
        "s",
        SERVICES,
        {
            phase: tuple(median(row[service][place] for row in phases) for service in SERVICES)
            for place, phase in enumerate(names)
        },
        "stacked",
    )


def _build(bench: Bench, lab: Lab) -> float:
    """Return how long all images take to be built on the base image, which is made before if it is
    not there, with nothing else kept of earlier builds.
    """
    bench.progress.step("building the images on the base image, nothing else kept")
    base = ran([str(lab.settings.root / "images" / "base" / "build")]).output.split()[-1]
    with _tags(lab) as tags:
        return sum(
            ran(
                [
                    *("docker", "build", "--no-cache", "--build-arg", f"BASE={base}"),
                    *("--tag", tag, str(image_of(service, lab.settings.root).context)),
                ]
            ).seconds
            for service, tag in tags.items()
        )


@contextmanager
def _tags(lab: Lab) -> Iterator[dict[str, str]]:
    """Yield a tag for each service, and remove the images that have them at the end."""
    tags = {service: f"{lab.project.name}-cold/{service}" for service in SERVICES}
    try:
        yield tags
    finally:
        for tag in tags.values():
            if lab.engine.client.images.list(name=tag):
                lab.engine.client.images.remove(tag)


START = Measurement(
    "start",
    """Time `up`, `reset` and `down` against bare Compose and bare containers.

    All are taken in turn, on the same files and images, as their users call them; each reset has 20
    messages to remove and an account to put right. A chart shows where the time of `up` goes, by
    service: in labctl before it turns to Compose, until the container is created, until it is
    started, and until the server answers. Others show when a reset sees each server answer, and
    when each server ends and is removed. A cold build keeps nothing of earlier ones but the base
    image.""",
    (
        Option("rounds", "How often each is done.", 10, 3),
        Option("builds", "How often the images are built anew, which takes minutes.", 1, 0, 0),
    ),
    _measure,
)
