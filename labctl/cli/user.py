"""The commands about people: `labctl user …`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from labctl.cli.app import App, endpoints_option, output_option, pass_app, yes_option
from labctl.cli.output import show
from labctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from labctl.endpoints import Endpoints
    from labctl.events import Event
    from labctl.protocols.directory import Directory
    from labctl.protocols.entry import Entry, PolicyChange
    from labctl.scenario.by_hand import ByHand

F = TypeVar("F", bound=Callable[..., Any])
HEADER = ("NAME", "ADDRESS", "MAY SEND", "FLAG", "STATUS", "ALIASES")


@click.group()
def user() -> None:
    """Show and change the people of the directory."""


def _open(app: App, endpoints_file: Path | None) -> "Directory":
    from labctl.protocols.directory import Directory

    endpoints = app.endpoints(endpoints_file)
    return Directory.open(endpoints, endpoints.policy_admin, emit=_tell_change)


def _tell_change(event: "Event") -> None:
    from labctl.events import Change

    if isinstance(event, Change):
        click.echo(event.ldif, err=True)
        click.echo(f"# {event.seconds * 1000:.1f} ms", err=True)


def _everybody(directory: "Directory") -> "Iterator[tuple[str, Entry]]":
    """Yield all people of a lab; of a directory laid out otherwise, the accounts that we know."""
    from labctl.endpoints import People

    if directory.endpoints.people == People():
        for entry in directory.people():
            yield entry.first("uid") or "", entry
    else:
        for name in directory.endpoints.accounts:
            try:
                yield name, directory.person(name)
            except UsageError as error:  # the others are there all the same
                click.echo(f"labctl: {error.what}", err=True)


def _row(directory: "Directory", name: str, entry: "Entry") -> dict[str, Any]:
    account = directory.endpoints.accounts.get(name)
    names = (directory.attributes.send_allowed, directory.attributes.status)
    return {
        "name": name,
        "dn": entry.dn,
        "address": entry.first("mail") or (account.address if account else None),
        "aliases": list(entry.all("mailLocalAddress") or (account.aliases if account else ())),
        "may_send": directory.policy(entry).may_send,
        **{name: entry.first(name) for name in names if name},
    }


def _cells(directory: "Directory", row: dict[str, Any]) -> list[str]:
    return [
        str(row["name"]),
        str(row["address"]),
        "yes" if row["may_send"] else "no",
        row.get(directory.attributes.send_allowed) or "absent",
        row.get(directory.attributes.status) or "absent",
        ", ".join(row["aliases"]) or "-",
    ]


@user.command("list")
@output_option
@endpoints_option
@pass_app
def list_(app: App, *, output: str, endpoints_file: Path | None) -> None:
    """List everybody with the policy attributes and what they come to."""
    with _open(app, endpoints_file) as directory:
        rows = [_row(directory, name, entry) for name, entry in _everybody(directory)]
        show(output, {"users": rows}, HEADER, [_cells(directory, row) for row in rows])


@user.command("show")
@click.argument("name")
@click.option("--password", "only_password", is_flag=True, help="Print the password, only that.")
@output_option
@endpoints_option
@pass_app
def show_(
    app: App, *, name: str, only_password: bool, output: str, endpoints_file: Path | None
) -> None:
    """Show one person: addresses, policy attributes, and what they come to."""
    if only_password:
        account = app.endpoints(endpoints_file).accounts.get(name)
        if account is None:
            raise UsageError(f"no password of {name!r} is known here", "See `labctl user list`.")
        click.echo(account.password.reveal())
        return
    with _open(app, endpoints_file) as directory:
        row = _row(directory, name, directory.person(name))
        show(output, {"user": row}, HEADER, [_cells(directory, row)])


def _by_hand(app: App, endpoints: "Endpoints") -> "ByHand":
    from labctl.scenario.by_hand import ByHand

    return ByHand(endpoints, None if endpoints.file else app.lab.containers.container_name)


verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Show the command that does the same by hand."
)


def _change(
    app: App,
    name: str,
    change: "PolicyChange",
    endpoints_file: Path | None,
    *,
    verbose: bool,
    yes: bool,
) -> None:
    with _open(app, endpoints_file) as directory:
        entry = directory.person(name)
        if endpoints_file:
            _ask(directory, name, entry, change, yes=yes)
        if verbose:
            hands = _by_hand(app, directory.endpoints)
            command = hands.change_policy(entry.dn, directory.values_of(change))
            click.echo(f"By hand:\n{command}\n", err=True)
        directory.set_policy(entry.dn, change)
        policy = directory.policy(directory.person(name))
    click.echo(f"{name} {'may' if policy.may_send else 'may not'} send.")


def _ask(
    directory: "Directory", name: str, entry: "Entry", change: "PolicyChange", *, yes: bool
) -> None:
    from labctl.cli.consent import ask

    lines = [
        f"  {attribute}: {', '.join(entry.all(attribute)) or 'absent'} → {''.join(new) or 'absent'}"
        for attribute, new in directory.values_of(change).items()
    ]
    ask([f"Will be changed, and stays so: {name}, {entry.dn}", *lines], yes=yes)


@user.command("set")
@click.argument("name")
@click.option("--send-allowed", type=click.Choice(["TRUE", "FALSE", "absent"]))
@click.option("--status", help="active, disabled, offboarded, or absent to remove it.")
@verbose_option
@endpoints_option
@yes_option
@pass_app
def set_(
    app: App,
    *,
    name: str,
    send_allowed: str | None,
    status: str | None,
    verbose: bool,
    endpoints_file: Path | None,
    yes: bool,
) -> None:
    """Set either policy attribute, or both."""
    given: PolicyChange = {"send_allowed": send_allowed, "status": status}
    change: PolicyChange = {
        key: None if value == "absent" else value
        for key, value in given.items()
        if value is not None
    }
    if not change:
        raise UsageError("there is nothing to set", "Give --send-allowed, --status or both.")
    names = app.endpoints(endpoints_file).attributes
    for kind in change:
        if not names.name(kind):
            raise UsageError(f"the stack has no attribute for {kind}")
    _change(app, name, change, endpoints_file, verbose=verbose, yes=yes)


@user.command()
@click.argument("name")
@verbose_option
@endpoints_option
@yes_option
@pass_app
def disable(app: App, *, name: str, verbose: bool, endpoints_file: Path | None, yes: bool) -> None:
    """Forbid somebody to send; the status stays as it is."""
    from labctl.protocols.entry import DISABLE

    _change(app, name, DISABLE, endpoints_file, verbose=verbose, yes=yes)


@user.command()
@click.argument("name")
@verbose_option
@endpoints_option
@yes_option
@pass_app
def enable(app: App, *, name: str, verbose: bool, endpoints_file: Path | None, yes: bool) -> None:
    """Reinstate somebody: active, and allowed to send."""
    from labctl.protocols.entry import ENABLE

    _change(app, name, ENABLE, endpoints_file, verbose=verbose, yes=yes)


@user.command()
@click.argument("name")
@verbose_option
@endpoints_option
@yes_option
@pass_app
def offboard(app: App, *, name: str, verbose: bool, endpoints_file: Path | None, yes: bool) -> None:
    """Offboard somebody: the status says so, and sending is over."""
    from labctl.protocols.entry import OFFBOARD

    _change(app, name, OFFBOARD, endpoints_file, verbose=verbose, yes=yes)


@user.command()
@click.argument("name")
@pass_app
def kick(app: App, *, name: str) -> None:
    """Close somebody's open IMAP and SMTP sessions; signing in anew is not prevented."""
    with _open(app, None) as directory:
        login = directory.person(name).first("uid") or name
    imap, smtp = app.lab.containers.kick(login)
    click.echo(f"{name}: {imap} IMAP and {smtp} SMTP sessions closed.")


@user.command()
@click.argument("name")
@click.option("--alias", "aliases", multiple=True, help="A secondary address; may be repeated.")
@pass_app
def add(app: App, *, name: str, aliases: tuple[str, ...]) -> None:
    """Add a person with a mailbox and a new password, until the next reset."""
    from labctl.lab.membership import add_person

    person = add_person(app.lab, name, aliases)
    command = f"{app.lab.files.command} user show {name} --password"
    click.echo(f"{name} is added as {person.address}; `{command}`.")


@user.command()
@click.argument("name")
@pass_app
def remove(app: App, *, name: str) -> None:
    """Remove a person and the mailbox; the seed's people come back with `up` and `reset`."""
    from labctl.lab.membership import remove_person

    remove_person(app.lab, name)
    click.echo(f"{name} is removed, mailbox included.")
