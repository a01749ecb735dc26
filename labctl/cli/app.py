"""What every command is handed: settings, the lab, and the options that several share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labctl.endpoints import Endpoints
from labctl.errors import UsageError
from labctl.settings import Settings, load_settings

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class App:
    """The command line's context: made once, read by all."""

    root: Path
    environ: Mapping[str, str]
    name: str

    @cached_property
    def settings(self) -> Settings:
        """What `.env` and the environment say."""
        return load_settings(self.root, self.environ)

    @cached_property
    def lab(self) -> "Lab":
        """The lab that `-n` names."""
        from labctl.lab.lab import Lab

        return Lab(self.settings, self.name)

    def tell_what_is_broken(self) -> None:
        """Say on stderr what a command that was killed has left broken in the lab, if anything."""
        try:
            # As labctl.lab.state has it, which is imported where it is needed.
            directory = self.settings.state / "labs" / self.name / "broken"
        except UsageError:  # the command itself will say so, if it matters to it
            return
        if not any(directory.glob("*")):
            return
        from labctl.lab.broken import left

        command = "labctl" if self.name == "default" else f"labctl -n {self.name}"
        for service, kinds in left(directory).items():
            click.echo(
                f"Warning: {service} is broken ({', '.join(kinds)}): the command that did it was "
                f"killed. `{command} heal` mends it.",
                err=True,
            )

    def endpoints(self, file: Path | None) -> Endpoints:
        """Return the endpoints of a file, or else of the lab."""
        if file is None:
            return self.lab.endpoints()
        from labctl.endpoints.reading import read_file

        return read_file(file, self.environ)


pass_app = click.make_pass_decorator(App)


def endpoints_option(command: F) -> F:
    """Add `--endpoints FILE`."""
    return click.option(
        "--endpoints",
        "endpoints_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Use the stack that this file describes, JSON or TOML (docs/any-stack.md).",
    )(command)


def yes_option(command: F) -> F:
    """Add `--yes`."""
    return click.option(
        "--yes", is_flag=True, help="With --endpoints: do not ask before that stack is changed."
    )(command)


def output_option(command: F) -> F:
    """Add `-o table|json|yaml`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print.",
    )(command)
