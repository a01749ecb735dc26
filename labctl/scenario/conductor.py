"""Who decides, between the steps of a scenario, what happens next."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from labctl.endpoints import Endpoints
from labctl.scenario.model import Step


class Move(StrEnum):
    """What happens next."""

    NEXT = "next"
    REPEAT = "repeat"
    BACK = "back"
    SKIP = "skip"
    QUIT = "quit"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands between two steps: `behind` of them lie behind it.

    `hindered` is why the next one will not be performed, or "".
    """

    steps: Sequence[Step]
    behind: int
    hindered: str
    endpoints: Endpoints

    @property
    def next(self) -> Step | None:
        """The step that comes next; None after the last."""
        return self.steps[self.behind] if self.behind < len(self.steps) else None

    @property
    def moves(self) -> frozenset[Move]:
        """What is possible here: nothing lies before the first step, nothing to skip after the
        last.
        """
        impossible = set() if self.behind else {Move.REPEAT, Move.BACK}
        return frozenset(Move) - impossible - (set() if self.next else {Move.SKIP})


class Conductor(Protocol):
    """Asked before each step, and after the last one."""

    def choose(self, standing: Standing) -> Move:
        """Return what happens next."""


class Straight:
    """Step after step to the end, as a run goes that nobody conducts."""

    def choose(self, standing: Standing) -> Move:  # noqa: ARG002  the protocol's signature
        """Go on."""
        return Move.NEXT


STRAIGHT = Straight()
