"""Charts as PNG and SVG. matplotlib, which draws them, is in the extra `bench`."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from labctl.bench.figure import Chart
from labctl.errors import HostProblem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg")
_SIZE = (7.0, 3.6)  # inches
_DPI = 110
_ACROSS = 84  # letters that fit along the axis
_LEGEND = 110  # letters that fit below, side by side
# Files do not say when they were written: the same figures are the same files.
_NO_DATE: Mapping[str, Mapping[str, Any]] = {".png": {"Software": None}, ".svg": {"Date": None}}


INSTALL = "`.venv/bin/pip install -e '.[bench]'` installs it."


def can_draw() -> bool:
    """Say whether there is something to draw with."""
    return find_spec("matplotlib") is not None


def require_matplotlib() -> None:
    """Raise HostProblem if there is nothing to draw with."""
    if not can_draw():
        raise HostProblem(
            "there is no matplotlib here to draw with",
            f"{INSTALL} Or leave --plot out: the JSON has it all.",
        )


def draw(chart: Chart, stem: Path) -> list[Path]:
    """Draw a chart into files that are called `stem` and an ending; returns them.

    Raises HostProblem without matplotlib.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure as Sheet

    with mpl.rc_context({"svg.hashsalt": "labctl", "font.size": 9}):
        sheet = Sheet(figsize=_SIZE, layout="constrained")
        axes = sheet.subplots()
        axes.set_title(chart.title, fontsize=10)
        axes.set_ylabel(chart.unit)
        _fill(axes, chart)
        if len(chart.series) > 1:
            columns = max(_LEGEND // (max(map(len, chart.series)) + 6), 1)
            sheet.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        stem.parent.mkdir(parents=True, exist_ok=True)
        paths = [stem.with_name(stem.name + ending) for ending in ENDINGS]
        for path in paths:
            sheet.savefig(path, dpi=_DPI, metadata=dict(_NO_DATE[path.suffix]))
    return paths


def _fill(axes: "Axes", chart: Chart) -> None:
    places = range(len(chart.labels))
    if chart.kind == "lines":
        for name, values in chart.series.items():
            axes.plot(places, [_gap(value) for value in values], marker="o", label=name)
        axes.set_ylim(bottom=0)
    elif chart.kind == "stacked":
        base = [0.0] * len(chart.labels)
        for name, values in chart.series.items():
            heights = [value or 0.0 for value in values]
            axes.bar(places, heights, 0.6, bottom=base, label=name)
            base = [low + high for low, high in zip(base, heights, strict=True)]
    else:
        width = 0.8 / (len(chart.series) or 1)
        for number, (name, values) in enumerate(chart.series.items()):
            shift = (number - (len(chart.series) - 1) / 2) * width
            axes.bar(
                [place + shift for place in places],
                [value or 0.0 for value in values],
                width,
                label=name,
            )
    _name(axes, chart.labels)


def _name(axes: "Axes", labels: tuple[str, ...]) -> None:
    """Write the labels below the axis: in lines where they are long, aslant where words are."""
    room = max(_ACROSS // max(len(labels), 1), 1)
    lines = [wrap(label, room, break_long_words=False) for label in labels]
    if max((len(line) for each in lines for line in each), default=0) <= room:
        axes.set_xticks(range(len(labels)), ["\n".join(each) for each in lines])
    else:
        axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")


def _gap(value: float | None) -> float:
    return float("nan") if value is None else value
