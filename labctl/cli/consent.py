"""Asking before a stack that labctl did not start is changed."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from labctl.errors import UsageError
from labctl.report.wording import visible

if TYPE_CHECKING:
    from labctl.endpoints import Endpoints
    from labctl.scenario.impact import Held
    from labctl.scenario.model import Scenario


def agree(endpoints: "Endpoints", scenarios: Iterable["Scenario"], *, yes: bool) -> None:
    """Say which entries and mailboxes the scenarios will touch, ask, and see that the changes are
    possible. Returns if they are wanted, or if there is nothing to ask about.

    Raises UsageError without a terminal and without `yes`, when an account's entry is not found,
    and when the policy_admin may not change it.
    """
    from labctl.protocols.directory import Directory
    from labctl.scenario.impact import held, require_rights, touches_of

    touches = touches_of(scenarios, endpoints)
    mail = [touch.whose for touch in touches if not touch.attribute]
    if len(mail) == len(touches):
        if mail:
            ask(_lines(endpoints, [], mail), yes=yes)
        return
    admin = endpoints.policy_admin
    with Directory.open(endpoints, admin, emit=lambda _: None) as directory:
        entries = held(touches, directory)
    ask(_lines(endpoints, entries, mail), yes=yes)
    # Another session: the directory may have closed the first one while it was thought over.
    with Directory.open(endpoints, admin, emit=lambda _: None) as directory:
        require_rights(entries, directory, who=admin.name if admin else "nobody")


def ask(lines: Iterable[str], *, yes: bool) -> None:
    """Print what is about to happen, and let a person at a terminal decide; `yes` has decided.

    Raises UsageError where nobody can be asked, and Abort at a no.
    """
    for line in lines:
        click.echo(visible(line), err=True)
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "there is no terminal to ask at, so nothing was touched",
            "Give --yes if this is what you want.",
        )
    if not click.confirm("Go on?", err=True):
        click.echo("Nothing was touched.", err=True)
        raise click.Abort


def _lines(endpoints: "Endpoints", entries: Sequence["Held"], mail: Sequence[str]) -> list[str]:
    home = f"@{endpoints.domain.lower()}"
    ours = [each for each in sorted(mail) if "@" not in each or each.lower().endswith(home)]
    others = sorted(set(mail) - set(ours))
    told = {
        "Will be changed, and put back at the end:": [_entry(each, endpoints) for each in entries],
        "Will receive test mail, which stays:": ours,
        f"Test mail for other domains, which leaves {endpoints.domain}:": others,
    }
    lines = [f"On the stack {endpoints.lab!r}, as {endpoints.file} describes it:"]
    for title, items in told.items():
        lines += [title, *(f"  {item}" for item in items)] if items else []
    return lines


def _entry(entry: "Held", endpoints: "Endpoints") -> str:
    policy = {endpoints.attributes.send_allowed, endpoints.attributes.status}
    shown = (
        f"{name} (now {', '.join(values) or 'absent'})" if name in policy else name
        for name, values in entry.values.items()
    )
    who = entry.dn if entry.whose == entry.dn else f"{entry.whose}, {entry.dn}"
    return f"{who}: {', '.join(shown)}"
