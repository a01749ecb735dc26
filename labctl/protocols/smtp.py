"""SMTP as a client speaks it: each reply is given at a stage, and the first refusal decides."""

import base64
import re
import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from labctl.endpoints import Endpoint, Secret
from labctl.errors import DeadlinePassed, LabNotReady
from labctl.events import Emit
from labctl.protocols.ending import hung_up
from labctl.protocols.tap import Tap

TIMEOUT = 30.0  # seconds; above the 10 s within which a lab answers 4xx when a server is away

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")  # RFC 3463 §2
_FINAL_ERROR = 400
_PERMANENT = 500
_READY = 220  # RFC 5321 §4.3.1
_CLOSING = 421  # RFC 5321 §3.8
_CONTENT = re.compile(rb"DATA|BDAT", re.IGNORECASE)  # what may begin a message's content


class Stage(StrEnum):
    """Where in a transaction a reply is given."""

    CONNECT = "CONNECT"
    EHLO = "EHLO"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    EOM = "EOM"


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: code (RFC 5321 §4.2), enhanced code (RFC 3463) or "", and text."""

    code: int
    enhanced: str
    text: str

    @classmethod
    def of(cls, code: int, text: str) -> Self:
        """Return the reply whose lines, joined by line feeds, are `text`."""
        match = _ENHANCED.match(text)
        if match is None:
            return cls(code, "", text)
        return cls(code, match[1], text[match.end() :])

    @property
    def ok(self) -> bool:
        """Say whether the server went along (2xx or 3xx)."""
        return self.code < _FINAL_ERROR

    @property
    def temporary(self) -> bool:
        """Say whether it is a refusal that invites to try again (RFC 5321 §4.2.1: 4yz)."""
        return _FINAL_ERROR <= self.code < _PERMANENT

    def codes(self) -> str:
        """Return the code and the enhanced code, such as `554 5.7.1`."""
        return f"{self.code} {self.enhanced}".strip()

    def __str__(self) -> str:
        return f"{self.codes()} {self.text}".strip()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a transaction: the stage that decided, and the reply there."""

    stage: Stage
    reply: Reply

    @property
    def accepted(self) -> bool:
        """Say whether the server took the message."""
        return self.stage is Stage.EOM and self.reply.ok

    def __str__(self) -> str:
        return f"{self.reply.codes()} at {self.stage}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom, as said in MAIL and RCPT; an empty sender is the null sender."""

    sender: str
    recipients: tuple[str, ...]


class _TappedSmtp(smtplib.SMTP):
    """smtplib's client with the tap at its socket; what is not ASCII goes out as UTF-8, and it is
    the server that says what it thinks of that (RFC 6531).
    """

    def __init__(self, tap: Tap, context: ssl.SSLContext | None, client: str | None = None) -> None:
        self.tap = tap
        self._context = context
        super().__init__(local_hostname=client, timeout=TIMEOUT)
        self.command_encoding = "utf-8"

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        sock = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        if self._context is None:
            return sock
        return self._context.wrap_socket(sock, server_hostname=host)

    def send(self, s: Any) -> None:
        self.tap.sent(s.encode() if isinstance(s, str) else bytes(s))
        super().send(s)

    def send_message_content(self, data: bytes) -> None:
        self.tap.message(data)
        super().send(data)

    def wrap(self, context: ssl.SSLContext) -> None:
        host: str = self._host  # type: ignore[attr-defined]
        if self.sock is None:
            raise ConnectionError("the connection is closed")
        self.sock = context.wrap_socket(self.sock, server_hostname=host)
        self.file = None  # what came before TLS is forgotten

    def send_masked(self, data: bytes, shown: bytes) -> None:
        self.tap.sent(shown)
        super().send(data)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        lines = text.split(b"\n")
        for line in lines[:-1]:
            self.tap.received(b"%d-%s" % (code, line))
        self.tap.received(b"%d %s" % (code, lines[-1]))
        return code, text


class SmtpConnection:
    """One open SMTP session; `open` it, `sign_in` where the service asks for it, `submit`."""

    def __init__(self, client: _TappedSmtp, *, greeted: bool = True) -> None:
        self._client = client
        self.greeted = greeted
        self._raw = False  # where the conversation stands, only the caller knows: no QUIT
        self.closed = False
        self.login: str | None = None  # who signed in
        self._shown = b""  # what was written, as far as it matters for what comes after

    @classmethod
    def open(
        cls,
        peer: str,
        endpoint: Endpoint,
        *,
        context: ssl.SSLContext,
        emit: Emit,
        greet: bool = True,
        client: str | None = None,
    ) -> Self:
        """Connect, greet and begin TLS as the endpoint wants it; without `greet` only connect.
        `client` is the name to give with EHLO (RFC 5321 §4.1.1.1), this host's if it is None.

        Raises LabNotReady when nothing answers there, or not as an SMTP server would.
        """
        smtp = _TappedSmtp(Tap(peer, emit), context if endpoint.tls == "tls" else None, client)
        try:
            _connect(smtp, endpoint)
            if greet:
                _greet(smtp, endpoint, context)
        except (OSError, smtplib.SMTPException) as error:
            smtp.close()
            raise LabNotReady(
                f"{peer} at {endpoint} {_trouble(error)}",
                "Look at `labctl status`; with --endpoints, at host, port, tls and ca_file there.",
            ) from error
        return cls(smtp, greeted=greet)

    @property
    def client(self) -> str:
        """The name that it gives with EHLO."""
        return str(self._client.local_hostname)

    @property
    def fresh(self) -> bool:
        """Say whether it is open, and nothing was written to it: the next command is the first."""
        return not (self.closed or self._raw)

    def emit_to(self, emit: Emit) -> None:
        """Let the tap's events go to `emit` from now on."""
        self._client.tap.emit = emit

    def sign_in(self, login: str, password: Secret) -> Outcome:
        """Authenticate with SASL PLAIN (RFC 4616); the outcome's stage is AUTH."""
        token = base64.b64encode(f"\0{login}\0{password.reveal()}".encode()).decode()
        outcome = self._command(Stage.AUTH, "AUTH", f"PLAIN {token}")
        self.login = login if outcome.reply.ok else None
        return outcome

    def submit(self, envelope: Envelope, content: bytes) -> Outcome:
        """Send one message; returns at the first refusal, after which the session is reset.

        `content` is the message with CRLF line ends; dots are stuffed here (RFC 5321 §4.5.2).
        """
        outcome = self._transact(envelope, content)
        if not outcome.accepted and not self.closed:
            self._command(outcome.stage, "RSET")
        return outcome

    def announce(self, envelope: Envelope) -> Outcome:
        """Go as far as the reply to DATA and hang up if it is a go-ahead: nothing is delivered."""
        outcome = self._announced(envelope)
        if outcome.reply.ok:
            self.closed = True  # a QUIT would be taken for content
            self.close()
        return outcome

    def address(self, envelope: Envelope) -> Outcome:
        """Go as far as the reply to the last recipient; `reset` before what comes next."""
        outcome = self.begin(envelope.sender)
        for recipient in envelope.recipients:
            if not outcome.reply.ok:
                break
            outcome = self.recipient(recipient)
        return outcome

    def begin(self, sender: str) -> Outcome:
        """Begin a transaction with MAIL; an empty sender is the null sender."""
        return self._command(Stage.MAIL, "MAIL", f"FROM:<{sender}>")

    def recipient(self, address: str) -> Outcome:
        """Name a recipient of the transaction that was begun."""
        return self._command(Stage.RCPT, "RCPT", f"TO:<{address}>")

    def reset(self) -> None:
        """Forget the transaction that was begun."""
        self._command(Stage.MAIL, "RSET")

    def _transact(self, envelope: Envelope, content: bytes) -> Outcome:
        outcome = self._announced(envelope)
        return self._content(content) if outcome.reply.ok else outcome

    def _announced(self, envelope: Envelope) -> Outcome:
        outcome = self.address(envelope)
        return self._command(Stage.DATA, "DATA") if outcome.reply.ok else outcome

    def _content(self, content: bytes) -> Outcome:
        try:
            self._client.send_message_content(_stuffed(content))
            code, text = self._client.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise self._lost(Stage.EOM, error) from error
        return self._outcome(Stage.EOM, code, text)

    def _command(self, stage: Stage, verb: str, rest: str = "") -> Outcome:
        try:
            code, text = self._client.docmd(verb, rest)
        except (OSError, smtplib.SMTPException) as error:
            raise self._lost(stage, error) from error
        return self._outcome(stage, code, text)

    def _outcome(self, stage: Stage, code: int, text: bytes) -> Outcome:
        if code == _CLOSING:
            self.close()
        return Outcome(stage, Reply.of(code, text.decode("utf-8", "backslashreplace")))

    def _lost(self, stage: Stage, error: Exception) -> LabNotReady:
        self.close()
        return LabNotReady(f"{self._client.tap.peer} broke off at {stage}: {error}")

    def hung_up(self, seconds: float) -> bool:
        """Say whether the server closes the session by itself within so many seconds."""
        if not self.closed and self._client.sock is not None:
            self.closed = hung_up(self._client.sock, seconds)
        return self.closed

    def write(self, data: bytes, shown: bytes) -> None:
        """Send bytes as they are; the transcript has them as `shown`, where secrets are masked."""
        self._raw = True
        written = self._shown + shown
        begins = _CONTENT.search(written)
        self._shown = begins[0] if begins else written[-3:]
        with suppress(smtplib.SMTPServerDisconnected):  # the next reply says so
            self._client.send_masked(data, shown)

    def begins_line(self, shown: bytes) -> bool:
        """Say whether, once this is written too, what follows begins a line."""
        return (self._shown + shown)[-1:] in {b"", b"\n"}

    def content_after(self, shown: bytes) -> bool:
        """Say whether, once this is written too, what follows may be content of a message."""
        return _CONTENT.search(self._shown + shown) is not None

    def reply(self, seconds: float = TIMEOUT) -> Reply | None:
        """Read the next reply; None if the server has closed the connection.

        Raises DeadlinePassed when the server says nothing for so many seconds.
        """
        if self._client.sock is None:
            return None
        self._client.sock.settimeout(seconds)
        try:
            code, text = self._client.getreply()
        except smtplib.SMTPException as error:
            if isinstance(error.__context__, TimeoutError):
                self.close()
                raise DeadlinePassed(f"the server says nothing for {seconds:g} s") from error
            self._client.tap.note("closed by the server")
            self.close()
            return None
        return Reply.of(code, text.decode("utf-8", "backslashreplace"))

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """Begin TLS here and now, whatever was said before."""
        try:
            self._client.wrap(context)
        except OSError as error:
            raise self._lost(Stage.CONNECT, error) from error
        self._client.tap.note("TLS begun")

    def close(self) -> None:
        """Say QUIT if anyone listens, and hang up."""
        if not self.closed and not self._raw:
            self.closed = True
            with suppress(OSError, smtplib.SMTPException):
                self._client.quit()
        self.closed = True
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(client: _TappedSmtp, endpoint: Endpoint) -> None:
    client.tap.note(f"connecting to {endpoint} ({client.tap.peer})")
    # smtplib checks the certificate against `_host`, which only its constructor sets.
    client._host = endpoint.host  # type: ignore[attr-defined]
    code, text = client.connect(endpoint.host, endpoint.port)
    if code != _READY:
        raise smtplib.SMTPConnectError(code, text)


def _greet(client: _TappedSmtp, endpoint: Endpoint, context: ssl.SSLContext) -> None:
    client.ehlo()
    if endpoint.tls == "starttls":  # and nothing less: a password may follow
        client.starttls(context=context)
        client.tap.note("TLS begun")
        client.ehlo()


def _trouble(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        said = text.decode(errors="backslashreplace") if isinstance(text, bytes) else text
        return f"is not ready: {error.smtp_code} {said}"
    return f"does not answer: {error}"


def _stuffed(content: bytes) -> bytes:
    ended = content if content.endswith(b"\r\n") else content + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", ended) + b".\r\n"
