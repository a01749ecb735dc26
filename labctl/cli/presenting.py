"""The options for showing a run to a room, and what they come to."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labctl.errors import UsageError

if TYPE_CHECKING:
    from labctl.report.terminal import Terminal
    from labctl.scenario.conductor import Conductor
    from labctl.scenario.session import Presenter

F = TypeVar("F", bound=Callable[..., Any])

record_option = click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.cast",
    help="Record what the terminal shows, as asciicast v2; an older file is replaced.",
)


class Seconds(click.FloatRange):
    """A time that somebody waits, from a tenth of a second to ten minutes."""

    def __init__(self) -> None:
        super().__init__(min=0.1, max=600)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; `nan`, which no bound keeps out, is none."""
        number = float(super().convert(value, param, ctx))
        if isnan(number):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return number


big_option = click.option(
    "--big", is_flag=True, help="For a projector: nothing is dim, and no colour stands alone."
)


def presenting_options(command: F) -> F:
    """Add `--step`, `--pace`, `--record` and `--big`."""
    for option in (
        big_option,
        record_option,
        click.option(
            "--pace",
            type=Seconds(),
            metavar="SECONDS",
            help="Like --step, but go on by itself after so long.",
        ),
        click.option(
            "--step",
            is_flag=True,
            help="Stop before each step, say what comes and why, and show the wire after it: "
            "Enter next, r repeat, b back (undoing), s skip, w wire on or off, q quit (undoing).",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Stage:
    """What a run is shown with: the terminal, who conducts it, whom a `pause` waits for."""

    terminal: "Terminal"
    conductor: "Conductor"
    presenter: "Presenter | None"


@dataclass(frozen=True)
class Presenting:
    """How a run is to be shown."""

    step: bool
    pace: float | None
    record: Path | None
    big: bool

    @property
    def conducted(self) -> bool:
        """Whether a presenter decides what comes next."""
        return self.step or self.pace is not None

    def check(self, output: str) -> None:
        """Raise UsageError where these options cannot be met."""
        if output != "text" and (self.conducted or self.record or self.big):
            raise UsageError(
                "--step, --pace, --record and --big show a run on the terminal",
                f"Leave -o {output} out; `labctl report last -o {output}` renders the run.",
            )
        if self.conducted and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError(
                "--step and --pace need a terminal, and this is none",
                "Without them the scenario runs to its end by itself.",
            )

    @contextmanager
    def recorded(self, title: str) -> Iterator[None]:
        """Record what is printed, if that is wanted."""
        if self.record is None:
            yield
            return
        from labctl.stage.cast import Recording

        with Recording(self.record, sys.stdout, title):
            yield

    @contextmanager
    def stage(self, verbose: int) -> Iterator[Stage]:
        """Give what a run is shown with."""
        from labctl.cli.presenter import presenter
        from labctl.report.terminal import Terminal, as_it_was
        from labctl.scenario.conductor import STRAIGHT
        from labctl.stage.wire import annotated, in_words

        with ExitStack() as stack:
            if not self.conducted:
                wire = in_words if self.big else as_it_was
                terminal = Terminal(sys.stdout, verbose=verbose, big=self.big, wire=wire)
                yield Stage(stack.enter_context(terminal), STRAIGHT, presenter())
                return
            from labctl.stage.director import Director
            from labctl.stage.keys import Keyboard

            terminal = Terminal(
                sys.stdout, verbose=verbose, big=self.big, stepwise=True, wire=annotated
            )
            terminal.wire_shown = True
            keyboard = stack.enter_context(Keyboard(sys.stdin))
            director = Director(stack.enter_context(terminal), keyboard, self.pace)
            yield Stage(terminal, director, director)
