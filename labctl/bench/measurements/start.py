"""How long a lab takes to come up, to be reset and to go down, against bare containers."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from statistics import median

from labctl.bench.command import labctl, ran
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.lab.images import SERVICES, image_of
from labctl.lab.lab import Lab

_UP, _RESET, _DOWN = 2.0, 2.0, 3.0  # seconds, on two cores
_OF_COMPOSE = 1.25
_BARE = len(SERVICES)  # containers that do nothing, as many as a lab has
_PHASES = ("labctl's own start", "Compose creates it", "the engine starts it", "until it answers")

Phases = dict[str, tuple[float, ...]]
"""Of each service the seconds of these phases."""


def _measure(bench: Bench) -> Yielded:
    taken: dict[str, list[float]] = {}
    phases: list[Phases] = []
    rounds = bench.size["rounds"]
    with bench.lab() as lab:
        steps = _steps(lab, phases)
        bench.progress.step("up, reset and down, and bare containers, in turn")
        for number in range(rounds):
            for place, (name, action) in enumerate(steps):
                bench.progress.count(number * len(steps) + place, rounds * len(steps))
                taken.setdefault(name, []).append(action())
        builds = [_build(bench, lab) for _ in range(bench.size["builds"])]
    yield from _figures(taken)
    if builds:
        yield Figure.of("cold build of the images", builds, "s")
    yield _chart(phases)


def _steps(lab: Lab, phases: list[Phases]) -> list[tuple[str, Callable[[], float]]]:
    """Return what is timed, in the order of a round, which begins with a lab that is up."""
    return [
        ("restart", lambda: _compose(lab, "restart")),
        ("up of a running lab", lambda: labctl(lab, "up").seconds),
        ("reset", lambda: labctl(lab, "reset").seconds),
        ("down", lambda: labctl(lab, "down").seconds),
        ("bare containers", lambda: _bare(lab)),
        ("compose up", lambda: _compose(lab, "up", "--detach", "--wait")),
        ("down again", lambda: labctl(lab, "down").seconds),
        ("up", lambda: labctl(lab, "up").seconds),
        ("down to look closer", lambda: labctl(lab, "down").seconds),
        ("up, looked at", lambda: _look(lab, phases)),
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
    """Notes when `labctl up` turned to Compose, and first saw each service answer."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def line(self, line: str) -> None:
        """Note what a line tells: `0.2 s  starting openldap, …`, `1.1 s  dovecot: … seen`."""
        what = line.partition(" s  ")[2].partition(" ")[0].removesuffix(":")
        if what in {"starting", *SERVICES}:
            self.seen.setdefault(what, time.time())


def _look(lab: Lab, phases: list[Phases]) -> float:
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


def _chart(phases: list[Phases]) -> Chart:
    medians = {
        service: [median(row[service][place] for row in phases) for place in range(len(_PHASES))]
        for service in SERVICES
    }
    return Chart(
        "start",
        "Where the time of `labctl up` goes, by service",
        "s",
        SERVICES,
        {
            phase: tuple(medians[service][place] for service in SERVICES)
            for place, phase in enumerate(_PHASES)
        },
        "stacked",
    )


def _build(bench: Bench, lab: Lab) -> float:
    """Return how long all images take to be built with nothing kept of earlier builds."""
    bench.progress.step("building the images with nothing kept of earlier builds")
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

    All are taken in turn, on the same files and images, as their users call them. A chart shows
    where the time of `up` goes, by service: in labctl before it turns to Compose, until the
    container is created, until it is started, and until the server answers.""",
    (
        Option("rounds", "How often each is done.", 10, 3),
        Option("builds", "How often the images are built anew, which takes minutes.", 1, 0, 0),
    ),
    _measure,
)
