"""The commands about the lab itself: up, down, reset, status, endpoints."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import keep_private, show
from labctl.cli.progress import Progress
from labctl.errors import Exit

if TYPE_CHECKING:
    from labctl.lab.replicas import Lag

verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show all that is said.")


@click.command()
@click.option(
    "--policy",
    type=click.Choice(["hardened", "baseline"]),
    help="The policy profile; it stays with the lab until another is given.",
)
@click.option(
    "--directory",
    type=click.Choice(["single", "replicated"]),
    help="One directory, or one and two read-only copies that Postfix asks; it stays, too.",
)
@verbose_option
@pass_app
def up(app: App, *, policy: str | None, directory: str | None, verbose: bool) -> None:
    """Bring the lab up: build what is missing, start, seed, and see every server answer.

    Done twice it is quick and changes nothing.
    """
    for warning in app.lab.warnings():
        click.echo(f"Warning: {warning}", err=True)
    with Progress(verbose=verbose) as progress:
        came = app.lab.up(progress, policy=policy, directory=directory)
    endpoints = app.lab.endpoints()
    click.echo(
        f"The lab {app.name!r} is up ({endpoints.policy}) in {progress.seconds:.1f} s; "
        f"directory: {came.seed}.",
        err=True,
    )
    _show_endpoints(app, "table", secrets=False)


@click.command()
@click.option("--volumes", is_flag=True, help="Also delete mail, entries, passwords and the CA.")
@click.option("--all", "every", is_flag=True, help="All labs of this directory, not just one.")
@pass_app
def down(app: App, *, volumes: bool, every: bool) -> None:
    """Stop the lab and remove its containers; mail and entries stay unless --volumes is given."""
    from labctl.lab.lab import Lab
    from labctl.lab.state import lab_names

    labs = [Lab(app.settings, name) for name in lab_names(app.settings)] if every else [app.lab]
    for lab in labs:
        with Progress() as progress:
            progress.step(f"stopping the lab {lab.name!r}")
            lab.down(volumes=volumes)
        click.echo(f"The lab {lab.name!r} is down in {progress.seconds:.1f} s.", err=True)


@click.command()
@verbose_option
@pass_app
def reset(app: App, *, verbose: bool) -> None:
    """Put directory and mailboxes back to the seed, the policy in force; everything runs on."""
    with Progress(verbose=verbose) as progress:
        came = app.lab.reset(progress)
    click.echo(
        f"The lab {app.name!r} is as seeded in {progress.seconds:.1f} s; directory: {came.seed}.",
        err=True,
    )


@click.command()
@pass_app
def heal(app: App) -> None:
    """Mend what a scenario has broken on purpose and, killed, could not mend itself.

    Every scenario mends its faults at its end; after one that was killed each command says what is
    broken still. What is well, or is being broken by a command that runs, is left alone.
    """
    found = app.lab.heal()
    for service, kinds in found.items():
        click.echo(f"{service} is well again (it was broken: {', '.join(kinds)}).", err=True)
    if not found:
        click.echo("Nothing was left broken.", err=True)


@click.command()
@output_option
@pass_app
def status(app: App, *, output: str) -> int:
    """Show each service's state; exits with 3 unless all are up and healthy."""
    from labctl.lab.shadow import is_on

    record = app.lab.files.require()
    servers = set(record.servers)
    states = app.lab.containers.states()
    healthy = {row.service for row in states if row.well}
    lags = app.lab.containers.lags()
    rehearsed = "postfix" in healthy and is_on(app.lab.containers)
    data = {
        "lab": app.name,
        "slot": record.slot,
        "policy": record.policy,
        "shadow": rehearsed,
        "healthy": healthy >= servers,
        "services": [asdict(row) for row in states],
        "directory": record.directory,
        "max_lag_seconds": record.max_lag,
        "replicas": [_as_data(lag) for lag in lags],
    }
    rows = [[row.service, row.state, row.health, row.started] for row in states]
    missing = servers - {row.service for row in states}
    rows += [[service, "absent", "-", "-"] for service in sorted(missing)]
    columns = ["SERVICE", "STATE", "HEALTH", "STARTED (UTC)"]
    if lags:
        behind = {lag.service: str(lag) for lag in lags}
        columns, rows = [*columns, "BEHIND"], [[*row, behind.get(row[0], "-")] for row in rows]
    show(output, data, columns, rows)
    if rehearsed:
        click.echo("Warning: shadow is on: the policy warns, and refuses nobody.", err=True)
    return int(Exit.OK if healthy >= servers else Exit.NOT_READY)


def _as_data(lag: "Lag") -> dict[str, object]:
    return {"service": lag.service, "lag_seconds": lag.seconds, "age_seconds": lag.age}


@click.command()
@output_option
@click.option("--secrets", is_flag=True, help="With all logins and passwords.")
@pass_app
def endpoints(app: App, *, output: str, secrets: bool) -> None:
    """Print where the lab is reached; with --secrets, also as whom.

    A file that the output goes to with --secrets is made readable by you alone (mode 0600), as
    --endpoints wants it.
    """
    if secrets:
        keep_private(sys.stdout)
    _show_endpoints(app, output, secrets=secrets)


def _show_endpoints(app: App, output: str, *, secrets: bool) -> None:
    found = app.lab.endpoints()
    data = found.to_dict(secrets=secrets)
    rows = [(name, str(e), str(e.tls)) for name, e in found.services.items()]
    if secrets:
        accounts = found.accounts.values()
        rows += [(who.login, who.address, who.password.reveal()) for who in accounts]
    show(output, data, ("SERVICE", "ADDRESS", "TLS"), rows)
