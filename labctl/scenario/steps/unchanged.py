"""The verb `unchanged`."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from labctl.endpoints import Endpoints
from labctl.scenario.model import Planned, Step
from labctl.scenario.session import Session, Skipped

_SHOWN = 16  # characters: enough of a digest to compare by eye


class Unchanged(Step):
    """Check that Postfix was neither restarted nor reloaded since the scenario began.

    Its master process, that process's start time, its queue manager (which a reload replaces) and
    its configuration must be what they were. Needs the lab's containers; skipped elsewhere.
    """

    verb: ClassVar[str] = "unchanged"

    def logs(self) -> Iterable[str]:
        """Return who was restarted or reloaded."""
        return ("postfix",)

    def summary(self) -> str:
        """Say what must be as it was."""
        return "Postfix: same process, same configuration, no reload"

    def prepare(self, session: Session) -> None:
        """Remember how it is before the first step."""
        if session.containers is not None and session.fingerprint is None:
            session.fingerprint = session.containers.fingerprint()

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        yield "expects", "what was there before the first step"

    def reads(self) -> bool:
        """Say yes: it compares."""
        return True

    def perform(self, session: Session) -> None:
        """Compare with how it was."""
        if session.containers is None or session.fingerprint is None:
            raise Skipped("needs the lab's own containers")
        session.show_command(session.by_hand.inside("postfix", "fingerprint"))
        now = session.containers.fingerprint()
        for name, before in session.fingerprint.items():
            seen = now.get(name, "none")
            session.check(name, expected=before[:_SHOWN], seen=seen[:_SHOWN], ok=seen == before)
