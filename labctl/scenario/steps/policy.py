"""The verbs that change an account's policy attributes, as the policy-admin, until the run ends.

`disable` takes away sending and nothing else; `offboard` ends the account's life cycle as well;
`enable` reinstates from both; `set` gives any value, for what no other verb says.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from labctl.protocols.directory import DISABLE, ENABLE, OFFBOARD, PolicyChange
from labctl.scenario.model import Name, Step
from labctl.scenario.session import Session

_ABSENT = "absent"


class _PolicyStep(Step):
    """What the four have in common: one account, and what becomes of its attributes."""

    account: Name

    @abstractmethod
    def change(self) -> PolicyChange:
        """Return what to set."""

    def accounts(self) -> Iterable[str]:
        """Return whose entry changes."""
        return (self.account,)

    def summary(self) -> str:
        """Say whose attributes become what."""
        values = (f"{name}={value or _ABSENT}" for name, value in self.change().items())
        return f"{self.account}: {', '.join(values)}"

    def perform(self, session: Session) -> None:
        """Change the entry; the first change of an account is what the end takes back."""
        session.change_policy(self.verb, self.account, self.change())


class Disable(_PolicyStep):
    """Forbid an account to send; its status stays as it is."""

    verb: ClassVar[str] = "disable"

    def change(self) -> PolicyChange:
        """Return the flag alone."""
        return DISABLE


class Enable(_PolicyStep):
    """Reinstate an account: it is active and may send."""

    verb: ClassVar[str] = "enable"

    def change(self) -> PolicyChange:
        """Return flag and status."""
        return ENABLE


class Offboard(_PolicyStep):
    """Offboard an account: its status says so, and it may not send."""

    verb: ClassVar[str] = "offboard"

    def change(self) -> PolicyChange:
        """Return flag and status."""
        return OFFBOARD


def _boolean(value: object) -> object:
    return {True: "TRUE", False: "FALSE"}[value] if isinstance(value, bool) else value


class Set(_PolicyStep):
    """Set policy attributes to any value; `absent` removes one."""

    verb: ClassVar[str] = "set"

    send_allowed: (
        Annotated[str, BeforeValidator(_boolean), Field(pattern="^(TRUE|FALSE|absent)$")] | None
    ) = None
    status: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _something(self) -> "Set":
        if self.send_allowed is None and self.status is None:
            raise ValueError("set needs send_allowed, status or both")
        return self

    def change(self) -> PolicyChange:
        """Return the attributes that are given."""
        given: PolicyChange = {"send_allowed": self.send_allowed, "status": self.status}
        return {
            name: None if value == _ABSENT else value
            for name, value in given.items()
            if value is not None
        }
