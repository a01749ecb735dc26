"""The step `warned` believes the log's lines about its own message, and no others."""

from collections.abc import Mapping

import pytest

from labctl.endpoints import Account, Endpoints, Secret
from labctl.errors import DeadlinePassed, ExpectationFailed
from labctl.protocols.smtp import Envelope, Outcome, Reply, Stage
from labctl.scenario.messages import Draft, Route, Sent, compose, message_id
from labctl.scenario.session import Session, Skipped
from labctl.scenario.steps.warned import Warned

DAVE = Account("dave", "d.south", "dave@x.org", Secret("p"))
STACK = Endpoints("x", 0, "x.org", "dc=x", "hardened", None, {}, accounts={"dave": DAVE})
OFF = Outcome(Stage.RCPT, Reply(554, "5.7.1", "off by directory policy"))
MINE = message_id("report", "r")
Log = Mapping[str, tuple[str, tuple[Outcome, ...]]]


class Logged:
    """Containers whose log holds what a dict says, by Message-ID."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def container_name(self, service: str) -> str:
        """Return a name."""
        return service

    def rehearsed(self, wanted: str) -> tuple[str, tuple[Outcome, ...]] | None:
        """Return what the log has about a message."""
        return self.log.get(wanted)


def perform(log: Log | None, stage: str = "RCPT", reply: str = "554 5.7.1", **more: str) -> int:
    """Perform the step about a message of Dave's; returns how many checks were made."""
    containers = None if log is None else Logged(log)
    session = Session(STACK, "r", lambda _: None, 0.02, containers)  # type: ignore[arg-type]
    draft = Draft("dave@x.org", ("bob@x.org",), "s", "b")
    envelope = Envelope("dave@x.org", ("bob@x.org",))
    session.messages["report"] = Sent(compose(MINE, draft), envelope, Route("submission", "dave"))
    expect = {"stage": stage, "reply": reply, **more}
    Warned.model_validate({"message": "report", "expect": expect}).perform(session)
    return session.checks


def test_the_account_and_each_reply_are_compared() -> None:
    """One refusal or several, with the text where one is expected."""
    assert perform({MINE: ("d.south", (OFF,))}) == 2
    assert perform({MINE: ("d.south", (OFF, OFF))}, text="policy") == 5
    assert perform({MINE: ("d.south", ())}, "EOM", "250") == 2


@pytest.mark.parametrize(
    ("log", "expected", "said"),
    [
        ({MINE: ("erin", (OFF,))}, {}, "account: expected d.south, seen erin"),
        ({MINE: ("", (OFF,))}, {}, "account: expected d.south"),
        ({MINE: ("d.south", ())}, {}, "expected 554 5.7.1 at RCPT, seen 250 2.0.0 at EOM"),
        ({MINE: ("d.south", (OFF,))}, {"reply": "450"}, "expected 450 at RCPT, seen 554"),
        ({MINE: ("d.south", (OFF,))}, {"stage": "DATA"}, "at DATA, seen 554 5.7.1 at RCPT"),
        ({MINE: ("d.south", (OFF,))}, {"text": "sun"}, "text: expected /sun/"),
        ({MINE: ("d.south", (OFF,))}, {"stage": "EOM", "reply": "250"}, "seen 554 5.7.1 at RCPT"),
    ],
)
def test_anything_else_is_a_failure(log: Log, expected: dict[str, str], said: str) -> None:
    """Another account, no warning, another reply, stage or text, a warning where none is meant."""
    with pytest.raises(ExpectationFailed, match=said):
        perform(log, **expected)


def test_what_another_message_was_warned_of_does_not_count() -> None:
    """Of the same name in another run, and of the same account: the step waits in vain."""
    with pytest.raises(DeadlinePassed, match=r"report\.r@"):
        perform({message_id("report", "s"): ("d.south", (OFF,))})


def test_without_containers_it_is_skipped() -> None:
    """A foreign stack's log cannot be read."""
    with pytest.raises(Skipped):
        perform(None)
