"""`within`: a temporary refusal is tried again, a permanent one is not; the last reply counts."""

from collections.abc import Sequence

import pytest
from dialogue import playing

from labctl.endpoints import Account, Endpoints, Secret
from labctl.errors import ExpectationFailed, LabNotReady
from labctl.events import Event, Wire
from labctl.scenario.session import Session
from labctl.scenario.steps.send import Send

GREETING = ["S: 220 x", "C: ehlo .*", "S: 250 x"]
LATER = ["C: mail .*", "S: 250 ok", "C: rcpt .*", "S: 451 4.3.0 later", "C: rset", "S: 250 ok"]
NEVER = ["C: mail .*", "S: 250 ok", "C: rcpt .*", "S: 554 5.7.1 never", "C: rset", "S: 250 ok"]
TAKEN = ["C: mail .*", "S: 250 ok", "C: rcpt .*", "S: 250 ok", "C: data", "S: 354 go", "MESSAGE"]
TAKEN += ["S: 250 2.0.0 taken"]
BOB = Account("bob", "bob", "bob@x.org", Secret("p"))


def sending(script: Sequence[str], within: float | None) -> list[Event]:
    """Send through a server that plays the script, on one held session; returns the events."""
    folded = [line if line[:2] != "C:" else f"C: (?i:{line[3:]})" for line in script]
    with playing(folded) as server:
        services = {"smtp": server.endpoint}
        stack = Endpoints("x", 0, "x.org", "dc=x", "hardened", None, services)
        events: list[Event] = []
        session = Session(stack, "r", events.append)
        given = {"from": "a@y.org", "to": "bob@x.org", "session": "desk", "within": within}
        try:
            Send.model_validate(given).perform(session)
        finally:
            session.close()
    assert not server.complaints
    return events


BYE = ["C: quit", "S: 221 bye"]


def test_a_temporary_refusal_is_tried_again_until_it_is_none() -> None:
    """Twice later, then taken: the step passes, and the wire shows all three."""
    events = sending([*GREETING, *LATER, *LATER, *TAKEN, *BYE], 60)
    replies = [event.line for event in events if isinstance(event, Wire)]
    assert [line for line in replies if line.startswith(("451", "250 2"))] == [
        "451 4.3.0 later",
        "451 4.3.0 later",
        "250 2.0.0 taken",
    ]


def test_a_permanent_refusal_is_not_tried_again() -> None:
    """The one 554 decides, long before the time is over."""
    with pytest.raises(ExpectationFailed, match=r"seen 554 5\.7\.1 at RCPT"):
        sending([*GREETING, *NEVER, *BYE], 60)


def test_without_within_there_is_one_attempt() -> None:
    """A temporary refusal is what was seen."""
    with pytest.raises(ExpectationFailed, match=r"seen 451 4\.3\.0 at RCPT"):
        sending([*GREETING, *LATER, *BYE], None)


def test_when_the_time_is_over_the_last_reply_counts() -> None:
    """The time allows for one attempt: its reply is what was seen."""
    with pytest.raises(ExpectationFailed, match=r"seen 451 4\.3\.0 at RCPT"):
        sending([*GREETING, *LATER, *BYE], 0.001)


def test_a_server_that_does_not_answer_is_asked_again_until_the_time_is_over() -> None:
    """It hangs up in the middle and then listens no more: what it said last is told."""
    with pytest.raises(LabNotReady, match="refused"):
        sending(["S: 220 x", "C: ehlo .*"], 2)
