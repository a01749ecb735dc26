"""The verb `note`."""

from collections.abc import Iterator
from textwrap import shorten
from typing import ClassVar

from pydantic import Field

from labctl.endpoints import Endpoints
from labctl.events import Note as Said
from labctl.scenario.model import Planned, Step
from labctl.scenario.session import Session

_HEADLINE = 38  # characters: what a step's line has room for


class Note(Step):
    """Say something to the room: it stands in the transcript, and between the steps on the screen.

    `- note: Look at the reply.` is short for `text`.
    """

    verb: ClassVar[str] = "note"
    short: ClassVar[str | None] = "text"

    text: str = Field(min_length=1, description="what is said, in Markdown")

    def summary(self) -> str:
        """Return how it begins."""
        return shorten(self.text, _HEADLINE, placeholder=" …")

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        yield "says", self.text.strip()

    def reads(self) -> bool:
        """Say yes: it only speaks."""
        return True

    def perform(self, session: Session) -> None:
        """Say it."""
        session.emit(Said(self.text.strip()))
