"""The verb `kick`."""

from collections.abc import Iterable
from typing import ClassVar

from labctl.scenario.model import Name, Step
from labctl.scenario.session import Session, Skipped


class Kick(Step):
    """Close an account's open IMAP and SMTP sessions, and check that those of this run are gone.

    Signing in anew is not prevented. Needs the lab's containers; skipped elsewhere.
    """

    verb: ClassVar[str] = "kick"

    account: Name

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
        if session.containers is None:
            raise Skipped("needs the lab's own containers")
        session.show_command(session.by_hand.labctl("user", "kick", self.account))
        imap, smtp = session.containers.kick(session.account(self.account).login)
        seen = f"{imap} of IMAP, {smtp} of SMTP closed"
        session.check("kick", expected="an open session", seen=seen, ok=imap + smtp > 0)
        for label, closed in session.closed_by_server(self.account).items():
            state = "closed" if closed else "open"
            session.check(label, expected="closed by the server", seen=state, ok=closed)
