"""Whoever sits at the terminal and shows a scenario to a room."""

import select
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import click

from labctl.report.ink import wants_colour


@dataclass(frozen=True, slots=True)
class AtTerminal:
    """A presenter who presses Enter; `prompts` where no other line says that Enter is awaited."""

    stream: TextIO
    prompts: bool

    def wait(self, seconds: float | None) -> None:
        """Wait until Enter is pressed, or for so many seconds at most."""
        if self.prompts:
            click.echo("Press Enter to go on.", err=True)
        with _unechoed(self.stream):
            ready, _, _ = select.select([self.stream], [], [], seconds)
            if ready:
                self.stream.readline()


def presenter() -> AtTerminal | None:
    """Return the presenter, if one sits at both ends of the terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    return AtTerminal(sys.stdin, prompts=not wants_colour(sys.stdout))


@contextmanager
def _unechoed(stream: TextIO) -> Iterator[None]:
    """Forget what was typed too early, and keep Enter from moving the line on the screen."""
    before = termios.tcgetattr(stream)
    silent = termios.tcgetattr(stream)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(stream, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
