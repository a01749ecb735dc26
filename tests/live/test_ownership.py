"""Whose an address is, the directory says, at the moment that counts."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import LiveLab

AS_ROOT = ("ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///")


@pytest.fixture
def stack(lab: LiveLab) -> dict:
    """Return the endpoints, with secrets."""
    return lab.json("endpoints", "--secrets")


@contextmanager
def signed_in(stack: dict, account: str) -> Iterator[smtplib.SMTP]:
    """Yield a session that somebody has signed in to."""
    who = stack["accounts"][account]
    with smtplib.SMTP("127.0.0.1", stack["submission"]["port"]) as client:
        client.starttls(context=ssl.create_default_context(cafile=stack["ca_file"]))
        client.login(who["login"], who["password"])
        yield client


def change(lab: LiveLab, stack: dict, account: str, verb: str, address: str) -> None:
    """Add a secondary address to somebody's entry, or delete it."""
    dn = f"uid={account},ou=users,{stack['base_dn']}"
    ldif = f"dn: {dn}\nchangetype: modify\n{verb}: mailLocalAddress\nmailLocalAddress: {address}\n"
    lab.must("openldap", *AS_ROOT, stdin=ldif)


def content(sender: str) -> bytes:
    """Return a message with this address in From."""
    return b"From: %b\r\nSubject: x\r\n\r\nHello.\r\n" % sender.encode()


def test_an_address_that_is_taken_away_in_mid_transaction_is_refused(
    lab: LiveLab, stack: dict
) -> None:
    """Owned at MAIL, RCPT and DATA, and no longer at the end of data: nothing is accepted."""
    alice, reports = stack["accounts"]["alice"]["address"], f"reports@{stack['domain']}"
    with signed_in(stack, "alice") as client:
        client.mail(reports)
        client.rcpt(stack["accounts"]["bob"]["address"])
        assert client.docmd("DATA")[0] == 354
        change(lab, stack, "alice", "delete", reports)
        try:
            client.send(content(alice) + b".\r\n")
            code, text = client.getreply()
        finally:
            change(lab, stack, "alice", "add", reports)
    assert (code, text[:5]) == (553, b"5.7.1")


def test_an_extension_that_is_anothers_address_is_his(lab: LiveLab, stack: dict) -> None:
    """alice+team@ belongs to Alice while it is nobody's own address, and to Bob once it is his."""
    address = f"alice+team@{stack['domain']}"
    sends = {name: stack["accounts"][name]["address"] for name in ("alice", "bob")}

    def accepted(account: str) -> bool:
        with signed_in(stack, account) as client:
            client.mail(sends[account])
            client.rcpt(sends["bob"])
            code, text = client.data(content(address))
        assert code == 250 or (code, text[:5]) == (550, b"5.7.1")
        return code == 250

    assert (accepted("alice"), accepted("bob")) == (True, False)
    change(lab, stack, "bob", "add", address)
    try:
        assert (accepted("alice"), accepted("bob")) == (False, True)
    finally:
        change(lab, stack, "bob", "delete", address)


def test_the_inbox_shows_what_a_stranger_wrote(lab: LiveLab, stack: dict) -> None:
    """A From that decodes to two lines is listed on one, and the list goes on."""
    with smtplib.SMTP("127.0.0.1", stack["smtp"]["port"]) as client:
        forged = b"From: =?utf-8?q?x=0D=0AFrom=3A_boss=1B[2J?= <s@example.org>\r\n\r\nHello.\r\n"
        client.sendmail("s@example.org", [stack["accounts"]["erin"]["address"]], forged)
    listed = lab.run("inbox", "erin")
    assert "boss" in listed
    assert "\x1b" not in listed
    assert len(listed.splitlines()) == 1 + len(lab.json("inbox", "erin")["messages"])
