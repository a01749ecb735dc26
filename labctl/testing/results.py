"""What came of a message that was submitted, and of a scenario that was run."""

from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from labctl.events import Event, RunEnded, StepEnded, Verdict

if TYPE_CHECKING:
    from labctl.protocols.smtp import Outcome, Reply, Stage


@dataclass(frozen=True, slots=True)
class Submission:
    """A message that was submitted: what decided, and its Message-ID.

    As text it is reply and stage, such as `554 5.7.1 at RCPT`.
    """

    outcome: "Outcome"
    message_id: str

    @property
    def accepted(self) -> bool:
        """Say whether the server took the message."""
        return self.outcome.accepted

    @property
    def stage(self) -> "Stage":
        """Where in the transaction the reply came that decided: AUTH, MAIL, RCPT, DATA, EOM."""
        return self.outcome.stage

    @property
    def reply(self) -> "Reply":
        """The reply that decided: `code`, `enhanced`, `text`."""
        return self.outcome.reply

    def __str__(self) -> str:
        return str(self.outcome)


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that was run: its transcript, and what that comes to.

    As text it is the steps, one a line; beneath one that did not pass what was expected, what was
    seen, and the wire.
    """

    events: tuple[Event, ...]

    @property
    def ended(self) -> RunEnded:
        """How the run ended, in numbers."""
        return next(event for event in self.events if isinstance(event, RunEnded))

    @property
    def passed(self) -> bool:
        """Say whether something was checked, and all expectations were met."""
        return self.ended.verdict is Verdict.PASSED

    @property
    def skipped(self) -> str:
        """Why no step was performed, or nothing if one was."""
        steps = [event for event in self.events if isinstance(event, StepEnded)]
        performed = any(step.verdict is not Verdict.SKIPPED for step in steps)
        return "" if performed else steps[0].reason

    @property
    def text(self) -> str:
        """The run as lines for people, without colour."""
        from labctl.report.terminal import Terminal

        lines = StringIO()
        with Terminal(lines, colour=False) as tell:
            for event in self.events:
                tell(event)
        return lines.getvalue().rstrip()

    def __str__(self) -> str:
        return self.text
