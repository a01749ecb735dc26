"""The SMTP and IMAP clients against a real socket that plays a script."""

import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from dialogue import certificates, playing, server_context

from labctl.endpoints import Endpoint, Secret, Tls
from labctl.errors import LabNotReady, SignInRefused, UsageError
from labctl.events import Event, Wire
from labctl.protocols.imap import ImapConnection
from labctl.protocols.smtp import Envelope, Outcome, Reply, SmtpConnection, Stage
from labctl.protocols.tls import client_context

HELLO = ["S: 220 mail ready", "C: ehlo .*", "S: 250-mail", "S: 250 SIZE 1000"]
BYE = ["C: quit", "S: 221 bye"]
ENVELOPE = Envelope("a@x.org", ("b@x.org",))
MAIL, RCPT, DATA = r"C: MAIL FROM:<a@x\.org>", r"C: RCPT TO:<b@x\.org>", "C: DATA"
REFUSED = "S: 554 5.7.1 no"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a CA and a certificate for 127.0.0.1, localhost, postfix and mail.example.org."""
    return certificates(tmp_path_factory.mktemp("ca"))


def submit(script: Sequence[str], *, sign_in: bool = False) -> tuple[Outcome, list[Wire]]:
    """Submit a message to a server that plays the script, which must be kept to the letter."""
    told: list[Wire] = []

    def listen(event: Event) -> None:
        assert isinstance(event, Wire)
        told.append(event)

    with playing(script) as server:
        connection = SmtpConnection.open(
            "submission", server.endpoint, context=client_context(None), emit=listen
        )
        outcome = connection.sign_in("alice", Secret("geheim")) if sign_in else None
        if outcome is None or outcome.reply.ok:
            outcome = connection.submit(ENVELOPE, b"Subject: x\r\n\r\n.dot\r\nend")
        connection.close()
    assert server.complaints == []
    return outcome, told


def test_an_accepted_message_is_250_at_eom_and_dots_are_stuffed() -> None:
    """The content goes out with stuffed dots (RFC 5321 §4.5.2) and ends with a dot."""
    content = ["C: Subject: x", "C: ", r"C: \.\.dot", "C: end", r"C: \."]
    script = [*HELLO, MAIL, "S: 250 ok", RCPT, "S: 250 ok", DATA, "S: 354 go", *content]
    outcome, told = submit([*script, "S: 250 2.0.0 queued", *BYE])
    assert outcome == Outcome(Stage.EOM, Reply(250, "2.0.0", "queued"))
    assert outcome.accepted
    assert any(wire.line == "354 go" and wire.mark == "<-" for wire in told)


def test_starttls_is_required_where_it_is_expected() -> None:
    """A server that does not offer it is told no password."""
    with playing([*HELLO, "HANGUP"], "starttls") as server:
        endpoint = Endpoint(server.endpoint.host, server.endpoint.port, "starttls")
        with pytest.raises(LabNotReady, match="STARTTLS extension not supported"):
            SmtpConnection.open(
                "submission", endpoint, context=client_context(None), emit=lambda _: None
            )
    assert server.complaints == []


def test_an_address_that_is_not_ascii_is_the_servers_to_refuse() -> None:
    """It goes out as UTF-8 (RFC 6531), and the reply decides, as for any other."""
    rcpt = "C: RCPT TO:<ü@exämple.org>"
    with playing([*HELLO, MAIL, "S: 250 ok", rcpt, "S: 501 5.1.3 no", *RESET]) as server:
        connection = SmtpConnection.open(
            "submission", server.endpoint, context=client_context(None), emit=lambda _: None
        )
        outcome = connection.submit(Envelope("a@x.org", ("ü@exämple.org",)), b"x\r\n")
        connection.close()
    assert server.complaints == []
    assert str(outcome) == "501 5.1.3 at RCPT"


RESET = ["C: RSET", "S: 250 ok", *BYE]
REFUSALS = {
    Stage.AUTH: [*HELLO, "C: AUTH PLAIN AGFsaWNlAGdlaGVpbQ==", REFUSED, *BYE],
    Stage.MAIL: [*HELLO, MAIL, REFUSED, *RESET],
    Stage.RCPT: [*HELLO, MAIL, "S: 250 ok", RCPT, REFUSED, *RESET],
    Stage.DATA: [*HELLO, MAIL, "S: 250 ok", RCPT, "S: 250 ok", DATA, REFUSED, *RESET],
    Stage.EOM: [
        *HELLO, MAIL, "S: 250 ok", RCPT, "S: 250 ok", DATA, "S: 354 go",
        "C: Subject: x", "C: ", r"C: \.\.dot", "C: end", r"C: \.", REFUSED, *RESET,
    ],
}  # fmt: skip


@pytest.mark.parametrize("stage", REFUSALS)
def test_the_first_refusal_decides_and_names_its_stage(stage: Stage) -> None:
    """Wherever the server refuses, the outcome names that stage, and the session is reset."""
    outcome, told = submit(REFUSALS[stage], sign_in=stage is Stage.AUTH)
    assert outcome == Outcome(stage, Reply(554, "5.7.1", "no"))
    assert not outcome.accepted
    assert "geheim" not in "".join(wire.line for wire in told)
    assert "AGFsaWNlAGdlaGVpbQ==" not in "".join(wire.line for wire in told)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (
            [*HELLO, MAIL, "S: 250 ok", RCPT, "S: 250 ok", DATA, "S: 354 go", "C: "],
            Outcome(Stage.DATA, Reply(354, "", "go")),
        ),
        (
            [*HELLO, MAIL, "S: 250 ok", RCPT, REFUSED, *BYE],
            Outcome(Stage.RCPT, Reply(554, "5.7.1", "no")),
        ),
    ],
)
def test_what_is_announced_and_never_sent_ends_at_data(script: list[str], outcome: Outcome) -> None:
    """After 354 the client hangs up without a word, not even QUIT; a refusal ends before that."""
    with (
        playing(script) as server,
        SmtpConnection.open(
            "submission", server.endpoint, context=client_context(None), emit=lambda _: None
        ) as connection,
    ):
        assert connection.announce(ENVELOPE) == outcome
    assert server.complaints == []


def test_a_reply_of_several_lines_is_one_reply() -> None:
    """The lines of a reply are joined, and each is on the wire as it came."""
    script = [*HELLO, MAIL, "S: 554-5.7.1 one", "S: 554 5.7.1 two", *RESET]
    outcome, told = submit(script)
    assert outcome.reply.codes() == "554 5.7.1"
    assert outcome.reply.text == "one\n5.7.1 two"
    assert [w.line for w in told if w.line[:3] == "554"] == ["554-5.7.1 one", "554 5.7.1 two"]


def test_a_server_that_closes_with_421_is_left_alone() -> None:
    """After 421 (RFC 5321 §3.8) nothing more is said, not even RSET."""
    outcome, _ = submit([*HELLO, MAIL, "S: 421 4.3.2 going down", "HANGUP"])
    assert outcome.reply.code == 421


def test_a_connection_that_breaks_off_is_not_a_refusal() -> None:
    """A server that hangs up in mid-transaction is not ready, at a stage that is named."""
    with pytest.raises(LabNotReady, match="broke off at RCPT"):
        submit([*HELLO, MAIL, "S: 250 ok", RCPT, "HANGUP"])


@pytest.mark.parametrize("script", [["S: 554 no service"], ["HANGUP"], ["S: hello"]])
def test_a_server_that_does_not_greet_is_not_ready(script: list[str]) -> None:
    """Without a 220 greeting there is no SMTP session."""
    with playing([*script, "HANGUP"]) as server, pytest.raises(LabNotReady):
        SmtpConnection.open(
            "smtp", server.endpoint, context=client_context(None), emit=lambda _: None
        )


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("5.7.1 no", Reply(554, "5.7.1", "no")),
        ("no code", Reply(554, "", "no code")),
        ("5.7.1", Reply(554, "5.7.1", "")),
        ("5.7 no", Reply(554, "", "5.7 no")),
        ("3.7.1 no", Reply(554, "", "3.7.1 no")),
    ],
)
def test_the_enhanced_code_is_told_apart(text: str, reply: Reply) -> None:
    """RFC 3463 §2: class 2, 4 or 5, three numbers, then the text."""
    assert Reply.of(554, text) == reply


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_tls_is_begun_and_the_certificate_verified(ca: Path, tls: Tls) -> None:
    """With the CA the session goes on inside TLS, from STARTTLS or from the first byte."""
    hello = [*HELLO[:2], "S: 250-mail", "S: 250 STARTTLS", "C: STARTTLS", "S: 220 go", "TLS"]
    script = [*hello, "C: ehlo .*", "S: 250 mail", *BYE] if tls == "starttls" else [*HELLO, *BYE]
    with playing(script, tls, server_context(ca.parent)) as server:
        SmtpConnection.open(
            "submission", server.endpoint, context=client_context(ca), emit=lambda _: None
        ).close()
    assert server.complaints == []


def test_a_certificate_of_another_ca_is_refused(ca: Path, tmp_path: Path) -> None:
    """A server whose certificate the CA did not sign is not talked to."""
    other = client_context(certificates(tmp_path))
    with (
        playing(HELLO, "tls", server_context(ca.parent)) as server,
        pytest.raises(LabNotReady, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        SmtpConnection.open("submissions", server.endpoint, context=other, emit=lambda _: None)


class ImapAnswers:
    """An IMAP server on a real socket: `{command: [untagged…, tagged]}`."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = {"CAPABILITY": ["* CAPABILITY IMAP4rev1", "OK done"], **answers}

    def __enter__(self) -> ImapConnection:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()
        endpoint = Endpoint("127.0.0.1", self.listener.getsockname()[1], "none")
        self.connection = ImapConnection.open(
            "imap", endpoint, context=client_context(None), emit=lambda _: None
        )
        return self.connection

    def _serve(self) -> None:
        client, _ = self.listener.accept()
        with client, client.makefile("rwb") as file:
            file.write(b"* OK ready\r\n")
            file.flush()
            for line in file:
                tag, _, command = line.decode().strip().partition(" ")
                key = next((k for k in self.answers if command.startswith(k)), None)
                *untagged, tagged = self.answers[key] if key else ["* BYE", "OK done"]
                for row in untagged:
                    file.write(row.encode() + b"\r\n")
                file.write(f"{tag} {tagged}\r\n".encode())
                file.flush()
                if command == "LOGOUT":
                    return

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.thread.join(timeout=10)
        self.listener.close()


OPEN = {"LOGIN": ["OK done"], "EXAMINE": ["* 2 EXISTS", "OK [READ-ONLY] done"], "NOOP": ["OK done"]}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("NO [AUTHENTICATIONFAILED] no", SignInRefused),
        ("NO [UNAVAILABLE] later", LabNotReady),
        ("BAD what", SignInRefused),
    ],
)
def test_imap_tells_a_wrong_password_from_a_server_that_cannot_tell(
    answer: str, error: type[Exception]
) -> None:
    """NO is a refusal, NO [UNAVAILABLE] (RFC 5530) is a server that is not ready."""
    with ImapAnswers({"LOGIN": [answer]}) as connection, pytest.raises(error):
        connection.sign_in("alice", Secret("x"))


@pytest.mark.parametrize(
    ("login", "password", "said"),
    [
        ("alice", "pässwörd☃", 'LOGIN "alice" "pässwörd☃"'),
        ('Alice "A" \\ North', 'x "y" \\', r'LOGIN "Alice \"A\" \\ North" "x \"y\" \\"'),
    ],
)
def test_imap_says_login_and_password_whatever_their_letters(
    login: str, password: str, said: str
) -> None:
    """Both are quoted (RFC 9051 §9), and go out as UTF-8."""
    with ImapAnswers({said: ["OK done"]}) as connection:
        connection.sign_in(login, Secret(password))
        with pytest.raises(SignInRefused):
            connection.sign_in(login, Secret("another"))


@pytest.mark.parametrize("password", ["a\nb LOGOUT", "a\r", "a\0"])
def test_imap_says_no_second_line_with_a_password(password: str) -> None:
    """What would end the command, and show the rest in the transcript, is not sent."""
    with ImapAnswers(OPEN) as connection, pytest.raises(UsageError, match="line break"):
        connection.sign_in("alice", Secret(password))


def test_imap_finds_a_message_by_its_id() -> None:
    """The UID of the one that has the Message-ID; None when there is none."""
    with ImapAnswers({**OPEN, "UID SEARCH": ["* SEARCH 7", "OK done"]}) as connection:
        connection.sign_in("alice", Secret("x"))
        assert connection.find("<x@y>") == 7
        assert connection.find("<x@y>") == 7
    with ImapAnswers({**OPEN, "UID SEARCH": ["* SEARCH", "OK done"]}) as connection:
        connection.sign_in("alice", Secret("x"))
        assert connection.find("<x@y>") is None


def test_imap_lists_the_newest() -> None:
    """Headers are decoded, and the UID is IMAP's."""
    head = "From: a@x.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <m@x>\r\n\r\n"
    fetch = [f"* 1 FETCH (UID 9 BODY[HEADER] {{{len(head)}}}", head + ")", "OK done"]
    with ImapAnswers(
        {**OPEN, "UID SEARCH": ["* SEARCH 8 9", "OK done"], "UID FETCH": fetch}
    ) as connection:
        connection.sign_in("alice", Secret("x"))
        [mail] = connection.newest(1)
    assert (mail.uid, mail.subject, mail.message_id) == (9, "Grüße", "<m@x>")


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("=?utf-8?q?x=0D=0AFrom=3A_b?= <a@x.org>", "x\r\nFrom: b <a@x.org>"),
        ("=?utf-8?b?YgBi?= <a@x.org>", "b\0b <a@x.org>"),
        ("=?nonsense?q?x?= <a@x.org>", "=?nonsense?q?x?= <a@x.org>"),
        ("=?utf-8?b?!?= <<>,;:", "<<>,;:"),
        ("a@x.org,\r\n b@x.org", "a@x.org, b@x.org"),
    ],
)
def test_imap_lists_what_a_stranger_wrote(field: str, shown: str) -> None:
    """Whatever a header says, the mailbox can be listed."""
    head = f"From: {field}\r\nMessage-ID: <m@x>\r\n\r\n"
    fetch = [f"* 1 FETCH (UID 9 BODY[HEADER] {{{len(head)}}}", head + ")", "OK done"]
    with ImapAnswers(
        {**OPEN, "UID SEARCH": ["* SEARCH 9", "OK done"], "UID FETCH": fetch}
    ) as connection:
        connection.sign_in("alice", Secret("x"))
        [mail] = connection.newest(1)
    assert mail.sender.endswith(shown)


def test_imap_that_cannot_open_the_inbox_is_not_ready() -> None:
    """A NO to EXAMINE is an error of the server, not an empty mailbox."""
    with ImapAnswers({**OPEN, "EXAMINE": ["NO gone"]}) as connection:
        connection.sign_in("alice", Secret("x"))
        with pytest.raises(LabNotReady, match="cannot open INBOX"):
            connection.find("<x@y>")


def test_a_ca_that_was_made_anew_is_read_anew(tmp_path: Path) -> None:
    """Labs that come up one after the other at one place are each trusted by their own CA."""
    ca = certificates(tmp_path)
    first = client_context(ca)
    assert client_context(ca) is first
    ca.unlink()
    certificates(tmp_path)
    assert client_context(ca).get_ca_certs() != first.get_ca_certs()
