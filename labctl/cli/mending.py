"""The commands that mend what `labctl doctor` finds: queue, mailbox."""

from typing import TYPE_CHECKING, Any

import click

from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import show
from labctl.errors import UsageError

if TYPE_CHECKING:
    from labctl.lab.queue import Waiting

HEADER = ("ID", "QUEUE", "SINCE (UTC)", "SIZE", "FROM", "TO", "WHY")


@click.command()
@click.option("--flush", "flushed", is_flag=True, help="Have all of it tried now.")
@click.option("--release", "released", is_flag=True, help="Take mail off hold first.")
@output_option
@pass_app
def queue(app: App, *, flushed: bool, released: bool, output: str) -> None:
    """Show what waits in Postfix's queue: since when, and why.

    A lab tries again each second by itself, so what is deferred for longer has a cause that lasts:
    WHY has the words of the server that it was offered to.
    """
    from labctl.lab import queue as lab

    containers = app.lab.containers
    if released:
        lab.release(containers)
    if flushed or released:
        lab.flush(containers)
        click.echo("Postfix tries it all now; what still waits is shown as it was.", err=True)
    found = lab.waiting(containers)
    rows = [_row(each) for each in found]
    show(output, {"messages": [_data(each) for each in found]}, HEADER, rows)


def _row(each: "Waiting") -> list[str]:
    to = ", ".join(recipient.address for recipient in each.recipients)
    since = f"{each.since:%m-%d %H:%M:%S}"
    return [
        each.queue_id,
        each.queue,
        since,
        str(each.size),
        each.sender or "<>",
        to,
        each.why,
    ]


def _data(each: "Waiting") -> dict[str, Any]:
    return {
        "queue_id": each.queue_id,
        "queue": each.queue,
        "since": each.since.isoformat(),
        "size": each.size,
        "from": each.sender,
        "to": [{"address": who.address, "why": who.why} for who in each.recipients],
        "why": each.why,
    }


@click.group()
def mailbox() -> None:
    """Mend a mailbox that `labctl doctor` finds wrong."""


@mailbox.command()
@click.argument("name")
@pass_app
def reindex(app: App, *, name: str) -> None:
    """Make the indices of NAME's mailbox anew; messages, flags and UIDs stay.

    Whatever in the mailbox belongs to somebody else is given back to its owner.
    """
    known = app.lab.endpoints().accounts
    if name not in known:
        raise UsageError(f"there is no account {name!r}", "See `labctl user list`.")
    with app.lab.files.locked(f"{app.lab.files.command} mailbox reindex {name}"):
        count = app.lab.containers.execute("dovecot", ["maildirs", "reindex", known[name].login])
    click.echo(f"{name}: {count.strip()} messages.")
