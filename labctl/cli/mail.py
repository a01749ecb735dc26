"""The commands for mail by hand: send, inbox."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labctl.cli.app import App, endpoints_option, output_option, pass_app
from labctl.cli.output import show
from labctl.errors import ExpectationFailed, UsageError

if TYPE_CHECKING:
    from labctl.events import Event
    from labctl.scenario.session import Session


def _session(app: App, endpoints_file: Path | None, *, verbose: bool) -> "Session":
    from labctl.events import Check, Command, Wire
    from labctl.scenario.session import Session, new_run_id

    def listen(event: "Event") -> None:
        if verbose and isinstance(event, Wire):
            click.echo(f"{event.mark:<3} {event.line}", err=True)
        if verbose and isinstance(event, Command):
            click.echo(f"By hand:\n{event.line}\n", err=True)
        if isinstance(event, Check) and event.what == "reply":
            click.echo(event.seen)

    return Session(
        app.endpoints(endpoints_file),
        new_run_id(),
        listen,
        app.settings.wait_seconds,
        None if endpoints_file else app.lab.containers,
    )


@click.command()
@click.option("--from", "sender", required=True, help="An account, or an address outside.")
@click.option("--to", "recipients", required=True, multiple=True, help="May be repeated.")
@click.option("--subject", default="A message by hand", show_default=True)
@click.option("--body", default="Sent with labctl send.\n", help="The text.")
@click.option("--via", type=click.Choice(["submission", "submissions", "relay"]))
@click.option("--envelope-from", help='Another envelope sender; "" is the null sender.')
@click.option("--header-from", help="Another From in the header.")
@click.option("-v", "--verbose", is_flag=True, help="Show the same by hand, and the wire.")
@endpoints_option
@pass_app
def send(
    app: App,
    /,
    *,
    sender: str,
    recipients: tuple[str, ...],
    verbose: bool,
    endpoints_file: Path | None,
    **given: Any,
) -> None:
    """Send one message and print the reply that decided; exits with 1 if it is refused."""
    from pydantic import ValidationError

    from labctl.scenario.steps.send import Send

    options = {name: value for name, value in given.items() if value is not None}
    try:
        step = Send.model_validate({"from": sender, "to": recipients, **options})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    session = _session(app, endpoints_file, verbose=verbose)
    try:
        step.perform(session)
    except ExpectationFailed as error:
        raise ExpectationFailed(error.what, f"See `{step.further(session)}`.") from error
    finally:
        session.close()


@click.command()
@click.argument("account")
@click.option("--count", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--show", "uid", type=click.IntRange(min=1), help="Print this message whole.")
@click.option("-v", "--verbose", is_flag=True, help="Show the wire.")
@output_option
@endpoints_option
@pass_app
def inbox(
    app: App,
    *,
    account: str,
    count: int,
    uid: int | None,
    verbose: bool,
    output: str,
    endpoints_file: Path | None,
) -> None:
    """List the newest messages of an account; `outside` holds what left for other domains."""
    session = _session(app, endpoints_file, verbose=verbose)
    try:
        mailbox = session.mailbox(account)
        mails = mailbox.newest(count)
        if uid is not None:
            click.echo(mailbox.fetch(uid).decode("utf-8", "backslashreplace"))
            return
    finally:
        session.close()
    data = {
        "account": account,
        "messages": [
            {
                "uid": mail.uid,
                "date": mail.date,
                "from": mail.sender,
                "to": mail.to,
                "subject": mail.subject,
                "message_id": mail.message_id,
            }
            for mail in mails
        ],
    }
    rows = [(str(mail.uid), mail.date, mail.sender, mail.to, mail.subject) for mail in mails]
    show(output, data, ("UID", "DATE", "FROM", "TO", "SUBJECT"), rows)
