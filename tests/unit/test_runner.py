"""The runner: order, verdicts, exit codes, and undoing, whatever happens."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from labctl.endpoints import Account, Endpoint, Endpoints, Login, Secret
from labctl.errors import (
    DeadlinePassed,
    ExpectationFailed,
    HostProblem,
    InvalidScenario,
    LabNotReady,
    UsageError,
)
from labctl.events import Clue, Event, RunEnded, RunStarted, StepEnded, StepStarted, Verdict
from labctl.scenario.messages import Draft, compose, message_id
from labctl.scenario.model import Needs, Scenario, Step
from labctl.scenario.names import account_of, address_of
from labctl.scenario.runner import run
from labctl.scenario.session import Session, Skipped, Undo
from labctl.scenario.steps import TABLE

ALICE = Account("alice", "alice", "alice@x.org", Secret("p"), ("alice.n@x.org", "reports@x.org"))
STACK = Endpoints("x", 0, "x.org", "dc=x", "hardened", None, {}, accounts={"alice": ALICE})


class Doing(Step):
    """A step that does what its function says."""

    verb: ClassVar[str] = "doing"
    action: Callable[[Session], None]

    def accounts(self) -> tuple[str, ...]:
        """Be about Alice, and about somebody whom the stack does not know."""
        return ("alice", "nobody")

    def summary(self) -> str:
        """Say nothing much."""
        return "something"

    def perform(self, session: Session) -> None:
        """Do it."""
        self.action(session)


def passing(session: Session) -> None:
    """Meet an expectation."""
    session.check("x", expected="1", seen="1", ok=True)


def failing(session: Session) -> None:
    """Miss an expectation."""
    session.check("x", expected="1", seen="2", ok=False)


def raising(error: BaseException) -> Callable[[Session], None]:
    """Return what raises an error."""

    def action(_: Session) -> None:
        raise error

    return action


def changing(name: str, undone: list[str], then: Callable[[Session], None] = passing):
    """Return what registers an undo, and then does something else."""

    def action(session: Session) -> None:
        session.undos.append(Undo(session.number, "doing", name, lambda: undone.append(name)))
        then(session)

    return action


def story(*actions: Callable[[Session], None]) -> Scenario:
    """Return a scenario of such steps."""
    steps = tuple(Doing(action=action) for action in actions)
    return Scenario(Path("s.yaml"), "t", "", ("alice",), steps, ("s.yaml:2:1",), Needs())


def told(scenario: Scenario, endpoints: Endpoints = STACK) -> tuple[RunEnded, list[Event]]:
    """Run it, and return how it ended and all that was told."""
    events: list[Event] = []
    return run(scenario, Session(endpoints, "r", events.append)), events


@pytest.mark.parametrize(
    ("action", "verdict", "code"),
    [
        (passing, Verdict.PASSED, 0),
        (failing, Verdict.FAILED, 1),
        (raising(ExpectationFailed("no")), Verdict.FAILED, 1),
        (raising(UsageError("no")), Verdict.ERROR, 2),
        (raising(LabNotReady("no")), Verdict.ERROR, 3),
        (raising(HostProblem("no")), Verdict.ERROR, 4),
        (raising(DeadlinePassed("no")), Verdict.ERROR, 5),
        (raising(KeyboardInterrupt()), Verdict.ERROR, 130),
    ],
)
def test_what_a_step_does_decides_over_verdict_and_exit_code(
    action: Callable[[Session], None], verdict: Verdict, code: int
) -> None:
    """The run's verdict is its worst step's, and the exit code that of the error's class."""
    ended, _ = told(story(passing, action))
    assert (ended.verdict, ended.exit_code) == (verdict, code)


def test_after_a_step_that_did_not_pass_the_rest_is_skipped_with_its_reason() -> None:
    """The steps after a failure are told as skipped, and were not performed."""
    reached: list[int] = []
    ended, events = told(story(passing, failing, lambda _: reached.append(1)))
    last = [event for event in events if isinstance(event, StepEnded)][-1]
    assert (last.verdict, last.reason) == (Verdict.SKIPPED, "an earlier step did not pass")
    assert (ended.passed, ended.failed, ended.skipped, reached) == (1, 1, 1, [])


def test_only_a_step_that_did_not_pass_leaves_a_clue() -> None:
    """One of each step that failed or could not be performed or undone, before its end is told."""
    _, events = told(story(passing, raising(Skipped("not here")), failing, passing))
    (clue,) = (event for event in events if isinstance(event, Clue))
    ended = events[events.index(clue) + 1]
    assert isinstance(ended, StepEnded)
    assert (ended.number, ended.verdict) == (3, Verdict.FAILED)
    assert clue.further == "labctl user show alice"

    def stubborn(session: Session) -> None:
        session.undos.append(Undo(session.number, "doing", "x", raising_now(LabNotReady("away"))))
        passing(session)

    for scenario in (story(raising(LabNotReady("away"))), story(stubborn)):
        assert sum(isinstance(event, Clue) for event in told(scenario)[1]) == 1


def raising_now(error: BaseException) -> Callable[[], None]:
    """Return what raises an error when it is called with nothing."""
    return lambda: raising(error)(None)  # type: ignore[arg-type]


def test_a_directory_that_is_away_does_not_mask_the_failure() -> None:
    """Verdict, reason and exit code stay; the clue says that the policy was not read, and why."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    login = Login("cn=a", Secret("x"))
    away = replace(
        STACK, services={"ldaps": Endpoint("127.0.0.1", port, "tls")}, policy_admin=login
    )
    for stack, why in ((STACK, "the endpoints name no directory"), (away, "does not answer")):
        ended, events = told(story(failing), stack)
        (clue,) = (event for event in events if isinstance(event, Clue))
        assert clue.policy.startswith("# not read: ")
        assert why in clue.policy
        assert (ended.verdict, ended.exit_code) == (Verdict.FAILED, 1)
        assert ended.reason == "x: expected 1, seen 2"


def test_a_run_in_which_nothing_was_checked_is_no_success() -> None:
    """All steps skipped, or none with an expectation: the exit code is not 0."""
    for action in (raising(Skipped("not here")), lambda _: None):
        ended, _ = told(story(action))
        assert ended.exit_code == 1
        assert ended.reason == "nothing was checked"
        assert ended.verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    "then",
    [passing, failing, raising(LabNotReady("x")), raising(KeyboardInterrupt())],
    ids=["passed", "failed", "error", "interrupted"],
)
def test_what_was_changed_is_always_taken_back_last_first(
    then: Callable[[Session], None],
) -> None:
    """However the run ends, the undos run, in reverse order, and are in the transcript."""
    undone: list[str] = []
    _, events = told(story(changing("a", undone), changing("b", undone, then)))
    assert undone == ["b", "a"]
    assert [e.summary for e in events if isinstance(e, StepStarted) and e.undo] == ["b", "a"]


def test_a_bug_in_a_step_still_takes_back_what_was_changed() -> None:
    """An exception that is none of ours goes on its way, after the undoing."""
    undone: list[str] = []
    with pytest.raises(ZeroDivisionError):
        told(story(changing("a", undone, lambda _: 1 / 0)))
    assert undone == ["a"]


def test_an_undo_that_fails_makes_the_run_an_error() -> None:
    """What could not be put back is told, the other undos run, and the exit code is not 0."""
    undone: list[str] = []

    def action(session: Session) -> None:
        passing(session)
        bad = Undo(1, "doing", "bad", lambda: raising(LabNotReady("gone"))(session))
        session.undos.append(bad)

    ended, _ = told(story(changing("a", undone), action))
    assert undone == ["a"]
    assert (ended.verdict, ended.exit_code) == (Verdict.ERROR, 3)


def test_events_come_in_order() -> None:
    """First the run starts, and says why, each step starts before it ends, last the run ends."""
    _, events = told(replace(story(passing, passing), why="For the room."))
    assert isinstance(events[0], RunStarted)
    assert events[0].why == "For the room."
    assert isinstance(events[-1], RunEnded)
    steps = [e for e in events if isinstance(e, StepStarted | StepEnded)]
    assert [(type(e), e.number) for e in steps] == [
        (StepStarted, 1), (StepEnded, 1), (StepStarted, 2), (StepEnded, 2),
    ]  # fmt: skip


def test_an_account_that_the_stack_lacks_is_told_before_anything_is_done() -> None:
    """The error has the line of the scenario's `accounts`; no step was begun."""
    events: list[Event] = []
    session = Session(replace(STACK, accounts={}), "r", events.append)
    with pytest.raises(InvalidScenario, match=r"s\.yaml:2:1: the stack has no account 'alice'"):
        run(story(passing), session)
    assert events == []


def test_what_a_stack_does_not_have_skips_the_scenario() -> None:
    """An unmet need skips every step, with the need as the reason."""
    reached: list[int] = []
    scenario = replace(story(lambda _: reached.append(1)), needs=Needs(policy="baseline"))
    ended, events = told(scenario)
    assert reached == []
    assert ended.exit_code == 1
    assert any(isinstance(e, StepEnded) and "policy profile baseline" in e.reason for e in events)


def test_every_verb_has_a_docstring_and_says_what_it_does() -> None:
    """The table's keys are the verbs, and each is documented in docs/scenarios.md."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "scenarios.md").read_text()
    for verb, kind in TABLE.items():
        assert kind.verb == verb
        assert kind.__doc__
        assert f"\n### `{verb}`\n" in page


@pytest.mark.parametrize(
    ("name", "account", "address"),
    [
        ("alice", "alice", "alice@x.org"),
        ("alice:reports", "alice", "reports@x.org"),
        ("alice:alice.n", "alice", "alice.n@x.org"),
        ("alice+news", "alice", "alice+news@x.org"),
        ("someone@y.org", None, None),
        ("", None, None),
    ],
)
def test_names_mean_addresses_in_any_domain(
    name: str, account: str | None, address: str | None
) -> None:
    """Primary, secondary or extended addresses; what holds an @, and "", stands for itself."""
    assert account_of(name) == account
    if address is not None:
        assert address_of(name, ALICE) == address


def test_a_secondary_address_that_is_not_there_is_an_error() -> None:
    """The error lists the ones there are."""
    with pytest.raises(UsageError, match=r"reports@x\.org"):
        address_of("alice:sales", ALICE)


def test_a_message_has_the_identity_of_its_run() -> None:
    """Message-ID, CRLF line ends, and nothing in the header that was not said."""
    message = compose(message_id("report", "r1"), Draft("a@x.org", ("b@x.org",), "Grüße", "Hi.\n"))
    assert b"Message-ID: <report.r1@labctl.invalid>\r\n" in message.content
    assert b"\n" not in message.content.replace(b"\r\n", b"")
