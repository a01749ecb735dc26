"""The verb `lag`."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from labctl.errors import DeadlinePassed
from labctl.protocols.poll import poll
from labctl.scenario.durations import UNTIL, Duration, shown
from labctl.scenario.model import Step
from labctl.scenario.session import Session
from labctl.scenario.shapes import has


class Lag(Step):
    """Check how far a replica of the directory is behind it, known within a second: above a time,
    or below one. While the directory is away, that is how old the replica's newest change is.

    Needs the lab's containers; skipped elsewhere, and where the directory has no replicas.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [has("above"), has("below")]})

    verb: ClassVar[str] = "lag"

    replica: Literal["replica1", "replica2"] = Field(description="the replica")
    above: Duration = Field(default_factory=float, description="more than this; this or `below`")
    below: Duration = Field(default_factory=float, description="less than this")
    within: Duration | None = Field(None, description=UNTIL)

    @model_validator(mode="after")
    def _one_side(self) -> "Lag":
        if bool(self.above) == bool(self.below):
            raise ValueError("lag needs above or below, one of them")
        return self

    def logs(self) -> Iterable[str]:
        """Return the replica."""
        return (self.replica,)

    def summary(self) -> str:
        """Say how far."""
        return f"{self.replica}: {self._wanted}"

    @property
    def _wanted(self) -> str:
        return f"above {shown(self.above)}" if self.above else f"below {shown(self.below)}"

    def reads(self) -> bool:
        """Say yes: it asks the directories."""
        return True

    def perform(self, session: Session) -> None:
        """Look until it is so, or until the deadline."""
        containers = session.needed_replicas()
        session.show_command(session.by_hand.labctl("status"))
        seen: list[float | None] = [None]

        def look() -> bool | None:
            seen[0] = containers.lag(self.replica)
            return self._is_met(seen[0]) or None

        try:
            ok = poll(look, what="the lag", seconds=self.within or session.wait_seconds)
        except DeadlinePassed:
            ok = False
        told = "no answer" if seen[0] is None else f"{seen[0]:.1f} s"
        session.check("lag", expected=self._wanted, seen=told, ok=ok)

    def _is_met(self, seconds: float | None) -> bool:
        if seconds is None:
            return False
        return seconds > self.above if self.above else seconds < self.below
