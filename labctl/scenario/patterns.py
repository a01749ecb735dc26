"""Regular expressions of scenario files. A stranger may have written them, so a search ends."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from labctl.errors import InvalidScenario

_SECONDS = 1.0  # of processor time that a search may take; an honest one takes microseconds


def require_pattern(value: str) -> str:
    """Return the pattern; raises ValueError if it is none."""
    try:
        re.compile(value)
    except (re.error, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    except RecursionError as error:
        raise ValueError("not a regular expression: it is nested too deeply") from error
    return value


def found(pattern: str, text: str) -> str | None:
    """Return the first part of the text that fits, or None.

    Raises InvalidScenario when it takes a second of processor time: a pattern such as `(a|a)+$`
    tries every way to read what it repeats, and would go on for years.
    """
    try:
        with _ended_after(_SECONDS):
            match = re.search(pattern, text)
    except TimeoutError as error:
        seconds = f"{_SECONDS:g} s were not enough to hold {len(text)} characters against it"
        raise InvalidScenario([f"/{pattern}/ repeats what repeats itself: {seconds}"]) from error
    return match[0] if match else None


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the midst of it after so many seconds of processor time; `re` lets it
    happen. Signals reach the main thread alone, where scenarios run: elsewhere there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, late)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
