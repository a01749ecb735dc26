"""Showing how far long work has come: a bar on a terminal, plain lines otherwise."""

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Meter:
    """Tells steps, and how much of each is done, on stderr; use it as a context manager."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def step(self, text: str) -> None:
        """Tell that a step of the work begins, or was seen to be done."""
        if self._bar is None or self._task is None:
            click.echo(f"{time.monotonic() - self._begun:6.1f} s  {text}", err=True)
        else:
            self._bar.update(self._task, description=text, total=None, completed=0)

    def detail(self, text: str) -> None:
        """Tell nothing: the last lines of what a step prints are for whoever brings up a lab."""

    def tell(self, text: str) -> None:
        """Tell what is worth a line, or several, of its own."""
        if self._bar is None:
            click.echo(text, err=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def count(self, done: int, total: int) -> None:
        """Tell how far the step has come."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
            from rich.progress import TextColumn as Text

            self._bar = Progress(
                Text("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
