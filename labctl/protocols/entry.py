"""What an entry of the directory says, its policy attributes above all, and how they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from labctl.endpoints import Attributes, Kind
from labctl.protocols.ldif import Modification, Modify

Via = Literal["ldaps", "starttls", "clear"]
"""The way to the directory."""
Values = Mapping[str, Sequence[str | bytes]]
"""The values of attributes by their names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as read: its DN and its values by attribute name."""

    dn: str
    values: Mapping[str, tuple[str, ...]]

    def all(self, attribute: str) -> tuple[str, ...]:
        """Return the attribute's values; names are compared without case (RFC 4512 §2.5)."""
        wanted = attribute.lower()
        found = (values for name, values in self.values.items() if name.lower() == wanted)
        return next(found, ())

    def first(self, attribute: str) -> str | None:
        """Return the attribute's first value, or None where it is absent."""
        values = self.all(attribute)
        return values[0] if values else None


@dataclass(frozen=True, slots=True)
class Policy:
    """The two policy attributes of an account; None where one is absent."""

    send_allowed: str | None
    status: str | None

    @property
    def may_send(self) -> bool:
        """Say what the directory contract makes of them: absent permits, any status other than
        `active` forbids.
        """
        return self.send_allowed != "FALSE" and (self.status or "active").lower() == "active"


PolicyChange = Mapping[Kind, str | None]
"""What to set, in the contract's words; None removes an attribute, and what is not named stays."""

DISABLE: PolicyChange = {"send_allowed": "FALSE"}
ENABLE: PolicyChange = {"send_allowed": "TRUE", "status": "active"}
OFFBOARD: PolicyChange = {"send_allowed": "FALSE", "status": "offboarded"}


def policy_record(dn: str, attributes: Attributes, change: PolicyChange) -> Modify:
    """Return a change of the policy in the words of a directory, as far as it has such."""
    changes = (
        Modification("replace", name, () if value is None else (attributes.there(value).encode(),))
        for kind, value in change.items()
        if (name := attributes.name(kind))
    )
    return Modify(dn, tuple(changes))
