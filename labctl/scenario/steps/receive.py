"""The verb `receive`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from labctl.protocols.poll import poll
from labctl.scenario.model import Name, Step
from labctl.scenario.session import Session

if TYPE_CHECKING:
    from labctl.events import Event


class Receive(Step):
    """Wait until a message is in an account's mailbox: seen by IMAP, and (in a lab of our own)
    as a file below `Maildir/new` or `Maildir/cur`.
    """

    verb: ClassVar[str] = "receive"

    account: Name
    message: Name

    def accounts(self) -> Iterable[str]:
        """Return whose mailbox is looked into."""
        return (self.account,)

    def refers_to(self) -> str | None:
        """Return the message that must arrive."""
        return self.message

    def summary(self) -> str:
        """Say who finds what."""
        return f"{self.account} finds {self.message}"

    def perform(self, session: Session) -> None:
        """Look by IMAP until the deadline, then at the Maildir."""
        wanted = session.messages[self.message].message.message_id
        mailbox = session.mailbox(self.account)
        attempt: list[Event] = []

        def look() -> int | None:
            attempt.clear()  # of all the looks, the last one is worth telling
            return mailbox.find(wanted)

        mailbox.emit_to(attempt.append)
        try:
            uid = poll(
                look,
                what=f"{wanted} in the mailbox of {self.account}",
                seconds=session.wait_seconds,
            )
        finally:
            for event in attempt:
                session.emit(event)
        if session.containers is not None:
            self._check_files(session, session.containers.mail_files(self.account, wanted))
        session.check("imap", expected="the message", seen=f"UID {uid}", ok=True)

    @staticmethod
    def _check_files(session: Session, files: tuple[str, ...]) -> None:
        folders = sorted({file.partition("/")[0] for file in files})
        session.check(
            "maildir",
            expected="1 file below new or cur",
            seen=f"{len(files)} below {' and '.join(folders) or 'new or cur'}",
            ok=len(files) == 1,
        )
