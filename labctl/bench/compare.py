"""Two results of the same measurement against each other, figure by figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from typing import Literal

from labctl.bench.figure import Figure
from labctl.bench.result import Result
from labctl.errors import UsageError

Change = Literal["same", "better", "worse", "unsure"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure before and after, in its unit; or, where both have the same floor, as multiples of
    that. `ratio` is after through before, give or take `spread`; None where it was 0 before, and
    where it is not known how well one of the two is known.
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
    known = {figure.name: figure for figure in before.figures}
    found = [
        _compared(known[each.name], each)
        for each in after.figures
        if each.name in known and known[each.name].unit == each.unit
    ]
    if not found:
        raise UsageError("the two results have no figure in common")
    return found


def differences(before: Result, after: Result) -> Iterator[str]:
    """Yield what makes it harder to compare the two: sizes, machines, versions and figures that
    are not the same.
    """
    if before.size != after.size:
        yield f"measured in different sizes: {_told(before)}; {_told(after)}"
    for what, old, new in (
        ("machine", before.machine, after.machine),
        ("version", before.versions, after.versions),
    ):
        names = [name for name in {**old, **new} if name != "load before"]
        if changed := [name for name in names if old.get(name) != new.get(name)]:
            yield f"another {what}: {', '.join(changed)}"
    earlier, later = ({each.name: each for each in result.figures} for result in (before, after))
    yield from (f"only the first has: {name}" for name in earlier if name not in later)
    yield from (f"only the second has: {name}" for name in later if name not in earlier)
    for name, figure in later.items():
        if name in earlier and (floor := earlier[name].floor_is) != figure.floor_is:
            yield f"held against {floor!r} before, {figure.floor_is!r} after: {name}"


def _told(result: Result) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in result.size.items())


def _compared(before: Figure, after: Figure) -> Comparison:
    """Compare by the ratio to the floor, which another machine or day changes less, else by the
    value; the spreads of two independent figures add up as squares do.
    """
    old, new, unit = before.value, after.value, after.unit
    if before.ratio is not None and after.ratio is not None and before.floor_is == after.floor_is:
        old, new, unit = before.ratio, after.ratio, f"of {after.floor_is}"
    ratio = new / old if old else None
    spread = None
    if ratio is not None and before.spread is not None and after.spread is not None:
        spread = ratio * hypot(before.spread, after.spread)
    change = _change(before, after, (old, new), ratio, spread)
    return Comparison(after.name, old, new, unit, ratio, spread, change)


def _change(
    before: Figure,
    after: Figure,
    values: tuple[float, float],
    ratio: float | None,
    spread: float | None,
) -> Change:
    """Say which way it went; where the spread is not known, only whether a limit holds says so."""
    old, new = values
    if old == new:
        return "same"
    moved: Change = "better" if (old > new) == (after.direction == "less") else "worse"
    if ratio is not None and spread is not None:
        return "same" if abs(ratio - 1) <= spread else moved
    return moved if before.holds is not after.holds else "unsure"
