"""The header of what people submit names an address of theirs, or the message is refused."""

import re
import smtplib
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import LiveLab, bring_up, docker_do

from labctl.endpoints import Endpoints
from labctl.protocols.poll import poll
from labctl.protocols.smtp import Envelope, Outcome, SmtpConnection
from labctl.protocols.tls import client_context

OWN = b"alice@truenorth.local"
OTHER = b"bob@truenorth.local"


@pytest.fixture(scope="module")
def written(state: Path) -> Iterator[LiveLab]:
    """A lab whose milter and directory these tests stop, and start again."""
    lab = bring_up(state, 10, "written")
    yield lab
    lab.run("down", "--volumes")


@pytest.fixture(scope="module")
def stack(written: LiveLab) -> Endpoints:
    """Where that lab is reached."""
    return Endpoints.from_dict(written.json("endpoints", "--secrets"))


def submit(
    stack: Endpoints,
    header: bytes,
    *,
    who: str | None = "alice",
    service: str = "submission",
    sender: str | None = None,
) -> Outcome:
    """Send a message with these header lines; without `who`, as a stranger to port 25."""
    bob = stack.accounts["bob"].address
    if sender is None:
        sender = stack.accounts[who].address if who else "stranger@example.org"
    context = client_context(stack.ca_file)
    with SmtpConnection.open(
        service, stack.services[service], context=context, emit=lambda _: None
    ) as session:
        if who:
            account = stack.accounts[who]
            signed = session.sign_in(account.login, account.password)
            if not signed.reply.ok:
                return signed
        return session.submit(Envelope(sender, (bob,)), header + b"\r\n\r\nHello.\r\n")


def seen(outcome: Outcome) -> tuple[int, str, str]:
    """Return the code, the enhanced code and the stage of the reply that decided."""
    return outcome.reply.code, outcome.reply.enhanced or "", outcome.stage.value


GOOD = {
    "alone": b"From: alice@truenorth.local",
    "any case": b"FROM: ALICE@TrueNorth.LOCAL",
    "a name": b"From: Alice North <alice@truenorth.local>",
    "a name with a dot": b"From: Alice N. North <alice@truenorth.local>",
    "a quoted name": b'From: "North, Alice" <alice@truenorth.local>',
    "another's address in a quoted name": b'From: "bob@truenorth.local" <alice@truenorth.local>',
    "an encoded name": b"From: =?utf-8?q?Al=C3=AFce?= =?utf-8?b?Tm9ydGg=?= <alice@truenorth.local>",
    "a secondary address": b"From: Reports <reports@truenorth.local>",
    "an extension": b"From: alice+news@truenorth.local",
    "an extended secondary address": b"From: reports+2026@truenorth.local",
    "a quoted local part": b'From: "alice"@truenorth.local',
    "comments": b"From: (the) alice(y)@(at (home))truenorth.local (Alice)",
    "her own address as a name": b"From: Alice@truenorth.local <alice@truenorth.local>",
    "a heart": b'From: "Alice <3" <alice@truenorth.local>',
    "a fold": b"From: Alice North\r\n\t<alice@truenorth.local>",
    "a blank before the colon": b"Subject: x\r\nFrom : alice@truenorth.local",
    "two of her own and a Sender": b"From: alice@truenorth.local, reports@truenorth.local\r\n"
    b"Sender: alice@truenorth.local",
    "resent twice": b"Resent-From: alice@truenorth.local\r\n"
    b"Resent-Sender: alice@truenorth.local\r\n"
    b"Resent-From: reports@truenorth.local\r\nFrom: alice@truenorth.local",
    "another From below the header": b"From: alice@truenorth.local\r\n\r\n"
    b"From: bob@truenorth.local",
    "another From below a line that ends the header": b"From: alice@truenorth.local\r\n"
    b"no header\r\nFrom: bob@truenorth.local",
    "a bare CR in another header, which Postfix makes a blank": b"From: alice@truenorth.local\r\n"
    b"Subject: x\rFrom: bob@truenorth.local",
    "a long one": b"From: " + b'"' + b"x" * 900 + b'"\r\n <alice@truenorth.local>',
}

BAD = {
    "another's": b"From: %b" % OTHER,
    "another's, with a name": b"From: Alice <%b>" % OTHER,
    "another's behind one's own as a name": b'From: "%b" <%b>' % (OWN, OTHER),
    "another's behind one's own as a comment": b"From: (%b) %b" % (OWN, OTHER),
    "another's after one's own": b"From: %b, %b\r\nSender: %b" % (OWN, OTHER, OWN),
    "another's before one's own": b"From: %b, %b\r\nSender: %b" % (OTHER, OWN, OWN),
    "another's in angle brackets in a name": b'From: "x <%b>" <%b>' % (OTHER, OWN),
    "another's in a comment": b"From: %b (<%b>)" % (OWN, OTHER),
    "another's in an encoded name": b"From: =?utf-8?q?B_=3Cbob=40truenorth=2Elocal=3E?= <%b>" % OWN,
    "another's, in two words": b"From: =?utf-8?q?=3Cbob?= =?utf-8?q?=40x.org=3E?= <%b>" % OWN,
    "another's in an encoded comment": b"From: %b (=?utf-8?q?=3Cbob=40x.org=3E?=)" % OWN,
    "a line of its own in an encoded name": b"From: =?utf-8?q?x=0D=0AFrom=3A_b?= <%b>" % OWN,
    "another's as the name of one's own": b"From: %b <%b>" % (OTHER, OWN),
    "of another domain": b"From: alice@example.org",
    "of a domain below": b"From: alice@x.truenorth.local",
    "with a doubled domain": b"From: alice@truenorth.local@example.org",
    "with a dot at the end": b"From: alice@truenorth.local.",
    "with a domain literal": b"From: alice@[127.0.0.1]",
    "with the percent hack": b"From: bob%truenorth.local@truenorth.local",
    "with a bang path": b"From: truenorth.local!bob@truenorth.local",
    "an extension alone": b"From: +alice@truenorth.local",
    "without a domain": b"From: alice",
    "without a local part": b"From: @truenorth.local",
    "empty": b"From:",
    "a name alone": b"From: Alice North",
    "null": b"From: <>",
    "missing": b"Subject: x",
    "another header than it seems": b"X-From: %b" % OWN,
    "two": b"From: %b\r\nFrom: %b" % (OWN, OWN),
    "two, the second another's": b"From: %b\r\nFrom: %b" % (OWN, OTHER),
    "two, one with a blank before the colon": b"From: %b\r\nFrom : %b" % (OWN, OTHER),
    "two, one with a tab before the colon": b"From\t: %b\r\nfrom: %b" % (OTHER, OWN),
    "a blank before the colon of the first line, which is mbox's": b"From : %b" % OWN,
    "two, one empty": b"From:\r\nfrom: %b" % OWN,
    "only below the header": b"no header\r\nFrom: %b" % OWN,
    "a route": b"From: <@example.org,@example.net:%b>" % OWN,
    "a group": b"From: us: %b;" % OWN,
    "an empty group": b"From: undisclosed:;",
    "a group and an address": b"From: undisclosed:;, %b" % OWN,
    "several without a Sender": b"From: %b, reports@truenorth.local" % OWN,
    "a list with a gap": b"From: %b,, %b\r\nSender: %b" % (OWN, OWN, OWN),
    "an unclosed quote": b'From: "Alice <%b>' % OWN,
    "an unclosed comment": b"From: (Alice <%b>" % OWN,
    "a comment closed twice": b"From: (Alice)) %b" % OWN,
    "a comment that ends escaped": b"From: %b (\\)" % OWN,
    "an unclosed bracket": b"From: Alice <%b" % OWN,
    "brackets within brackets": b"From: <<%b>>" % OWN,
    "two bracketed addresses": b"From: <%b> <%b>" % (OWN, OTHER),
    "an address before the bracketed one": b"From: %b <%b>" % (OTHER, OWN),
    "an address after the bracketed one": b"From: <%b> %b" % (OWN, OTHER),
    "an encoded word as address": b"From: =?utf-8?q?bob=40truenorth=2Elocal?=",
    "an encoded word as local part": b"From: =?utf-8?q?alice?=@truenorth.local",
    "an encoded word in brackets": b"From: Alice <=?utf-8?b?YWxpY2VAdHJ1ZW5vcnRoLmxvY2Fs?=>",
    "an encoded word as domain": b"From: alice@=?utf-8?q?truenorth.local?=",
    "blanks around a dot": b"From: alice . north@truenorth.local",
    "letters that are not ASCII": "From: Alïce <alice@truenorth.local>".encode(),
    "a look-alike letter": "From: аlice@truenorth.local".encode(),  # noqa: RUF001 - Cyrillic
    "a bare CR": b"From: %b\rFrom: %b" % (OWN, OTHER),
    "a NUL": b"From: %b\0, %b" % (OWN, OTHER),
    "a NUL in the local part": b"From: ali\0ce@truenorth.local",
    "a control character": b"From: Alice\x07 <%b>" % OWN,
    "a fold into nothing": b"From: %b\r\n \r\n , %b" % (OWN, OTHER),
    "an extension that Postfix would break off": b"From: %balice+%b" % (b" " * 986, OTHER),
    "a line that is too long": b"From: %b (%b)" % (OWN, b"x" * 1000),
    "a Sender of another's": b"From: %b\r\nSender: %b" % (OWN, OTHER),
    "two Senders": b"From: %b\r\nSender: %b\r\nSENDER: %b" % (OWN, OWN, OWN),
    "a Sender with two addresses": b"From: %b\r\nSender: %b, %b" % (OWN, OWN, OWN),
    "an empty Sender": b"From: %b\r\nSender:" % OWN,
    "resent from another's": b"Resent-From: %b\r\nFrom: %b" % (OTHER, OWN),
    "resent, the second time from another's": b"Resent-From: %b\r\nResent-From: %b\r\nFrom: %b"
    % (OWN, OTHER, OWN),
    "a Resent-Sender of another's": b"Resent-Sender: %b\r\nFrom: %b" % (OTHER, OWN),
    "another's resent in one's own name": b"Resent-From: %b\r\nFrom: %b" % (OWN, OTHER),
}


@pytest.mark.parametrize("form", GOOD)
def test_what_names_an_own_address_is_accepted(stack: Endpoints, form: str) -> None:
    """Each way of writing one's own address, which RFC 5322 or 2047 knows, passes."""
    outcome = submit(stack, GOOD[form])
    assert outcome.accepted, outcome


@pytest.mark.parametrize("service", ["submission", "submissions"])
@pytest.mark.parametrize("form", BAD)
def test_what_does_not_is_refused(stack: Endpoints, form: str, service: str) -> None:
    """Each other form is refused for good at the end of the data, and the text names the header."""
    outcome = submit(stack, BAD[form], service=service)
    assert seen(outcome) == (550, "5.7.1", "EOM")
    named = "disallowed character" if b"\0" in BAD[form] else "Header (From|Sender|Resent-)"
    assert re.match(named, outcome.reply.text)


@pytest.mark.parametrize(("who", "code"), [("bob", 250), ("carol", 250), ("alice", 550)])
def test_a_shared_address_is_each_owners(stack: Endpoints, who: str, code: int) -> None:
    """Both owners of sales@ write in its name, and nobody else does."""
    assert submit(stack, b"From: Sales <sales@truenorth.local>", who=who).reply.code == code


def test_a_new_address_counts_with_the_next_message(written: LiveLab, stack: Endpoints) -> None:
    """The directory is asked anew each time: what it gives and takes holds at once."""
    header = b"From: news@truenorth.local"
    for change, code in (("add", 250), ("delete", 550)):
        ldif = (
            f"dn: uid=alice,ou=users,{stack.base_dn}\nchangetype: modify\n"
            f"{change}: mailLocalAddress\nmailLocalAddress: news@truenorth.local\n"
        )
        written.must(
            "openldap", "ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///", stdin=ldif
        )
        assert submit(stack, header).reply.code == code


def test_a_header_beyond_all_measure_is_not_accepted(stack: Endpoints) -> None:
    """What the milter protocol cannot carry, more than 64 kB, ends in 4xx or 5xx."""
    for size in (60_000, 70_000, 150_000):
        folds = b"\r\n ".join([b"x" * 900] * (size // 900))
        outcome = submit(stack, b"From: %b %b" % (folds, OTHER))
        assert 400 <= outcome.reply.code < 600, (size, outcome)
    assert submit(stack, b"From: %b" % OWN).accepted


def test_each_message_of_a_session_is_judged_by_itself(stack: Endpoints) -> None:
    """Good, bad, broken off and good again in one session: no verdict is carried over."""
    bob = stack.accounts["bob"].address
    with _signed_in(stack) as session:
        for header, code in ((OWN, 250), (OTHER, 550), (OWN, 250), (OTHER, 550)):
            session.mail(OWN.decode())
            session.rcpt(bob)
            assert session.data(b"From: %b\r\n\r\nx" % header)[0] == code
            session.mail(OWN.decode())
            session.rset()


def test_many_at_once_are_not_mixed_up(stack: Endpoints) -> None:
    """Alice and Bob each send in both names, side by side: each is refused the other's alone."""
    letters = [(who, of) for who in ("alice", "bob") for of in ("alice", "bob")] * 10
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda pair: _code(stack, *pair), letters))
    assert codes == [250 if who == of else 550 for who, of in letters]


def _code(stack: Endpoints, who: str, of: str) -> int:
    address = stack.accounts[of].address.encode()
    return submit(stack, b"From: %b" % address, who=who).reply.code


@pytest.mark.parametrize("form", ["missing", "two", "a group", "of another domain"])
def test_port_25_is_not_asked(stack: Endpoints, form: str) -> None:
    """What comes from outside is not held to this: a stranger's header is his own affair."""
    outcome = submit(stack, BAD[form], who=None, service="smtp")
    assert outcome.accepted, outcome


def test_the_null_sender_is_no_way_around(written: LiveLab) -> None:
    """Where the null sender is allowed, the header is looked at all the same."""
    written.run("up", LAB_NULL_SENDER="allow")
    try:
        stack = Endpoints.from_dict(written.json("endpoints", "--secrets"))
        assert submit(stack, b"From: %b" % OWN, sender="").accepted
        assert seen(submit(stack, b"From: %b" % OTHER, sender="")) == (550, "5.7.1", "EOM")
    finally:
        written.run("up")


def test_the_switch_and_the_baseline_do_without(written: LiveLab, stack: Endpoints) -> None:
    """With LAB_MILTER=off, or the profile `baseline`, Postfix does not ask; back on, it does."""
    header = b"From: %b" % OTHER
    try:
        written.run("up", LAB_MILTER="off")
        assert submit(stack, header).accepted
        written.run("up", "--policy", "baseline")
        assert submit(stack, header).accepted
    finally:
        written.run("up", "--policy", "hardened")
    assert seen(submit(stack, header)) == (550, "5.7.1", "EOM")


def test_without_the_milter_nobody_submits_and_port_25_goes_on(
    written: LiveLab, stack: Endpoints
) -> None:
    """While it is stopped each attempt gets 4xx, in an open session too; then it works again."""
    with _signed_in(stack) as session:
        docker_do("stop", "-t", "5", written.container("milter"))
        try:
            assert 400 <= session.mail(OWN.decode())[0] < 500
            for service in ("submission", "submissions"):
                assert 400 <= first_refusal(stack, service) < 500
            assert submit(stack, BAD["missing"], who=None, service="smtp").accepted
            written.run("status", code=3)
        finally:
            docker_do("start", written.container("milter"))
    poll(lambda: first_refusal(stack, "submission") == 0, what="the milter", seconds=30)
    assert submit(stack, b"From: %b" % OWN).accepted
    assert seen(submit(stack, b"From: %b" % OTHER)) == (550, "5.7.1", "EOM")


def test_a_milter_that_ends_within_a_message_defers_it(written: LiveLab, stack: Endpoints) -> None:
    """Killed between DATA and its end, it leaves a 4xx behind and nothing accepted."""
    with _signed_in(stack) as session:
        session.mail(OWN.decode())
        session.rcpt(stack.accounts["bob"].address)
        session.docmd("DATA")
        docker_do("kill", written.container("milter"))
        try:
            session.send(b"From: %b\r\n\r\nx\r\n.\r\n" % OWN)
            assert 400 <= session.getreply()[0] < 500
        finally:
            docker_do("start", written.container("milter"))
    written.run("up")


def _signed_in(stack: Endpoints) -> smtplib.SMTP:
    alice, where = stack.accounts["alice"], stack.services["submission"]
    session = smtplib.SMTP(where.host, where.port)
    session.starttls(context=client_context(stack.ca_file))
    session.login(alice.login, alice.password.reveal())
    return session


def first_refusal(stack: Endpoints, service: str) -> int:
    """Submit with a plain client; returns the code of what went wrong, or 0."""
    alice, where = stack.accounts["alice"], stack.services[service]
    context = client_context(stack.ca_file)
    try:
        if service == "submissions":
            session = smtplib.SMTP_SSL(where.host, where.port, context=context)
        else:
            session = smtplib.SMTP(where.host, where.port)
        with session:
            if service == "submission":
                session.starttls(context=context)
            session.login(alice.login, alice.password.reveal())
            session.sendmail(OWN.decode(), [OWN.decode()], b"From: %b\r\n\r\nx" % OWN)
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    return 0


# Speaks the milter protocol as Postfix does: options, macros, MAIL, RCPT, DATA, a field, the end of
# the header, the end. Its arguments are the login (or nothing) and the value of From; it prints the
# milter's answer, for which it waits somewhat longer than Postfix would (milter_content_timeout).
DIALOGUE = """
import socket, struct, sys
login, value = sys.argv[1].encode(), sys.argv[2].encode()
wire = socket.create_connection(("127.0.0.1", 8891), 12)
answers = wire.makefile("rb")
def tell(command, data):
    wire.sendall(struct.pack("!I", 1 + len(data)) + command + data)
def ask(command, data=b""):
    tell(command, data)
    return answers.read(struct.unpack("!I", answers.read(4))[0])
ask(b"O", struct.pack("!III", 6, 0x1ff, 0x1fffff))
tell(b"D", b"M" + (b"{auth_authen}\\0" + login + b"\\0" if login else b""))
ask(b"M", b"<alice@truenorth.local>\\0")
ask(b"R", b"<bob@truenorth.local>\\0")
ask(b"T")
ask(b"L", b"From\\0" + value + b"\\0")
ask(b"N")
print(ask(b"E").strip(b"\\0").decode())
"""


def answer(lab: LiveLab, login: str, value: str = OWN.decode()) -> str:
    """Return what the milter itself answers, whatever Postfix would have said before."""
    return lab.must("milter", "python3", "-", login, value, stdin=DIALOGUE).strip()


def test_the_milter_alone_fails_closed(written: LiveLab) -> None:
    """Nobody signed in, an unknown login and one that is a filter are deferred, not accepted."""
    assert answer(written, "alice") == "c"
    assert answer(written, "alice", OTHER.decode()).startswith("y550 5.7.1 Header From")
    for login in ("", "nobody", "*", "alice)(uid=bob", "alice*"):
        assert answer(written, login).startswith("y451 4.7.1 "), login


@pytest.mark.parametrize(("how", "back"), [("stop", "start"), ("pause", "unpause")])
def test_without_the_directory_the_milter_defers_and_recovers(
    written: LiveLab, how: str, back: str
) -> None:
    """A directory that is gone or hangs gives 4xx, each time, before Postfix would have given up;
    when it is back, it is asked.
    """
    assert answer(written, "alice") == "c"
    docker_do(how, written.container("openldap"))
    try:
        assert answer(written, "alice").startswith("y451 4.7.1 ")
        assert answer(written, "alice").startswith("y451 4.7.1 ")
    finally:
        docker_do(back, written.container("openldap"))
    poll(lambda: answer(written, "alice") == "c", what="the milter", seconds=30)


def test_without_the_directory_submission_defers_and_recovers(
    written: LiveLab, stack: Endpoints
) -> None:
    """Stopped within a message, it leaves a 4xx behind; when it is back people send again."""
    with _signed_in(stack) as session:
        session.mail(OWN.decode())
        session.rcpt(stack.accounts["bob"].address)
        session.docmd("DATA")
        docker_do("stop", "-t", "5", written.container("openldap"))
        try:
            session.send(b"From: %b\r\n\r\nx\r\n.\r\n" % OWN)
            assert 400 <= session.getreply()[0] < 500
        finally:
            docker_do("start", written.container("openldap"))
    poll(lambda: first_refusal(stack, "submission") == 0, what="the way", seconds=30)


def test_the_milter_answers_wherever_postfix_waits_to_send_more(written: LiveLab) -> None:
    """It leaves out neither MAIL, RCPT nor DATA, for which Postfix sends macros in any case: what
    comes after those, unanswered, TCP would hold back for 40 ms (RFC 896; libmilter's mfdef.h).
    """
    left_out = {"MAIL": 0x4, "RCPT": 0x8, "DATA": 0x200}
    unanswered = {"MAIL": 0x4000, "RCPT": 0x8000, "DATA": 0x10000}
    address = docker_do(
        "inspect",
        "--format",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        written.container("milter"),
    ).strip()
    with socket.create_connection((address, 8891), timeout=10) as connection:
        connection.sendall(struct.pack("!IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF))
        with connection.makefile("rb") as replies:
            _, command, _, _, steps = struct.unpack("!IcIII", replies.read(17))
    assert command == b"O"
    assert steps != 0, "it leaves out something, or this sees nothing"
    for name, flag in (*left_out.items(), *unanswered.items()):
        assert not steps & flag, name


def test_the_milter_does_not_run_as_root_and_stays_small(written: LiveLab) -> None:
    """It is an ordinary user without capabilities, and after many messages holds 15 MB at most."""
    status = written.must("milter", "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == set(fields["Gid"].split()) == {"906"}
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    used = docker_do(
        "stats", "--no-stream", "--format", "{{.MemUsage}}", written.container("milter")
    )
    assert float(re.match(r"[\d.]+(?=MiB)", used)[0]) <= 15
