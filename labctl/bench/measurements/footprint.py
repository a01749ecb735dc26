"""What a lab and its command line weigh: start-up of `labctl`, images, memory when idle."""

import sys
from collections.abc import Mapping
from itertools import chain

from labctl.bench.command import ran
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.usage import usage
from labctl.lab.images import SERVICES, image_of
from labctl.lab.lab import Lab

_STARTS, _OF_PACKAGES, _IDLE = 5, 1.3, 40  # times Python's, times the packages, MB
_SIZES = ("dpkg-query", "--show", "--showformat", "${Package} ${Installed-Size}\n")


def _measure(bench: Bench) -> Yielded:
    bench.progress.step("starting labctl, and a Python that does nothing")
    ours, floor = [], []
    for number in range(bench.size["rounds"]):
        bench.progress.count(number, bench.size["rounds"])
        floor.append(ran([sys.executable, "-c", "pass"]).seconds)
        ours.append(ran([sys.executable, "-m", "labctl", "--version"]).seconds)
    yield Figure.against(
        "labctl --version", ours, "s", floor=floor, floor_is="python -c pass", limit=_STARTS
    )
    with bench.lab() as lab:
        used = {service: each.memory for service, each in usage(lab).items()}
        yield Figure.one("memory of an idle lab", sum(used.values()), "MB", limit=_IDLE)
        yield Figure.one(
            "images together",
            sum(_layers(lab).values()),
            "MB",
            floor=sum(_packages(lab).values()),
            floor_is="their Debian packages",
            limit=_OF_PACKAGES,
        )
    yield Chart(
        "footprint", "Memory of an idle lab", "MB", SERVICES, {"memory": tuple(used.values())}
    )


def _packages(lab: Lab) -> dict[str, float]:
    """Return the installed size of each package of the images, in MB; each counts once."""
    lines = chain.from_iterable(
        lab.containers.execute(service, _SIZES).splitlines() for service in SERVICES
    )
    return {name: int(size) / 1000 for name, size in (line.split() for line in lines)}


def _layers(lab: Lab) -> Mapping[str, float]:
    """Return the size of each layer of the images, in MB; one that images share counts once."""
    sizes: dict[str, float] = {}
    for service in SERVICES:
        image = lab.engine.client.images.get(image_of(service, lab.settings.root).reference)
        layers = image.attrs["RootFS"]["Layers"]
        filled = [each["Size"] / 1e6 for each in reversed(image.history()) if each["Size"]]
        # A layer without content is in the history with no size, and may be left out there.
        names = layers[: len(filled)] + [f"{image.id}/{n}" for n in range(len(layers), len(filled))]
        sizes |= dict(zip(names, filled, strict=True))
    return sizes


FOOTPRINT = Measurement(
    "footprint",
    """Weigh the images, an idle lab, and the start of `labctl`.

    The images against the Debian packages that are installed in them, the start against a Python
    that does nothing.""",
    (Option("rounds", "How often `labctl --version` is run.", 30, 10),),
    _measure,
)
