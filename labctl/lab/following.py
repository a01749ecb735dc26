"""The logs of a lab's servers as one, in the order of time: as they are, and as they grow."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from labctl.errors import HostProblem, LabNotReady
from labctl.lab.spoken import Said

if TYPE_CHECKING:
    from labctl.lab.containers import LabContainers

LOGS: Final = ("postfix", "dovecot", "milter")  # slapd logs no operation: see Operations
_QUIET = 0.3  # seconds without a line that end a burst: one of another server may have come before
_LONGEST = 1.0  # seconds of a burst
_AGAIN = 0.5  # seconds between two looks at a server that is away
_SECONDS = 5.0  # for slapd to be told, and for the program that listens to it to end


def history(containers: "LabContainers") -> list[Said]:
    """Return what the servers have logged since their containers were made; slapd logs nothing."""
    return sorted(line for service in LOGS for line in containers.said(service))


def now() -> str:
    """Return the time as it stands before a line of a log."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"


class Operations:
    """The program in slapd's container that has its operations told, and ends with its input.

    On entering, raises LabNotReady when slapd does not answer; on leaving, slapd is as before.
    """

    def __init__(self, containers: "LabContainers") -> None:
        self._command = [
            *("docker", "exec", "-i", containers.container_name("openldap")),
            "log-operations",
        ]
        self._process: subprocess.Popen[str] | None = None
        self._changing = threading.Lock()
        self._over = False

    def __enter__(self) -> Self:
        if not self.start():
            self.end()
            raise LabNotReady(
                "openldap does not tell its operations: it is away, or older than this labctl",
                "See `labctl status`; `labctl up` brings it up to date.",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(self) -> bool:
        """Start it, or start it anew; says whether slapd tells from now on."""
        with self._changing:
            if self._over:
                return False
            self._stop()
            self._process = process = self._popen()
        if process.stdout is None:
            raise TypeError("the program has pipes")
        watchdog = threading.Timer(_SECONDS, process.kill)
        watchdog.start()
        try:
            return process.stdout.readline() == "on\n"
        finally:
            watchdog.cancel()

    def _popen(self) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="backslashreplace",
                start_new_session=True,  # an interrupt is for us: we close its input then
            )
        except FileNotFoundError as error:
            raise HostProblem(
                "there is no docker command on this host", "Install Docker's command line."
            ) from error

    def lines(self) -> Iterator[Said]:
        """Yield the operations as they are done, until the program ends."""
        process = self._process
        for line in process.stdout or () if process else ():
            at, _, text = line.rstrip("\n").partition(" ")
            yield Said(at, "openldap", text)

    def end(self) -> None:
        """Close its input, and see it end; it is not started any more."""
        with self._changing:
            self._over = True
            self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Following:
    """Follows what the servers say from a time on, also after they were started anew."""

    containers: "LabContainers"
    operations: Operations
    since: str
    _lines: SimpleQueue[Said] = field(default_factory=SimpleQueue)

    def bursts(self) -> Iterator[list[Said]]:
        """Yield what is said, for ever: whenever it is quiet for a moment, in the order of time."""
        for follow in (*(self._log(service) for service in LOGS), self._operations()):
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

    def _operations(self) -> Iterator[Said]:
        while True:
            yield from self.operations.lines()
            time.sleep(_AGAIN)
            self.operations.start()
