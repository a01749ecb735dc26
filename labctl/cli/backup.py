"""The commands that keep a whole lab in a file: backup, restore."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.app import App, pass_app
from labctl.cli.progress import Progress
from labctl.errors import HostProblem, UsageError

if TYPE_CHECKING:
    from labctl.lab.backup.form import Statement


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write it in place of a FILE that is there.")
@pass_app
def backup(app: App, *, file: Path, force: bool) -> None:
    """Write the lab to FILE: directory, mailboxes, queue, passwords, CA and settings.

    Postfix and Dovecot stand still meanwhile, their sessions with them, and go on at the end, also
    after an interrupt. Prints the SHA-256 of the file: keep it apart, and compare before a restore.
    """
    from labctl.lab.backup.taking import take

    if file.is_dir() or not file.absolute().parent.is_dir():
        raise UsageError(f"{file} cannot be written", "Name a file in a directory that is there.")
    if file.exists() and not file.is_file():  # such as /dev/null, which root would replace
        raise UsageError(f"{file} is no ordinary file", "Name one, or what is not there yet.")
    if file.exists() and not force:
        raise UsageError(f"{file} is there already", "Choose another name, or say --force.")
    with Progress() as progress:
        statement, digest = take(app.lab, file.absolute(), progress)
    click.echo(f"{digest}  {file}")
    click.echo(f"{file} is {_said(statement)}, in {progress.seconds:.1f} s.", err=True)
    click.echo("It holds every password of the lab, and the key of its CA.", err=True)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Only see whether it could be restored.")
@click.option("--sha256", "wanted", help="What `backup` printed; another file is refused.")
@pass_app
def restore(app: App, *, file: Path, check: bool, wanted: str | None) -> None:
    """Bring up the lab that FILE holds, under a name and in a slot that are free.

    It has people, passwords, CA, policy, entries, mailboxes with their flags and UIDs, and queue of
    the lab that was kept; slot, ports and subnet are this host's. Before anything is made, all of
    FILE is read and checked; what does not come up in the end is removed.
    """
    from labctl.lab.backup.examining import examine
    from labctl.lab.backup.form import require_settings
    from labctl.lab.backup.restoring import require_empty, restore

    require_empty(app.lab)
    files = app.lab.files
    try:
        with files.locked("labctl restore"), files.workplace() as work, Progress() as progress:
            progress.step(f"reading {file}")
            found = examine(file, work)
            if wanted is not None and found.sha256 != wanted.lower():
                raise UsageError(f"{file} is another file: its SHA-256 is {found.sha256}")
            require_settings(found.statement, app.settings)
            if not check:
                restore(app.lab, found, work, progress)
    except OSError as error:
        raise HostProblem(f"the backup cannot be unpacked: {error}") from error
    if check:
        click.echo(f"{file} is {_said(found.statement)}. It can be restored.", err=True)
        return
    command = app.lab.files.command
    click.echo(
        f"The lab {app.name!r} is up in {progress.seconds:.1f} s: {_said(found.statement)}.\n"
        f"`{command} endpoints` says where.",
        err=True,
    )


def _said(statement: "Statement") -> str:
    return (
        f"the lab {statement.lab!r} ({statement.policy}) as of {statement.made}: "
        f"{statement.people} people, {statement.messages} messages, {statement.queued} in the queue"
    )
