"""The verb `send`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from labctl.endpoints import Endpoints
from labctl.protocols.smtp import Envelope
from labctl.scenario.durations import RETRIED, Duration
from labctl.scenario.messages import Draft, Route, Sent, compose, message_id
from labctl.scenario.model import ACCEPTED, Expect, Line, Name, Planned, Step, Touch
from labctl.scenario.names import account_of, address_of, planned_address
from labctl.scenario.session import Session
from labctl.scenario.submission import further, transact

Via = Literal["submission", "submissions", "relay"]
SERVICES: Mapping[Via, str] = {
    "submission": "submission",
    "submissions": "submissions",
    "relay": "smtp",
}


Filled = Annotated[Line, Field(min_length=1)]


class Send(Step):
    """Send a message, and check the reply that decides: without `expect` it must be accepted."""

    verb: ClassVar[str] = "send"

    sender: Filled = Field(
        alias="from",
        description="an account, which signs in, or an address outside, which does not",
    )
    to: Filled | Annotated[tuple[Filled, ...], Field(min_length=1)] = Field(
        description="the recipients, accounts or addresses"
    )
    subject: Line = Field("A message", description="its subject")
    body: str = Field("Sent by the mail-policy lab.\n", description="its text")
    name: Name | None = Field(
        None, alias="as", description="the name by which later steps know the message"
    )
    via: Via | None = Field(
        None, description="how it goes in: without it accounts submit on 587, others use the relay"
    )
    envelope_from: Line | None = Field(
        None, description='another sender in the envelope, `""` for the null sender'
    )
    header_from: Line | None = Field(None, description="another sender in the header")
    session: Name | None = Field(
        None, description="an SMTP session that stays open for later steps of the same name"
    )
    within: Duration | None = Field(None, description=RETRIED)
    expect: Expect = Field(ACCEPTED, description="the reply that must come")

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

    def touches(self, endpoints: Endpoints) -> Iterable[Touch]:
        """Return whom the mail is for."""
        for name in self.recipients:
            account = account_of(name)
            yield Touch(name if account is None else address_of(name, endpoints.accounts[account]))

    def summary(self) -> str:
        """Say who writes to whom, and as whom if that differs."""
        spoofed = self.envelope_from if self.envelope_from is not None else self.header_from
        disguise = "" if spoofed is None else f" as {spoofed or '<>'}"
        return f"{self.sender}{disguise} → {', '.join(self.recipients)}: {self.subject}"

    def plan(self, endpoints: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        sender = self.sender if self.envelope_from is None else self.envelope_from
        route = self._route()
        who = f"signed in as {route.login}" if route.login else "nobody signs in"
        to = ", ".join(f"<{planned_address(endpoints, name)}>" for name in self.recipients)
        yield "sends", f"<{planned_address(endpoints, sender)}> → {to}, by {route.service}, {who}"
        if self.header_from is not None:
            yield "From:", planned_address(endpoints, self.header_from)
        yield "expects", self.expect.whole

    def perform(self, session: Session) -> None:
        """Compose and send; later steps know the message by its name."""
        own = session.address(self.sender)
        envelope_from = own if self.envelope_from is None else session.address(self.envelope_from)
        header_from = own if self.header_from is None else session.address(self.header_from)
        recipients = tuple(session.address(name) for name in self.recipients)
        name = self.name or f"step-{session.number}"
        draft = Draft(header_from, recipients, self.subject, self.body)
        message = compose(message_id(name, session.identity), draft)
        sent = Sent(message, Envelope(envelope_from, recipients), self._route())
        transact(session, sent, self.expect, self.within)
        session.messages[name] = sent

    def _route(self) -> Route:
        outsider = "@" in self.sender
        via: Via = self.via or ("relay" if outsider else "submission")
        login = None if outsider or via == "relay" else account_of(self.sender)
        return Route(SERVICES[via], login, self.session)
