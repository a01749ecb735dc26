"""A rehearsal of the policy refuses nobody by policy, tells whom it would have, and ends."""

import base64
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import LiveLab, docker_do

from labctl.protocols.poll import poll

DOMAIN = "truenorth.local"
OUTSIDE = "x@elsewhere.example"
BOB, DAVE, ALICE = (f"{name}@{DOMAIN}" for name in ("bob", "dave", "alice"))


@pytest.fixture(params=["lab", "baseline"])
def either(request: pytest.FixtureRequest) -> LiveLab:
    """Each profile's lab in turn."""
    return request.getfixturevalue(request.param)


@contextmanager
def shadow(lab: LiveLab) -> Iterator[None]:
    """Rehearse the policy for a while."""
    lab.run("shadow", "--on")
    try:
        yield
    finally:
        lab.run("shadow", "--off")


class Client:
    """A mail client that says what it is told; who is None does not sign in."""

    def __init__(self, lab: LiveLab, who: str | None, service: str = "submission") -> None:
        stack = lab.json("endpoints", "--secrets")
        tls = ssl.create_default_context(cafile=stack["ca_file"])
        port = stack[service]["port"]
        self.own = OUTSIDE if who is None else f"{who}@{DOMAIN}"
        if service == "submissions":
            self.smtp: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", port, context=tls, timeout=60)
            self.smtp.ehlo()
        else:
            self.smtp = smtplib.SMTP("127.0.0.1", port, timeout=60)
            self.smtp.ehlo()
            self.smtp.starttls(context=tls)
            self.smtp.ehlo()
        if who is not None:
            secret = f"\0{who}\0{stack['accounts'][who]['password']}"
            self.say(f"AUTH PLAIN {base64.b64encode(secret.encode()).decode()}")

    def say(self, *lines: str) -> list[str]:
        """Say one line after the other, DATA with a message after it; returns codes of the last."""
        for line in lines:
            code, text = self.smtp.docmd(line)
            if line == "DATA" and code == 354:
                self.smtp.send(f"From: {self.own}\r\nSubject: x\r\n\r\nx\r\n.\r\n".encode())
                code, text = self.smtp.getreply()
        return [str(code), *text.decode().split()[:1]]

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError, smtplib.SMTPException):
            self.smtp.quit()


def said(lab: LiveLab, who: str | None, service: str, *lines: str) -> str:
    """Return the codes of the reply to the last line."""
    client = Client(lab, who, service)
    try:
        return " ".join(client.say(*lines))
    finally:
        client.close()


def rows(lab: LiveLab, number: int = 1) -> list[dict]:
    """Return the report when it has so many rows."""

    def look() -> list[dict] | None:
        found = lab.json("shadow")["blocked"]
        return found if len(found) >= number else None

    return poll(look, what=f"{number} rows in the report", seconds=20)


def test_who_would_be_blocked_gets_through_is_reported_and_is_blocked_again(
    either: LiveLab,
) -> None:
    """Once on each port, on either profile; those who may send are not in the report."""
    before = either.must("postfix", "sha256sum", "/etc/postfix/main.cf")
    assert either.ran("send", "--from", "dave", "--to", "bob").code == 1
    with shadow(either):
        assert either.json("shadow")["shadow"] is True
        for via in ("submission", "submission", "submissions"):
            either.run("send", "--from", "alice", "--to", "bob", "--via", via)
            either.run("send", "--from", "dave", "--to", "bob", "--via", via)
        found = rows(either, 2)
    whose = [
        (row["account"], row["from"], row["to"], row["service"], row["count"]) for row in found
    ]
    assert whose == [
        ("dave", DAVE, BOB, "submission", 2),
        ("dave", DAVE, BOB, "submissions", 1),
    ]
    told = {(row["stage"], row["code"], row["enhanced"]) for row in found}
    assert told == {("RCPT", 554, "5.7.1")}
    assert all("by directory policy" in row["text"] for row in found)
    assert either.ran("send", "--from", "dave", "--to", "bob").code == 1
    assert either.must("postfix", "sha256sum", "/etc/postfix/main.cf") == before
    after = either.json("shadow")
    assert (after["shadow"], after["blocked"]) == (False, found)
    assert after["since"] < after["until"]


MAIL, RCPT = f"MAIL FROM:<{DAVE}>", f"RCPT TO:<{BOB}>"
NO_POLICY = [
    (None, "submission", MAIL, RCPT),
    (None, "submission", "MAIL FROM:<>", RCPT),
    (None, "submission", MAIL, "RCPT TO:<postmaster>", "DATA"),
    (None, "submission", "MAIL FROM:<>", "RCPT TO:<postmaster>", "DATA"),
    (None, "submission", MAIL, f"RCPT TO:<{OUTSIDE}>"),
    (None, "submissions", MAIL, RCPT),
    (None, "submissions", "MAIL FROM:<>", "RCPT TO:<postmaster>", "DATA"),
    ("alice", "submission", MAIL, RCPT),
    ("alice", "submission", f"MAIL FROM:<{OUTSIDE}>", RCPT),
    ("alice", "submission", f"MAIL FROM:<{ALICE}>", f"RCPT TO:<nobody@{DOMAIN}>"),
    (None, "smtp", MAIL, RCPT),
    (None, "smtp", f"MAIL FROM:<{ALICE}>", RCPT),
    (None, "smtp", f"MAIL FROM:<{ALICE}>", "RCPT TO:<postmaster>", "DATA"),
    (None, "smtp", f"MAIL FROM:<{OUTSIDE}>", RCPT),
    (None, "smtp", f"MAIL FROM:<{OUTSIDE}>", f"RCPT TO:<nobody@{DOMAIN}>"),
    (None, "smtp", f"MAIL FROM:<{OUTSIDE}>", "RCPT TO:<y@elsewhere.example>"),
    (None, "smtp", "AUTH PLAIN AAAA"),
]


def test_what_is_no_part_of_the_policy_is_answered_as_before(either: LiveLab) -> None:
    """Without signing in, from others' addresses, to nobody, and on port 25."""
    before = [said(either, *dialogue) for dialogue in NO_POLICY]
    with shadow(either):
        during = [said(either, *dialogue) for dialogue in NO_POLICY]
        assert not either.json("shadow")["blocked"]
    assert during == before
    for (who, service, *lines), reply in zip(NO_POLICY, during, strict=True):
        if who is None and service != "smtp" and "DATA" not in lines:
            assert reply == "554 5.7.1", lines


BLOCKED = [
    ("dave", "submission", f"MAIL FROM:<{ALICE}>", RCPT),
    ("dave", "submission", f"MAIL FROM:<{ALICE}>", "RCPT TO:<postmaster>", "DATA"),
    ("dave", "submissions", MAIL, f"RCPT TO:<nobody@{DOMAIN}>"),
]


def test_who_is_blocked_may_still_not_send_as_others_or_to_nobody(either: LiveLab) -> None:
    """Ownership and recipients are checked; what was refused so is not in the report."""
    with shadow(either):
        codes = [said(either, *dialogue)[:3] for dialogue in BLOCKED]
        assert codes[0] == "553"
        assert codes[1] == ("553" if either.json("endpoints")["policy"] == "hardened" else "250")
        assert codes[2] == "550"
        either.run("send", "--from", "erin", "--to", "bob")
        assert {row["account"] for row in rows(either)} >= {"erin"}
        assert all(row["from"] != ALICE or row["stage"] != "RCPT" for row in rows(either))


def test_every_stage_is_rehearsed(lab: LiveLab) -> None:
    """The null sender, a bare postmaster, and a flip after RCPT: taken, and told at its stage."""
    with shadow(lab):
        assert said(lab, "dave", "submission", "MAIL FROM:<>", RCPT, "DATA")[:3] == "250"
        assert said(lab, "carol", "submission", "MAIL FROM:<>", RCPT, "DATA")[:3] == "250"
        bare = (MAIL, "RCPT TO:<postmaster>", "DATA")
        assert said(lab, "dave", "submission", *bare)[:3] == "250"
        client = Client(lab, "alice")
        client.say(f"MAIL FROM:<{ALICE}>", RCPT)
        lab.run("user", "disable", "alice")
        try:
            assert client.say("DATA")[0] == "250"
        finally:
            lab.run("user", "enable", "alice")
            client.close()
        found = rows(lab, 4)
    told = [(row["account"], row["from"], row["to"], row["stage"]) for row in found]
    assert told == [
        ("dave", "", BOB, "RCPT"),
        ("carol", "", BOB, "RCPT"),
        ("dave", DAVE, "postmaster", "DATA"),
        ("alice", ALICE, BOB, "DATA"),
    ]
    assert "null sender" in found[1]["text"]


def test_the_header_is_still_looked_at(lab: LiveLab) -> None:
    """The milter refuses another's From, of those who may send and of those who may not."""
    with shadow(lab):
        for who in ("bob", "dave"):
            done = lab.ran("send", "--from", who, "--to", "bob", "--header-from", ALICE)
            assert done.code == 1
            assert "550 5.7.1 at EOM" in done.err
        assert not lab.json("shadow")["blocked"]


def test_the_directory_that_is_away_still_defers(scratch: LiveLab) -> None:
    """Who signed in before is told 4xx, whoever he is and whatever he says, on either profile."""
    for profile in ("hardened", "baseline"):
        scratch.run("up", "--policy", profile)
        with shadow(scratch):
            clients = [Client(scratch, who) for who in ("dave", "alice")]
            docker_do("stop", "-t", "2", scratch.container("openldap"))
            for client, own in zip(clients, (DAVE, ALICE), strict=True):
                for sender in (own, ""):
                    client.say("RSET", f"MAIL FROM:<{sender}>")
                    assert client.say(RCPT)[0] in {"450", "451"}
                client.close()
            scratch.run("up")
    scratch.run("up", "--policy", "hardened")


def test_a_policy_that_cannot_be_seen_is_told_of_everybody(scratch: LiveLab) -> None:
    """The rehearsal shows what a wrong access rule would do: 450, for those who may send, too."""
    with shadow(scratch):
        scratch.must("openldap", "hide-policy", "on")
        scratch.run("send", "--from", "alice", "--to", "bob")
        [row] = rows(scratch)
        assert (row["account"], row["code"], row["stage"]) == ("alice", 450, "RCPT")
        assert "does not show the policy" in row["text"]


def test_no_session_goes_on_as_it_began(lab: LiveLab) -> None:
    """What was open is closed in either direction; new ones are served at once."""
    first = Client(lab, "dave")
    assert first.say(MAIL, RCPT) == ["554", "5.7.1"]
    with shadow(lab):
        with pytest.raises(smtplib.SMTPServerDisconnected):
            first.say("NOOP")
        second = Client(lab, "dave")
        assert second.say(MAIL, RCPT) == ["250", "2.1.5"]
    with pytest.raises(smtplib.SMTPServerDisconnected):
        second.say("DATA")
    assert said(lab, "dave", "submission", MAIL, RCPT) == "554 5.7.1"


def _restart(lab: LiveLab) -> None:
    docker_do("restart", "-t", "3", lab.container("postfix"))
    poll(lambda: lab.inside("postfix", "healthcheck").code == 0, what="it", seconds=30)


ENDS: dict[str, Callable[[LiveLab], object]] = {
    "up": lambda lab: lab.run("up"),
    "reset": lambda lab: lab.run("reset"),
    "restart": _restart,
}


@pytest.mark.parametrize("how", ENDS)
def test_it_is_told_while_it_lasts_and_ends_with(scratch: LiveLab, how: str) -> None:
    """Status and doctor say so; `up`, `reset` and a restart enforce the policy."""
    assert scratch.json("status")["shadow"] is False
    assert scratch.run("doctor")
    scratch.run("shadow", "--on")
    done = scratch.ran("status")
    assert (done.code, "shadow is on" in done.err) == (0, True)
    assert scratch.json("status")["shadow"] is True
    done = scratch.ran("doctor")
    assert done.code == 3
    assert "shadow is on" in done.out
    ENDS[how](scratch)
    assert scratch.json("status")["shadow"] is False
    assert scratch.json("shadow")["until"]
    assert scratch.ran("send", "--from", "dave", "--to", "bob").code == 1


def test_switched_twice_nothing_more_is_done(lab: LiveLab) -> None:
    """Neither a second `--on` nor a second `--off` reloads."""
    with shadow(lab):
        before = lab.must("postfix", "fingerprint")
        assert "It was so already." in lab.ran("shadow", "--on").err
        assert lab.must("postfix", "fingerprint") == before
    before = lab.must("postfix", "fingerprint")
    assert "It was so already." in lab.ran("shadow", "--off").err
    assert lab.must("postfix", "fingerprint") == before


def test_a_policy_that_it_does_not_know_is_not_rehearsed(scratch: LiveLab) -> None:
    """Where main.cf has another policy it says so, and all stays as it was: never half of it."""
    edit = "s/^hardened_sending_policy = .*/hardened_sending_policy = $hardened_no, reject/"
    scratch.must("postfix", "sed", "-i", edit, "/etc/postfix/main.cf")
    before = scratch.must("postfix", "sh", "-c", "sha256sum /etc/postfix/*")
    done = scratch.ran("shadow", "--on")
    assert done.code == 3
    assert "not as it was rendered" in done.err
    assert scratch.must("postfix", "sh", "-c", "sha256sum /etc/postfix/*") == before


def test_a_warning_by_other_hands_is_not_taken_for_enforced(scratch: LiveLab) -> None:
    """Doctor finds it, and `--off` says that it cannot put it right."""
    edit = "s/^hardened_no = /&warn_if_reject /"
    scratch.must("postfix", "sed", "-i", edit, "/etc/postfix/main.cf")
    assert scratch.ran("doctor").code == 3
    done = scratch.ran("shadow", "--off")
    assert done.code == 3
    assert "not by shadow" in done.err


SETTINGS = [("LAB_NULL_SENDER", "allow"), ("LAB_MILTER", "off"), ("LAB_POLICY_ABSENT", "deny")]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_it_goes_with_every_setting(scratch: LiveLab, name: str, value: str) -> None:
    """Whatever main.cf was rendered for, the policy in it is rehearsed, and enforced again."""
    scratch.run("up", **{name: value})
    try:
        with shadow(scratch):
            assert said(scratch, "dave", "submission", MAIL, RCPT, "DATA")[:3] == "250"
            [row] = rows(scratch)
            assert (row["account"], row["code"]) == ("dave", 554)
        assert said(scratch, "dave", "submission", MAIL, RCPT) == "554 5.7.1"
    finally:
        scratch.run("up")


HOSTILE = [
    r'"dave+a> to=<alice@truenorth.local> reject_warning: \"RCPT\""@truenorth.local',
    '"dave+; from=<alice@truenorth.local> to=<erin@x> proto=ESMTP helo=<h"@truenorth.local',
    r'"dave+; from=<\""@truenorth.local',
    r'"dave+\"; from=<\"y"@truenorth.local',
]
HELO = "EHLO x> sasl_username=<alice"


def test_what_a_client_writes_tells_nothing_of_others(either: LiveLab) -> None:
    """However it is quoted, the account is who signed in, and the sender what he said."""
    with shadow(either):
        for sender in HOSTILE:
            mail = (f"MAIL FROM:<{sender}>", RCPT, "DATA")
            assert said(either, "dave", "submission", HELO, *mail)[:3] == "250"
        found = rows(either, len(HOSTILE))
    assert [row["from"] for row in found] == HOSTILE
    assert {(row["account"], row["to"]) for row in found} == {("dave", BOB)}
    assert "\x1b" not in either.run("shadow")


def test_a_run_sees_its_own_message_alone(lab: LiveLab, tmp_path: Path) -> None:
    """Dave's mail of a moment ago is no warning of Alice's."""
    file = tmp_path / "own.yaml"
    file.write_text(
        "title: t\nwhy: w\naccounts: [alice, bob, dave]\nsteps:\n"
        "  - fault: {service: postfix, kind: shadow}\n"
        "  - send: {from: dave, to: bob, as: his}\n"
        "  - send: {from: alice, to: bob, as: hers}\n"
        "  - warned: {message: his, expect: {stage: RCPT, reply: 554 5.7.1}}\n"
        "  - warned: {message: hers, expect: {stage: RCPT, reply: 554 5.7.1}}\n"
    )
    with_verdict = [e for e in lab.verdicts(str(file), code=1) if e["event"] == "step-ended"]
    assert [e["verdict"] for e in with_verdict if not e["undo"]] == ["passed"] * 4 + ["failed"]
    assert "seen 250 2.0.0 at EOM" in with_verdict[4]["reason"]
    assert lab.json("status")["shadow"] is False


def test_what_else_is_mended_leaves_it_on(lab: LiveLab, tmp_path: Path) -> None:
    """A rehearsal that somebody began is ended by whoever began it, not by a run that broke
    Postfix in another way.
    """
    file = tmp_path / "tight.yaml"
    file.write_text(
        "title: Tight\naccounts: [alice]\nsteps:\n"
        "  - fault: {service: postfix, kind: tight}\n"
        "  - heal: {service: postfix}\n"
    )
    limits = ("postconf", "smtpd_hard_error_limit", "smtpd_client_auth_rate_limit")
    before = lab.must("postfix", *limits)
    with shadow(lab):
        # Nothing is checked, so it is no success.
        steps = [e for e in lab.verdicts(str(file), code=1) if e["event"] == "step-ended"]
        assert {e["verdict"] for e in steps} == {"passed"}
        assert lab.json("status")["shadow"] is True
        assert lab.must("postfix", *limits) == before
    assert lab.must("postfix", *limits) == before
