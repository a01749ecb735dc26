"""A session that stays open is of whoever signed in, and nobody else's step goes on with it."""

from collections.abc import Iterator

import pytest
from dialogue import Server, playing

from labctl.endpoints import Account, Endpoints, Secret
from labctl.errors import UsageError
from labctl.scenario.model import Step
from labctl.scenario.session import Session
from labctl.scenario.steps.send import Send
from labctl.scenario.steps.smtp import Smtp

ALICE = Account("alice", "alice", "alice@x.org", Secret("p"))
DAVE = Account("dave", "dave", "dave@x.org", Secret("q"))
SIGNED_IN = ["S: 220 x", "C: ehlo .*", "S: 250 x", "C: AUTH PLAIN .*", "S: 235 2.7.0 in"]
NOOP = ["C: NOOP", "S: 250 ok"]


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with which Alice signs in, and says NOOP twice."""
    with playing([*SIGNED_IN, *NOOP, *NOOP]) as server:
        yield server
    assert not server.complaints


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    """A run in which Alice's session was left open."""
    accounts = {each.name: each for each in (ALICE, DAVE)}
    services = {"submission": server.endpoint}
    stack = Endpoints("x", 0, "x.org", "dc=x", "hardened", None, services, accounts=accounts)
    session = Session(stack, "r", lambda _: None)
    noop("alice").perform(session)
    yield session
    session.close()


def noop(account: str | None) -> Step:
    """Return the step that says NOOP in the session, as somebody."""
    given = {"account": account, "session": "s", "dialogue": ["-> NOOP", "<- 250"]}
    return Smtp.model_validate(given)


@pytest.mark.parametrize("account", ["alice", None])
def test_who_signed_in_goes_on_and_need_not_be_named(session: Session, account: str) -> None:
    """The same account's step, or one that names none, speaks on."""
    noop(account).perform(session)


@pytest.mark.parametrize(
    "step", [noop("dave"), Send.model_validate({"from": "dave", "to": "a@x.org", "session": "s"})]
)
def test_another_account_does_not_speak_as_the_one_who_signed_in(
    session: Session, step: Step
) -> None:
    """Its step would pass or fail for what Alice may do."""
    with pytest.raises(UsageError, match="the session 's' is alice's, and dave cannot go on"):
        step.perform(session)
    noop("alice").perform(session)
