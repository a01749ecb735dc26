"""The chart's geometry: every bar within the axis, whatever the clocks said."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_sample import AT, INTERRUPTED, MIXED, STARTED, Told, cases, step

from labctl.events import Event, StepStarted, Verdict
from labctl.report.chart import Chart, columns, timeline
from labctl.report.replay import Replay, runs

TIMES = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), min_size=1, max_size=8)


def moved(events: list[Event], at: float) -> list[Event]:
    """Return the events of a step, begun so many seconds after the run."""
    return [replace(e, at=AT + at) if isinstance(e, StepStarted) else e for e in events]


def drawn(draw: Callable[[Replay], Chart | None], events: list[Event]) -> Chart:
    """Return the chart of a run, which has bars."""
    (run,) = runs([Told(events)])
    chart = draw(run)
    assert chart is not None
    return chart


@given(TIMES)
def test_no_bar_leaves_the_axis(times: list[tuple[float, float]]) -> None:
    """Also where a clock was set back, or a step took no time at all."""
    events: list[Event] = [STARTED]
    for number, (begun, took) in enumerate(times, 1):
        events += moved(step(number, "send x", ms=took * 1000), begun)
    chart = drawn(timeline, events)
    assert chart.number == len(list(chart.bars)) == len(times)
    for bar in chart.bars:
        assert 0 <= bar.start <= 100
        assert 0 <= bar.length <= 100
        assert bar.start + bar.length <= 100.02
    assert all(0 <= place <= 100 for place, _ in chart.ticks)
    assert 1 <= len(chart.ticks) <= 6


def test_ticks_are_round_numbers_of_seconds() -> None:
    """Their labels are what people read off an axis."""
    chart = drawn(timeline, [STARTED, *step(1, "send x", ms=1300)])
    assert [label for _, label in chart.ticks] == ["0", "500 ms", "1 s"]


def test_a_skipped_step_has_no_bar_and_an_interrupted_one_ends_where_it_was_last_heard() -> None:
    """Neither a step that was not performed nor one without an end is drawn as if it had taken
    what it did not.
    """
    verbs = [bar.of.started.verb for bar in drawn(timeline, MIXED).bars]  # type: ignore[union-attr]
    assert "pause" not in verbs
    last = list(drawn(timeline, INTERRUPTED).bars)[-1]
    assert last.of.outcome == "interrupted"
    assert last.length == pytest.approx(100 * 0.004 / 0.141, abs=0.01)


def test_columns_are_as_high_as_their_case_took() -> None:
    """In the order of the cases, beside the one that took longest."""
    chart = drawn(columns, cases(4, failed=(), open_=()))
    assert [bar.length for bar in chart.bars] == [25, 50, 75, 100]
    assert chart.middle == pytest.approx(0.0025)
    assert chart.slowest.started.number == 4
    assert (chart.first.started.number, chart.last.started.number) == (1, 4)


def test_without_steps_that_took_time_there_is_no_chart() -> None:
    """Nothing would be on its axis."""
    skipped = step(1, "send x", verdict=Verdict.SKIPPED)
    found = runs([Told([STARTED]), Told([STARTED, *skipped])])
    assert [timeline(run) for run in found] == [None, None]
