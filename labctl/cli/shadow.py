"""The command that rehearses the policy: `labctl shadow`."""

from typing import TYPE_CHECKING, Any

import click

from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import show
from labctl.errors import LabNotReady

if TYPE_CHECKING:
    from labctl.lab.shadow import Blocked, Rehearsal

HEADER = ("ACCOUNT", "FROM", "TO", "SERVICE", "COUNT", "LAST (UTC)", "WOULD HAVE BEEN TOLD")


@click.command()
@click.option("--on/--off", "switch", default=None, help="Rehearse the policy, or enforce it.")
@output_option
@pass_app
def shadow(app: App, *, switch: bool | None, output: str) -> None:
    """Report whose mail the policy would have refused while it was only rehearsed.

    With --on Postfix warns of whom the policy would refuse, and takes his mail; without signing in,
    from an address of somebody else's, or to where mail may not go, it is refused as before. With
    --off it refuses again, as it does after `up`, `reset` or a start. Either way this one switch
    reloads Postfix and closes the sessions that are open.

    The report is of the last time that it was on, and of mail that was taken: what was refused for
    another reason is not in it.
    """
    from labctl.lab import shadow as lab

    command = app.lab.files.command
    if switch is None:
        found = lab.rehearsal(app.lab.containers.mail_log())
        show(output, _data(found), HEADER, [_row(each) for each in found.blocked])
        click.echo(_said(found, command), err=True)
        return
    app.lab.files.require()
    with app.lab.files.locked(f"{command} shadow --{'on' if switch else 'off'}"):
        containers = app.lab.containers
        reloaded = lab.switch(containers, on=switch)
        if not switch and lab.is_on(containers):
            raise LabNotReady(
                "warn_if_reject still stands in Postfix's configuration, and not by shadow",
                f"`{command} down` and `{command} up` render it anew.",
            )
    click.echo(_ON.format(command) if switch else _OFF, err=True)
    click.echo("Postfix was reloaded." if reloaded else "It was so already.", err=True)


_ON = (
    "Shadow is on: the policy warns, and refuses nobody. `{0} shadow` reports whom it would\n"
    "have refused, `{0} shadow --off` lets it refuse."
)
_OFF = "Shadow is off: whom the policy refuses is refused."


def _said(found: "Rehearsal", command: str) -> str:
    if not found.since:
        return f"Shadow has not been on: `{command} shadow --on` rehearses the policy."
    people = len({each.account for each in found.blocked})
    who = "1 account" if people == 1 else f"{people} accounts"
    until = f"was on until {_second(found.until)}" if found.until else "is on"
    return f"Shadow {until}, since {_second(found.since)}: {who} would have been refused."


def _second(at: str) -> str:
    return at.partition(".")[0]


def _data(found: "Rehearsal") -> dict[str, Any]:
    return {
        "shadow": bool(found.since and not found.until),
        "since": found.since or None,
        "until": found.until or None,
        "blocked": [_blocked(each) for each in found.blocked],
    }


def _blocked(each: "Blocked") -> dict[str, Any]:
    reply = each.outcome.reply
    return {
        "account": each.account or None,
        "from": each.sender,
        "to": each.recipient,
        "service": each.service,
        "stage": str(each.outcome.stage),
        "code": reply.code,
        "enhanced": reply.enhanced,
        "text": reply.text,
        "count": each.count,
        "last": each.last,
    }


def _row(each: "Blocked") -> tuple[str, ...]:
    told = "?" if each.sender is None else "several"
    return (
        each.account or "-",
        "?" if each.sender is None else f"<{each.sender}>",
        told if each.recipient is None else f"<{each.recipient}>",
        each.service,
        str(each.count),
        each.last[5:16].replace("T", " "),  # month, day, hour, minute
        f"{each.outcome}: {each.outcome.reply.text}",
    )
