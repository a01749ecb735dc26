"""Two results of the same measurement against each other, figure by figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from typing import Literal

from labctl.bench.figure import Figure
from labctl.bench.result import Result
from labctl.errors import UsageError

Change = Literal["same", "better", "worse"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure before and after, in its unit; or, where both have a floor, as multiples of that.
    `ratio` is after through before, give or take `spread`; both are None where it was 0 before.
    """

    name: str
    before: float
    after: float
    unit: str
    ratio: float | None
    spread: float | None
    change: Change


def compare(before: Result, after: Result) -> list[Comparison]:
    """Return what became of each figure that both results have, in the order of the second.

    Raises UsageError where they are not of the same measurement, or have no figure in common.
    """
    if before.bench != after.bench:
        raise UsageError(
            f"{before.bench!r} and {after.bench!r} are different measurements",
            "Compare two results of the same one.",
        )
    found = list(_pairs(before, after))
    if not found:
        raise UsageError("the two results have no figure in common")
    return [_compared(*pair) for pair in found]


def _pairs(before: Result, after: Result) -> Iterator[tuple[Figure, Figure]]:
    known = {figure.name: figure for figure in before.figures}
    for figure in after.figures:
        if (earlier := known.get(figure.name)) is not None and earlier.unit == figure.unit:
            yield earlier, figure


def _compared(before: Figure, after: Figure) -> Comparison:
    """Compare by the ratio to the floor, which another machine or day changes less, else by the
    value; the spreads of two independent figures add up as squares do.
    """
    old, new, unit = before.value, after.value, after.unit
    if before.ratio is not None and after.ratio is not None:
        old, new, unit = before.ratio, after.ratio, f"of {after.floor_is}"
    change: Change = "worse"
    if old == new:
        change = "same"
    elif (old > new) == (after.direction == "less"):
        change = "better"
    if not old:
        return Comparison(after.name, old, new, unit, None, None, change)
    ratio = new / old
    spread = ratio * hypot(before.spread, after.spread)
    within = abs(ratio - 1) <= spread
    return Comparison(after.name, old, new, unit, ratio, spread, "same" if within else change)
