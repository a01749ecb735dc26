"""The commands about this host and this tool: doctor, version, completion."""

import platform
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labctl import __version__
from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import show
from labctl.errors import Exit, LabctlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from labctl.lab.doctor.finding import Finding


@click.command()
@output_option
@pass_app
def doctor(app: App, *, output: str) -> int:
    """Look at everything the lab needs, on this host and in the lab, and say what is wrong.

    A line each: ok, warn or fail, what was seen or the cause, and one command to mend it. A warning
    is no failure; of a lab that is not up, only the host is looked at.
    """
    findings = list(_findings(app))
    failed = [row for row in findings if row.level == "fail"]
    if output == "table":
        _tell(findings)
    else:
        data = {"findings": [asdict(row) for row in findings], "ok": not failed}
        show(output, data, (), ())
    return failed[0].exit_code if failed else int(Exit.OK)


_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def _tell(findings: "Sequence[Finding]") -> None:
    """Print a line each, and the command that mends it on a line of its own, to be pasted."""
    from labctl.report.ink import wants_colour
    from labctl.report.wording import visible

    colour = wants_colour(sys.stdout)
    width = max(len(row.what) for row in findings)
    for row in findings:
        level = f"{row.level:<4}"
        shown = click.style(level, fg=_COLOURS[row.level]) if colour else level
        click.echo(f"{shown}  {row.what:<{width}}  {visible(row.seen)}", color=colour)
        if row.mend:
            click.echo(f"{'':<{width + 8}}to mend it: {visible(row.mend)}")


def _findings(app: App) -> "Iterator[Finding]":
    from labctl.lab.doctor import examine
    from labctl.lab.doctor.finding import Finding, Level

    new = sys.version_info >= (3, 11)
    level = Level.OK if new else Level.FAIL
    yield Finding("python", level, platform.python_version(), "", int(Exit.HOST))
    try:
        yield Finding("settings", Level.OK, f"domain {app.settings.domain}")
    except LabctlError as error:
        yield Finding("settings", Level.FAIL, error.what, error.hint, int(error.exit_code))
        return
    yield from examine(app.lab)


@click.command()
@output_option
@pass_app
def version(app: App, *, output: str) -> None:
    """Print the versions of labctl and of what it runs on."""
    from labctl.lab.doctor import host

    rows = [("labctl", __version__), ("python", platform.python_version())]
    for name, look in (("engine", host.engine), ("compose", host.compose)):
        try:
            rows.append((name, look(app.lab).seen))
        except LabctlError as error:
            rows.append((name, f"none: {error.what}"))
    show(output, {"versions": dict(rows)}, ("WHAT", "VERSION"), rows)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: `eval "$(labctl completion bash)"`."""
    from click.shell_completion import get_completion_class

    from labctl.cli import cli

    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(cli, {}, "labctl", "_LABCTL_COMPLETE").source())
