"""The switches of `.env` that change what is a yes: each way, on a running lab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LiveLab, bring_up

REFUSED, ACCEPTED = "554 5.7.1 at RCPT", "250 2.0.0 at EOM"


@pytest.fixture(scope="module")
def switched(state: Path) -> Iterator[LiveLab]:
    """A lab of this module's own, with what `.env` says when it says nothing."""
    lab = bring_up(state, 11, "switched")
    yield lab
    lab.run("down", "--volumes")


def answer(lab: LiveLab, sender: str, *options: str) -> str:
    """Return the reply to a message, and the stage at which it came."""
    done = lab.ran("send", "--from", sender, "--to", "bob", *options)
    assert done.code == (0 if done.out.startswith("2") else 1), done.err
    return done.out.strip()


def test_absent_attributes_are_a_no_where_that_is_said(switched: LiveLab) -> None:
    """LAB_POLICY_ABSENT=deny: only TRUE with active is a yes; else Carol, who has none, sends."""
    assert answer(switched, "carol") == ACCEPTED
    try:
        switched.run("up", LAB_POLICY_ABSENT="deny")
        assert answer(switched, "carol") == REFUSED
        assert answer(switched, "alice") == ACCEPTED
        switched.run("user", "set", "alice", "--status", "absent")
        assert answer(switched, "alice") == REFUSED
        switched.run("user", "set", "alice", "--status", "active", "--send-allowed", "absent")
        assert answer(switched, "alice") == REFUSED
    finally:
        switched.run("up")
        switched.run("reset")
    assert answer(switched, "carol") == ACCEPTED


def test_a_status_that_nobody_knows_is_refused_or_a_no(switched: LiveLab) -> None:
    """The directory takes only the known three; with LAB_STATUS_FREE=1 any, and any is a no."""
    done = switched.ran("user", "set", "alice", "--status", "on leave")
    assert done.code != 0
    assert "constraintViolation" in done.err, done.err
    assert answer(switched, "alice") == ACCEPTED
    try:
        switched.run("up", LAB_STATUS_FREE="1")
        for status in ("on leave", "activ", "inactive"):
            switched.run("user", "set", "alice", "--status", status)
            assert answer(switched, "alice") == REFUSED, status
        switched.run("user", "set", "alice", "--status", "ACTIVE")
        assert answer(switched, "alice") == ACCEPTED
    finally:
        switched.run("user", "set", "alice", "--status", "active")
        switched.run("up")
    assert switched.ran("user", "set", "alice", "--status", "on leave").code != 0


def test_the_null_sender_is_for_those_who_may_send(switched: LiveLab) -> None:
    """LAB_NULL_SENDER=allow: a read receipt goes out, but not from one who may not send."""
    null = ("--envelope-from", "")
    assert answer(switched, "alice", *null) == REFUSED
    try:
        switched.run("up", LAB_NULL_SENDER="allow")
        assert answer(switched, "alice", *null) == ACCEPTED
        assert answer(switched, "dave", *null) == REFUSED
        assert answer(switched, "erin", *null) == REFUSED
    finally:
        switched.run("up")
    assert answer(switched, "alice", *null) == REFUSED


def test_a_queue_out_of_order_does_not_keep_postfix_from_starting(switched: LiveLab) -> None:
    """A file whose name is not its inode's, as after a restored backup, is put right."""
    misplaced = "/var/spool/postfix/maildrop/ABC"
    switched.must("postfix", "sh", "-c", f"touch {misplaced} && chmod 0700 {misplaced}")
    switched.run("up", LAB_NULL_SENDER="allow")
    switched.run("up")
    assert answer(switched, "alice") == ACCEPTED
    switched.must("postfix", "sh", "-c", "rm -f /var/spool/postfix/maildrop/*")
