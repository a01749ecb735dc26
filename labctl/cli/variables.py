"""The variable of each option, LABCTL_COMMAND_OPTION, in the environment or else in `.env`."""

from collections.abc import MutableMapping
from pathlib import Path

import click

PREFIX = "LABCTL"


def named_as_typed(command: click.Command, *path: str) -> click.Command:
    """Give each option of a command, and of those below it, a variable called as what is typed;
    click by itself would call it as the parameter of our function.
    """
    for option in command.params:
        if isinstance(option, click.Option):
            option.envvar = variable(*path, max(option.opts, key=len))
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            named_as_typed(each, *path, name)
    return command


def variable(*words: str) -> str:
    """Return the variable for the words that are typed: `scenario`, `--dry-run`."""
    return "_".join([PREFIX, *words]).replace("_--", "_").replace("-", "_").upper()


def read_dotenv(root: Path, environ: MutableMapping[str, str]) -> None:
    """Add the variables of options in `.env` to an environment; what is there already is stronger.

    Raises UsageError where the file cannot be read.
    """
    from labctl.settings import dotenv

    for name, value in dotenv(root).items():
        if name.startswith(f"{PREFIX}_"):
            environ.setdefault(name, value)
