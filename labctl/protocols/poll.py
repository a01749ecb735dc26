"""The only loop that waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from labctl.errors import DeadlinePassed, LabctlError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the loop sees it, in seconds; tests pass their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


SYSTEM = Clock()


def poll(
    probe: Callable[[], T | None],
    *,
    what: str,
    seconds: float,
    pause: float = 0.01,
    clock: Clock = SYSTEM,
    retry: tuple[type[LabctlError], ...] = (),
) -> T:
    """Call `probe` until it returns something other than None or False, and return that.

    Between calls it pauses, from `pause` up to eight times as long. Errors in `retry` count as
    "not yet". Raises DeadlinePassed after `seconds`, saying what was awaited and last seen.
    """
    end = clock.now() + seconds
    delay = pause
    while True:
        seen = "nothing yet"
        try:
            found = probe()
        except retry as error:
            seen = error.what
        else:
            if found is not None and found is not False:
                return found
        if clock.now() + delay > end:
            raise DeadlinePassed(f"waited {seconds:g} s for {what}; last seen: {seen}")
        clock.sleep(delay)
        delay = min(delay * 1.5, pause * 8)
