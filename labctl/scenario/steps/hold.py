"""The verbs `hold` and `release`: mail that was accepted, and has not left the queue yet."""

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from pydantic import Field

from labctl.protocols.poll import poll
from labctl.scenario.durations import UNTIL, Duration
from labctl.scenario.model import Name, Step
from labctl.scenario.session import Session, Undo


class Hold(Step):
    """Keep back what an account has submitted and is still in the queue, and check that there is
    some. It stays there, undelivered, until `release`, at the end of the run at the latest.

    Needs the lab's containers; skipped elsewhere.
    """

    verb: ClassVar[str] = "hold"

    account: Name = Field(description="whose mail")
    within: Duration | None = Field(None, description=UNTIL)

    def accounts(self) -> Iterable[str]:
        """Return whose mail is kept back."""
        return (self.account,)

    def logs(self) -> Iterable[str]:
        """Return who has the queue."""
        return ("postfix",)

    def summary(self) -> str:
        """Say whose mail is kept back."""
        return f"what {self.account} has in the queue"

    def perform(self, session: Session) -> None:
        """Put it on hold; before, see to it that it is released."""
        containers, login = session.needed_containers(), session.account(self.account).login
        release = partial(_release, session, login)
        undo = Undo(session.number, self.verb, f"{self.account}'s mail goes on", release)
        session.undos.append(undo)
        session.show_command(session.by_hand.inside("postfix", "hold", "on", login))
        # A message that is on its way from queue to queue is not seen there, so once is not enough.
        held = poll(
            lambda: containers.hold(login, on=True) or None,
            what=f"a message of {self.account} in the queue",
            seconds=self.within or session.wait_seconds,
        )
        _check(session, "hold", held)


class Release(Step):
    """Let what is on hold of an account's go on, and check that there is some."""

    verb: ClassVar[str] = "release"

    account: Name = Field(description="whose mail")

    def accounts(self) -> Iterable[str]:
        """Return whose mail goes on."""
        return (self.account,)

    def logs(self) -> Iterable[str]:
        """Return who has the queue."""
        return ("postfix",)

    def summary(self) -> str:
        """Say whose mail goes on."""
        return f"what {self.account} has on hold"

    def perform(self, session: Session) -> None:
        """Take it off hold."""
        login = session.account(self.account).login
        _check(session, "release", _release(session, login))


def _release(session: Session, login: str) -> tuple[str, ...]:
    containers = session.needed_containers()
    session.show_command(session.by_hand.inside("postfix", "hold", "off", login))
    return containers.hold(login, on=False)


def _check(session: Session, what: str, ids: tuple[str, ...]) -> None:
    seen = f"{len(ids)} in the queue: {' '.join(ids)}" if ids else "none in the queue"
    session.check(what, expected="a message", seen=seen, ok=bool(ids))
