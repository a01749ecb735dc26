"""Errors carry their exit codes; events survive the way to a line of JSON and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl import errors, events

CODES = {
    errors.ExpectationFailed: 1,
    errors.SignInRefused: 1,
    errors.UsageError: 2,
    errors.NoSuchService: 2,
    errors.LabNotReady: 3,
    errors.HostProblem: 4,
    errors.SlotTaken: 4,
    errors.DeadlinePassed: 5,
    errors.InvalidScenario: 6,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_error_knows_the_documented_exit_code(
    kind: type[errors.LabctlError], code: int
) -> None:
    """The exit codes are those of the design, and the tree in the docstring names each class."""
    assert kind.exit_code == code
    assert kind.__name__ in str(errors.__doc__)


def test_an_error_prints_what_happened_and_then_what_to_do() -> None:
    """`what` and `hint` are two lines; without a hint there is one."""
    assert str(errors.LabNotReady("it is down", "start it")) == "it is down\nstart it"
    assert str(errors.LabNotReady("it is down")) == "it is down"


text = st.text(max_size=30)
number = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(0, 10**6)
verdict = st.sampled_from(events.Verdict)
EVENTS = st.one_of(
    st.builds(events.RunStarted, text, text, text, text, text, number, text),
    st.builds(events.StepStarted, whole, text, text, number, st.booleans()),
    st.builds(events.Wire, text, st.sampled_from(["->", "<-", "<**", "===", "***"]), text, number),
    st.builds(events.Change, text, number),
    st.builds(events.Check, text, text, text, st.booleans()),
    st.builds(events.Command, text),
    st.builds(events.Clue, text, text),
    st.builds(events.Note, text),
    st.builds(events.StepEnded, whole, verdict, text, number, st.booleans()),
    st.builds(events.CaseStarted, whole, text, number),
    st.builds(events.CaseEnded, whole, verdict, text, number, text),
    st.builds(events.RunEnded, verdict, text, whole, whole, whole, whole, whole, number, whole),
)


@given(EVENTS)
def test_an_event_survives_json(event: events.Event) -> None:
    """Whatever an event holds, what is read back is equal to it."""
    assert events.from_dict(json.loads(json.dumps(events.to_dict(event)))) == event


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"schema": "labctl/v2", "event": "command", "line": "x"},
        {"schema": "labctl/v1", "event": "nothing"},
        {"schema": "labctl/v1", "event": "command"},
        {"schema": "labctl/v1", "event": "step-ended", "verdict": "excellent"},
    ],
)
def test_what_is_no_event_of_ours_is_refused(data: dict) -> None:
    """Another schema, an unknown name, a missing field or verdict raise ValueError."""
    with pytest.raises(ValueError, match=r"schema|unknown|incomplete|excellent"):
        events.from_dict(data)
