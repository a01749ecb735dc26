"""Programs that are measured from the outside: what they say, and what they took."""

import sys

import pytest

from labctl.bench.command import ran
from labctl.errors import HostProblem


def test_lines_are_told_as_they_come() -> None:
    """In order, each once, and all of them are its output, too."""
    program = "print('first'); print('last')"
    told: list[str] = []
    done = ran([sys.executable, "-c", program], tell=told.append)
    assert told == ["first\n", "last\n"]
    assert done.output == "first\nlast\n"
    assert done.processor > 0
    assert done.seconds > 0


def test_one_that_fails_is_told_of_with_what_it_said() -> None:
    """The exit status and the last lines are in the error."""
    with pytest.raises(HostProblem, match=r"ended with 3; it last said:\nwhy not"):
        ran([sys.executable, "-c", "print('why not'); raise SystemExit(3)"])
