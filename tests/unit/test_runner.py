"""The runner: order, verdicts, exit codes, and undoing, whatever happens."""

import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from labctl.endpoints import Account, Attributes, Endpoint, Endpoints, Login, Secret
from labctl.errors import (
    DeadlinePassed,
    ExpectationFailed,
    HostProblem,
    InvalidScenario,
    LabNotReady,
    UsageError,
)
from labctl.events import (
    CaseEnded,
    Clue,
    Event,
    RunEnded,
    RunStarted,
    StepEnded,
    StepStarted,
    Verdict,
)
from labctl.protocols.directory import Directory
from labctl.protocols.tap import Tap
from labctl.scenario.interrupts import Interrupts
from labctl.scenario.journal import Journal
from labctl.scenario.messages import Draft, compose, message_id
from labctl.scenario.model import Case, Needs, Scenario, Step
from labctl.scenario.names import account_of, address_of
from labctl.scenario.runner import run
from labctl.scenario.session import Session, Skipped, Undo
from labctl.scenario.steps import TABLE
from labctl.scenario.steps.fault import Fault, Heal
from labctl.scenario.steps.send import Send

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


def test_an_undo_that_fails_in_a_way_of_its_own_keeps_none_of_the_others() -> None:
    """Not even an error that is none of ours."""
    undone: list[str] = []

    def action(session: Session) -> None:
        passing(session)
        session.undos.append(Undo(1, "doing", "bad", lambda: print(1 / 0)))  # noqa: T201

    ended, _ = told(story(changing("a", undone), action))
    assert undone == ["a"]
    assert ended.verdict is Verdict.ERROR
    assert ended.exit_code == 1


def test_what_is_about_a_fault_that_could_not_be_made_is_skipped() -> None:
    """Up to its `heal`, or else to the end, and not failed for a server that was never away."""
    slow, other = Fault(service="openldap", kind="slow"), Heal(service="dovecot")
    good, bad = Doing(action=passing), Doing(action=failing)
    steps = (good, slow, bad, other, bad, Heal(service="openldap"), good, slow, bad)
    _, events = told(replace(story(), steps=steps))
    ended = [(each.verdict, each.reason) for each in events if isinstance(each, StepEnded)]
    away = "step 2 took no server away"
    assert ended[2:5] == [(Verdict.SKIPPED, away)] * 3
    assert ended[5] == (Verdict.SKIPPED, "needs the lab's own containers")  # asked, as ever
    assert ended[6][0] is Verdict.PASSED
    assert ended[8] == (Verdict.SKIPPED, "step 8 took no server away")
    assert events[-1].verdict is Verdict.PASSED


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "EIO"), ValueError("closed file")])
def test_a_listener_that_is_gone_keeps_nothing_from_being_put_back(error: Exception) -> None:
    """A closed terminal, a closed pipe, a full disk: the undos run all the same."""
    undone: list[str] = []

    def listen(_: Event) -> None:
        if gone:
            raise error

    def goes(_: Session) -> None:
        gone.append(True)

    gone: list[bool] = []
    session = Session(STACK, "r", listen)
    with pytest.raises(type(error)):
        run(story(changing("a", undone), changing("b", undone, goes)), session)
    assert undone == ["b", "a"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Be as in a shell's foreground: what it starts in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_any_signal_ends_the_steps_and_none_ends_the_undoing(number: signal.Signals) -> None:
    """However often it comes, while steps run and while they are taken back."""
    undone: list[str] = []

    def undo() -> None:
        signal.raise_signal(number)
        undone.append("a")

    def action(session: Session) -> None:
        passing(session)
        session.undos.append(Undo(1, "doing", "a", undo))
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # a second one, while the first is on its way

    before = signal.getsignal(number)
    ended, events = told(story(changing("b", undone), action, passing))
    assert undone == ["a", "b"]
    assert (ended.exit_code, ended.reason) == (130, "interrupted")
    assert isinstance(events[-1], RunEnded)
    assert signal.getsignal(number) is before


def test_of_several_interrupts_one_alone_ends_what_is_being_done() -> None:
    """The others could come where nothing waits for them: between the steps and the undoing."""
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts(signal.SIGHUP, None)
    interrupts(signal.SIGHUP, None)
    assert interrupts.came


def test_a_signal_during_the_undoing_is_told_afterwards() -> None:
    """Everything passed and was put back, but whoever sent it wants no more of it."""

    def action(session: Session) -> None:
        passing(session)
        undo = Undo(1, "doing", "a", lambda: signal.raise_signal(signal.SIGTERM))
        session.undos.append(undo)

    ended, _ = told(story(action))
    assert (ended.verdict, ended.exit_code) == (Verdict.ERROR, 130)


def test_an_ignored_hangup_stays_ignored() -> None:
    """Under nohup the run goes on when the terminal goes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        def action(session: Session) -> None:
            signal.raise_signal(signal.SIGHUP)
            passing(session)

        ended, _ = told(story(action))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.verdict is Verdict.PASSED


def test_a_case_that_is_interrupted_ends_the_run_with_130() -> None:
    """Also where an earlier case has failed."""
    cases = tuple(
        Case(name, Needs(), None, {"hardened": story(action).steps})
        for name, action in (
            ("one", failing),
            ("two", raising(KeyboardInterrupt())),
            ("x", passing),
        )
    )
    ended, events = told(replace(story(), cases=cases))
    assert ended.exit_code == 130
    assert len([event for event in events if isinstance(event, CaseEnded)]) == 2


def test_a_service_that_the_stack_lacks_skips_the_step_and_what_follows_from_it() -> None:
    """The step is skipped with its reason, and so is the one that needs its message."""
    send = {"from": "alice", "to": "alice", "via": "submissions", "as": "note"}
    steps = (
        TABLE["send"].model_validate(send),
        TABLE["receive"].model_validate({"account": "alice", "message": "note"}),
        TABLE["resend"].model_validate({"message": "note"}),
        TABLE["authenticate"].model_validate({"account": "alice"}),
        *story(passing).steps,
    )
    ended, events = told(replace(story(), steps=steps))
    assert [event.reason for event in events if isinstance(event, StepEnded)] == [
        "the stack has no service 'submissions'",
        "the message 'note' was not sent",
        "the message 'note' was not sent",
        "the stack has no submission, imap",
        "",
    ]
    assert (ended.verdict, ended.skipped) == (Verdict.PASSED, 4)


def test_a_remark_is_the_reason_of_a_step_that_passes() -> None:
    """It belongs to its step alone."""

    def remarking(session: Session) -> None:
        passing(session)
        session.remarks.append("half of it")

    _, events = told(story(remarking, passing))
    assert [e.reason for e in events if isinstance(e, StepEnded)] == ["half of it", ""]


@pytest.mark.parametrize(
    ("needs", "names", "reason"),
    [
        (Needs(status=True), Attributes("a", ""), "needs an attribute for status"),
        (Needs(send_allowed=True), Attributes("", "b"), "needs an attribute for send_allowed"),
        (Needs(send_allowed=True, status=True), Attributes(), ""),
    ],
)
def test_a_scenario_may_need_an_attribute(needs: Needs, names: Attributes, reason: str) -> None:
    """A directory may have one of the two; what needs the other one is skipped."""
    ended, events = told(replace(story(passing), needs=needs), replace(STACK, attributes=names))
    assert ended.verdict is (Verdict.SKIPPED if reason else Verdict.PASSED)
    assert any(reason in event.reason for event in events if isinstance(event, StepEnded))


@pytest.mark.parametrize("verb", ["disable", "set"])
def test_an_attribute_that_the_stack_lacks_skips_the_step(verb: str) -> None:
    """`disable` has nothing to set, and half a `set` is another step."""
    given = {"account": "alice"} | (
        {"send_allowed": "TRUE", "status": "x"} if verb == "set" else {}
    )
    step = TABLE[verb].model_validate(given)
    directory = Directory(None, Tap("ldap", print), replace(STACK, attributes=Attributes("", "b")))  # type: ignore[arg-type]
    session = Session(directory.endpoints, "r", lambda _: None, _directory=directory)
    with pytest.raises(Skipped, match="the stack has no attribute for send_allowed"):
        step.perform(session)


@pytest.mark.parametrize(("undo", "left"), [(passing, False), (raising(LabNotReady("x")), True)])
def test_the_journal_is_there_until_all_is_put_back(
    tmp_path: Path,
    undo: Callable[[Session], None],
    left: bool,  # noqa: FBT001 - pytest's
) -> None:
    """It is written before the change, readable by its owner alone, and gone at the end; if an
    undo fails it stays.
    """
    journal = Journal(tmp_path / "before.ldif")

    def action(session: Session) -> None:
        passing(session)
        journal.note("cn=x", {"a": ("1",)})
        assert journal.path.stat().st_mode & 0o777 == 0o600
        session.undos.append(Undo(1, "doing", "a", lambda: undo(session)))

    run(story(action), Session(STACK, "r", lambda _: None, journal=journal))
    assert journal.path.exists() == left


def test_the_journal_has_the_first_values_alone(tmp_path: Path) -> None:
    """What a later step of the run changes again was the run's own doing; names have no case."""
    journal = Journal(tmp_path / "before.ldif")
    journal.note("cn=x", {"a": ("1",)})
    journal.note("CN=x", {"A": ("2",), "b": ("3",)})
    journal.note("cn=x", {"a": ("4",)})
    assert [line for line in journal.path.read_text().splitlines() if line[:2] in {"a:", "A:"}] == [
        "a: 1"
    ]
    assert "b: 3" in journal.path.read_text()


def test_the_journal_outlasts_a_case_that_could_not_be_put_back(tmp_path: Path) -> None:
    """The case after it puts everything back, of its own."""
    journal = Journal(tmp_path / "before.ldif")

    def broken(session: Session) -> None:
        passing(session)
        journal.note("cn=x", {"a": ("1",)})
        undo = Undo(1, "doing", "a", lambda: raising(LabNotReady("x"))(session))
        session.undos.append(undo)

    cases = tuple(
        Case(name, Needs(), None, {"hardened": story(action).steps})
        for name, action in (("first", broken), ("second", passing))
    )
    session = Session(STACK, "r", lambda _: None, journal=journal)
    run(replace(story(), cases=cases), session)
    assert journal.path.exists()


def test_a_listener_that_fails_keeps_no_undo_back() -> None:
    """The pipe is closed while a presenter goes back: what was begun there is undone, once."""
    undone: list[str] = []
    session = Session(STACK, "r", lambda _: None)

    def closed(event: Event) -> None:
        if isinstance(event, StepStarted) and event.undo:
            raise BrokenPipeError

    session.listener = closed
    run(story(changing("a", undone)), session)
    assert undone == ["a"]
    assert session.listener is closed


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


@pytest.mark.parametrize("wrong", ["bob@", "B <b@", "@", "x y"])
def test_what_is_no_address_stands_in_the_header_as_it_is(wrong: str) -> None:
    """A scenario may try it: what becomes of it, the servers say."""
    message = compose(message_id("m", "r1"), Draft(wrong, (wrong, "c@x.org"), "x", "Hi.\n"))
    assert f"From: {wrong}\r\nTo: {wrong}, c@x.org\r\n".encode() in message.content


@pytest.mark.parametrize("name", ["alice", "alice:reports", "alice+news"])
def test_whatever_address_an_account_sends_from_it_signs_in_as_itself(name: str) -> None:
    """An account's name may stand for each of its addresses, the login is one."""
    send = Send.model_validate({"from": name, "to": "bob"})
    assert ("sends", "signed in as alice") in [
        (label, text.rpartition(", ")[2]) for label, text in send.plan(STACK)
    ]
