"""IMAP, as far as the lab needs it: sign in, and find a message by its Message-ID."""

import imaplib
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Self

from labctl.endpoints import Endpoint, Secret
from labctl.errors import LabNotReady, SignInRefused, UsageError
from labctl.events import Emit
from labctl.protocols.ending import hung_up
from labctl.protocols.tap import Tap

TIMEOUT = 30.0  # seconds

_QUOTABLE = re.compile(r"[^\r\n\0]*")  # RFC 9051 §9: quoted
_UID = re.compile(rb"UID (\d+)")


@dataclass(frozen=True, slots=True)
class Mail:
    """One message of a mailbox, by its headers; `uid` is IMAP's (RFC 9051 §2.3.1.1)."""

    uid: int
    message_id: str
    sender: str
    to: str
    subject: str
    date: str


class _TappedImap(imaplib.IMAP4):
    """imaplib's client with the tap at its socket."""

    def __init__(self, tap: Tap, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        self.tap = tap
        self._context = context
        super().__init__(endpoint.host, endpoint.port, timeout=TIMEOUT)
        self._encoding = "utf-8"  # a password may be in any script (RFC 4616 §2)

    def _create_socket(self, timeout: float | None) -> object:
        sock = super()._create_socket(timeout)  # type: ignore[misc]
        if self._context is None:
            return sock
        return self._context.wrap_socket(sock, server_hostname=self.host)

    def send(self, data: bytes) -> None:  # type: ignore[override]
        self.tap.sent(bytes(data))
        super().send(data)

    def readline(self) -> bytes:
        line = super().readline()
        self.tap.received(line)
        return line


class ImapConnection:
    """One open IMAP session with its INBOX."""

    def __init__(self, client: _TappedImap) -> None:
        self._client = client
        self._examined = False

    @classmethod
    def open(cls, peer: str, endpoint: Endpoint, *, context: ssl.SSLContext, emit: Emit) -> Self:
        """Connect, read the greeting and begin TLS as the endpoint wants it.

        Raises LabNotReady when nothing answers there, or not as an IMAP server would.
        """
        tap = Tap(peer, emit)
        tap.note(f"connecting to {endpoint} ({peer})")
        client = None
        try:
            client = _TappedImap(tap, endpoint, context if endpoint.tls == "tls" else None)
            if endpoint.tls == "starttls":
                client.starttls(context)
                tap.note("TLS begun")
        except (OSError, imaplib.IMAP4.error) as error:
            if client is not None:
                client.shutdown()
            raise LabNotReady(
                f"{peer} at {endpoint} does not answer: {error}",
                "Look at `labctl status`; with --endpoints, at host, port, tls and ca_file there.",
            ) from error
        return cls(client)

    def emit_to(self, emit: Emit) -> None:
        """Let the tap's events go to `emit` from now on."""
        self._client.tap.emit = emit

    def sign_in(self, login: str, password: Secret) -> None:
        """LOGIN; raises SignInRefused when name or password are refused, and LabNotReady when
        the server cannot tell (RFC 5530: UNAVAILABLE); UsageError for what LOGIN cannot say.
        """
        if not _QUOTABLE.fullmatch(login + password.reveal()):
            raise UsageError("a login or password with a line break or NUL cannot be said in IMAP")
        user = login.replace("\\", r"\\").replace('"', r"\"")  # imaplib quotes the password alone
        try:
            self._client.login(f'"{user}"', password.reveal())
        except imaplib.IMAP4.abort as error:
            raise self._lost(error) from error
        except imaplib.IMAP4.error as error:
            text = _said(error)
            if "[UNAVAILABLE]" in text:
                raise LabNotReady(f"imap cannot check passwords now: {text}") from error
            raise SignInRefused(f"imap refuses {login}: {text}") from error
        except OSError as error:
            raise self._lost(error) from error

    def find(self, message_id: str) -> int | None:
        """Return the UID of the message with this Message-ID in the INBOX, or None."""
        self._examine()
        found = self._uid("SEARCH", "HEADER", "Message-ID", f'"{message_id}"')
        uids = b" ".join(part for part in found if isinstance(part, bytes)).split()
        return int(uids[-1]) if uids else None

    def newest(self, count: int) -> list[Mail]:
        """Return up to `count` of the newest messages of the INBOX, oldest first."""
        self._examine()
        uids = b" ".join(p for p in self._uid("SEARCH", "ALL") if isinstance(p, bytes)).split()
        chosen = uids[-count:]
        if not chosen:
            return []
        fields = "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID FROM TO SUBJECT DATE)])"
        rows = self._uid("FETCH", b",".join(chosen).decode(), fields)
        return [_mail(row[0], row[1]) for row in rows if isinstance(row, tuple)]

    def fetch(self, uid: int) -> bytes:
        """Return the whole message with this UID, without marking it as read."""
        rows = self._uid("FETCH", str(uid), "(BODY.PEEK[])")
        for row in rows:
            if isinstance(row, tuple):
                return bytes(row[1])
        raise UsageError(f"imap has no message with the UID {uid}", "`labctl inbox` lists them.")

    def _examine(self) -> None:
        """Open the INBOX for reading, or if it is open, let the server tell what is new."""
        try:
            status, data = (
                self._client.noop()
                if self._examined
                else self._client.select("INBOX", readonly=True)
            )
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._lost(error) from error
        if status != "OK":
            raise LabNotReady(f"imap cannot open INBOX: {data[0]!r}")
        self._examined = True

    def _uid(self, command: str, *arguments: str) -> list[bytes | tuple[bytes, bytes]]:
        try:
            status, data = self._client.uid(command, *arguments)
        except (OSError, imaplib.IMAP4.error) as error:
            raise self._lost(error) from error
        if status != "OK":
            raise LabNotReady(f"imap answers {command} with {status} {data!r}")
        return data

    def _lost(self, error: Exception) -> LabNotReady:
        return LabNotReady(f"{self._client.tap.peer} broke off: {_said(error)}")

    def hung_up(self, seconds: float) -> bool:
        """Say whether the server closes the session by itself within so many seconds."""
        return hung_up(self._client.sock, seconds)

    def close(self) -> None:
        """Say LOGOUT if anyone listens, and hang up."""
        with suppress(OSError, imaplib.IMAP4.error):
            self._client.logout()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _said(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return first.decode("utf-8", "backslashreplace") if isinstance(first, bytes) else str(first)


def _mail(head: bytes, fields: bytes) -> Mail:
    parsed = message_from_bytes(fields)
    match = _UID.search(head)
    return Mail(
        uid=int(match[1]) if match else 0,
        message_id=_text(parsed["Message-ID"]),
        sender=_text(parsed["From"]),
        to=_text(parsed["To"]),
        subject=_text(parsed["Subject"]),
        date=_text(parsed["Date"]),
    )


def _text(value: str | None) -> str:
    """Return a header field as a reader shows it, or as it stands where it cannot be decoded:
    anybody may have written it.
    """
    plain = " ".join(str(value or "").split())
    try:
        return str(make_header(decode_header(plain)))
    except (HeaderParseError, LookupError, ValueError):
        return plain
