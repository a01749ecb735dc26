"""The command that prints what the servers log: as it is, or one account's or message's thread."""

import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from labctl.cli.app import App, pass_app
from labctl.endpoints import SCHEMA
from labctl.errors import Exit, UsageError

if TYPE_CHECKING:
    from labctl.lab.spoken import Said, Subject
    from labctl.lab.thread import Strand, Thread

# As labctl.lab.state has them, which is imported where it is needed.
_SERVICE = click.Choice(["openldap", "postfix", "dovecot", "milter", "replica1", "replica2"])


@click.command()
@click.argument("services", nargs=-1, type=_SERVICE)
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
@click.option("--tail", type=click.IntRange(min=0), help="Only this many lines of each.")
@click.option("--account", help="Only what is about this account, or this address, joined.")
@click.option("--message", help="Only what is about this message: a Message-ID, or a queue id.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print a thread; json: an object a line.",
)
@pass_app
def logs(
    app: App,
    *,
    services: tuple[str, ...],
    follow: bool,
    tail: int | None,
    account: str | None,
    message: str | None,
    output: str,
) -> int:
    """Print what the servers log.

    With --account or --message: the lines of Postfix, Dovecot and the milter about it, in the order
    of time, and with --follow the directory's operations, too. slapd logs none by itself, as every
    line costs it some 25 µs: its log is turned on (olcLogLevel: stats) for as long as this follows,
    and off again at the end, also after an interrupt.

    An operation of the directory is the account's if its filter or its DN names it. Nothing tells
    for which transaction Postfix asked: a message is given what was asked, while it was on its way,
    about its sender and recipients; in JSON the reason (`why`) is `name and time` then.
    """
    if account is None and message is None:
        if output != "text":
            raise UsageError("-o json prints a thread", "Give --account or --message with it.")
        return _as_they_are(app, services, follow=follow, tail=tail)
    if services or (account is not None and message is not None):
        raise UsageError(
            "--account and --message choose the lines by themselves", "Give one of them, alone."
        )
    subject = _account(app, account) if account is not None else _message(message or "")
    _thread(app, subject, account or message or "", follow=follow, tail=tail, output=output)
    return int(Exit.OK)


def _as_they_are(app: App, services: tuple[str, ...], *, follow: bool, tail: int | None) -> int:
    servers = app.lab.files.require().servers
    if missing := [service for service in services if service not in servers]:
        raise UsageError(
            f"the lab {app.name!r} has no {' and no '.join(missing)}",
            f"It has {', '.join(servers)}; `labctl up --directory replicated` adds replicas.",
        )
    arguments = ["--no-log-prefix"] if len(services) == 1 else []
    arguments += ["--follow"] if follow else []
    arguments += [] if tail is None else ["--tail", str(tail)]
    code = app.lab.project.follow_logs([*arguments, *services])
    return int(Exit.OK if code == 0 else Exit.HOST)


def _account(app: App, name: str) -> "Subject":
    from labctl.lab.spoken import Subject

    endpoints = app.lab.endpoints()
    for who in endpoints.accounts.values():
        if name.lower() in {each.lower() for each in (who.login, who.address, *who.aliases)}:
            dn = f"uid={who.login},ou=users,{endpoints.base_dn}"
            return Subject.account(who.login, (who.address, *who.aliases), dn)
    if "@" in name:
        return Subject.account("", (name,), "")
    raise UsageError(f"there is no account {name!r}", "See `labctl user list`; an address will do.")


def _message(name: str) -> "Subject":
    from labctl.lab.spoken import Subject

    if "@" not in name and not name.isalnum():
        raise UsageError(
            f"{name!r} is neither a Message-ID nor a queue id",
            "Postfix's log has both: `labctl logs postfix`.",
        )
    return Subject.mail(name)


def _thread(
    app: App, subject: "Subject", name: str, *, follow: bool, tail: int | None, output: str
) -> None:
    from labctl.lab.following import Following, history, now, operations
    from labctl.lab.thread import Thread

    thread = Thread(subject)
    containers = app.lab.containers
    with ExitStack() as stack:
        told = stack.enter_context(operations(containers)) if follow else []
        began = now()
        found = _joined(thread, (said for said in history(containers) if said.at <= began))
        _print(found if tail is None else found[len(found) - min(tail, len(found)) :], output)
        if not follow:
            if not found:
                click.echo(f"The logs have nothing about {name}.", err=True)
            return
        for silent in (each.directory for each, tells in told if not tells):
            click.echo(f"Warning: {silent} does not tell its operations: it is away.", err=True)
        click.echo(
            f"Following {name} until Ctrl-C; meanwhile the directory tells its operations.",
            err=True,
        )
        for burst in Following(containers, [each for each, _ in told], began).bursts():
            _print(_joined(thread, burst), output)


def _joined(thread: "Thread", lines: Iterable["Said"]) -> list["Strand"]:
    return sorted((each for said in lines for each in thread.read(said)), key=lambda each: each.at)


def _print(strands: Iterable["Strand"], output: str) -> None:
    from labctl.report.wording import visible

    for strand in strands:
        if output == "json":
            click.echo(json.dumps({"schema": SCHEMA, **asdict(strand)}))
        else:
            about = f"{strand.about}  " if strand.about else ""
            text = strand.text.removeprefix(f"{strand.about}: ")
            click.echo(
                visible(f"{_time(strand.at)}  {strand.service:<8}  {strand.program}  {about}{text}")
            )
    sys.stdout.flush()


def _time(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%m-%d %H:%M:%S.%f}"[:-3]
