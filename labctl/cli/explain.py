"""The command that says why: `labctl explain`."""

from typing import TYPE_CHECKING

import click

from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import show
from labctl.errors import Exit, UsageError

if TYPE_CHECKING:
    from labctl.endpoints import Account, Endpoints
    from labctl.events import Event

PORTS = ("587", "465", "25")


@click.command()
@click.argument("account")
@click.option("--from", "sender", help='Envelope sender; "" is the null sender. [default: own]')
@click.option("--to", "recipient", help="Envelope recipient. [default: the account's own address]")
@click.option("--port", type=click.Choice(PORTS), default="587", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Show the probe's wire.")
@output_option
@pass_app
def explain(
    app: App,
    *,
    account: str,
    sender: str | None,
    recipient: str | None,
    port: str,
    verbose: bool,
    output: str,
) -> int:
    """Say why ACCOUNT may or may not send, restriction by restriction.

    Reads the running Postfix, asks its maps and the directory, predicts what becomes of the
    transaction, and probes it: signed in as ACCOUNT (on port 25 without), up to the reply to DATA
    and no further, so nothing is delivered. The end of data is predicted alone. Exits with 1 if
    prediction and probe differ.
    """
    from labctl.explain.addresses import checked
    from labctl.explain.explanation import explain as explained
    from labctl.explain.model import Transaction
    from labctl.explain.render import data, text

    if recipient == "":
        raise UsageError("a recipient cannot be empty", "Leave --to out for the account's own.")
    endpoints = app.lab.endpoints()
    person = _account(endpoints, account)
    transaction = Transaction(
        None if port == "25" else person.login,
        checked(_address(endpoints, person.address if sender is None else sender)),
        checked(_address(endpoints, recipient or person.address)),
        int(port),
    )

    def listen(event: "Event") -> None:
        if verbose:
            _tell(event)

    result = explained(endpoints, person, transaction, app.lab.containers.execute, emit=listen)
    if output == "table":
        click.echo("\n".join(text(result)))
    else:
        show(output, data(result), (), ())
    return int(Exit.OK if result.agrees else Exit.EXPECTATION)


def _tell(event: "Event") -> None:
    from labctl.events import Wire

    if isinstance(event, Wire):
        click.echo(f"{event.mark:<3} {event.line}", err=True)


def _account(endpoints: "Endpoints", name: str) -> "Account":
    account = endpoints.accounts.get(name)
    if account is None:
        raise UsageError(f"no password of {name!r} is known here", "See `labctl user list`.")
    return account


def _address(endpoints: "Endpoints", name: str) -> str:
    """Return the address that a name means, as scenarios name addresses; others stay as given."""
    from labctl.scenario.names import account_of, address_of

    account = endpoints.accounts.get(account_of(name) or "")
    return name if account is None else address_of(name, account)
