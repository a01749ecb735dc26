"""The verb `queue`."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import ConfigDict, Field, model_validator

from labctl.errors import DeadlinePassed, ExpectationFailed
from labctl.protocols.poll import poll
from labctl.scenario.durations import UNTIL, Duration
from labctl.scenario.model import Name, Step
from labctl.scenario.session import Session
from labctl.scenario.shapes import at_most_one, has


class Queue(Step):
    """Look into Postfix's queue: it is empty, or it holds a message of this run, or lacks it.

    Needs the lab's containers; skipped elsewhere.
    """

    model_config = ConfigDict(
        json_schema_extra=at_most_one(has("holds", type="string"), has("lacks", type="string"))
    )

    verb: ClassVar[str] = "queue"

    holds: Name | None = Field(None, description="the message that must be in it")
    lacks: Name | None = Field(
        None, description="the message that must not be in it; without either it must be empty"
    )
    within: Duration | None = Field(None, description=UNTIL)

    @model_validator(mode="after")
    def _one_thing(self) -> "Queue":
        if self.holds is not None and self.lacks is not None:
            raise ValueError("a step looks for one message: holds or lacks")
        return self

    def refers_to(self) -> str | None:
        """Return the message that is looked for."""
        return self.holds or self.lacks

    def logs(self) -> Iterable[str]:
        """Return who has the queue."""
        return ("postfix",)

    def summary(self) -> str:
        """Say what must be so."""
        wanted = f"holds {self.holds}" if self.holds else f"lacks {self.lacks}"
        return wanted if self.refers_to() else "is empty"

    def reads(self) -> bool:
        """Say yes: it looks into the queue."""
        return True

    def perform(self, session: Session) -> None:
        """Look until it is so, or until the deadline."""
        containers, queue_id = session.needed_containers(), self._queue_id(session)
        session.show_command(session.by_hand.inside("postfix", "postqueue", "-j"))
        seen: list[str] = []

        def look() -> bool | None:
            found = containers.queue()
            there = found if queue_id is None else {k: v for k, v in found.items() if k == queue_id}
            seen[:] = [f"{identity} {where}" for identity, where in there.items()]
            return True if bool(seen) == bool(self.holds) else None

        try:
            ok = poll(look, what="the queue", seconds=self.within or session.wait_seconds)
        except DeadlinePassed:
            ok = False
        session.check("queue", expected=self.summary(), seen=", ".join(seen) or "nothing", ok=ok)

    def _queue_id(self, session: Session) -> str | None:
        """Return the queue id of the message that is looked for, None if it is none."""
        name = self.refers_to()
        if name is None:
            return None
        if queue_id := session.trace(name).queue_id:
            return queue_id
        raise ExpectationFailed(f"{name} was never in the queue: Postfix did not take it")
