"""The verb `send`."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from labctl.protocols.smtp import Envelope
from labctl.scenario.messages import Draft, Route, Sent, compose, message_id
from labctl.scenario.model import ACCEPTED, Expect, Line, Name, Seconds, Step
from labctl.scenario.names import account_of
from labctl.scenario.session import Session
from labctl.scenario.submission import further, transact

SERVICES = {"submission": "submission", "submissions": "submissions", "relay": "smtp"}


class Send(Step):
    """Send a message, and check the reply.

    `from` is an account, which signs in on submission, or an address outside, which sends through
    the relay. `envelope_from` and `header_from` say another sender than one's own ("" is the null
    sender). `session` names an SMTP session that stays open for later steps of the same name.
    With `within` (seconds) a temporary refusal is tried again until then.
    """

    verb: ClassVar[str] = "send"

    sender: Line = Field(alias="from", min_length=1)
    to: Line | tuple[Line, ...] = Field(min_length=1)
    subject: Line = "A message"
    body: str = "Sent by the mail-policy lab.\n"
    name: Name | None = Field(default=None, alias="as")
    via: Literal["submission", "submissions", "relay"] | None = None
    envelope_from: Line | None = None
    header_from: Line | None = None
    session: Name | None = None
    within: Seconds | None = None
    expect: Expect = ACCEPTED

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recipients, one or several."""
        return (self.to,) if isinstance(self.to, str) else self.to

    def accounts(self) -> Iterable[str]:
        """Sender, recipients and borrowed senders, as far as they are no addresses."""
        given = (self.sender, *self.recipients, self.envelope_from, self.header_from)
        named = (account_of(name) for name in given if name is not None)
        return [name for name in named if name is not None]

    def names(self) -> str | None:
        """Return what `as` says."""
        return self.name

    def further(self, session: Session) -> str:
        """Return what tells why the reply was that."""
        return further(session) or super().further(session)

    def summary(self) -> str:
        """Say who writes to whom, and as whom if that differs."""
        spoofed = self.envelope_from if self.envelope_from is not None else self.header_from
        disguise = "" if spoofed is None else f" as {spoofed or '<>'}"
        return f"{self.sender}{disguise} → {', '.join(self.recipients)}: {self.subject}"

    def perform(self, session: Session) -> None:
        """Compose and send; later steps know the message by its name."""
        own = session.address(self.sender)
        envelope_from = own if self.envelope_from is None else session.address(self.envelope_from)
        header_from = own if self.header_from is None else session.address(self.header_from)
        recipients = tuple(session.address(name) for name in self.recipients)
        name = self.name or f"step-{session.number}"
        draft = Draft(header_from, recipients, self.subject, self.body)
        message = compose(message_id(name, session.run), draft)
        sent = Sent(message, Envelope(envelope_from, recipients), self._route())
        session.messages[name] = sent
        transact(session, sent, self.expect, self.within)

    def _route(self) -> Route:
        outsider = "@" in self.sender
        via = self.via or ("relay" if outsider else "submission")
        login = None if outsider or via == "relay" else self.sender
        return Route(SERVICES[via], login, self.session)
