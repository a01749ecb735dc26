"""The verb `kick`."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from labctl.scenario.durations import UNTIL, Duration
from labctl.scenario.model import Name, Step
from labctl.scenario.session import Session


class Kick(Step):
    """Close an account's open IMAP and SMTP sessions, and check that those of this run end.

    Signing in anew is not prevented. Needs the lab's containers; skipped elsewhere.
    """

    verb: ClassVar[str] = "kick"

    account: Name = Field(description="whose sessions")
    within: Duration | None = Field(None, description=UNTIL)

    def accounts(self) -> Iterable[str]:
        """Return whose sessions are closed."""
        return (self.account,)

    def logs(self) -> Iterable[str]:
        """Return the servers that hold the sessions."""
        return ("postfix", "dovecot")

    def summary(self) -> str:
        """Say whose sessions are closed."""
        return f"every open session of {self.account}"

    def perform(self, session: Session) -> None:
        """Close them, and see each of them end."""
        containers, login = session.needed_containers(), session.account(self.account).login
        session.show_command(session.by_hand.labctl("user", "kick", self.account))
        imap, smtp = containers.kick(login)
        seen = f"{imap} of IMAP, {smtp} of SMTP closed"
        session.check("kick", expected="an open session", seen=seen, ok=imap + smtp > 0)
        ended = session.closed_by_server(self.account, self.within or session.wait_seconds)
        for label, closed in ended.items():
            state = "closed" if closed else "open"
            session.check(label, expected="closed by the server", seen=state, ok=closed)
