"""Interrupts: Ctrl-C, SIGTERM, and SIGHUP, which is what a terminal that closes sends."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Lets the first interrupt end what is being done; those after it are held."""

    def __init__(self) -> None:
        self.came = False
        self._raising = True

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's
        """Take one."""
        raising, self._raising, self.came = self._raising, False, True
        if raising:
            raise KeyboardInterrupt

    def hold(self) -> None:
        """Hold the first one, too, from now on."""
        self._raising = False


@contextmanager
def interrupts_once() -> Iterator[Interrupts]:
    """Take interrupts until the block is left: often several come, one for each who noticed."""
    interrupts = Interrupts()
    with _handled_by(interrupts):
        yield interrupts


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ignore interrupts meanwhile: what was changed is put back, what is to be kept is written."""
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], object] | signal.Handlers,
) -> Iterator[None]:
    """Let interrupts go to `handler`; what was ignored before (SIGHUP under nohup) still is."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        known = ((number, signal.getsignal(number)) for number in _SIGNALS)
        before = {number: old for number, old in known if old not in {None, signal.SIG_IGN}}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
