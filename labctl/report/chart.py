"""Where the time went, as the geometry of a small chart; drawing it is the page's business.

Steps become a time line: bars along an axis of seconds. Cases become columns, one each, in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from labctl.events import Wire
from labctl.report.run import Case, Run, Step
from labctl.report.wording import duration

_ALONG, _UPWARDS = 6, 3  # ticks at most, the one at 0 among them
_WHOLE: Final = 100.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A step or a case, where it begins and how long it is, in percent of the axis."""

    of: Step | Case
    start: float
    length: float


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars, and the places on the axis, in percent, that have a label."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def slowest(self) -> Step | Case:
        """The step or case that took longest."""
        return max((bar.of for bar in self.bars), key=lambda each: each.seconds)

    @property
    def middle(self) -> float:
        """The median of the durations, in seconds."""
        return median(bar.of.seconds for bar in self.bars)


def timeline(run: Run) -> Chart:
    """Return the steps of a run as they followed one another; those that were skipped took no time.

    Clocks may be set while a run goes on: nothing begins before the run.
    """
    steps = [step for step in run.steps if step.outcome != "skipped"]
    spans = [(step, max(step.started.at - run.started.at, 0.0), _took(step)) for step in steps]
    whole = max((begun + took for _, begun, took in spans), default=0.0) or 1.0
    bars = (Bar(step, _percent(begun, whole), _percent(took, whole)) for step, begun, took in spans)
    return Chart(tuple(bars), tuple(_ticks(whole, _ALONG)))


def columns(cases: Sequence[Case]) -> Chart:
    """Return a column for each case, as high as it took; there must be one at least."""
    whole = max(case.seconds for case in cases) or 1.0
    bars = (Bar(case, 0.0, _percent(case.seconds, whole)) for case in cases)
    return Chart(tuple(bars), tuple(_ticks(whole, _UPWARDS)))


def _took(step: Step) -> float:
    """Return how long a step took; one without an end, until it was last heard of."""
    heard = [event.at for event in step.happened if isinstance(event, Wire)]
    return step.seconds if step.ended else max([*heard, step.started.at]) - step.started.at


def _percent(seconds: float, whole: float) -> float:
    return round(_WHOLE * seconds / whole, 2)


def _ticks(whole: float, most: int) -> Iterator[tuple[float, str]]:
    """Yield round numbers of seconds from 0 on: 1, 2 or 5 of a power of ten apart."""
    apart = next(each for each in _round_numbers() if whole / each < most)
    for number in range(int(whole / apart) + 1):
        seconds = number * apart
        yield _percent(seconds, whole), duration(seconds) if number else "0"


def _round_numbers() -> Iterator[float]:
    for exponent in range(-6, 12):
        yield from (factor * 10.0**exponent for factor in (1, 2, 5))
