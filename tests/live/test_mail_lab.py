"""`MailLab` on real servers: what a test does with it, and that nothing of it is left."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import FIRST_SLOT, LiveLab, docker_do, environment

from labctl.errors import ExpectationFailed, SlotTaken, UsageError
from labctl.testing import MailLab, MailStack

SLOT = FIRST_SLOT + 12


@pytest.fixture(scope="module", autouse=True)
def surroundings(state: Path) -> Iterator[None]:
    """Let neither `.env` nor the caller's settings play a part."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(state, 12).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def own() -> Iterator[MailLab]:
    """A lab with another domain; each test puts back what it changes."""
    with MailLab(slot=FIRST_SLOT + 8, domain="acme.example") as lab:
        yield lab


def remains(slot: int) -> str:
    """Return what the engine has of the lab in a slot."""
    label = f"label=com.docker.compose.project=mail-policy-lab-{slot}"
    kinds = (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
    return "".join(docker_do(*kind, "--filter", label) for kind in kinds)


def test_a_message_is_submitted_and_received(own: MailLab) -> None:
    """What came of it is stage and reply, and the message is found by its Message-ID."""
    sent = own.submit("alice", ("bob", "carol"), subject="Grüße", body="Hello\n")
    assert (str(sent), sent.accepted, sent.reply.code) == ("250 2.0.0 at EOM", True, 250)
    assert own.receive("carol", sent)["Subject"] == "Grüße"
    mail = own.receive("bob", sent.message_id)
    assert (mail["From"], mail.get_content()) == ("alice@acme.example", "Hello\r\n")
    assert sent.message_id in [each.message_id for each in own.inbox("bob")]


@pytest.mark.parametrize(
    ("sender", "options", "outcome"),
    [
        ("alice", {"envelope_from": "bob"}, "553 5.7.1 at RCPT"),
        ("alice", {"header_from": "bob"}, "550 5.7.1 at EOM"),
        ("alice", {"via": "submissions"}, "250 2.0.0 at EOM"),
        ("mallory@outside.example", {}, "250 2.0.0 at EOM"),
    ],
)
def test_a_submission_is_as_the_scenarios_have_it(
    own: MailLab, sender: str, options: dict[str, str], outcome: str
) -> None:
    """Borrowed senders are refused where scenarios see it, and outsiders use the relay."""
    assert str(own.submit(sender, "bob", **options)) == outcome


def test_what_is_changed_within_is_put_back(own: MailLab) -> None:
    """Through this object, at every depth, and for those named also what another changed."""
    before = own.directory.policy("alice")
    another = MailStack(own.endpoints)
    with own.changed("alice"):
        another.directory.offboard("alice")
        own.directory.set("bob", status="absent")
        with own.changed():
            own.directory.disable("bob")
            assert str(own.submit("bob", "carol")) == "554 5.7.1 at RCPT"
        assert own.directory.policy("bob").send_allowed == "TRUE"
        assert own.directory.policy("bob").status is None
        assert not own.directory.policy("alice").may_send
    assert own.directory.policy("bob").status == "active"
    assert own.directory.policy("alice") == before
    another.restore()


def test_what_is_changed_is_put_back_after_an_exception_too(own: MailLab) -> None:
    """And `restore` puts back the rest."""

    def breaking() -> None:
        with own.changed():
            own.directory.disable("alice")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaking()
    assert own.directory.policy("alice").may_send
    own.directory.offboard("alice")
    own.directory.enable("alice")
    own.directory.disable("alice")
    own.restore()
    assert own.directory.policy("alice").may_send


def test_the_directory_says_what_it_refuses(own: MailLab) -> None:
    """Somebody unknown, and a value that is none."""
    with pytest.raises(UsageError, match="no account 'nobody'"):
        own.directory.disable("nobody")
    with own.changed("alice"), pytest.raises(ExpectationFailed, match="is refused"):
        own.directory.set("alice", send_allowed="MAYBE")  # type: ignore[arg-type]


def test_a_scenario_is_run_and_told_step_by_step(own: MailLab, tmp_path: Path) -> None:
    """Steps that need the lab's containers are performed, and the one that fails is told."""
    file = tmp_path / "x.scenario.yaml"
    steps = "title: T\naccounts: [alice, bob]\nsteps:\n  - send: {from: alice, to: bob%s}\n"
    file.write_text(f"{steps % ''}  - unchanged:\n")
    played = own.run(file)
    assert (played.passed, played.ended.passed, played.skipped) == (True, 2, "")
    file.write_text(steps % ", expect: {stage: RCPT, reply: 554 5.7.1}")
    played = own.run(str(file))
    assert not played.passed
    assert "expected     554 5.7.1 at RCPT" in played.text
    assert "<-  250 2.1.5 Ok" in str(played)


def test_a_reset_puts_back_mail_and_people(own: MailLab) -> None:
    """And the servers run on."""
    own.directory.offboard("carol")
    own.receive("bob", own.submit("alice", "bob"))
    own.reset()
    assert own.inbox("bob") == []
    assert own.directory.policy("carol").may_send
    assert own.submit("alice", "bob").accepted


def test_nothing_is_left_after_an_exception(state: Path) -> None:
    """Neither containers nor volumes nor network nor state; and it can be started again."""
    lab = MailLab(slot=SLOT, state=state / "given")

    def breaking() -> None:
        with lab:
            assert lab.ca_file is not None
            assert lab.ca_file.is_file()
            assert remains(SLOT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaking()
    assert remains(SLOT) == ""
    assert not list((state / "given").glob("labs/*"))
    with lab:
        assert lab.submit("alice", "bob").accepted
    assert remains(SLOT) == ""


def test_a_slot_that_somebody_has_is_left_alone(lab: LiveLab) -> None:
    """A lab that runs, and the volumes of one that is down."""
    with pytest.raises(SlotTaken, match="used by another lab"):
        MailLab(slot=FIRST_SLOT).start()
    lab.run("status")
    name = f"mail-policy-lab-{SLOT}_mail"
    label = f"com.docker.compose.project=mail-policy-lab-{SLOT}"
    docker_do("volume", "create", "--label", label, name)
    try:
        with pytest.raises(SlotTaken):
            MailLab(slot=SLOT).start()
        assert docker_do("volume", "ls", "-q", "--filter", f"label={label}").split() == [name]
    finally:
        docker_do("volume", "rm", name)


def test_two_suites_at_once_have_a_slot_each() -> None:
    """Nobody chose one for them."""
    labs = [MailLab(), MailLab()]
    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(MailLab.start, labs))
            slots = [lab.endpoints.slot for lab in labs]
            assert len(set(slots)) == 2
            assert all(lab.submit("alice", "bob").accepted for lab in labs)
        finally:
            list(pool.map(MailLab.stop, labs))
    assert [remains(slot) for slot in slots if slot is not None] == ["", ""]


def test_what_a_killed_suite_left_goes_when_its_slot_is_taken_next() -> None:
    """The lab that runs on is removed, and another comes up in its place."""
    program = (
        "import os, signal\n"
        "from labctl.testing import MailLab\n"
        f"MailLab(slot={SLOT}, name='killed').start()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    left = Path(tempfile.gettempdir()).glob(f"mail-policy-lab-testing-*/slot-{SLOT}/labs/killed")
    assert list(left)
    assert remains(SLOT)
    with MailLab(slot=SLOT) as lab:
        assert lab.submit("alice", "bob").accepted
    assert remains(SLOT) == ""
