"""The command for the second terminal on a stage: `labctl watch`."""

import sys
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.app import App, endpoints_option, pass_app
from labctl.cli.presenting import Presenting, Seconds, record_option
from labctl.errors import UsageError

if TYPE_CHECKING:
    from labctl.endpoints import Account, Endpoints


@click.command()
@click.argument("account", required=False)
@click.option(
    "--interval",
    type=Seconds(),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="The time between two transactions; a change of the entry brings one at once.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many transactions.")
@record_option
@endpoints_option
@pass_app
def watch(
    app: App,
    *,
    account: str | None,
    interval: float,
    count: int | None,
    record: Path | None,
    endpoints_file: Path | None,
) -> None:
    """Watch ACCOUNT: what the directory says, what the servers do, and the time in between.

    Reads the entry, signs in and goes as far as the reply to RCPT, over and over; nothing is sent
    and nothing changed. On a terminal two panes, in a pipe a line for each change. Without ACCOUNT
    the stack's first. Ends with --count, or with Ctrl-C (exit code 130).
    """
    from labctl.report.ink import wants_colour
    from labctl.stage.panes import Lines, Panes
    from labctl.stage.watching import Watch

    endpoints = app.endpoints(endpoints_file)
    person = _account(endpoints, account)
    with ExitStack() as stack:
        watching = stack.enter_context(closing(Watch(endpoints, person)))
        presenting = Presenting(step=False, pace=None, record=record, big=False)
        stack.enter_context(presenting.recorded(f"watch {person.name}"))
        if wants_colour(sys.stdout):
            title = f"{person.name} · lab {endpoints.lab} · policy {endpoints.policy}"
            view: Panes | Lines = stack.enter_context(Panes(sys.stdout, title))
        else:
            view = stack.enter_context(Lines(sys.stdout))
        for look in islice(watching.looks(interval), count):
            view.show(look)


def _account(endpoints: "Endpoints", name: str | None) -> "Account":
    known = endpoints.accounts
    if not known:
        raise UsageError("the endpoints name no accounts", "Add accounts to the endpoints file.")
    found = known.get(next(iter(known)) if name is None else name)
    if found is None:
        raise UsageError(f"no password of {name!r} is known here", "See `labctl user list`.")
    return found
