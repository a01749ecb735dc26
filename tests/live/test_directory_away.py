"""A directory that is away lets nobody through, bounces nothing, and is asked again at once."""

import json
import time
from pathlib import Path

from conftest import LiveLab, docker_do

from labctl.endpoints import Endpoints
from labctl.protocols.smtp import Envelope, SmtpConnection
from labctl.protocols.tls import client_context

STRANGER = ("--from", "stranger@example.org", "--to", "bob")


def test_nobody_sends_nothing_bounces_and_it_recovers(scratch: LiveLab, tmp_path: Path) -> None:
    """Without the directory a sign-in and an open session get 4xx, never 2xx or 5xx; inbound mail
    is deferred; when it is back people send again, with nothing restarted.
    """
    file = tmp_path / "stack.json"
    file.write_text(scratch.run("endpoints", "-o", "json", "--secrets"))
    endpoints = Endpoints.from_dict(json.loads(file.read_text()))
    alice, bob = endpoints.accounts["alice"], endpoints.accounts["bob"]
    context = client_context(endpoints.ca_file)
    envelope, letter = Envelope(alice.address, (bob.address,)), b"From: %b\r\n\r\nx"
    letter %= alice.address.encode()
    with SmtpConnection.open(
        "submission", endpoints.services["submission"], context=context, emit=lambda _: None
    ) as session:
        assert session.sign_in(alice.login, alice.password).reply.ok
        docker_do("stop", "-t", "3", scratch.container("openldap"))
        try:
            outcome = session.submit(envelope, letter)
            assert 400 <= outcome.reply.code < 500, outcome
            for arguments in (("--from", "alice", "--to", "bob"), STRANGER):
                done = scratch.ran("send", *arguments)
                assert done.code == 1
                assert done.out.startswith("4"), done.out
        finally:
            docker_do("start", scratch.container("openldap"))
        deadline = time.monotonic() + 30
        while not can_sign_in(endpoints):
            assert time.monotonic() < deadline, "nobody could sign in again"
        while not session.submit(envelope, letter).accepted:
            assert time.monotonic() < deadline, "the open session never recovered"
    for _ in range(5):  # whichever of Postfix's processes answers
        scratch.run("send", "--from", "alice", "--to", "bob")
    scratch.run("send", *STRANGER)


def test_a_fault_is_healed_when_the_run_ends_before(scratch: LiveLab, tmp_path: Path) -> None:
    """A run that fails while a server is away leaves it running, so that people send again."""
    file = tmp_path / "broken.yaml"
    for kind in ("stop", "kill", "pause"):
        file.write_text(
            "title: The directory is away\naccounts: [alice, bob]\nsteps:\n"
            f"  - fault: {{service: openldap, kind: {kind}}}\n"
            "  - send: {from: alice, to: bob}\n"
        )
        events = scratch.verdicts(str(file), code=1)
        assert events[-1]["verdict"] == "failed"
        assert [event["verb"] for event in events if event.get("undo") and "verb" in event] == [
            "fault"
        ]
        scratch.run("send", "--from", "alice", "--to", "bob")


def can_sign_in(endpoints: Endpoints) -> bool:
    """Say whether a person signs in; anything but yes has to be temporary."""
    context, alice = client_context(endpoints.ca_file), endpoints.accounts["alice"]
    with SmtpConnection.open(
        "submission", endpoints.services["submission"], context=context, emit=lambda _: None
    ) as session:
        outcome = session.sign_in(alice.login, alice.password)
    assert outcome.reply.ok or 400 <= outcome.reply.code < 500, outcome
    return outcome.reply.ok


def test_a_directory_that_hides_the_policy_lets_nobody_send(scratch: LiveLab) -> None:
    """Where Postfix may not see the policy attributes, sending is deferred and not allowed."""
    hide = (
        "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nadd: olcAccess\n"
        "olcAccess: {0}to attrs=tnMailSendAllowed,tnAccountStatus "
        'by dn.base="cn=postfix,ou=services,dc=truenorth,dc=local" none by * break\n'
    )
    scratch.must("openldap", "ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///", stdin=hide)
    for who in ("alice", "dave", "erin"):
        done = scratch.ran("send", "--from", who, "--to", "bob")
        assert (done.code, done.out.strip()) == (1, "450 4.7.1 at RCPT")
