"""A stack that labctl did not start and that is built otherwise: the same scenarios hold there,
and it is left as it was found.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import LABCTL, ROOT, LiveLab, Ran
from elsewhere import ATTRIBUTES, SECRET, Elsewhere, running

from labctl.protocols.poll import poll

# Each with how many of its steps must pass there: what is skipped cannot hide among them.
PORTABLE = {
    "anti-spoofing": 14,
    "delivery": 13,
    "offboarding": 11,
    "secondary-addresses": 16,
    "send-disabled": 10,
    "status-values": 24,
}
# Holds each reply, byte by byte, against the lab's: elsewhere its failures are questions to ask.
AUDIT = "bypass"
SHIPPED = sorted(path.stem for path in (ROOT / "scenarios").glob("*.yaml"))
LAB_ALONE = [name for name in SHIPPED if name not in PORTABLE and name != AUDIT]
NO_CONTAINERS = "needs the lab's own containers"
NO_REPLICAS = "needs a replicated directory; this is single"
HERE = {NO_CONTAINERS, "the stack has no service 'submissions'", "the message 'both' was not sent"}
WAITING = """
title: Waits for a message that never comes, after a change
accounts: [alice, bob]
steps:
  - send:     {from: bob, to: bob, as: to-bob}
  - offboard: {account: alice}
  - receive:  {account: alice, message: to-bob}
"""
GRANTED = ["employmentState: current", "mailPermission: granted"]
REVOKED = ["employmentState: left", "mailPermission: revoked"]


@pytest.fixture(scope="module")
def elsewhere(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """The foreign stack, for the tests of this file."""
    with running(tmp_path_factory.mktemp("elsewhere"), state / "elsewhere") as stack:
        yield stack


@pytest.fixture
def untouched(elsewhere: Elsewhere) -> Iterator[Elsewhere]:
    """The stack, whose policy must be after the test what it was, and whose mail all there."""
    poll(lambda: elsewhere.inside("postqueue", "-j") == "", what="no queue", seconds=60)
    before, mail = elsewhere.policies(), elsewhere.mail()
    yield elsewhere
    assert elsewhere.policies() == before
    assert mail <= elsewhere.mail(), "mail was removed"


def scenario(stack: Elsewhere, name: str, *options: str, file: Path | None = None) -> Ran:
    """Run a scenario there."""
    given = ("--endpoints", str(file or stack.describe()), *options)
    return stack.labctl.ran("scenario", name, *given)


def events_of(done: Ran) -> list[dict]:
    """Return what a run with -o jsonl told."""
    return [json.loads(line) for line in done.out.splitlines()]


def skipped(events: list[dict]) -> set[str]:
    """Return the reasons for which steps were skipped."""
    ended = (event for event in events if event["event"] == "step-ended")
    return {event["reason"] for event in ended if event["verdict"] == "skipped"}


@pytest.mark.parametrize("name", PORTABLE)
def test_the_portable_scenarios_pass_there(untouched: Elsewhere, name: str) -> None:
    """Other base DN, attributes, values, logins, services: the same files pass."""
    done = scenario(untouched, name, "--yes", "-o", "jsonl")
    events = events_of(done)
    assert done.code == 0, events[-1]["reason"] + done.err
    assert (events[-1]["verdict"], events[-1]["failed"], events[-1]["error"]) == ("passed", 0, 0)
    assert events[-1]["passed"] == PORTABLE[name]
    assert skipped(events) <= HERE


@pytest.mark.parametrize("name", LAB_ALONE)
def test_the_others_are_skipped_with_their_reason(untouched: Elsewhere, name: str) -> None:
    """What needs the lab itself does nothing there, and is no success; nobody is asked."""
    done = scenario(untouched, name, "-o", "jsonl")
    assert done.code == 1
    assert events_of(done)[-1]["verdict"] == "skipped"
    assert skipped(events_of(done)) == {NO_REPLICAS if "replica" in name else NO_CONTAINERS}
    assert done.err == ""


def test_a_missing_policy_turns_the_scenario_red(elsewhere: Elsewhere) -> None:
    """That scenarios pass there means something: without the rule they do not."""
    rules = "submission_sender_restrictions"
    before = elsewhere.inside("postconf", "-h", rules).strip()
    elsewhere.configure(f"{rules} = reject_sender_login_mismatch")
    try:
        poll(lambda: red(elsewhere) or None, what="a red scenario", seconds=30)
    finally:
        elsewhere.configure(f"{rules} = {before}")
        poll(lambda: not red(elsewhere), what="a green scenario", seconds=30)


def red(stack: Elsewhere) -> bool:
    """Say whether the expectation fails that who is offboarded cannot send."""
    done = scenario(stack, "offboarding", "--yes", "-o", "jsonl")
    return done.code == 1 and "expected 554 5.7.1 at RCPT" in events_of(done)[-1]["reason"]


def test_nothing_is_deleted_from_mailboxes(untouched: Elsewhere) -> None:
    """A run adds messages, each stays, and none that was there goes; IMAP only ever looks."""
    before = untouched.mail()
    done = scenario(untouched, "offboarding", "--yes", "-o", "jsonl")
    after = untouched.mail()
    assert before < after
    wire = (event for event in events_of(done) if event["event"] == "wire")
    said = [event["line"] for event in wire if (event["peer"], event["mark"]) == ("imap", "->")]
    verbs = {line.split()[1] for line in said}
    assert verbs == {"CAPABILITY", "STARTTLS", "LOGIN", "EXAMINE", "NOOP", "UID", "LOGOUT"}
    assert {line.split()[2] for line in said if line.split()[1] == "UID"} == {"SEARCH"}


# ---- Asking ------------------------------------------------------------------------------------


def test_without_a_terminal_and_without_yes_nothing_is_touched(untouched: Elsewhere) -> None:
    """It says what it would touch: accounts, DNs, attributes, mailboxes; the exit code is 2."""
    mail = untouched.mail()
    done = scenario(untouched, "delivery")
    assert (done.code, done.out) == (2, "")
    done = scenario(untouched, "offboarding")
    assert (done.code, done.out) == (2, "")
    assert "alice, mail=alice@elsewhere.example,o=Elsewhere: mailPermission (now granted), " in (
        done.err
    )
    assert "employmentState (now current)" in done.err
    assert "Will receive test mail, which stays:" in done.err
    assert "  bob@elsewhere.example" in done.err
    assert "--yes" in done.err
    assert untouched.mail() == mail


class OnTerminal:
    """labctl on a terminal of its own, at which the test sits."""

    def __init__(self, lab: LiveLab, *arguments: str, **env: str) -> None:
        self.seat, seat = os.openpty()
        self.said = ""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", LABCTL, "-n", lab.name, *arguments],
            env={**lab.env, **env},
            stdin=seat,
            stdout=seat,
            stderr=seat,
        )
        os.close(seat)

    def sees(self, text: str) -> None:
        """Read until a text has come."""
        while text not in self.said:
            self.said += os.read(self.seat, 4096).decode()

    def types(self, text: str) -> None:
        """Type a line."""
        os.write(self.seat, f"{text}\n".encode())

    def ends(self) -> int:
        """Read to the end; returns the exit code."""
        try:
            while data := os.read(self.seat, 4096):
                self.said += data.decode()
        except OSError:  # how Linux tells that the other side has gone
            pass
        os.close(self.seat)
        return self.process.wait(timeout=60)


def test_on_a_terminal_it_asks(untouched: Elsewhere) -> None:
    """A no leaves all as it is, a yes lets it go on."""
    arguments = ("scenario", "offboarding", "--endpoints", str(untouched.describe()))
    mail = untouched.mail()
    seat = OnTerminal(untouched.labctl, *arguments)
    seat.sees("Go on? [y/N]")
    seat.types("n")
    assert seat.ends() == 130
    assert "Nothing was touched." in seat.said
    assert untouched.mail() == mail
    seat = OnTerminal(untouched.labctl, *arguments)
    seat.sees("Go on? [y/N]")
    seat.types("y")
    assert seat.ends() == 0, seat.said
    assert untouched.mail() > mail


def test_who_may_not_write_is_told_before_the_first_step(untouched: Elsewhere) -> None:
    """A policy_admin without rights: the error names it, the attributes, and what to do."""
    mail = untouched.mail()
    file = untouched.describe("auditor.toml", admin="auditor")
    done = scenario(untouched, "offboarding", "--yes", file=file)
    assert (done.code, done.out) == (2, "")
    assert "cn=auditor,o=Elsewhere cannot change mailPermission and employmentState" in done.err
    assert "insufficientAccessRights" in done.err
    assert "another policy_admin" in done.err
    assert untouched.mail() == mail


# ---- Putting back ------------------------------------------------------------------------------


def begun(stack: Elsewhere, start: Callable[[str], None]) -> None:
    """Let `start` start the scenario that waits, by its path, and see Alice offboarded by it."""
    assert stack.policy("alice") == GRANTED
    path = stack.folder / "waiting.yaml"
    path.write_text(WAITING)
    start(str(path))
    poll(lambda: stack.policy("alice") == REVOKED, what="the change", seconds=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_and_all_is_put_back(
    untouched: Elsewhere, number: signal.Signals
) -> None:
    """Interrupted while the attributes are changed: exit code 130, and they are as before."""
    held: list[subprocess.Popen[str]] = []
    options = ("--endpoints", str(untouched.describe()), "--yes")

    def start(path: str) -> None:
        lab = untouched.labctl
        held.append(lab.start("scenario", path, *options, LAB_WAIT_SECONDS="300"))

    begun(untouched, start)
    for _ in range(3):  # the shell, the terminal, an impatient person
        held[0].send_signal(number)
    out, _ = held[0].communicate(timeout=60)
    assert held[0].returncode == 130
    assert "alice as before" in out
    assert untouched.policy("alice") == GRANTED
    assert not list((untouched.state / "runs").glob("*/before.ldif"))


@pytest.mark.parametrize("look", [{"NO_COLOR": "1"}, {"NO_COLOR": "", "TERM": "xterm"}])
def test_a_terminal_that_is_closed_ends_the_run_and_all_is_put_back(
    untouched: Elsewhere, look: dict[str, str]
) -> None:
    """SIGHUP comes, and nothing can be told any more: the attributes are put back all the same."""
    seats: list[OnTerminal] = []
    options = ("--endpoints", str(untouched.describe()), "--yes")

    def start(path: str) -> None:
        lab = untouched.labctl
        seats.append(OnTerminal(lab, "scenario", path, *options, LAB_WAIT_SECONDS="300", **look))

    begun(untouched, start)
    os.close(seats[0].seat)
    assert seats[0].process.wait(timeout=60) == 130, seats[0].said
    assert untouched.policy("alice") == GRANTED


def test_a_reader_that_goes_away_does_not_keep_anything_changed(untouched: Elsewhere) -> None:
    """`labctl scenario … | head -1`: the output goes nowhere, the attributes are put back."""
    options = ("--endpoints", str(untouched.describe()), "--yes")
    held: list[subprocess.Popen[str]] = []

    def start(path: str) -> None:
        held.append(untouched.labctl.start("scenario", path, *options, LAB_WAIT_SECONDS="3"))

    begun(untouched, start)
    assert held[0].stdout
    assert held[0].stderr
    held[0].stdout.close()
    held[0].stderr.close()
    held[0].wait(timeout=60)
    assert untouched.policy("alice") == GRANTED


def test_what_a_killed_run_changed_can_be_put_back(untouched: Elsewhere) -> None:
    """Nothing can be undone after SIGKILL; but the LDIF that does it lies beside the transcript,
    and the next command says so.
    """
    held: list[subprocess.Popen[str]] = []
    options = ("--endpoints", str(untouched.describe()), "--yes")

    def start(path: str) -> None:
        lab = untouched.labctl
        held.append(lab.start("scenario", path, *options, LAB_WAIT_SECONDS="300"))

    begun(untouched, start)
    held[0].kill()
    held[0].communicate(timeout=60)
    assert untouched.policy("alice") == REVOKED
    [left] = (untouched.state / "runs").glob("*/before.ldif")
    assert left.stat().st_mode & 0o777 == 0o600
    assert f"ldapmodify -f {left}" in scenario(untouched, "offboarding").err
    bind = ("-x", "-D", "cn=provisioning,o=Elsewhere", "-w", f"provisioning-{SECRET}")
    untouched.inside("ldapmodify", "-H", "ldapi:///", *bind, stdin=left.read_text())
    left.unlink()
    assert untouched.policy("alice") == GRANTED


# ---- Finding people, and what a directory lacks ------------------------------------------------

BY_FILTER = (
    '[people]\nlogin = "{address}"\nfilter = "(&(objectClass=inetOrgPerson)(mail={address}))"'
)


def test_people_are_found_by_a_filter_too(untouched: Elsewhere) -> None:
    """In place of a DN template; the scenario passes, and the DN that was found is shown."""
    file = untouched.describe("filter.toml", people=BY_FILTER)
    done = scenario(untouched, "send-disabled", "--yes", file=file)
    assert done.code == 0, done.out
    assert "alice, mail=alice@elsewhere.example,o=Elsewhere: mailPermission" in done.err


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ('filter = "(employeeType=staff)"', "has 4 entries that may be 'alice'"),
        ('filter = "(uid={name})"', "nothing is found at (uid=alice) below o=Elsewhere"),
        ('dn = "uid={name},ou=people,{base_dn}"', "found at uid=alice,ou=people,o=Elsewhere"),
        ('filter = "(mail~{address})"', "cannot be asked for"),
    ],
)
def test_who_is_not_found_or_found_twice_is_an_error(
    untouched: Elsewhere, people: str, said: str
) -> None:
    """Before anything is touched, with the exit code of a file that cannot be used."""
    mail = untouched.mail()
    file = untouched.describe("lost.toml", people=f'[people]\nlogin = "{{address}}"\n{people}\n')
    done = scenario(untouched, "send-disabled", "--yes", file=file)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert untouched.mail() == mail


ONE = {
    "send_allowed": ATTRIBUTES.partition("[attributes.status]")[0],
    "status": "[attributes.status]" + ATTRIBUTES.partition("[attributes.status]")[2],
}


@pytest.mark.parametrize(
    ("kept", "name", "verdict", "reason"),
    [
        ("send_allowed", "offboarding", "passed", ""),
        ("send_allowed", "send-disabled", "passed", ""),
        ("send_allowed", "status-values", "skipped", "needs an attribute for status"),
        ("status", "offboarding", "passed", ""),
        ("status", "send-disabled", "skipped", "needs an attribute for send_allowed"),
    ],
)
def test_a_directory_may_have_one_of_the_two_attributes(
    untouched: Elsewhere, kept: str, name: str, verdict: str, reason: str
) -> None:
    """Offboarding sets what there is; a scenario that needs the other one is skipped."""
    file = untouched.describe("one.toml", attributes=ONE[kept])
    done = scenario(untouched, name, "--yes", "-o", "jsonl", file=file)
    events = events_of(done)
    assert events[-1]["verdict"] == verdict, events[-1]
    assert done.code == (0 if verdict == "passed" else 1)
    assert any(reason in each for each in skipped(events))
    changes = "".join(event["ldif"] for event in events if event["event"] == "change")
    other = {"send_allowed": "employmentState", "status": "mailPermission"}[kept]
    assert other not in changes + done.err


# ---- By hand -----------------------------------------------------------------------------------


def test_people_are_listed_and_changed_by_hand(untouched: Elsewhere) -> None:
    """`user` shows the accounts of the file with that directory's values; a change asks first."""
    file = ("--endpoints", str(untouched.describe()))
    listed = {row["name"]: row for row in untouched.labctl.json("user", "list", *file)["users"]}
    assert set(listed) == {"alice", "bob", "carol", "dave", "erin", "outside"}
    assert (listed["dave"]["mailPermission"], listed["dave"]["may_send"]) == ("revoked", False)
    assert listed["erin"]["employmentState"] == "left"
    refused = untouched.labctl.ran("user", "disable", "alice", *file)
    assert refused.code == 2
    assert "mailPermission: granted → revoked" in refused.err
    assert untouched.policy("alice") == GRANTED
    said = untouched.labctl.run("user", "disable", "alice", *file, "--yes")
    assert said == "alice may not send.\n"
    assert untouched.policy("alice") == ["employmentState: current", "mailPermission: revoked"]
    untouched.labctl.run("user", "enable", "alice", *file, "--yes")


def test_somebody_who_is_not_there_does_not_hide_the_others(untouched: Elsewhere) -> None:
    """An account of the file that the directory does not have is told, and the rest is listed."""
    ghost = '[accounts.ghost]\npassword_env = "ALICE_PASSWORD"\n'
    file = untouched.describe("ghost.toml", extra=ghost)
    done = untouched.labctl.ran("user", "list", "-o", "json", "--endpoints", str(file))
    assert done.code == 0, done.err
    assert {"alice", "dave"} <= {row["name"] for row in json.loads(done.out)["users"]}
    assert "the directory has no account 'ghost'" in done.err


def test_mail_is_sent_and_read_by_hand(untouched: Elsewhere) -> None:
    """`send` signs in with the full address, over STARTTLS; `inbox` shows the message."""
    file = ("--endpoints", str(untouched.describe()))
    lab = untouched.labctl
    sent = ("send", "--from", "alice", "--to", "bob", "--subject", "From elsewhere", *file)
    assert "250 2.0.0 at EOM" in lab.run(*sent)

    def arrived() -> bool | None:
        messages = lab.json("inbox", "bob", *file)["messages"]
        return any(mail["subject"] == "From elsewhere" for mail in messages) or None

    poll(arrived, what="the message", seconds=30)
    done = lab.ran("send", "--from", "dave", "--to", "bob", *file)
    assert (done.code, "554 5.7.1 at RCPT" in done.out) == (1, True)
    assert "no service 'submissions'" in lab.ran(*sent, "--via", "submissions").err


def test_an_untrusted_certificate_is_refused(untouched: Elsewhere) -> None:
    """Without the stack's CA the system's authorities count, and they do not know it."""
    file = untouched.describe("untrusted.toml")
    file.write_text(file.read_text().replace('ca_file = "ca.pem"\n', ""))
    done = untouched.labctl.ran("send", "--from", "alice", "--to", "bob", "--endpoints", str(file))
    assert done.code == 3
    assert "CERTIFICATE_VERIFY_FAILED" in done.err
    assert "ca_file" in done.err
    assert untouched.labctl.ran("user", "list", "--endpoints", str(file)).code == 3


def test_the_audit_runs_there_and_an_interrupt_between_cases_leaves_nothing(
    untouched: Elsewhere,
) -> None:
    """The catalogue of bypasses runs case by case; interrupted, what it changed is as before."""
    options = ("--endpoints", str(untouched.describe()), "--yes", "-o", "jsonl")
    process = untouched.labctl.start("scenario", AUDIT, *options)
    assert process.stdout
    seen = []
    while sum(event["event"] == "case-ended" for event in seen) < 12:
        seen.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    verdicts = [event["verdict"] for event in seen if event["event"] == "case-ended"]
    assert verdicts.count("passed") > 0
    assert "error" not in verdicts
