"""Programs as their users run them, from the outside: how long, and how much work."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labctl.errors import HostProblem
from labctl.lab.lab import Lab


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended: its output, wall and processor time, in seconds; the latter is that of
    the programs that it started and waited for, too.
    """

    output: str
    seconds: float
    processor: float


Tell = Callable[[str], object]


def _nobody(_line: str) -> None:
    """Tell nobody."""


def ran(command: Sequence[str], env: Mapping[str, str] | None = None, tell: Tell = _nobody) -> Ran:
    """Run a program, telling its lines as they come; raises HostProblem with what it said unless it
    ends well.
    """
    begun = time.perf_counter()
    with subprocess.Popen(
        list(command),
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            text = ""
            for said in process.stdout or ():
                line = said.decode("utf-8", "backslashreplace")
                text += line
                tell(line)
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # an interrupt: what was begun does not go on
            process.terminate()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if process.returncode != 0:
        tail = "\n".join(text.strip().splitlines()[-15:])
        raise HostProblem(
            f"{' '.join(command[:6])} ended with {process.returncode}; it last said:\n{tail}"
        )
    return Ran(text, seconds, usage.ru_utime + usage.ru_stime)


def labctl(lab: Lab, *arguments: str, tell: Tell = _nobody) -> Ran:
    """Run labctl on a lab as its users do, Python's start included."""
    env = {**os.environ, "LAB_STATE_DIR": str(lab.settings.state.resolve())}
    return ran([sys.executable, "-m", "labctl", "-n", lab.name, *arguments], env, tell)
