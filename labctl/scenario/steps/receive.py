"""The verb `receive`."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, StrictBool

from labctl.endpoints import Endpoints
from labctl.errors import DeadlinePassed
from labctl.events import Check
from labctl.protocols.poll import poll
from labctl.scenario.durations import UNTIL, Duration, shown
from labctl.scenario.model import Name, Planned, Step
from labctl.scenario.session import Session

if TYPE_CHECKING:
    from labctl.events import Event

_PAUSE = 0.005  # seconds, growing to eight times as long


class Receive(Step):
    """Wait until a message is in an account's mailbox: seen by IMAP, and (in a lab of our own) as
    one file below `Maildir/new` or `Maildir/cur`.
    """

    verb: ClassVar[str] = "receive"

    account: Name = Field(description="whose mailbox is looked into")
    message: Name = Field(description="the name of the message that must arrive")
    within: Duration | None = Field(None, description=UNTIL)
    duplicates: StrictBool = Field(
        default=False,
        description="several copies will do: a server that is killed answers for no delivery",
    )

    def accounts(self) -> Iterable[str]:
        """Return whose mailbox is looked into."""
        return (self.account,)

    def refers_to(self) -> str | None:
        """Return the message that must arrive."""
        return self.message

    def logs(self) -> Iterable[str]:
        """Return who delivers."""
        return ("postfix", "dovecot")

    def further(self, session: Session) -> str:
        """Return what shows where the message went, or from afar, what else arrived."""
        if session.containers is None:
            return session.by_hand.labctl("inbox", self.account)
        return super().further(session)

    def summary(self) -> str:
        """Say who finds what."""
        return f"{self.account} finds {self.message}"

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        yield "expects", "the message by IMAP, and one file below new or cur"

    def reads(self) -> bool:
        """Say yes: it looks into a mailbox."""
        return True

    def perform(self, session: Session) -> None:
        """Look by IMAP until the deadline, then at the Maildir."""
        wanted = session.messages[self.message].message.message_id
        self._show_commands(session, wanted)
        mailbox = session.mailbox(self.account)
        attempt: list[Event] = []
        seconds = self.within or session.wait_seconds

        def look() -> int | None:
            attempt.clear()  # of all the looks, the last one is worth telling
            return mailbox.find(wanted)

        mailbox.emit_to(attempt.append)
        try:
            what = f"{wanted} in the mailbox of {self.account}"
            uid = poll(look, what=what, seconds=seconds, pause=_PAUSE)
        except DeadlinePassed:
            waited = f"none within {shown(seconds)}"
            attempt.append(Check("imap", "the message", waited, ok=False))
            raise
        finally:
            for event in attempt:
                session.emit(event)
        if session.containers is not None:
            self._check_files(session, session.containers.mail_files(self.account, wanted))
        session.check("imap", expected="the message", seen=f"UID {uid}", ok=True)

    def _show_commands(self, session: Session, wanted: str) -> None:
        hands, account = session.by_hand, session.account(self.account)
        session.show_command(hands.find(session.imap_service, account, wanted))
        if session.containers is not None:
            files = hands.inside("dovecot", "maildirs", "find", self.account, wanted)
            session.show_command(files)

    def _check_files(self, session: Session, files: tuple[str, ...]) -> None:
        folders = sorted({file.partition("/")[0] for file in files})
        session.check(
            "maildir",
            expected=f"1 file{' or more' if self.duplicates else ''} below new or cur",
            seen=f"{len(files)} below {' and '.join(folders) or 'new or cur'}",
            ok=len(files) == 1 or (self.duplicates and bool(files)),
        )
