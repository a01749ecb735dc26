"""What waits in Postfix's queue: whose, since when, and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labctl.errors import LabNotReady

if TYPE_CHECKING:
    from labctl.lab.containers import LabContainers

_SECONDS = "5"


@dataclass(frozen=True, slots=True)
class Recipient:
    """To whom, and why it has not arrived yet; the reason is empty where it was not tried."""

    address: str
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the queue (`queue` is `active`, `deferred`, `incoming` or `hold`); since when,
    and its size in bytes. The sender is empty for a bounce.
    """

    queue_id: str
    queue: str
    since: datetime
    size: int
    sender: str
    recipients: tuple[Recipient, ...]

    @property
    def why(self) -> str:
        """Why it waits, each reason once."""
        reasons = list(dict.fromkeys(each.why for each in self.recipients if each.why))
        if self.queue == "hold":
            reasons.insert(0, "on hold")
        return "; ".join(reasons) or "not tried yet"


def waiting(containers: "LabContainers") -> list[Waiting]:
    """Return what waits, the oldest first; raises LabNotReady when Postfix does not say."""
    lines = _postqueue(containers, "-j").splitlines()
    return sorted(map(_waiting, map(json.loads, lines)), key=lambda each: each.since)


def flush(containers: "LabContainers") -> None:
    """Let Postfix try all that is deferred, now."""
    _postqueue(containers, "-f")


def release(containers: "LabContainers") -> None:
    """Take all mail off hold."""
    containers.execute("postfix", ["postsuper", "-H", "ALL"])


def _postqueue(containers: "LabContainers", option: str) -> str:
    """Ask Postfix about its queue; one that hangs would let it wait for ever."""
    try:
        return containers.execute("postfix", ["timeout", _SECONDS, "postqueue", option])
    except LabNotReady as error:
        raise LabNotReady(
            f"Postfix does not tell about its queue ({error.what})",
            f"`docker restart {containers.container_name('postfix')}` starts it anew.",
        ) from error


def _waiting(row: Mapping[str, Any]) -> Waiting:
    """Read a row of `postqueue -j`, see postqueue(1)."""
    return Waiting(
        row["queue_id"],
        row["queue_name"],
        datetime.fromtimestamp(row["arrival_time"], UTC),
        row["message_size"],
        row["sender"] if row["sender"] != "MAILER-DAEMON" else "",
        tuple(Recipient(r["address"], r.get("delay_reason", "")) for r in row["recipients"]),
    )
