"""The verb `warned`."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from labctl.protocols.poll import poll
from labctl.protocols.smtp import Outcome, Reply, Stage
from labctl.scenario.model import Expect, Name, Step
from labctl.scenario.session import Session
from labctl.scenario.submission import check_outcome

_TAKEN = Outcome(Stage.EOM, Reply(250, "2.0.0", "nothing was warned of"))


class Warned(Step):
    """Check what the policy, where it is only rehearsed (`fault: {kind: shadow}`), would have said
    to a message that was taken: who sent it, and the reply; `250` at `EOM` means nothing else.

    Read from the lines of Postfix's log about that message, which is known by its Message-ID.
    Needs the lab's containers; skipped elsewhere.
    """

    verb: ClassVar[str] = "warned"

    message: Name = Field(description="the name of the message")
    expect: Expect = Field(description="the reply that it would have got")

    def refers_to(self) -> str | None:
        """Return the message that it is about."""
        return self.message

    def logs(self) -> Iterable[str]:
        """Return who warns."""
        return ("postfix",)

    def summary(self) -> str:
        """Say which message, and what would have become of it."""
        return f"of {self.message}: {self.expect}"

    def perform(self, session: Session) -> None:
        """Wait until the log tells, and compare."""
        containers = session.needed_containers()
        session.show_command(session.by_hand.labctl("shadow"))
        sent = session.messages[self.message]
        wanted = sent.message.message_id
        login, outcomes = poll(
            lambda: containers.rehearsed(wanted),
            what=f"Postfix's log to have {wanted}",
            seconds=session.wait_seconds,
        )
        own = "" if sent.route.login is None else session.account(sent.route.login).login
        session.check("account", expected=own, seen=login, ok=login == own)
        for outcome in outcomes or (_TAKEN,):
            check_outcome(session, outcome, self.expect)
