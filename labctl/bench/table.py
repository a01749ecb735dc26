"""Figures as rows of a table, for the terminal and for a page."""

from collections.abc import Iterable, Iterator, Sequence

from labctl.bench.compare import Comparison
from labctl.bench.figure import Figure

HEADER = ("FIGURE", "VALUE", "UNIT", "N", "P95", "P99", "MAX", "FLOOR", "RATIO", "LIMIT", "")
COMPARED = ("FIGURE", "BEFORE", "AFTER", "UNIT", "RATIO", "SPREAD", "")
_VERDICTS = {None: "", True: "holds", False: "MISSED"}
_BOUND = {"less": "≤", "more": "≥"}
_FOR_P95, _FOR_P99 = 20, 100  # samples: with fewer, it is the maximum


def rows(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """Return a row for each figure. The limit is one of the ratio where there is a floor."""
    return [tuple(_cells(figure)) for figure in figures]


def _cells(figure: Figure) -> Iterator[str]:
    yield figure.name
    yield number(figure.value)
    yield figure.unit
    yield f"{figure.n}"
    for least, each in ((_FOR_P95, figure.p95), (_FOR_P99, figure.p99), (2, figure.max)):
        many = figure.n >= least and figure.p50 != figure.max
        yield number(each) if many else ""
    yield "" if figure.floor is None else f"{number(figure.floor)} {figure.floor_is}".strip()
    yield "" if figure.ratio is None else _ratio(figure.ratio)
    yield "" if figure.limit is None else f"{_BOUND[figure.direction]} {figure.limit:g}"
    yield _VERDICTS[figure.holds]


def compared_rows(comparisons: Iterable[Comparison]) -> list[tuple[str, ...]]:
    """Return a row for each comparison."""
    return [
        (
            each.name,
            number(each.before),
            number(each.after),
            each.unit,
            "" if each.ratio is None else _ratio(each.ratio),
            "" if each.spread is None else f"± {each.spread:.2f}",
            each.change,
        )
        for each in comparisons
    ]


def markdown(header: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Return a number with three digits that count, and whole ones as they are."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"  # noqa: PLR2004


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 or not value else f"{value:.1g}"  # noqa: PLR2004
