"""A step that did not pass says what the policy was, and where to look further."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import LABCTL, ROOT, LiveLab

ALLOWED = "tnMailSendAllowed: TRUE\ntnAccountStatus: active"
OFFBOARDED = "tnMailSendAllowed: FALSE\ntnAccountStatus: offboarded"
REFUSED = "{stage: RCPT, reply: 554 5.7.1}"

# Steps of which the last does not pass, Alice's policy at that moment, and what to look at then.
FAILURES = {
    "refused": (
        ["offboard: {account: alice}", "send: {from: alice, to: bob}"],
        OFFBOARDED,
        "explain alice --from alice@truenorth.local --to bob@truenorth.local",
    ),
    "accepted": (
        [f"send: {{from: alice, to: bob, via: submissions, expect: {REFUSED}}}"],
        ALLOWED,
        "explain alice --from alice@truenorth.local --to bob@truenorth.local --port 465",
    ),
    "accepted again": (
        ["send: {from: alice, to: bob, as: m}", f"resend: {{message: m, expect: {REFUSED}}}"],
        ALLOWED,
        "explain alice --from alice@truenorth.local --to bob@truenorth.local",
    ),
    "from outside": (
        [f"send: {{from: x@example.org, to: alice, expect: {REFUSED}}}"],
        ALLOWED,
        "explain alice --from x@example.org --to alice@truenorth.local --port 25",
    ),
    "refused for its content": (
        ["send: {from: alice, header_from: bob, to: alice}"],
        ALLOWED,
        "logs postfix milter --tail 20",
    ),
    "not there": (
        ["send: {from: bob, to: bob, as: m}", "receive: {account: alice, message: m}"],
        ALLOWED,
        "logs postfix dovecot --tail 20",
    ),
    "let in": (
        ["authenticate: {account: alice, expect: refused}"],
        ALLOWED,
        "logs postfix dovecot --tail 20",
    ),
    "no such status": (
        ["set: {account: alice, status: away}"],
        ALLOWED,
        "user show alice",
    ),
    "hidden": (
        ["directory: {as: bob, entry: alice, sees: [status]}"],
        ALLOWED,
        "ldapsearch -Q -Y EXTERNAL -H ldapi:/// -LLL -s base -b"
        " uid=alice,ou=users,dc=truenorth,dc=local",
    ),
    "another reply": (
        ["smtp: {account: alice, dialogue: [-> NOOP, <- 554]}"],
        ALLOWED,
        "logs postfix --tail 20",
    ),
}


def failed(lab: LiveLab, path: Path, steps: list[str], *more: str) -> tuple[dict, dict]:
    """Run steps, of which the last must not pass; returns its clue and its end."""
    lines = ["title: t", "accounts: [alice, bob]", "steps:", *(f"  - {step}" for step in steps)]
    path.write_text("\n".join(lines) + "\n")
    done = lab.ran("scenario", str(path), "-o", "jsonl", *more, LAB_WAIT_SECONDS="1")
    assert done.code in (1, 5), done
    events = [json.loads(line) for line in done.out.splitlines()]
    (clue,) = (event for event in events if event["event"] == "clue")
    ended = events[events.index(clue) + 1]
    assert (ended["event"], ended["number"]) == ("step-ended", len(steps))
    assert any(event["event"] == "check" and not event["ok"] for event in events)
    return clue, ended


def runs(lab: LiveLab, line: str) -> str:
    """Run the command to look further, which must work; returns what it prints."""
    env = {**lab.env, "PATH": f"{LABCTL.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_says_what_the_policy_was_and_where_to_look(
    lab: LiveLab, tmp_path: Path, case: str
) -> None:
    """The attributes are those of that moment, and the command is of use."""
    steps, policy, further = FAILURES[case]
    clue, _ = failed(lab, tmp_path / "s.yaml", steps)
    assert f"dn: uid=alice,ou=users,dc=truenorth,dc=local\n{policy}" in clue["policy"]
    assert clue["further"].endswith(further)
    assert runs(lab, clue["further"])


@pytest.mark.parametrize("case", ["refused", "not there", "let in", "no such status", "hidden"])
def test_on_a_foreign_stack_the_command_works_there(
    lab: LiveLab, tmp_path: Path, case: str
) -> None:
    """No container is asked for, and the stack is the one of the endpoints file."""
    file = tmp_path / "my stack.json"
    file.touch(0o600)
    file.write_text(json.dumps(lab.json("endpoints", "--secrets")))
    steps, policy, _ = FAILURES[case]
    clue, _ = failed(lab, tmp_path / "s.yaml", steps, "--endpoints", str(file), "--yes")
    assert policy in clue["policy"]
    assert clue["further"].endswith(f"--endpoints '{file}'")
    assert "alice" in runs(lab, clue["further"]) or case == "not there"


@pytest.mark.parametrize("kind", ["stop", "pause"])
def test_a_directory_that_is_away_masks_no_failure(
    scratch: LiveLab, tmp_path: Path, kind: str
) -> None:
    """The step failed for what it saw; the clue says that the policy could not be read, and why.
    What the run changed before is put back, once the directory answers again.
    """
    steps = [
        "send: {from: alice, to: bob, session: open}",
        "disable: {account: alice}",
        f"fault: {{service: openldap, kind: {kind}}}",
        "send: {from: alice, to: bob, session: open}",
    ]
    clue, ended = failed(scratch, tmp_path / "s.yaml", steps)
    assert ended["verdict"] == "failed"
    assert ended["reason"].startswith("reply: expected 250 at EOM, seen 451 ")
    assert clue["policy"].startswith("# not read: the directory at ")
    assert clue["further"].endswith("logs postfix --tail 20")
    assert scratch.json("user", "show", "alice")["user"]["may_send"]


def test_every_report_shows_it(lab: LiveLab, tmp_path: Path) -> None:
    """Without -v, and rendered again from the transcript in every form."""
    failed(lab, tmp_path / "s.yaml", FAILURES["refused"][0])
    for form in ("text", "junit", "html"):
        report = lab.run("report", "last", "-o", form)
        assert "tnAccountStatus: offboarded" in report, form
        assert "labctl -n hardened explain alice --from" in report, form
