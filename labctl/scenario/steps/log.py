"""The verb `log`."""

from collections.abc import Iterable, Iterator
from textwrap import shorten
from typing import ClassVar

from pydantic import Field

from labctl.endpoints import Endpoints
from labctl.errors import DeadlinePassed
from labctl.events import Wire
from labctl.protocols.poll import poll
from labctl.scenario.durations import UNTIL, Duration
from labctl.scenario.messages import Trace
from labctl.scenario.model import Name, Pattern, Planned, Step
from labctl.scenario.patterns import found
from labctl.scenario.session import Containers, Session

_SERVERS = ("postfix", "dovecot")  # whose lines name messages
_EARLIER = 60.0  # seconds: as much may the clocks of this host and of the engine differ
_PAUSE = 0.05
_SHOWN = 72  # characters of what matches: the transcript has the whole line


class Log(Step):
    """Find a line that a message of this run caused in the logs of Postfix and Dovecot.

    Its lines are those with its Message-ID or its queue id; the line of a refusal, which may have
    neither, is known by the EHLO name of the message's own session and by its sender. Needs the
    lab's containers; skipped elsewhere.
    """

    verb: ClassVar[str] = "log"

    message: Name = Field(description="the name of the message")
    matches: Pattern = Field(min_length=1, description="what one of its lines must match")
    within: Duration | None = Field(None, description=UNTIL)

    def refers_to(self) -> str | None:
        """Return the message whose lines are read."""
        return self.message

    def logs(self) -> Iterable[str]:
        """Return the servers whose logs are read."""
        return _SERVERS

    def summary(self) -> str:
        """Say which line is looked for."""
        return f"{self.message}: /{self.matches}/"

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        yield "expects", f"a line that matches /{self.matches}/"

    def reads(self) -> bool:
        """Say yes: it looks into the log."""
        return True

    def perform(self, session: Session) -> None:
        """Read the message's lines until one matches, or until the deadline."""
        containers, trace = session.needed_containers(), session.trace(self.message)
        session.show_command(session.by_hand.labctl("logs", *_SERVERS))
        lines: list[tuple[str, str]] = []

        def look() -> str | None:
            lines[:] = _lines(containers, trace)
            matches = (found(self.matches, line) for _, line in lines)
            return next((_short(match) for match in matches if match is not None), None)

        try:
            seconds = self.within or session.wait_seconds
            seen = poll(look, what="the line", seconds=seconds, pause=_PAUSE)
            ok = True
        except DeadlinePassed:
            seen, ok = f"{len(lines)} lines of {self.message}, none that matches", False
        for server, line in lines:
            session.emit(Wire(f"{server} log", "===", line, trace.at))
        session.check("log", expected=f"/{self.matches}/", seen=seen, ok=ok)


def _short(text: str) -> str:
    return shorten(text, _SHOWN, placeholder=" …")


def _lines(containers: Containers, trace: Trace) -> list[tuple[str, str]]:
    """Return the lines that a message caused, with the server that wrote them."""
    return [
        (server, line)
        for server in _SERVERS
        for line in trace.own(containers.log_lines(server, trace.at - _EARLIER))
    ]
