"""The commands that measure: bench with a command for each measurement, and compare."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.bench.measurements import TABLE
from labctl.cli.app import App, output_option, pass_app
from labctl.cli.meter import Meter
from labctl.cli.output import show
from labctl.errors import Exit

if TYPE_CHECKING:
    from labctl.bench.measurement import Measurement, Option
    from labctl.bench.result import Result

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def bench() -> None:
    """Measure a lab of its own: how soon a decision takes effect, what it costs, how it grows.

    Each measurement brings up what it needs and removes it at the end, prints a table, and keeps
    its figures in .lab/bench/. It exits with 1 if a limit is missed. Times of one machine say
    little about another: what counts are the ratios to a floor that was measured in the same run.
    """


def _command(measurement: "Measurement") -> click.Command:
    """Return the command of a measurement."""

    @pass_app
    def take(app: App, /, *, short: bool, plot: bool, output: str, **given: int | None) -> int:
        size = {
            each.name: _size(each, given[each.name], short=short) for each in measurement.options
        }
        return _take(app, measurement, size, output, plot=plot)

    options = [
        click.Option(
            [f"--{each.name.replace('_', '-')}"],
            type=click.IntRange(min=each.least),
            help=f"{each.about}  [default: {each.full:,}; short: {each.short:,}]",
        )
        for each in measurement.options
    ]
    short = click.Option(["--short"], is_flag=True, help="Measure less, in a minute or two.")
    plot = click.Option(
        ["--plot"], is_flag=True, help="Also draw PNG and SVG beside it (needs matplotlib)."
    )
    return output_option(
        click.Command(
            measurement.name,
            params=[*options, short, plot],
            help=measurement.about,
            callback=take,
        )
    )


def _size(option: "Option", given: int | None, *, short: bool) -> int:
    if given is not None:
        return given
    return option.short if short else option.full


for _each in TABLE:
    bench.add_command(_command(_each))


def _take(
    app: App, measurement: "Measurement", size: dict[str, int], output: str, *, plot: bool
) -> int:
    from labctl.bench.plot import draw, require_matplotlib
    from labctl.bench.result import write

    if plot:
        require_matplotlib()
    result = _taken(app, measurement, size)
    directory = app.settings.state / "bench"
    path = write(result, directory)
    drawn = (
        [path for each in result.charts for path in draw(each, directory / result.id)]
        if plot
        else []
    )
    _show_result(result, output)
    for each in (path, *drawn):
        click.echo(f"labctl: wrote {each}", err=True)
    return int(Exit.EXPECTATION if result.missed else Exit.OK)


def _taken(app: App, measurement: "Measurement", size: dict[str, int]) -> "Result":
    """Take a measurement; an interrupt ends it, and those that follow do not keep its lab."""
    from labctl.bench.figure import Chart, Figure
    from labctl.bench.measurement import Bench
    from labctl.bench.result import Result, machine
    from labctl.lab.provenance import tool_versions
    from labctl.scenario.interrupts import interrupts_once

    named = app.name != "default"
    settings = app.settings if named else replace(app.settings, slot=None)
    before, began = machine(), time.time()
    with Meter() as meter, interrupts_once():
        bench = Bench(settings, app.name if named else "bench", size, meter)
        found = list(measurement.measure(bench))
    return Result(
        bench=measurement.name,
        began=began,
        seconds=time.time() - began,
        size=size,
        machine=before,
        versions=tool_versions(app.lab),
        figures=tuple(each for each in found if isinstance(each, Figure)),
        charts=tuple(each for each in found if isinstance(each, Chart)),
    )


def _show_result(result: "Result", output: str) -> None:
    from labctl.bench.table import HEADER, rows

    show(output, result.to_dict(), HEADER, rows(result.figures))


@bench.command()
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE)
@output_option
def compare(before: Path, after: Path, output: str) -> None:
    """Print each figure of two results of one measurement as a ratio, with its spread.

    Where both have a floor, what is compared are their ratios to it, which say more than the values
    where machine or day differ. The spread is that of the 95 % confidence intervals of both: what
    differs by less is `same`. What was weighed or counted once has none: it is `unsure`, unless a
    limit holds in one of them only.
    """
    from labctl.bench.compare import compare as compared
    from labctl.bench.compare import differences
    from labctl.bench.result import read
    from labctl.bench.table import COMPARED, compared_rows

    old, new = read(before), read(after)
    found = compared(old, new)
    for each in differences(old, new):
        click.echo(f"labctl: {each}", err=True)
    keys = ("figure", "before", "after", "unit", "ratio", "spread", "change")
    values = [
        (
            each.name,
            each.before,
            each.after,
            each.unit,
            each.ratio,
            each.spread,
            each.change,
        )
        for each in found
    ]
    data = {"figures": [dict(zip(keys, row, strict=True)) for row in values]}
    show(output, data, COMPARED, compared_rows(found))
