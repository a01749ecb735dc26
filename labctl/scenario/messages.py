"""Messages of a run: each has a name, and a Message-ID that belongs to this run alone."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime

from labctl.protocols.smtp import Envelope

HOST = "labctl.invalid"  # RFC 2606 §2: a name that never resolves
_AS_IT_STANDS = HeaderRegistry(use_default_map=False)  # each field is mere text


@dataclass(frozen=True, slots=True)
class Draft:
    """What a message is to say; `sender` and `to` stand in its header."""

    sender: str
    to: tuple[str, ...]
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it goes on the wire."""

    message_id: str
    draft: Draft
    content: bytes


def message_id(name: str, run: str) -> str:
    """Return `<name.RUN@labctl.invalid>`."""
    return f"<{name}.{run}@{HOST}>"


def compose(identity: str, draft: Draft) -> Message:
    """Write a message (RFC 5322) with CRLF line ends; what is no address stands as it is."""
    mail = EmailMessage(policy=SMTP)
    mail["Date"] = format_datetime(localtime())
    _address(mail, "From", draft.sender)
    _address(mail, "To", ", ".join(draft.to))
    mail["Subject"] = draft.subject
    mail["Message-ID"] = identity
    mail.set_content(draft.body)
    return Message(identity, draft, mail.as_bytes())


def _address(mail: EmailMessage, field: str, value: str) -> None:
    try:
        mail[field] = value
    except (IndexError, HeaderParseError):  # Python's parser trips over `bob@`
        mail[field] = _AS_IT_STANDS(field, value)


@dataclass(frozen=True, slots=True)
class Route:
    """How a message enters the stack: the service, who signs in there (None: nobody), and the
    name under which the session stays open for later steps (None: it is closed).
    """

    service: str
    login: str | None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message with its envelope and route, so that it can be sent again."""

    message: Message
    envelope: Envelope
    route: Route


@dataclass(frozen=True, slots=True)
class Trace:
    """How a message that was sent is found in Postfix's queue and in what servers log.

    `at` is when it was sent, in seconds since the epoch, `client` the name that its SMTP session
    gave with EHLO, `queue_id` "" where Postfix did not take it.
    """

    message_id: str
    sender: str
    client: str
    at: float
    queue_id: str

    def own(self, lines: Iterable[str]) -> list[str]:
        """Return the lines of a log that this message caused, and no others: those with its
        Message-ID or a queue id that it had, and those of a refusal, which may have neither, with
        the name of its session and its sender.
        """
        given = list(lines)
        ids = {self.queue_id} - {""}
        ids |= {match[1] for line in given if (match := self._named(line))}
        refused = f" from=<{self.sender}> ", f" helo=<{self.client}>"
        return [
            line
            for line in given
            if self.message_id in line
            or any(f" {queue_id}: " in line for queue_id in ids)
            or all(part in line for part in refused)
        ]

    def _named(self, line: str) -> re.Match[str] | None:
        """Find the queue id in the line with which Postfix tells a Message-ID."""
        return re.search(rf" ([0-9A-Za-z]+): message-id={re.escape(self.message_id)}", line)


def queue_id_of(reply: str) -> str:
    """Return the queue id that Postfix names when it takes a message, or "" (`queued as 4C1…`)."""
    found = re.search(r"\bqueued as ([0-9A-Za-z]+)", reply)
    return found[1] if found else ""
