"""The verb `pause`."""

from typing import ClassVar

from pydantic import Field

from labctl.scenario.durations import Duration, shown
from labctl.scenario.model import Step
from labctl.scenario.session import Session


class Pause(Step):
    """Wait until the presenter presses Enter, or for a time at most: `- pause: 3s`.

    Where nobody presents, at no terminal, it does not wait at all, so nothing can come to depend
    on it: for what servers take their time with, there is `within`.
    """

    verb: ClassVar[str] = "pause"
    short: ClassVar[str | None] = "for"

    seconds: Duration | None = Field(
        None, alias="for", description="how long at most; without it until Enter is pressed"
    )

    def summary(self) -> str:
        """Say what ends it."""
        return "until Enter" if self.seconds is None else f"{shown(self.seconds)}, or until Enter"

    def perform(self, session: Session) -> None:
        """Wait, if anybody presents."""
        if session.presenter is not None:
            session.presenter.wait(self.seconds)
