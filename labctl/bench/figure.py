"""What was measured, as frozen values: figures with their percentiles, floor and limit; charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, hypot, sqrt
from statistics import median
from typing import Literal, Self

Direction = Literal["less", "more"]
"""Which way is better."""


_MEDIAN = 50
_SURE = 1.96  # standard deviations, to either side, for 95 % of a normal distribution


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent of them do not exceed (nearest rank), and for
    50 percent the median.
    """
    if percent == _MEDIAN:
        return median(samples)
    ordered = sorted(samples)
    return ordered[max(ceil(percent / 100 * len(ordered)), 1) - 1]


def spread_of(samples: Sequence[float], percent: float = _MEDIAN) -> float | None:
    """Return how well a percentile is known, as a part of it: half of its 95 % confidence interval,
    between two of the samples. It takes them for independent; of a few, it is all that they span.

    None where that cannot be told: of one sample, or a percentile that is 0. See Conover, Practical
    Nonparametric Statistics, 3rd edition, section 3.2, for large samples.
    """
    count, part = len(samples), percent / 100
    middle = percentile(samples, percent)
    if count == 1 or not middle:
        return None
    ordered, away = sorted(samples), _SURE * sqrt(count * part * (1 - part))
    low, high = (
        ordered[min(max(ceil(count * part + each), 1), count) - 1] for each in (-away, away)
    )
    return (high - low) / 2 / abs(middle)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure in its unit. `value` is the one that counts, `n` how many samples are behind it.

    Where there is a floor (in the same unit, measured in the same run), the limit holds for the
    ratio of the two, else for the value. `spread` is how well that which the limit holds for is
    known, as a part of it (see `spread_of`); None where that cannot be told.
    """

    name: str
    value: float
    unit: str
    n: int
    p50: float
    p95: float
    p99: float
    max: float
    spread: float | None = None
    floor: float | None = None
    floor_is: str = ""
    limit: float | None = None
    direction: Direction = "less"

    def __post_init__(self) -> None:
        """Raise ValueError for a floor of 0, of which nothing is a multiple."""
        if self.floor == 0:
            raise ValueError(f"{self.name}: the floor, {self.floor_is}, is 0")

    @classmethod
    def of(
        cls,
        name: str,
        samples: Sequence[float],
        unit: str,
        *,
        percent: float = _MEDIAN,
        floor: Sequence[float] | None = None,
        floor_percent: float = _MEDIAN,
        floor_is: str = "",
        limit: float | None = None,
        direction: Direction = "less",
    ) -> Self:
        """Return the figure whose value is a percentile of the samples, the median if not told
        otherwise, and so is its floor. There must be one sample at least, and one of the floor.
        """
        p50, p95, p99 = (percentile(samples, each) for each in (50, 95, 99))
        spread = spread_of(samples, percent)
        if floor is not None:
            spread = _both(spread, spread_of(floor, floor_percent))
        return cls(
            name=name,
            value=percentile(samples, percent),
            unit=unit,
            n=len(samples),
            p50=p50,
            p95=p95,
            p99=p99,
            max=max(samples),
            spread=spread,
            floor=None if floor is None else percentile(floor, floor_percent),
            floor_is=floor_is,
            limit=limit,
            direction=direction,
        )

    @classmethod
    def against(
        cls,
        name: str,
        samples: Sequence[float],
        unit: str,
        *,
        floor: Sequence[float],
        floor_is: str,
        limit: float | None = None,
        direction: Direction = "less",
    ) -> Self:
        """Return the figure of samples that were taken in turn with those of a floor: the ratio is
        the median of the ratios, pair by pair, so that what else goes on counts little, and the
        floor is told accordingly.
        """
        ratios = [ours / theirs for ours, theirs in zip(samples, floor, strict=True)]
        figure = cls.of(name, samples, unit, limit=limit, direction=direction)
        return replace(
            figure,
            spread=spread_of(ratios),
            floor=median(samples) / median(ratios),
            floor_is=floor_is,
        )

    @classmethod
    def one(
        cls,
        name: str,
        value: float,
        unit: str,
        *,
        n: int = 1,
        floor: float | None = None,
        floor_is: str = "",
        limit: float | None = None,
        direction: Direction = "less",
    ) -> Self:
        """Return a figure that was counted or weighed once; `n` is what it was counted among."""
        same = (value, value, value, value)
        return cls(name, value, unit, n, *same, None, floor, floor_is, limit, direction)

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of its floor, or None where it has none."""
        return None if self.floor is None else self.value / self.floor

    @property
    def holds(self) -> bool | None:
        """Say whether the limit holds, or None where there is none."""
        if self.limit is None:
            return None
        held = self.value if self.ratio is None else self.ratio
        return held <= self.limit if self.direction == "less" else held >= self.limit


def _both(*spreads: float | None) -> float | None:
    """Return the spread of what depends on both, which add up as squares do."""
    known = [each for each in spreads if each is not None]
    return hypot(*known) if len(known) == len(spreads) else None


@dataclass(frozen=True, slots=True)
class Chart:
    """Several series over the same labels, to be drawn as bars or lines; None is a gap."""

    name: str
    title: str
    unit: str
    labels: tuple[str, ...]
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    kind: Literal["bars", "stacked", "lines"] = "bars"
