"""How soon a change shows: the first transaction with the other verdict, and nothing else."""

import time
from collections.abc import Sequence

import pytest
from dialogue import playing

from labctl.endpoints import Account, Endpoints, Secret
from labctl.errors import ExpectationFailed
from labctl.events import Check, Event
from labctl.scenario.effect import seen_within
from labctl.scenario.session import Session

ALICE = Account("alice", "alice", "alice@x.org", Secret("p"))
HELLO = ["S: 220 x", "C: ehlo .*", "S: 250 x", "C: AUTH PLAIN .*", "S: 235 2.7.0 ok"]
BYE = ["C: quit", "S: 221 bye"]


def asked(reply: str) -> list[str]:
    """Return the script of one transaction whose recipient gets this reply."""
    mail, rcpt = "C: MAIL FROM:<alice@x.org>", "C: RCPT TO:<alice@x.org>"
    return [mail, "S: 250 2.1.0 ok", rcpt, f"S: {reply}", "C: RSET", "S: 250 2.0.0 ok"]


YES, NO, LATER = asked("250 2.1.5 ok"), asked("554 5.7.1 no"), asked("451 4.3.0 later")


def checks(script: Sequence[str], limit: float = 60.0, late: float = 0.0) -> list[Check]:
    """Watch Alice at a server that plays the script; `late` seconds ago the directory answered."""
    events: list[Event] = []
    with playing(script) as server:
        services = {"submission": server.endpoint}
        stack = Endpoints("x", 0, "x.org", "dc=x", "", None, services, accounts={"alice": ALICE})
        session = Session(stack, "r", events.append)
        try:
            with seen_within(session, "alice", limit) as seen:
                seen(time.monotonic() - late)
        finally:
            found = [event for event in events if isinstance(event, Check)]
    assert server.complaints == []
    return found


@pytest.mark.parametrize(
    ("script", "expected", "seen"),
    [
        ([*YES, *NO], "refused, unlike before, within 60s", "554 5.7.1 at RCPT after"),
        ([*NO, *YES], "accepted, unlike before, within 60s", "250 2.1.5 at RCPT after"),
        ([*YES, *YES, *LATER, *NO], "refused, unlike before, within 60s", "554 5.7.1 at RCPT"),
    ],
    ids=["forbidden", "allowed", "after a while"],
)
def test_the_first_other_verdict_shows_the_change(
    script: list[str], expected: str, seen: str
) -> None:
    """In either direction; a temporary refusal is no verdict. The time is told."""
    [check] = checks([*HELLO, *script, *BYE])
    assert check.ok
    assert check.expected == expected
    assert check.seen.startswith(seen)


@pytest.mark.parametrize("late", [61.0, 3600.0])
def test_an_effect_that_comes_too_late_is_a_failure(late: float) -> None:
    """The verdict changed, but the directory had answered longer ago than the limit."""
    with pytest.raises(ExpectationFailed, match=r"within 60s, seen 554 5\.7\.1 at RCPT after"):
        checks([*HELLO, *YES, *NO, *BYE], late=late)


def test_no_effect_is_a_failure() -> None:
    """The verdict stayed what it was until the time was over."""
    with pytest.raises(
        ExpectationFailed, match=r"expected accepted, .*, seen still 554 5\.7\.1 at RCPT"
    ):
        checks([*HELLO, *NO, *NO, *BYE], limit=0.001)


def test_where_there_is_no_verdict_before_there_is_no_effect() -> None:
    """An account that is told to try again later cannot show a change."""
    with pytest.raises(ExpectationFailed, match=r"before the change it is 451 4\.3\.0 at RCPT"):
        checks([*HELLO, *LATER, *BYE])


def test_without_a_limit_nothing_is_asked() -> None:
    """No connection is made."""
    session = Session(Endpoints("x", 0, "x.org", "dc=x", "", None, {}), "r", lambda _: None)
    with seen_within(session, "alice", None) as seen:
        seen(time.monotonic())
