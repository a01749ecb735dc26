"""Durations: what a scenario may write, and what it means."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labctl.scenario.durations import LONGEST, seconds_of, shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1.5s", 1.5), ("0.5ms", 0.0005), (2, 2), (0.25, 0.25), (600, 600)],
)
def test_a_duration_is_so_many_seconds(text: object, seconds: float) -> None:
    """Milliseconds, seconds, and plain numbers, which are seconds."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "2", "s", "2 s", "-1s", "1e3ms", "2m", "1h", "0s", "0.0ms", "601s", "٣s", "2s\n", "nans",
     0, -1, 601, math.nan, math.inf, True, None, [2]],
)  # fmt: skip
def test_what_is_no_duration_says_why(text: object) -> None:
    """No unit, an unknown one, none at all, too long: each is an error that tells the form."""
    with pytest.raises(ValueError, match="a duration is"):
        seconds_of(text)


@given(st.floats(0.0001, LONGEST))
@example(0.9999)
@example(0.99999)
@example(LONGEST)
def test_what_is_shown_can_be_read_again(seconds: float) -> None:
    """A duration survives the way to text and back, to three digits."""
    assert seconds_of(shown(seconds)) == pytest.approx(seconds, rel=0.005)
