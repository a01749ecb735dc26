"""Single keys from a terminal, without an echo."""

import os
import select
import termios
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

ENTER, END = "\n", ""


class Keyboard:
    """The keys of a terminal, one by one; as a context manager it leaves the terminal as it was.

    Ctrl-C interrupts as ever.
    """

    def __init__(self, stream: TextIO) -> None:
        self._descriptor = stream.fileno()
        self._before = termios.tcgetattr(self._descriptor)

    def forget(self) -> None:
        """Forget what was typed too early, and let keys come one by one from now on."""
        single = termios.tcgetattr(self._descriptor)
        single[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, single)

    def key(self, seconds: float | None) -> str | None:
        """Return the next key; None if none was pressed for so long, END when the terminal ends.

        What a special key sends, such as an arrow, counts as one key.
        """
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return None
        try:
            pressed = os.read(self._descriptor, 32)
        except OSError:  # the terminal is gone
            return END
        text = pressed.decode("utf-8", "replace").replace("\r", ENTER)
        return text if text.startswith("\x1b") else text[:1]

    def __enter__(self) -> Self:
        self.forget()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
