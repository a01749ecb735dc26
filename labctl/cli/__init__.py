"""The command line: parse, wire, print, exit. One file per group of commands."""

import errno
import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from labctl import __version__
from labctl.cli.app import App
from labctl.cli.variables import named_as_typed, read_dotenv, variable
from labctl.errors import Exit, HostProblem, LabctlError

ROOT = Path(__file__).resolve().parents[2]

# Where each command lives; its module is imported when the command is asked for.
COMMANDS: Mapping[str, str] = {
    "up": "stack",
    "down": "stack",
    "reset": "stack",
    "status": "stack",
    "endpoints": "stack",
    "logs": "logs",
    "heal": "stack",
    "user": "user",
    "send": "mail",
    "inbox": "mail",
    "queue": "mending",
    "mailbox": "mending",
    "watch": "watch",
    "explain": "explain",
    "shadow": "shadow",
    "backup": "backup",
    "restore": "backup",
    "scenarios": "scenario",
    "scenario": "scenario",
    "check": "scenario",
    "report": "scenario",
    "evidence": "evidence",
    "doctor": "host",
    "version": "host",
    "prove": "prove",
    "bench": "bench",
    "completion": "host",
}

# A full or read-only disk, a missing right, something else in the place of a file.
_REFUSED = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS),
        *(errno.EACCES, errno.EPERM),
        *(errno.EISDIR, errno.ENOTDIR),
    }
)
_MENDING = ("heal", "up", "down")  # they need not be told


class _NobodyReads(Exception):
    """The pipe is closed that stdout goes to; click would make 1 of a BrokenPipeError."""


class _LateGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it says of its lab, it says by name."""
        try:
            return super().invoke(ctx)
        except LabctlError as error:
            error.for_lab(ctx.params["name"])
            raise
        except BrokenPipeError as error:
            raise _NobodyReads from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        return named_as_typed(getattr(import_module(f"labctl.cli.{module}"), cmd_name), cmd_name)


@click.command(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-n",
    "--name",
    envvar=variable("name"),
    default="default",
    show_default=True,
    help="Which lab.",
)
@click.version_option(__version__, prog_name="labctl", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, name: str) -> None:
    """Bring up the mail-policy lab and replay scenarios against it.

    LDAP is the policy engine, Postfix is the policy enforcer: one attribute in the directory
    stops a person from sending at once, while signing in and receiving go on.

    Every option can also be given as an environment variable, or in .env: LABCTL_NAME,
    LABCTL_SCENARIO_VERBOSE, LABCTL_USER_LIST_OUTPUT. Exit codes: 0 ok, 1 an expectation failed,
    2 usage, 3 the lab is not up or not well, 4 this host lacks something or another command has
    the lab, 5 a deadline passed, 6 invalid scenario, 130 interrupted, 141 nobody reads stdout.
    """
    ctx.obj = App(ROOT, dict(os.environ), name)
    if ctx.invoked_subcommand not in _MENDING:
        ctx.obj.tell_what_is_broken()


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; every error of ours becomes two lines."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        read_dotenv(ROOT, os.environ)
        result = cli.main(arguments, prog_name="labctl", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return int(Exit.USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("labctl: interrupted", err=True)
        return int(Exit.INTERRUPTED)
    except LabctlError as error:
        _tell(error)
        return int(error.exit_code)
    except (_NobodyReads, OSError) as error:
        return _ended_by(error)
    return int(result or Exit.OK)


def _ended_by(error: "_NobodyReads | OSError") -> int:
    """Return the exit code, having told what there is to tell; raises what is a mistake of ours."""
    if isinstance(error, _NobodyReads | BrokenPipeError):
        _say_no_more()
        return 128 + signal.SIGPIPE  # as a shell tells of other tools
    if error.errno == errno.EIO:  # of a terminal that was closed
        _say_no_more()
        return int(Exit.INTERRUPTED)
    if error.errno not in _REFUSED:
        raise error
    _tell(_refusal(error))
    return int(Exit.HOST)


def _refusal(error: OSError) -> LabctlError:
    where = f": {error.filename}" if error.filename else ""
    return HostProblem(
        f"this host does not let labctl write or read what it must: {error.strerror}{where}",
        "Make room or give the right, or set LAB_STATE_DIR to where there is both.",
    )


def _say_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: LabctlError) -> None:
    problems = getattr(error, "problems", None)
    text = "\n".join(problems) if problems else f"labctl: {error}"
    click.echo(text, err=True)
