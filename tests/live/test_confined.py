"""What listens, as whom it runs, and what is refused to whoever comes without TLS or a right."""

import imaplib
import re
import smtplib
import socket
import ssl
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from conftest import ROOT, LiveLab

from labctl.protocols.poll import poll

DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\w+) \| ([\d:, *.]+) \| ([\w, ]+) \|$", DESIGN, re.MULTILINE)
LISTENERS = {service: set(listed.split(", ")) for service, listed, _ in ROWS}
USERS = {service: set(users.split(", ")) for service, _, users in ROWS}
ENGINE = "127.0.0.11"  # the engine's own resolver, on a port of its choice

# proc(5): address and port in hexadecimal, the address as the host orders its bytes; 0A: LISTEN.
LISTENING = (
    "for f in tcp tcp6; do while read -r _ local _ state _; do "
    '[ "$state" = 0A ] && echo "$local"; done </proc/net/$f; done; true'
)
# Whose each process is, and its name.
RUNNING = (
    "for p in /proc/[0-9]*; do "
    'u=$(stat -c %U $p) && n=$(<$p/comm) && echo "$u $n"; done 2>/dev/null; true'
)
SHELLS = {"bash", "sh", "stat"}
PEOPLE = {"UNKNOWN"}  # they have numbers, and no names in the container


def address(local: str) -> str:
    """Return what proc(5) says as `address:port`, and `*` for any address."""
    host, port = local.rsplit(":", 1)
    octets = bytes.fromhex(host)
    shown = "*" if not any(octets) else socket.inet_ntoa(octets[:4][::-1])
    return f"{shown}:{int(port, 16)}"


@pytest.mark.parametrize("service", ["openldap", "postfix", "dovecot", "milter"])
def test_nothing_listens_but_what_is_documented(lab: LiveLab, service: str) -> None:
    """Each listening socket of a container stands in docs/design.md, and each of that listens."""
    found = {address(line) for line in lab.must(service, "bash", "-c", LISTENING).split()}
    assert {each for each in found if not each.startswith(ENGINE)} == LISTENERS[service]


@pytest.mark.parametrize("service", ["openldap", "postfix", "dovecot", "milter"])
def test_processes_run_as_documented(lab: LiveLab, service: str) -> None:
    """No process belongs to a user that docs/design.md does not name for it: root where it says so.

    People's own mailbox processes, and shells that labctl keeps open, are left out.
    """
    rows = lab.must(service, "bash", "-c", RUNNING).splitlines()
    users = {user for user, name in (row.split(maxsplit=1) for row in rows) if name not in SHELLS}
    assert users <= USERS[service] | PEOPLE, rows
    assert users & USERS[service]


TLS_FIRST = ("ldaps", "submissions", "imaps")


def client_up_to(newest: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a client that speaks TLS from 1.0 up to that version, and nothing later."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings(action="ignore"):  # that these are deprecated
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("service", TLS_FIRST)
def test_tls_before_1_2_is_refused(lab: LiveLab, service: str) -> None:
    """A client that speaks TLS 1.1 at most is sent away; the same one with 1.2 is not."""
    place = lab.json("endpoints")[service]
    where = place["host"], place["port"]
    with (
        socket.create_connection(where, timeout=5) as plain,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        client_up_to(ssl.TLSVersion.TLSv1_1).wrap_socket(plain)
    with (
        socket.create_connection(where, timeout=5) as plain,
        client_up_to(ssl.TLSVersion.TLSv1_2).wrap_socket(plain) as secure,
    ):
        assert secure.version() == "TLSv1.2"


def test_the_old_client_does_offer_an_old_version() -> None:
    """The client of the test above is not the reason for a refusal."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_up_to(ssl.TLSVersion.TLSv1_1).wrap_bio(incoming, outgoing)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    assert hello[9:11] == b"\x03\x02", "the hello offers TLS 1.1 (RFC 4346 §7.4.1.2)"


def test_nobody_signs_in_before_tls(lab: LiveLab) -> None:
    """Submission and IMAP do not offer to sign in without TLS, and refuse it when it is tried."""
    stack = lab.json("endpoints", "--secrets")
    who = stack["accounts"]["alice"]
    with smtplib.SMTP("127.0.0.1", stack["submission"]["port"], timeout=10) as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features
        assert smtp.docmd("AUTH", "PLAIN AGFsaWNlAHg=")[0] == 530
    imap = imaplib.IMAP4("127.0.0.1", stack["imap"]["port"], timeout=10)
    try:
        assert "LOGINDISABLED" in imap.capabilities
        with pytest.raises(imaplib.IMAP4.error):
            imap.login(who["login"], who["password"])
    finally:
        imap.shutdown()


def test_as_many_sign_in_at_once_as_there_are_processes_for(scratch: LiveLab) -> None:
    """Nearly fifty on each port: each is asked about, and no process ends for want of memory."""
    stack = scratch.json("endpoints", "--secrets")
    who, tls = stack["accounts"]["alice"], ssl.create_default_context(cafile=stack["ca_file"])
    opened: list[smtplib.SMTP] = []

    def recipient(number: int) -> int:
        if number % 2:
            port = stack["submission"]["port"]
            opened.append(smtp := smtplib.SMTP("127.0.0.1", port, "here.invalid", 60))
            smtp.starttls(context=tls)
        else:
            port = stack["submissions"]["port"]
            smtp = smtplib.SMTP_SSL("127.0.0.1", port, "here.invalid", timeout=60, context=tls)
            opened.append(smtp)
        smtp.login(who["login"], who["password"])
        smtp.mail(who["address"])
        return smtp.rcpt(who["address"])[0]

    try:
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(recipient, range(2 * 48))) == {250}
        assert {smtp.noop()[0] for smtp in opened} == {250}
    finally:
        for smtp in opened:
            smtp.close()
    assert not re.search(r"smtpd pid \d+ killed by signal 9", scratch.run("logs", "postfix"))


ELSEWHERE = "elsewhere.example"
RELAYED = [  # the usual set: what an open relay would take from a stranger
    "victim@{e}",
    '"victim@{e}"',
    "victim%{e}",
    "victim%{e}@{d}",
    '"victim%{e}"@{d}',
    '"victim@{e}"@{d}',
    "{e}!victim",
    "{e}!victim@{d}",
    "@{d}:victim@{e}",
    "@{e},@{d}:victim@{e}",
    "victim@{e}@{d}",
    "victim%{e}@[127.0.0.1]",
    "victim@localhost",
    "victim@mail.{d}",
]


@pytest.mark.parametrize("sender", ["stranger@example.org", "", "alice@{d}", "root@localhost"])
def test_a_stranger_relays_nothing(lab: LiveLab, sender: str) -> None:
    """Port 25 takes no recipient elsewhere from whoever does not sign in, however it is written."""
    stack = lab.json("endpoints")
    words = {"d": stack["domain"], "e": ELSEWHERE}
    with smtplib.SMTP("127.0.0.1", stack["smtp"]["port"], timeout=10) as smtp:
        smtp.ehlo("relay.example.org")
        taken = []
        for form in RELAYED:
            smtp.docmd("RSET")
            smtp.docmd("MAIL", f"FROM:<{sender.format(**words)}>")
            code, _ = smtp.docmd("RCPT", f"TO:<{form.format(**words)}>")
            if code < 400:
                taken.append(form)
            if code == 421:  # too many errors in one session
                smtp.connect("127.0.0.1", stack["smtp"]["port"])
                smtp.ehlo("relay.example.org")
    assert taken == []


NAMES = [
    "*",
    "a)(uid=*",
    "a;id",
    "$(id)",
    "`id`",
    "../alice",
    "a'b",
    "a\nb",
    "alice,ou=users",
    "a\\2a",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_never_interpreted(lab: LiveLab, name: str) -> None:
    """What means something to LDAP, a shell or a file system is no account: refused in two lines,
    with everybody as before.
    """
    before = lab.json("user", "list")
    for command in (
        ("user", "add", "--", name),
        ("user", "disable", "--", name),
        ("send", "--from", name, "--to", "bob"),
        ("send", "--from", "alice", "--to", name),
    ):
        done = lab.ran(*command)
        assert done.code == 2, done
        assert "Traceback" not in done.err
    assert lab.json("user", "list") == before


def test_an_address_is_taken_by_the_letter(lab: LiveLab) -> None:
    """An asterisk, a dollar or a backquote in somebody's own address is that character: to the maps
    of Postfix, to its shell, and in the directory's filters.
    """
    domain = lab.json("endpoints")["domain"]
    odd = [f"{local}@{domain}" for local in ("*", "`id`", "${mail}", "b&o|b")]
    lab.run("user", "add", "zed", *(word for each in odd for word in ("--alias", each)))
    try:
        for number, address in enumerate(odd):
            subject = f"By the letter {number}"
            sent = lab.run("send", "--from", "alice", "--to", address, "--subject", subject)
            assert "250 2.0.0 at EOM" in sent
            assert "250" in lab.run(
                "send", "--from", "zed", "--to", "bob", "--header-from", address
            )
        found = poll(lambda: _letters(lab, len(odd)), what="the messages", seconds=20)
        assert found == [f"By the letter {number}" for number in range(len(odd))]
        for other in (f"bo*@{domain}", f"*b@{domain}", f"**@{domain}"):
            assert "550 5.1.1 at RCPT" in lab.run("send", "--from", "alice", "--to", other, code=1)
        spoofed = ("send", "--from", "zed", "--to", "alice", "--envelope-from", f"bo*@{domain}")
        assert "553 5.7.1 at RCPT" in lab.run(*spoofed, code=1)
    finally:
        lab.run("user", "remove", "zed")


def _letters(lab: LiveLab, number: int) -> list[str] | None:
    """Return the subjects in Zed's mailbox, in order, as soon as there are so many."""
    subjects = [mail["subject"] for mail in lab.json("inbox", "zed")["messages"]]
    return sorted(subjects) if len(subjects) == number else None
