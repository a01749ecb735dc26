"""The commands that measure: bench with a command for each measurement, and compare."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.bench.measurements import TABLE
from labctl.cli.app import App, output_option, pass_app
from labctl.cli.meter import Meter
from labctl.cli.output import show
from labctl.errors import Exit, LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.bench.figure import Chart, Figure
    from labctl.bench.measurement import Measurement, Option
    from labctl.bench.result import Result
    from labctl.lab.lab import Lab

_OURS = ("docs", "benchmarks/results")  # what writing down results changes: no other labctl
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def bench() -> None:
    """Measure a lab of its own: how soon a decision takes effect, what it costs, how it grows.

    Each measurement brings up what it needs and removes it at the end, prints a table, and keeps
    its figures and plots in .lab/bench/. It exits with 1 if a limit is missed. Times of one machine
    say little about another: what counts are the ratios to a floor that was measured in the same
    run.
    """


def _command(measurement: "Measurement") -> click.Command:
    """Return the command of a measurement."""

    @pass_app
    def take(
        app: App, /, *, short: bool, plot: bool | None, output: str, **given: int | None
    ) -> int:
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
        ["--plot/--no-plot"],
        default=None,
        help="Draw PNG and SVG beside it, or do not.  [default: draw if matplotlib is installed]",
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
    app: App,
    measurement: "Measurement",
    size: dict[str, int],
    output: str,
    *,
    plot: bool | None,
) -> int:
    from labctl.bench.plot import can_draw, require_matplotlib
    from labctl.bench.result import write

    if plot:
        require_matplotlib()
    directory = app.settings.state / "bench"
    result = _taken(app, measurement, size, lambda cut_short: _keep(cut_short, directory))
    path = write(result, directory)
    _show_result(result, output)
    click.echo(f"labctl: wrote {path}", err=True)
    if plot is None and not can_draw():
        _tell_how_to_draw()
    elif plot is not False:
        _draw(result, directory)
    return int(Exit.EXPECTATION if result.missed else Exit.OK)


def _draw(result: "Result", directory: Path) -> None:
    from labctl.bench.plot import draw

    for chart in result.charts:
        more = "" if chart.name == result.bench else f"-{chart.name}"
        for path in draw(chart, directory / f"{result.id}{more}"):
            click.echo(f"labctl: wrote {path}", err=True)


def _tell_how_to_draw() -> None:
    from labctl.bench.plot import INSTALL

    click.echo(f"labctl: no plot is drawn without matplotlib: {INSTALL}", err=True)


def _keep(cut_short: "Result", directory: Path) -> None:
    """Keep what was found before a measurement was cut short, and tell where."""
    from labctl.bench.result import write

    try:
        path = write(cut_short, directory)
    except OSError as error:  # what cut it short is what ends labctl
        click.echo(f"labctl: what was found is lost: {error}", err=True)
    else:
        click.echo(f"labctl: cut short; what was found is in {path}", err=True)


@dataclass(slots=True)
class _Servers:
    """Notes what the first lab was made of that a measurement is done with."""

    versions: dict[str, str] = field(default_factory=dict)

    def note(self, lab: "Lab") -> None:
        """Look at a lab, unless one was seen; that it cannot be told does not end a measurement."""
        from labctl.lab.provenance import running_servers

        if self.versions:
            return
        try:
            self.versions = running_servers(lab)
        except LabctlError as error:
            self.versions = {"servers": f"unknown: {error.what}"}


def _taken(
    app: App,
    measurement: "Measurement",
    size: dict[str, int],
    keep: Callable[["Result"], None],
) -> "Result":
    """Take a measurement; an interrupt ends it, and those that follow do not keep its lab.

    Whatever cuts it short, `keep` gets what was found until then.
    """
    from labctl.bench.figure import Chart, Figure
    from labctl.bench.measurement import Bench
    from labctl.bench.result import Result, machine
    from labctl.lab.provenance import tool_versions
    from labctl.scenario.interrupts import interrupts_once

    named = app.name != "default"
    settings = app.settings if named else replace(app.settings, slot=None)
    servers, found = _Servers(), list["Figure | Chart"]()
    begun = Result(
        bench=measurement.name,
        versions=tool_versions(app.lab, whatever_is_in=_OURS),
        machine=machine(),
        began=time.time(),
        seconds=0,
        size=size,
        figures=(),
        complete=False,
    )

    def so_far() -> "Result":
        return replace(
            begun,
            seconds=time.time() - begun.began,
            versions={**begun.versions, **servers.versions},
            figures=tuple(each for each in found if isinstance(each, Figure)),
            charts=tuple(each for each in found if isinstance(each, Chart)),
        )

    with Meter() as meter, interrupts_once():
        bench = Bench(settings, app.name if named else "bench", size, meter, servers.note)
        try:
            with closing(measurement.measure(bench)) as yielded:
                found.extend(yielded)  # one by one: those before an error are in it
        except BaseException:
            if found:
                keep(so_far())
            raise
    return replace(so_far(), complete=True)


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
    for path, result in ((before, old), (after, new)):
        if not result.complete:
            raise UsageError(
                f"{path} is incomplete: its measurement was cut short",
                "Take it again; what it holds says nothing of what it lacks.",
            )
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
