"""Many people at once: written straight into the database, while the directory is stopped."""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labctl.errors import DeadlinePassed, LabNotReady
from labctl.lab.lab import Lab
from labctl.protocols.poll import poll

_SECONDS = 120.0  # for the directory to answer again
_LATE = 3.0  # after an interrupt, for what the engine had begun to make
_PLACE = "/bulk"
# The entrypoint renders the configuration and ends in `exec slapd`: for once, that is this.
_SLAPD = f"""#!/bin/bash
begun=$EPOCHREALTIME
slapadd -q -n 1 -F /run/slapd/slapd.d -l {_PLACE}/people.ldif || exit
ended=$EPOCHREALTIME
echo "slapadd took $((${{ended/./}} - ${{begun/./}})) us"
"""
_TOOK = re.compile(r"^slapadd took (\d+) us\s*$", re.MULTILINE)

Run = Callable[[Sequence[str]], str]
"""Runs a command, which must succeed; returns its output."""


def slapadd(lab: Lab, ldif: Path, scratch: Path, run: Run, *, volume: str | None = None) -> float:
    """Add the entries of a file with `slapadd -q` in a container of its own, while no slapd has
    the database open; with `volume`, into a database that is made there. Returns how long slapadd
    itself took, in seconds: without the start of the container, and what comes before it there.

    `scratch` is a directory for a file of ours. The entries are checked by the schema alone: no
    overlay sees them, and passwords have to be hashed.
    """
    program = scratch / "slapd"
    program.write_text(_SLAPD, encoding="utf-8")
    program.chmod(0o755)
    ldif.chmod(0o644)
    path = f"PATH={_PLACE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    mounts = [f"{ldif.resolve()}:{_PLACE}/people.ldif:ro"]
    mounts += [f"{program.resolve()}:{_PLACE}/bin/slapd:ro"]
    mounts += [f"{volume}:/var/lib/ldap"] if volume else []
    options = [word for mount in mounts for word in ("--volume", mount)]
    name = f"{lab.project.name}-slapadd-{secrets.token_hex(3)}"
    options += ["--name", name, "--env", path]
    try:
        command = lab.project.command("run", "--rm", "--no-deps", "-T", *options, "openldap")
        return took(run(command))
    except BaseException:  # an interrupt ends Compose, but nothing that the engine began
        with suppress(DeadlinePassed):
            poll(
                lambda: _removed(lab.engine.client.containers, name),
                what=f"the container {name}",
                seconds=_LATE,
            )
        raise


def took(output: str) -> float:
    """Return how long slapadd says that it took, in seconds; raises LabNotReady if it does not."""
    match = _TOOK.search(output)
    if match is None:
        raise LabNotReady(f"slapadd does not say how long it took, but: {output.strip()[-500:]}")
    return int(match[1]) / 1e6


def _removed(things: Any, name: str) -> bool | None:
    """Remove a container or a volume; returns None if it is not there, or not there yet."""
    from docker.errors import APIError

    try:
        things.get(name).remove(force=True)
    except APIError:  # or is being removed, or in use
        return None
    return True


@contextmanager
def empty_volume(lab: Lab) -> Iterator[str]:
    """Make a volume, and remove it; also where an interrupt came while the engine was making it."""
    name = f"{lab.project.name}-bare-{secrets.token_hex(3)}"
    volumes = lab.engine.client.volumes
    try:
        volumes.create(name)
        yield name
    finally:
        with suppress(DeadlinePassed):
            poll(lambda: _removed(volumes, name), what=f"the volume {name}", seconds=_LATE)


def load(lab: Lab, ldif: Path, scratch: Path, run: Run) -> None:
    """Add the entries of a file to a running lab; its directory is away meanwhile.

    Raises DeadlinePassed when it does not come back.
    """
    lab.containers.inflict("openldap", "stop")
    try:
        slapadd(lab, ldif, scratch, run)
    finally:
        lab.containers.mend("openldap", _SECONDS)
