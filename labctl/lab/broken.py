"""Which servers of a lab are broken on purpose, kept outside of the process that will mend them.

A process that is killed cannot mend what it has broken; whoever finds its note can. Each process
has a file of its own, which it locks as long as it lives: a note that nobody holds was left behind.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import IO

Kinds = dict[str, list[str]]
_SUFFIX = ".json"


class Broken:
    """What this process has broken, by service; without a directory it is not written down."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._kinds: Kinds = {}
        self._file: IO[str] | None = None
        self._path = Path()
        self._lock = threading.Lock()

    def kinds(self, service: str) -> Sequence[str]:
        """Return in which ways a service is broken."""
        return self._kinds.get(service, ())

    def note(self, service: str, kind: str) -> None:
        """Add a fault; on return it is on the disk."""
        with self._lock:
            self._kinds.setdefault(service, []).append(kind)
            self._write()

    def forget(self, service: str, kind: str | None = None) -> None:
        """Leave a fault out, or all of a service: it is well."""
        with self._lock:
            kept = [each for each in self._kinds.pop(service, ()) if kind not in {None, each}]
            if kept:
                self._kinds[service] = kept
            self._write()

    def take_over(self, kinds: Kinds) -> None:
        """Have it as if this process had broken them."""
        for service, each in kinds.items():
            self._kinds.setdefault(service, []).extend(each)

    def _write(self) -> None:
        """Add a line with all of it: one that is cut off leaves what the line before it says."""
        if self._directory is None or not (self._kinds or self._file):
            return
        if self._file is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = mkstemp(
                prefix=f"{os.getpid()}-", suffix=_SUFFIX, dir=self._directory
            )
            self._file, self._path = os.fdopen(descriptor, "w", encoding="utf-8"), Path(name)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(json.dumps(self._kinds) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        if not self._kinds:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def left(directory: Path) -> Kinds:
    """Return what processes that are gone have left broken, by service: in which ways."""
    found: Kinds = {}
    for path in sorted(_left(directory)):
        for service, kinds in _read(path).items():
            found.setdefault(service, []).extend(kinds)
    return found


def forget_left(directory: Path) -> None:
    """Remove what `left` returns: it is mended, or its containers are gone."""
    for path in list(_left(directory)):
        path.unlink(missing_ok=True)


def _left(directory: Path) -> Iterator[Path]:
    for path in directory.glob(f"*{_SUFFIX}"):
        with suppress(OSError), path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # BlockingIOError: its process lives
            yield path


def _read(path: Path) -> Kinds:
    found: Kinds = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, RecursionError):  # cut off before the fault that it tells of
            found = _kinds(json.loads(line))
    return found


def _kinds(data: object) -> Kinds:
    """Return what a line says; raises ValueError where it is none of ours."""
    if not isinstance(data, dict) or not all(map(_are_kinds, data.values())):
        raise ValueError("no note of what is broken")
    return data


def _are_kinds(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
