"""Who listens on a port: of this host, or in a container; from proc(5), net/tcp."""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from labctl.errors import HostProblem

if TYPE_CHECKING:
    from labctl.lab.engine import Engine

TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS, _INODE = "0A", 9


def listening(lines: Iterable[str]) -> dict[int, str]:
    """Return the ports that are listened on, and the inode of each one's socket."""
    rows = (line.split() for line in lines)
    return {
        int(row[1].rpartition(":")[2], 16): row[_INODE]
        for row in rows
        if len(row) > _INODE and row[3] == _LISTENS
    }


def listener(engine: "Engine", port: int) -> str:
    """Return who listens on a port of this host, as far as we may see it."""
    return _container(engine, port) or _process(port) or "somebody (root is told who)"


def ending(who: str) -> str:
    """Return the beginning of a command that ends a listener, as `listener` calls him."""
    if match := re.search(r"\(process (\d+)\)$", who):
        return f"kill {match[1]} && "
    if match := re.match(r"the container (\S+)$", who):
        return f"docker stop {match[1]} && "
    return ""


def _container(engine: "Engine", port: int) -> str | None:
    with suppress(HostProblem):
        for container in engine.client.containers.list(ignore_removed=True):
            for published in container.ports.values():
                if any(int(each["HostPort"]) == port for each in published or ()):
                    return f"the container {container.name}"
    return None


def _process(port: int) -> str | None:
    inodes = set()
    for table in map(Path, TABLES):
        if table.is_file():
            found = listening(table.read_text(encoding="ascii").splitlines()[1:])
            inodes |= {f"socket:[{found[port]}]"} if port in found else set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if str(descriptor.readlink()) in inodes:
                process = descriptor.parents[1]
                name = (process / "comm").read_text(encoding="utf-8").strip()
                return f"{name} (process {process.name})"
    return None
