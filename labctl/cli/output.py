"""How reading commands print: a table for people, JSON and YAML for scripts."""

import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import click

from labctl.endpoints import SCHEMA
from labctl.report.wording import visible

Row = Sequence[str]


def show(output: str, data: Mapping[str, Any], header: Row, rows: Sequence[Row]) -> None:
    """Print `data` as JSON or YAML with its schema, or `rows` as a table."""
    whole = {"schema": SCHEMA, **data}
    rows = [[visible(cell) for cell in row] for row in rows]  # what a stranger wrote among them
    if output == "json":
        click.echo(json.dumps(whole, indent=2))
    elif output == "yaml":
        from ruamel.yaml import YAML

        YAML(typ="safe", pure=True).dump(json.loads(json.dumps(whole)), sys.stdout)
    elif sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        _rich_table(header, rows)
    else:
        _plain_table(header, rows)


def _rich_table(header: Row, rows: Sequence[Row]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _plain_table(header: Row, rows: Sequence[Row]) -> None:
    every = [header, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    for row in every:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def keep_private(stream: TextIO) -> None:
    """Make the file that a stream goes to, if it is one of ours, readable by its owner alone."""
    try:
        descriptor = stream.fileno()
        status = os.fstat(descriptor)
    except (OSError, ValueError):  # it goes to no file at all
        return
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)
