"""The verb `sendmail`."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from labctl.endpoints import Endpoints
from labctl.scenario.messages import Draft, compose, message_id
from labctl.scenario.model import Line, Name, Planned, Step
from labctl.scenario.names import account_of
from labctl.scenario.session import Session

_REFUSED = "is not allowed to submit mail"  # postdrop(1), sendmail(1)
_SHOWN = 72  # characters of what it printed

_OPTIONS = ("-t", "-i", "-oi", "-F", "-N", "-R", "-V")
_WORD = r"[^\r\n-][^\r\n]*"


def _word(value: str) -> str:
    if value.startswith("-") and value not in _OPTIONS:
        allowed = ", ".join(_OPTIONS)
        raise ValueError(f"only {allowed}: other options start servers and read files")
    return value


def _recipient(value: str) -> str:
    if not value or value.startswith("-"):
        raise ValueError("a recipient is an account or an address")
    return value


def _shape(pattern: str) -> Any:
    return Field(title="line", json_schema_extra={"pattern": f"^({pattern})$"})


Recipient = Annotated[Line, AfterValidator(_recipient), _shape(_WORD)]
Option = Annotated[Line, AfterValidator(_word), _shape("|".join((*_OPTIONS, _WORD)))]


class Sendmail(Step):
    """Submit a message with `sendmail(1)` inside Postfix's container, as a program there would.

    Needs the lab's containers; skipped elsewhere.
    """

    verb: ClassVar[str] = "sendmail"

    user: Name = Field("root", description="one of the system's users")
    sender: Line | None = Field(
        None, alias="from", description='the sender in the envelope, `""` for the null sender'
    )
    to: Recipient = Field(description="the recipient")
    options: tuple[Option, ...] = Field(
        (), description="`-t`, `-i`, `-oi`; `-F`, `-N`, `-R`, `-V` and their values; no others"
    )
    expect: Literal["accepted", "refused"] = Field("refused", description="whether it may")

    def accounts(self) -> Iterable[str]:
        """Return whose addresses are used."""
        named = (account_of(name) for name in (self.sender or "", self.to))
        return [name for name in named if name is not None]

    def logs(self) -> Iterable[str]:
        """Return who takes it, or does not."""
        return ("postfix",)

    def summary(self) -> str:
        """Say who submits as whom."""
        given = () if self.sender is None else (f"-f {self.sender or '<>'}",)
        return " ".join((f"{self.user}: sendmail", *self.options, *given, self.to))

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        yield "expects", self.expect

    def perform(self, session: Session) -> None:
        """Submit, and hold the exit status against what was expected."""
        containers = session.needed_containers()
        recipient = session.address(self.to)
        arguments = [*self.options]
        if self.sender is not None:
            arguments += ["-f", session.address(self.sender)]
        draft = Draft(recipient, (recipient,), "From a program", "Submitted by sendmail.\n")
        message = compose(message_id(f"step-{session.number}", session.identity), draft)
        arguments += [recipient]
        session.show_command(session.by_hand.sendmail(self.user, arguments, message))
        status, text = containers.sendmail(self.user, arguments, message.content.decode())
        seen = text.strip()[:_SHOWN] or "nothing said"
        refused = status != 0 and _REFUSED in text
        met = refused if self.expect == "refused" else status == 0
        session.check("sendmail", expected=self.expect, seen=f"{seen} ({status})", ok=met)
