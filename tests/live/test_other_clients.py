"""Other people's clients get the same answers from the endpoints that labctl prints."""

import imaplib
import json
import smtplib
import ssl
import subprocess
from email.message import EmailMessage

import pytest
from conftest import LABCTL, LiveLab


@pytest.fixture(scope="module")
def stack(lab: LiveLab) -> dict:
    """Return the endpoints, with secrets, as any script reads them."""
    return lab.json("endpoints", "--secrets")


def context(stack: dict) -> ssl.SSLContext:
    """Return a context that trusts the lab's CA and nothing else."""
    return ssl.create_default_context(cafile=stack["ca_file"])


def message(stack: dict, sender: str, to: str) -> EmailMessage:
    """Return a small message."""
    mail = EmailMessage()
    mail["From"] = stack["accounts"][sender]["address"]
    mail["To"] = stack["accounts"][to]["address"]
    mail["Subject"] = "By another client"
    mail.set_content("Hello.\n")
    return mail


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_smtplib_sends_and_is_refused(lab: LiveLab, stack: dict, service: str) -> None:
    """A plain SMTP client submits on both ports; after `user disable` it is refused with 554."""
    where = (stack[service]["host"], stack[service]["port"])
    client = (
        smtplib.SMTP_SSL(*where, context=context(stack))
        if service == "submissions"
        else smtplib.SMTP(*where)
    )
    with client:
        if service == "submission":
            client.starttls(context=context(stack))
        client.login(stack["accounts"]["alice"]["login"], stack["accounts"]["alice"]["password"])
        client.send_message(message(stack, "alice", "bob"))
        lab.run("user", "disable", "alice")
        try:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                client.send_message(message(stack, "alice", "bob"))
        finally:
            lab.run("user", "enable", "alice")
        client.send_message(message(stack, "alice", "bob"))
    [(code, text)] = refused.value.recipients.values()
    assert code == 554
    assert text.startswith(b"5.7.1 ")
    assert b"directory policy" in text


@pytest.mark.parametrize("service", ["imap", "imaps"])
def test_imaplib_reads_even_when_disabled(stack: dict, service: str) -> None:
    """A plain IMAP client signs in and reads, also as somebody who has been offboarded."""
    where = (stack[service]["host"], stack[service]["port"])
    client = (
        imaplib.IMAP4_SSL(*where, ssl_context=context(stack))
        if service == "imaps"
        else imaplib.IMAP4(*where)
    )
    with client:
        if service == "imap":
            client.starttls(context(stack))
        client.login(stack["accounts"]["erin"]["login"], stack["accounts"]["erin"]["password"])
        assert client.select("INBOX")[0] == "OK"


def test_signing_in_needs_tls(stack: dict) -> None:
    """Neither submission nor IMAP takes a password in clear."""
    alice = stack["accounts"]["alice"]
    with smtplib.SMTP(stack["submission"]["host"], stack["submission"]["port"]) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] in (502, 503, 530, 538)
    with (
        imaplib.IMAP4(stack["imap"]["host"], stack["imap"]["port"]) as client,
        pytest.raises(imaplib.IMAP4.error),
    ):
        client.login(alice["login"], alice["password"])


def test_port_25_offers_no_sign_in(stack: dict) -> None:
    """The relay takes mail from outside, and no AUTH even after STARTTLS."""
    with smtplib.SMTP(stack["smtp"]["host"], stack["smtp"]["port"]) as client:
        client.starttls(context=context(stack))
        client.ehlo()
        assert not client.has_extn("auth")


def test_the_printed_swaks_command_gives_the_same_reply(lab: LiveLab) -> None:
    """Each `send` prints a swaks command; pasted into a shell it gets the reply of the step."""
    events = lab.verdicts("send-disabled", code=0)
    printed = next(event["line"] for event in events if event["event"] == "command")
    assert "swaks" in printed
    for verb, expected in (("disable", "554 5.7.1"), ("enable", "250 2.0.0")):
        lab.run("user", verb, "alice")
        env = {**lab.env, "PATH": f"{LABCTL.parent}:{lab.env['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", printed],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert expected in done.stdout, done.stdout + done.stderr
        assert (done.returncode == 0) == (verb == "enable")


def test_a_lab_is_a_foreign_stack_through_an_endpoints_file(lab: LiveLab, tmp_path) -> None:
    """With --endpoints the scenario needs no containers: what needs them is skipped with its
    reason, everything else holds.
    """
    file = tmp_path / "stack.json"
    with file.open("w") as stream:
        command = [LABCTL, "-n", lab.name, "endpoints", "-o", "json", "--secrets"]
        subprocess.run(command, env=lab.env, stdout=stream, check=True)
    assert file.stat().st_mode & 0o777 == 0o600, "others may read the passwords"
    lab.run("scenario", "offboarding", "--endpoints", str(file), code=2)
    events = lab.verdicts("offboarding", "--endpoints", str(file), "--yes", code=0)
    skipped = [e for e in events if e["event"] == "step-ended" and e["verdict"] == "skipped"]
    assert [e["reason"] for e in skipped] == ["needs the lab's own containers"]
    assert events[-1]["passed"] == 11


def test_a_wrong_password_is_an_unmet_expectation(lab: LiveLab, stack: dict, tmp_path) -> None:
    """With a wrong password in the endpoints the run ends with 1 and names stage and reply."""
    wrong = json.loads(json.dumps(stack))
    wrong["accounts"]["alice"]["password"] = "not-the-password"
    file = tmp_path / "stack.json"
    file.touch(0o600)
    file.write_text(json.dumps(wrong))
    events = lab.verdicts("offboarding", "--endpoints", str(file), "--yes", code=1)
    assert "535 5.7.8 at AUTH" in events[-1]["reason"]


def test_nothing_leaves_the_lab(lab: LiveLab) -> None:
    """Mail to another domain is accepted, and is in `outside` with its recipient kept."""
    lab.run("send", "--from", "bob", "--to", "partner@example.org", "--subject", "Captured now")
    lab.run("scenario", "delivery")  # its mail comes after, so this one has arrived
    mails = lab.json("inbox", "outside")["messages"]
    uid = next(mail["uid"] for mail in reversed(mails) if mail["subject"] == "Captured now")
    whole = lab.run("inbox", "outside", "--show", str(uid))
    assert "X-Original-To: partner@example.org" in whole


def test_who_is_nobody_gets_no_mail(lab: LiveLab) -> None:
    """An unknown recipient of our domain is refused at RCPT, not bounced later."""
    done = lab.ran("send", "--from", "bob", "--to", "nobody@truenorth.local")
    assert done.code == 1
    assert "550 5.1.1 at RCPT" in done.out
