"""What was measured, as frozen values: figures with their percentiles, floor and limit; charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Literal, Self

Direction = Literal["less", "more"]
"""Which way is better."""


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent of them do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(ceil(percent / 100 * len(ordered)), 1) - 1]


def spread_of(samples: Sequence[float]) -> float:
    """Return half the distance between the quartiles as a part of the median; 0 for one sample."""
    middle = percentile(samples, 50)
    return (percentile(samples, 75) - percentile(samples, 25)) / 2 / middle if middle else 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure in its unit. `value` is the one that counts, `n` how many samples are behind it.

    Where there is a floor (in the same unit, measured in the same run), the limit holds for the
    ratio of the two, else for the value. `spread` is a part of the median, see `spread_of`.
    """

    name: str
    value: float
    unit: str
    n: int
    p50: float
    p95: float
    p99: float
    max: float
    spread: float = 0.0
    floor: float | None = None
    floor_is: str = ""
    limit: float | None = None
    direction: Direction = "less"

    @classmethod
    def of(
        cls,
        name: str,
        samples: Sequence[float],
        unit: str,
        *,
        percent: float = 50,
        floor: float | None = None,
        floor_is: str = "",
        limit: float | None = None,
        direction: Direction = "less",
    ) -> Self:
        """Return the figure whose value is a percentile of the samples, the median if not told
        otherwise. There must be one sample at least.
        """
        p50, p95, p99 = (percentile(samples, each) for each in (50, 95, 99))
        value = median(samples) if percent == 50 else percentile(samples, percent)  # noqa: PLR2004
        return cls(
            name=name,
            value=value,
            unit=unit,
            n=len(samples),
            p50=p50,
            p95=p95,
            p99=p99,
            max=max(samples),
            spread=spread_of(samples),
            floor=floor,
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
        ratio = median(ours / theirs for ours, theirs in zip(samples, floor, strict=True))
        return cls.of(
            name,
            samples,
            unit,
            floor=median(samples) / ratio,
            floor_is=floor_is,
            limit=limit,
            direction=direction,
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
        return cls(
            name, value, unit, n, value, value, value, value, 0.0, floor, floor_is, limit, direction
        )

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of its floor, or None where it has none."""
        return self.value / self.floor if self.floor else None

    @property
    def holds(self) -> bool | None:
        """Say whether the limit holds, or None where there is none."""
        if self.limit is None:
            return None
        held = self.value if self.ratio is None else self.ratio
        return held <= self.limit if self.direction == "less" else held >= self.limit


@dataclass(frozen=True, slots=True)
class Chart:
    """Several series over the same labels, to be drawn as bars or lines; None is a gap."""

    name: str
    title: str
    unit: str
    labels: tuple[str, ...]
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    kind: Literal["bars", "stacked", "lines"] = "bars"
