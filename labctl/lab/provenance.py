"""What a lab is made of, as far as it can be seen from outside: images, versions, clocks."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labctl import __version__
from labctl.errors import HostProblem, LabNotReady
from labctl.lab.engine import run
from labctl.lab.images import SERVICES

if TYPE_CHECKING:
    from labctl.lab.containers import LabContainers
    from labctl.lab.lab import Lab

PACKAGES: Final = ("dpkg-query", "--show", "--showformat", "${Package} ${Version}\n")
"""Prints the Debian packages of an image: `name version`, one a line."""

_SERVERS: Final = {
    "slapd": ("openldap", "slapd"),
    "postfix": ("postfix", "postfix"),
    "dovecot": ("dovecot", "dovecot-core"),
    "milter": ("milter", "python3-milter"),
}


@dataclass(frozen=True, slots=True)
class Clock:
    """A container's clock beside this host's, in seconds since the epoch; `ahead` is how far the
    container's is, give or take `within`.
    """

    container: float
    host: float
    ahead: float
    within: float


def clock(containers: "LabContainers", service: str, now: Callable[[], float] = time.time) -> Clock:
    """Return what a container takes the time to be, asked between two looks at our own clock.

    Raises LabNotReady when it does not say.
    """
    before = now()
    said = containers.execute(service, ["date", "+%s.%N"]).strip()
    after = now()
    try:
        seen = float(said)
    except ValueError:
        raise LabNotReady(f"{service} does not tell the time but {said!r}") from None
    middle = (before + after) / 2
    return Clock(seen, middle, seen - middle, (after - before) / 2)


def server_versions(packages: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the servers, read from what `PACKAGES` prints in each service."""
    installed = {
        service: dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        for service, text in packages.items()
    }
    return {
        name: installed[service][package]
        for name, (service, package) in _SERVERS.items()
        if package in installed.get(service, {})
    }


def running_servers(lab: "Lab") -> dict[str, str]:
    """Return the versions of the servers of a lab that is up, and the ids of the images that its
    containers were made from.

    Raises HostProblem when the engine does not answer, LabNotReady when a server does not.
    """
    packages = {service: lab.containers.execute(service, PACKAGES) for service in SERVICES}
    images = {f"{name}'s image": each["image_id"] for name, each in identities(lab).items()}
    return server_versions(packages) | images


def tool_versions(lab: "Lab", *, whatever_is_in: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions of labctl and of what it runs on. Changes below `whatever_is_in`, parts
    of the checkout, do not make its commit a `-dirty` one.

    Raises HostProblem when no engine answers.
    """
    engine, info = _asked(lab)
    return {
        **host_versions(),
        "labctl's commit": _commit(lab.settings.root, whatever_is_in),
        "docker": str(engine["Version"]),
        "docker's API": str(engine["ApiVersion"]),
        "docker's system": str(info["OperatingSystem"]),
        "docker's kernel": str(info["KernelVersion"]),
        "compose": lab.engine.compose.version,
    }


def host_versions() -> dict[str, str]:
    """Return the versions of labctl, of Python and of this host's kernel."""
    system = os.uname()
    return {
        "labctl": __version__,
        "python": platform.python_version(),
        "kernel": f"{system.sysname} {system.release} {system.machine}",
    }


def _asked(lab: "Lab") -> tuple[dict[str, Any], dict[str, Any]]:
    from docker.errors import DockerException

    try:
        return lab.engine.client.version(), lab.engine.client.info()
    except (DockerException, OSError) as error:
        raise HostProblem(f"the engine does not answer: {error}") from error


def _commit(root: Path, whatever_is_in: Sequence[str]) -> str:
    """Return the commit that labctl runs from, `-dirty` if its files are other ones."""
    git = ["git", "-C", str(root)]
    others = [f":(top,exclude){each}" for each in whatever_is_in]
    try:
        commit = run([*git, "describe", "--always", "--abbrev=40"], seconds=10).strip()
        changed = run(
            [*git, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *others],
            seconds=10,
        )
    except HostProblem:
        return "unknown: this is no git checkout"
    return f"{commit}-dirty" if changed else commit


def identities(lab: "Lab") -> dict[str, dict[str, str]]:
    """Return, by service, which container of which image runs, in the engine's own words.

    Raises HostProblem when the engine does not answer, LabNotReady without containers.
    """
    from docker.errors import DockerException

    try:
        found = {
            each.service: asdict(each) | lab.containers.identity(each.service)
            for each in lab.containers.states()
        }
    except (DockerException, OSError) as error:
        raise HostProblem(f"the engine does not answer: {error}") from error
    if not found:
        raise LabNotReady("the lab has no containers")
    return found
