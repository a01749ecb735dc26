"""A program in a container that works for as long as its input is open: it ends with whoever holds
that, however he ends, and takes back what it did.
"""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

from labctl.errors import HostProblem

_SECONDS = 5.0  # for it to begin, and to end


class Held:
    """One such program, started in a container; lines of one word say how far it is."""

    def __init__(self, container: str, *command: str) -> None:
        try:
            self._process = subprocess.Popen(
                ["docker", "exec", "-i", container, *command],
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

    def says(self, word: str) -> bool:
        """Wait for its next line; False if it is another one, or none."""
        watchdog = threading.Timer(_SECONDS, self._process.kill)
        watchdog.start()
        try:
            return next(self.lines(), "") == word
        finally:
            watchdog.cancel()

    def lines(self) -> Iterator[str]:
        """Yield what it prints, until it ends."""
        if self._process.stdout is None:
            raise TypeError("the program has pipes")
        for line in self._process.stdout:
            yield line.rstrip("\n")

    def end(self) -> None:
        """Close its input, and see it end."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
