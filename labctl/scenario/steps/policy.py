"""The verbs that change an account's policy attributes, as the policy-admin, until the run ends.

`disable` takes away sending and nothing else; `offboard` ends the account's life cycle as well;
`enable` reinstates from both; `set` gives any value, for what no other verb says.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from labctl.endpoints import Endpoints
from labctl.protocols.entry import DISABLE, ENABLE, OFFBOARD, PolicyChange, policy_record
from labctl.scenario.durations import Duration, shown
from labctl.scenario.effect import seen_within
from labctl.scenario.entries import planned_dn
from labctl.scenario.model import Name, Planned, Step, Touch
from labctl.scenario.session import Session, Skipped
from labctl.scenario.shapes import has

_ABSENT = "absent"


class _PolicyStep(Step):
    """What the four have in common: one account, and what becomes of its attributes."""

    account: Name = Field(description="whose attributes")
    effect_within: Duration | None = Field(
        None, description="how soon the account's transactions show it, see [Effects](#effects)"
    )

    @abstractmethod
    def change(self) -> PolicyChange:
        """Return what to set."""

    def accounts(self) -> Iterable[str]:
        """Return whose entry changes."""
        return (self.account,)

    def touches(self, endpoints: Endpoints) -> Iterable[Touch]:
        """Return the attributes of the account that change, as far as the stack has them."""
        names = (endpoints.attributes.name(kind) for kind in self.change())
        return [Touch(self.account, name) for name in names if name]

    def summary(self) -> str:
        """Say whose attributes become what."""
        values = (f"{name}={value or _ABSENT}" for name, value in self.change().items())
        return f"{self.account}: {', '.join(values)}"

    def plan(self, endpoints: Endpoints) -> Iterator[Planned]:
        """Tell the LDIF."""
        from labctl.protocols.directory import written

        dn = planned_dn(endpoints, self.account)
        record = policy_record(dn, endpoints.attributes, self.change())
        if not record.modifications:
            raise Skipped(f"the stack has no attribute for {' and '.join(self.change())}")
        yield "ldif", written(record)
        if self.effect_within is not None:
            yield "expects", f"an effect within {shown(self.effect_within)}"

    def perform(self, session: Session) -> None:
        """Change the entry; the first change of an account is what the end takes back."""
        with seen_within(session, self.account, self.effect_within) as seen:
            seen(session.change_policy(self.verb, self.account, self.change()))


class Disable(_PolicyStep):
    """Forbid an account to send: `tnMailSendAllowed: FALSE`; its status stays as it is."""

    verb: ClassVar[str] = "disable"

    def change(self) -> PolicyChange:
        """Return the flag alone."""
        return DISABLE


class Enable(_PolicyStep):
    """Reinstate an account: `tnAccountStatus: active` and `tnMailSendAllowed: TRUE`."""

    verb: ClassVar[str] = "enable"

    def change(self) -> PolicyChange:
        """Return flag and status."""
        return ENABLE


class Offboard(_PolicyStep):
    """Offboard an account: `tnAccountStatus: offboarded` and `tnMailSendAllowed: FALSE`."""

    verb: ClassVar[str] = "offboard"

    def change(self) -> PolicyChange:
        """Return flag and status."""
        return OFFBOARD


def _boolean(value: object) -> object:
    return {True: "TRUE", False: "FALSE"}[value] if isinstance(value, bool) else value


Flag = Annotated[
    Literal["TRUE", "FALSE", "absent"],
    BeforeValidator(_boolean, json_schema_input_type=bool | Literal["TRUE", "FALSE", "absent"]),
]


class Set(_PolicyStep):
    """Set policy attributes to any value; `absent` removes one. At least one is given."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [has("send_allowed", type=["boolean", "string"]), has("status", type="string")]
        }
    )

    verb: ClassVar[str] = "set"

    send_allowed: Flag | None = Field(None, description="`tnMailSendAllowed`")
    status: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="`tnAccountStatus`: any value"
    )

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

    def plan(self, endpoints: Endpoints) -> Iterator[Planned]:
        """Tell the LDIF; half of what is given would be another step, so it is not done."""
        self._require_all(endpoints)
        yield from super().plan(endpoints)

    def perform(self, session: Session) -> None:
        """Change the entry, or nothing."""
        self._require_all(session.endpoints)
        super().perform(session)

    def _require_all(self, endpoints: Endpoints) -> None:
        lacking = [kind for kind in self.change() if not endpoints.attributes.name(kind)]
        if lacking:
            raise Skipped(f"the stack has no attribute for {' and '.join(lacking)}")
