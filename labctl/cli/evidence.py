"""The commands about evidence that was kept: verify."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import show
from labctl.errors import Exit, UsageError

if TYPE_CHECKING:
    from labctl.evidence.verify import Examination


@click.group()
def evidence() -> None:
    """Look at evidence: `labctl scenario NAME --evidence FILE.tgz` keeps it."""


@evidence.command()
@click.argument("file", type=click.Path(path_type=Path))
@output_option
@pass_app
def verify(app: App, *, file: Path, output: str) -> int:  # noqa: ARG001 - every command has it
    """Say whether the bundle FILE is whole: every member as listed, and nothing else in it.

    Nothing is unpacked. Exits with 1 if it is not whole, with 2 if it is no evidence bundle.
    """
    from labctl.evidence.verify import LARGEST, examine
    from labctl.report.wording import visible

    if file.exists() and not file.is_file():
        raise UsageError(f"{file} is no file")
    try:
        if file.stat().st_size > LARGEST:
            raise UsageError(f"{file} is larger than any evidence bundle: {LARGEST:,} bytes")
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    found = examine(data)
    rows = [(each.state, each.sha256 or "-", each.name) for each in found.members]
    show(output, _data(file, found), ("STATE", "SHA-256", "MEMBER"), rows)
    for problem in found.problems:
        click.echo(f"labctl: {visible(problem)}", err=True)
    word = f"whole: {len(found.members)} members" if found.whole else "NOT whole"
    click.echo(f"{file} is {word}. Its SHA-256 is {found.sha256}", err=True)
    return int(Exit.OK if found.whole else Exit.EXPECTATION)


def _data(file: Path, found: "Examination") -> dict[str, Any]:
    return {
        "file": str(file),
        "sha256": found.sha256,
        "name": found.name,
        "whole": found.whole,
        "problems": found.problems,
        "members": [asdict(each) for each in found.members],
    }
