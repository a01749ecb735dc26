"""What a lab keeps on this host: a directory below `.lab/labs/`, readable by its owner alone."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from labctl.errors import DeadlinePassed, HostProblem, LabctlError, LabNotReady, UsageError
from labctl.lab.images import SERVICES
from labctl.lab.replicas import REPLICAS
from labctl.protocols.poll import poll
from labctl.settings import MAX_LAG, MAX_SLOT, MIN_LAG, Settings, checked_name

LOCK_SECONDS = 120.0
_SILENT = 2.0  # seconds of waiting that are not worth a word
_MOUNTED = {".pem", ".key", ".password"}


@dataclass(frozen=True, slots=True)
class LabRecord:
    """What is decided when a lab first comes up; `slot` gives ports, subnet and project name.

    `max_lag` is how far replicas may be behind, in seconds, as of the last `up`.
    """

    slot: int
    policy: str
    directory: str = "single"
    max_lag: int | None = None

    @property
    def replicas(self) -> tuple[str, ...]:
        """The read-only copies of the directory."""
        return REPLICAS if self.directory == "replicated" else ()

    @property
    def servers(self) -> tuple[str, ...]:
        """All services of the lab."""
        return (*SERVICES, *self.replicas)

    def bounded(self, settings: Settings) -> "LabRecord":
        """Return it with the limit that is set for the lag of replicas, if it has some.

        Raises UsageError where the limit would open the lab.
        """
        limit = settings.max_lag if self.replicas else None
        if limit is not None and self.policy == "baseline":
            raise UsageError(
                "LAB_MAX_LAG_SECONDS hides the policy, and `baseline` takes that for a yes",
                "Use `--policy hardened`, or unset it.",
            )
        return replace(self, max_lag=limit)


@dataclass(frozen=True, slots=True)
class LabFiles:
    """The files of one lab."""

    name: str
    directory: Path

    @classmethod
    def of(cls, settings: Settings, name: str) -> "LabFiles":
        """Return the files of the lab called `name`; raises UsageError if none can be."""
        return cls(name, settings.state / "labs" / checked_name(name))

    @property
    def command(self) -> str:
        """How labctl is called for this lab."""
        return "labctl" if self.name == "default" else f"labctl -n {self.name}"

    @property
    def secrets(self) -> Path:
        """Passwords, the CA, keys and certificates."""
        return self.directory / "secrets"

    @property
    def ca(self) -> Path:
        """The certificate of the lab's CA."""
        return self.secrets / "ca.pem"

    @property
    def accounts(self) -> Path:
        """The people of the lab with their passwords."""
        return self.secrets / "accounts.json"

    @property
    def compose_env(self) -> Path:
        """The variables of the compose file."""
        return self.directory / "compose.env"

    @property
    def broken(self) -> Path:
        """What is broken on purpose, as labctl.lab.broken notes it."""
        return self.directory / "broken"

    @property
    def half_restored(self) -> Path:
        """A file that is there while the lab is made of a backup, and after that was cut short."""
        return self.directory / "half-restored"

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Yield an empty directory that is removed at the end, or, after a kill, with the lab."""
        place = self.directory / "work"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, parents=True)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    @property
    def _record(self) -> Path:
        return self.directory / "lab.json"

    def record(self) -> LabRecord | None:
        """Return what was decided for this lab, or None before it first came up."""
        if not self._record.is_file():
            return None
        try:
            return _record_of(json.loads(self._record.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise HostProblem(
                f"{self._record} cannot be read: {error}",
                f"Remove {self.directory} and bring the lab up again.",
            ) from error

    def require(self) -> LabRecord:
        """Return what was decided for this lab; raises LabNotReady before it first came up."""
        record = self.record()
        if record is None:
            raise LabNotReady(
                f"the lab {self.name!r} is not up",
                f"Bring it up with `{self.command} up`.",
            )
        return record

    def write_record(self, record: LabRecord) -> None:
        """Remember what was decided."""
        write_private(self._record, json.dumps(asdict(record)) + "\n")

    def create(self) -> None:
        """Make the directories, readable by their owner alone."""
        self.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def secrets_id(self) -> str:
        """Return what changes when a file that is mounted as a secret is written anew; it tells
        nothing of the contents.
        """
        paths = [path for path in self.secrets.iterdir() if path.suffix in _MOUNTED]
        marks = [f"{path.name} {path.stat().st_mtime_ns}" for path in sorted(paths)]
        return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:12]

    def remove(self) -> None:
        """Delete all of it, the lock last: who waits for it makes the lab anew from then on."""
        for path in [*self.directory.glob("*")]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self._lock_file:
                path.unlink(missing_ok=True)
        self._lock_file.unlink(missing_ok=True)
        with suppress(OSError):  # somebody has made it anew
            self.directory.rmdir()

    @contextmanager
    def locked(self, doing: str, *, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Keep others from changing this lab meanwhile.

        Waits for whoever holds the lock; raises HostProblem naming him after `seconds`. Of a lab
        that is none at the end nothing is left; one whose record alone was lost keeps the rest.
        """
        with self._waited_for(seconds) as file:
            file.truncate(0)
            file.write(f"{doing} (process {os.getpid()})\n")
            file.flush()
            known = self._record.exists()
            try:
                yield
            finally:
                if (
                    self._is_the_lock(file)  # else it went with the lab, and the next one has his
                    and not self._record.exists()
                    and (known or not any(self.secrets.glob("*")))
                ):
                    self.remove()

    def _waited_for(self, seconds: float) -> TextIO:
        """Return the lock's file, locked; who waits for long is told for whom."""
        soon = min(_SILENT, seconds)
        with suppress(DeadlinePassed):
            return poll(self._lock, what="the lock", seconds=soon, pause=0.05)
        if seconds > soon:
            sys.stderr.write(f"labctl: waiting for {self._holder()}\n")
        try:
            return poll(self._lock, what="the lock", seconds=seconds - soon, pause=0.05)
        except DeadlinePassed:
            raise HostProblem(
                f"the lab {self.name!r} is being changed by {self._holder()}",
                "Wait until that ends, or end it.",
            ) from None

    def _lock(self) -> TextIO | None:
        """Return the lock's file, locked, which it is until it is closed; None as long as somebody
        else has it.
        """
        with ExitStack() as stack:
            try:
                self.create()
                file = stack.enter_context(self._lock_file.open("a+", encoding="utf-8"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._is_the_lock(file):
                    return None
            except (BlockingIOError, FileNotFoundError, FileExistsError):
                return None  # who has it holds it, or removes it just now with the lab
            stack.pop_all()
            return file

    def _is_the_lock(self, file: TextIO) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file.fileno()), self._lock_file.stat())
        return False

    def _holder(self) -> str:
        with suppress(OSError):
            return self._lock_file.read_text(encoding="utf-8").strip() or "another command"
        return "another command"

    @property
    def _lock_file(self) -> Path:
        return self.directory / "lock"


def _record_of(data: Any) -> LabRecord:
    """Return a record that can be one; raises ValueError or TypeError."""
    found = LabRecord(**data)
    if found.slot not in range(MAX_SLOT + 1) or found.policy not in {"hardened", "baseline"}:
        raise ValueError(f"there is no slot {found.slot!r} with the policy {found.policy!r}")
    if found.directory not in {"single", "replicated"}:
        raise ValueError(f"there is no {found.directory!r} directory")
    if found.max_lag is not None and found.max_lag not in range(MIN_LAG, MAX_LAG + 1):
        raise ValueError(f"there is no limit of {found.max_lag!r} seconds")
    return found


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.rename(path)


def lab_names(settings: Settings) -> list[str]:
    """Return the names of the labs that have come up from this state directory."""
    return sorted(path.parent.name for path in settings.state.glob("labs/*/lab.json"))


def free_slot(settings: Settings, name: str) -> int:
    """Return the slot for a lab that has none: the configured one, 0 for `default`, else the
    lowest that no other lab has.
    """
    if settings.slot is not None:
        return settings.slot
    taken = {_slot_of(settings, other) for other in lab_names(settings) if other != name}
    first = 0 if name == "default" else 1
    for slot in range(first, MAX_SLOT + 1):
        if slot not in taken:
            return slot
    raise HostProblem(f"all {MAX_SLOT + 1} slots are taken", "Take labs down with --volumes.")


def _slot_of(settings: Settings, name: str) -> int | None:
    try:
        record = LabFiles.of(settings, name).record()
    except LabctlError:
        return None
    return record.slot if record else None
