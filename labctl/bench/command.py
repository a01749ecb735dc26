"""Programs as their users run them, from the outside: how long, how much work, how much memory."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labctl.errors import HostProblem
from labctl.lab.lab import Lab

_KILOBYTE = 1024 / 1e6  # what the kernel counts in, as MB


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended: its output, wall and processor time (seconds, those that it started
    and waited for among them), and the most memory that one of them had (MB).
    """

    code: int
    output: str
    seconds: float
    processor: float
    memory: float


def ran(command: Sequence[str], env: Mapping[str, str] | None = None, *, code: int = 0) -> Ran:
    """Run a program, which must end with `code`; raises HostProblem with what it said otherwise."""
    begun = time.perf_counter()
    with subprocess.Popen(
        list(command),
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            output = process.stdout.read().decode("utf-8", "backslashreplace")
        except BaseException:  # an interrupt: what was begun does not go on
            process.terminate()
            raise
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode != code:
        tail = "\n".join(output.strip().splitlines()[-15:])
        raise HostProblem(
            f"{' '.join(command[:6])} ended with {process.returncode}; it last said:\n{tail}"
        )
    processor = usage.ru_utime + usage.ru_stime
    return Ran(process.returncode, output, seconds, processor, usage.ru_maxrss * _KILOBYTE)


def labctl(lab: Lab, *arguments: str, code: int = 0) -> Ran:
    """Run labctl on a lab as its users do, Python's start included."""
    env = {**os.environ, "LAB_STATE_DIR": str(lab.settings.state.resolve())}
    return ran([sys.executable, "-m", "labctl", "-n", lab.name, *arguments], env, code=code)
