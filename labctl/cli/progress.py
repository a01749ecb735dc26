"""Showing that long work goes on: a live line on a terminal, plain lines otherwise."""

import os
import sys
import time
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Tells steps and details on stderr; use it as a context manager."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._begun = time.monotonic()
        self._status: Status | None = None
        self._step = ""

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun

    def step(self, text: str) -> None:
        """Tell that a step of the work begins, or was seen to be done."""
        self._step = text
        if self._status is not None:
            self._status.update(text)
        if self._status is None or self._verbose:
            click.echo(f"{self.seconds:6.1f} s  {text}", err=True)

    def detail(self, text: str) -> None:
        """Tell the last line of what the step prints, such as a build."""
        if self._verbose:
            click.echo(f"          {text}", err=True)
        elif self._status is not None:
            self._status.update(f"{self._step}  {text.strip()[:60]}")

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            from rich.console import Console

            self._status = Console(stderr=True, markup=False).status("")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
