"""Messages of a run: each has a name, and a Message-ID that belongs to this run alone."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime

from labctl.protocols.smtp import Envelope

HOST = "labctl.invalid"  # RFC 2606 §2: a name that never resolves


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
    """Write a message (RFC 5322) with CRLF line ends."""
    mail = EmailMessage(policy=SMTP)
    mail["Date"] = format_datetime(localtime())
    mail["From"] = draft.sender
    mail["To"] = ", ".join(draft.to)
    mail["Subject"] = draft.subject
    mail["Message-ID"] = identity
    mail.set_content(draft.body)
    return Message(identity, draft, mail.as_bytes())


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
