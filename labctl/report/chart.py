"""Where the time went, as the geometry of a small chart; drawing it is the page's business.

Steps become a time line: bars along an axis of seconds. Cases become columns, one each, in order.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from labctl.events import Wire
from labctl.report.replay import Replay
from labctl.report.run import Case, Step
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
class _Span:
    of: Step | Case
    start: float  # seconds
    took: float


_Spans = Callable[[], Iterator[_Span]]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is told of the bars: how many there are, the first, the last and the one that took
    longest, the median of the durations in seconds, and the places on the axis, in percent, that
    have a label. The bars themselves are made one by one.
    """

    number: int
    first: Step | Case
    last: Step | Case
    slowest: Step | Case
    middle: float
    ticks: tuple[tuple[float, str], ...]
    whole: float
    spans: _Spans

    @property
    def bars(self) -> Iterator[Bar]:
        """The bars, as the run is read again."""
        for span in self.spans():
            yield Bar(span.of, _percent(span.start, self.whole), _percent(span.took, self.whole))


def timeline(run: Replay) -> Chart | None:
    """Return the steps of a run as they followed one another, or None if there were none; those
    that were skipped took no time.

    Clocks may be set while a run goes on: nothing begins before the run.
    """
    began = run.started.at

    def spans() -> Iterator[_Span]:
        for step in run.steps():
            if step.outcome != "skipped":
                yield _Span(step, max(step.started.at - began, 0.0), _took(step))

    return _chart(spans, _ALONG)


def columns(run: Replay) -> Chart | None:
    """Return a column for each case, as high as it took, or None if there are none."""
    return _chart(lambda: (_Span(case, 0.0, case.seconds) for case in run.cases()), _UPWARDS)


def _chart(spans: _Spans, most: int) -> Chart | None:
    first = next(spans(), None)
    if first is None:
        return None
    last = slowest = first
    whole, seconds = 0.0, array("d")
    for last in spans():
        whole = max(whole, last.start + last.took)
        seconds.append(last.of.seconds)
        if last.of.seconds > slowest.of.seconds:
            slowest = last
    whole = whole or 1.0
    ticks = tuple(_ticks(whole, most))
    told = len(seconds), first.of, last.of, slowest.of, median(seconds)
    return Chart(*told, ticks, whole, spans)


def _took(step: Step) -> float:
    """Return how long a step took; one without an end, until it was last heard of."""
    if step.ended:
        return step.seconds
    heard = [event.at for event in step.happened if isinstance(event, Wire)]
    return max([*heard, step.started.at]) - step.started.at


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
