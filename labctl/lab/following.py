"""The logs of a lab's servers as one, in the order of time: as they are, and as they grow."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from labctl.errors import LabNotReady
from labctl.lab.held import Held
from labctl.lab.replicas import PROVIDER
from labctl.lab.spoken import Said

if TYPE_CHECKING:
    from labctl.lab.containers import LabContainers

LOGS: Final = ("postfix", "dovecot", "milter")  # slapd logs no operation: see Operations
_QUIET = 0.3  # seconds without a line that end a burst: one of another server may have come before
_LONGEST = 1.0  # seconds of a burst
_AGAIN = 0.5  # seconds between two looks at a server that is away


def history(containers: "LabContainers", services: Iterable[str] = LOGS) -> list[Said]:
    """Return what servers have logged since their containers were made; slapd logs nothing."""
    return sorted(line for service in services for line in containers.said(service))


def now() -> str:
    """Return the time as it stands before a line of a log."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"


class Operations:
    """The program in a slapd's container that has its operations told, and ends with its input."""

    def __init__(self, containers: "LabContainers", directory: str = PROVIDER) -> None:
        self.directory = directory
        self._container = containers.container_name(directory)
        self._program: Held | None = None
        self._changing = threading.Lock()
        self._over = False

    def start(self) -> bool:
        """Start it, or start it anew; says whether slapd tells from now on."""
        with self._changing:
            if self._over:
                return False
            self._stop()
            self._program = program = Held(self._container, "log-operations")
        return program.says("on")

    def lines(self) -> Iterator[Said]:
        """Yield the operations as they are done, until the program ends."""
        program = self._program
        for line in program.lines() if program else ():
            at, _, text = line.partition(" ")
            yield Said(at, self.directory, text)

    def end(self) -> None:
        """Close its input, and see it end, slapd as before; it is not started any more."""
        with self._changing:
            self._over = True
            self._stop()

    def _stop(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            program.end()


@contextmanager
def operations(containers: "LabContainers") -> Iterator[list[tuple[Operations, bool]]]:
    """Have the directories tell their operations, and yield of each whether it does so yet: one
    that is away may be back later. At the end each slapd is as before.

    Raises LabNotReady where none does.
    """
    found = [Operations(containers, each) for each in (PROVIDER, *containers.replicas)]
    with ExitStack() as stack:
        for each in found:
            stack.callback(each.end)
        told = [(each, each.start()) for each in found]
        if not any(tells for _, tells in told):
            raise LabNotReady(
                "no directory tells its operations: it is away, or older than labctl",
                "See `labctl status`; `labctl up` brings it up to date.",
            )
        yield told


@dataclass
class Following:
    """Follows what the servers say from a time on, also after they were started anew."""

    containers: "LabContainers"
    operations: Sequence[Operations]
    since: str
    _lines: SimpleQueue[Said] = field(default_factory=SimpleQueue)

    def bursts(self) -> Iterator[list[Said]]:
        """Yield what is said, for ever: whenever it is quiet for a moment, in the order of time."""
        logs = (self._log(service) for service in LOGS)
        for follow in (*logs, *map(self._told, self.operations)):
            threading.Thread(target=self._collect, args=(follow,), daemon=True).start()
        while True:
            burst = [self._lines.get()]
            end = time.monotonic() + _LONGEST
            with suppress(Empty):
                while time.monotonic() < end:
                    burst.append(self._lines.get(timeout=_QUIET))
            yield sorted(burst)

    def _collect(self, follow: Iterator[Said]) -> None:
        for said in follow:
            self._lines.put(said)

    def _log(self, service: str) -> Iterator[Said]:
        last = self.since
        while True:
            with suppress(LabNotReady, OSError):
                for said in self.containers.follow(service, last):
                    last = said.at
                    yield said
            time.sleep(_AGAIN)

    def _told(self, operations: Operations) -> Iterator[Said]:
        while True:
            yield from operations.lines()
            time.sleep(_AGAIN)
            operations.start()
