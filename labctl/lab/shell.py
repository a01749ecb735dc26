"""A shell in a container, kept open: a command through it takes milliseconds, where an exec of its
own takes the engine some fifty.
"""

import shlex
import subprocess
import threading
import weakref
from collections.abc import Sequence

from labctl.errors import HostProblem, LabNotReady

_END = b"\0"  # stands before the exit code; no command of ours prints it
_SECONDS = 5.0  # for a shell to end after its input has


class Shell:
    """Runs commands one after the other in one container; several threads may share it.

    The shell ends with the process that opened it, however that ends: its input is closed then.
    """

    def __init__(self, container: str) -> None:
        self._lock = threading.Lock()
        try:
            self._process = subprocess.Popen(
                ["docker", "exec", "-i", container, "bash"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as error:
            raise HostProblem(
                "there is no docker command on this host", "Install Docker's command line."
            ) from error
        self.close = weakref.finalize(self, _close, self._process)
        self.close.atexit = False  # it ends by itself then, and nobody need wait for that

    @property
    def alive(self) -> bool:
        """Say whether it still takes commands, as far as is known."""
        return self.close.alive and self._process.poll() is None

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command, its input empty; returns its exit code, and what it printed.

        Raises LabNotReady when the container does not run, or ends meanwhile.
        """
        line = f"{shlex.join(command)} </dev/null 2>&1; printf '\\0%d\\n' $?\n"
        with self._lock:
            try:
                # Another thread may have seen it end meanwhile.
                code, output = self._ask(line.encode()) if self.close.alive else (None, b"")
            except BaseException:  # the answer would be taken for that of the next command
                self._process.kill()
                self.close()
                raise
            if code is None:
                self.close()
        text = output.decode("utf-8", "backslashreplace")
        if code is None:
            raise LabNotReady(text.strip() or "it ended")
        return code, text

    def end(self) -> None:
        """End it, after the command that another thread may have it run."""
        with self._lock:
            self.close()

    def _ask(self, line: bytes) -> tuple[int | None, bytes]:
        """Return the exit code, None if the shell ended before it, and what was printed."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise TypeError("a shell has pipes")
        try:
            asked.write(line)
            asked.flush()
        except BrokenPipeError:
            return None, answers.read()
        output = b""
        while answered := answers.readline():
            text, end, code = answered.partition(_END)
            output += text
            if end:
                return int(code), output
        return None, output


def _close(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=_SECONDS)
    except (subprocess.TimeoutExpired, OSError, ValueError):
        process.kill()
        process.wait()
