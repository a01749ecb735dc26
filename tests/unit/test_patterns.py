"""Patterns of scenario files are searched for, and a search ends."""

import signal

import pytest

from labctl.errors import InvalidScenario
from labctl.scenario.patterns import found, require_pattern


def test_what_fits_first_is_returned() -> None:
    """Anywhere in the text; nothing is None, and what fits nothing at all is found."""
    assert found(r"5\.7\.\d", "554 5.7.1 no, 5.7.2") == "5.7.1"
    assert found(r"^5\.7", "554 5.7.1") is None
    assert found("", "554") == ""


def test_a_pattern_that_tries_every_way_is_ended() -> None:
    """Each letter more doubles what such a search takes: this one would not end."""
    with pytest.raises(InvalidScenario, match="repeats what repeats itself"):
        found(r"(a|a)+$", "a" * 60 + "!")
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL


@pytest.mark.parametrize("pattern", ["(", "*", "[z-a]", "a{2,1}", "(?P<x", "\\"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    """With the reason, before anything runs."""
    with pytest.raises(ValueError, match="not a regular expression"):
        require_pattern(pattern)
