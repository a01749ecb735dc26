"""Many people at once: written straight into the database, while the directory is stopped."""

from collections.abc import Callable, Sequence
from pathlib import Path

from labctl.lab.lab import Lab

_SECONDS = 120.0  # for the directory to answer again
_PLACE = "/bulk"
# The entrypoint renders the configuration and ends in `exec slapd`: for once, that is this.
_SLAPD = f"""#!/bin/sh
exec slapadd -q -n 1 -F /run/slapd/slapd.d -l {_PLACE}/people.ldif
"""

Run = Callable[[Sequence[str]], object]
"""Runs a command, which must succeed."""


def slapadd(lab: Lab, ldif: Path, scratch: Path, run: Run, *, volume: str | None = None) -> None:
    """Add the entries of a file with `slapadd -q` in a container of its own, while no slapd has
    the database open; with `volume`, into a database that is made there.

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
    run(lab.project.command("run", "--rm", "--no-deps", "-T", *options, "--env", path, "openldap"))


def load(lab: Lab, ldif: Path, scratch: Path, run: Run) -> None:
    """Add the entries of a file to a running lab; its directory is away meanwhile.

    Raises DeadlinePassed when it does not come back.
    """
    lab.containers.inflict("openldap", "stop")
    try:
        slapadd(lab, ldif, scratch, run)
    finally:
        lab.containers.mend("openldap", _SECONDS)
