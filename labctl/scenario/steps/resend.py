"""The verb `resend`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from labctl.endpoints import Endpoints
from labctl.scenario.durations import RETRIED, Duration
from labctl.scenario.messages import compose, message_id
from labctl.scenario.model import ACCEPTED, Expect, Name, Planned, Step
from labctl.scenario.session import Session
from labctl.scenario.submission import further, people, transact


class Resend(Step):
    """Send an earlier message again: same envelope, same route, same session, a new Message-ID."""

    verb: ClassVar[str] = "resend"

    message: Name = Field(description="the name of the earlier message")
    name: Name | None = Field(
        None, alias="as", description="the name by which later steps know the new one"
    )
    within: Duration | None = Field(None, description=RETRIED)
    expect: Expect = Field(ACCEPTED, description="the reply that must come")

    def names(self) -> str | None:
        """Return what `as` says."""
        return self.name

    def refers_to(self) -> str | None:
        """Return the message that is sent again."""
        return self.message

    def concerned(self, session: Session) -> Iterable[str]:
        """Return sender and recipients."""
        return people(session)

    def further(self, session: Session) -> str:
        """Return what tells why the reply was that."""
        return further(session) or super().further(session)

    def summary(self) -> str:
        """Say which message goes out again."""
        return f"{self.message} again"

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        yield "expects", self.expect.whole

    def perform(self, session: Session) -> None:
        """Compose anew from the same draft, and send."""
        name = self.name or f"step-{session.number}"
        earlier = session.messages[self.message]
        message = compose(message_id(name, session.identity), earlier.message.draft)
        sent = replace(earlier, message=message)
        transact(session, sent, self.expect, self.within)
        session.messages[name] = sent
