"""The policy rehearsed: Postfix warns of whom it would refuse, and what its log says of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labctl.lab.maillog import Line, transactions
from labctl.protocols.smtp import Outcome

if TYPE_CHECKING:
    from labctl.lab.containers import LabContainers

SERVICE = "postfix"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Mail that was taken and would have been refused: whose, from and to whom, by which service,
    what he would have been told, how many times, and when last (RFC 3339, UTC).

    The recipient is None where a refusal would have been for all of several; either address is
    where the log does not tell.
    """

    account: str
    sender: str | None
    recipient: str | None
    service: str
    outcome: Outcome
    count: int
    last: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The last time that the policy was rehearsed; `until` is empty while it goes on, both are
    where it never was. Newest mail comes last.
    """

    since: str = ""
    until: str = ""
    blocked: tuple[Blocked, ...] = ()


def switch(containers: "LabContainers", *, on: bool) -> bool:
    """Rehearse the policy, or enforce it; says whether Postfix was reloaded for it, and the open
    sessions closed, or it was so already.
    """
    return "reloaded" in containers.execute(SERVICE, ["shadow", "on" if on else "off"])


def is_on(containers: "LabContainers") -> bool:
    """Say whether anything in Postfix's configuration warns instead of refusing."""
    return containers.execute(SERVICE, ["shadow", "state"]).strip() == "on"


def rehearsal(log: Iterable[Line]) -> Rehearsal:
    """Return whom the policy would have blocked when it was rehearsed last."""
    last, lines = Rehearsal(), list[Line]()
    for line in log:
        if (line.program, line.message) == ("shadow", "on"):
            last, lines = Rehearsal(since=line.at), []
        elif last.since and not last.until:
            lines.append(line)
            if _ends(line):
                last = replace(last, until=line.at)
    return replace(last, blocked=tuple(_counted(lines)))


def _ends(line: Line) -> bool:
    """Say whether from here on the policy is enforced, as it is after a start."""
    if line.program == "master":
        return line.message.startswith(("terminating", "daemon started"))
    return (line.program, line.message) == ("shadow", "off")


def _counted(lines: Iterable[Line]) -> Iterable[Blocked]:
    found: dict[Blocked, Blocked] = {}
    for transaction in transactions(lines):
        for refusal in transaction.refusals() if transaction.taken else ():
            key = Blocked(
                transaction.login,
                refusal.sender,
                refusal.recipient,
                refusal.service,
                refusal.outcome,
                count=0,
                last="",
            )
            known = found.pop(key, key)  # and to the end
            found[key] = replace(known, count=known.count + 1, last=refusal.at)
    return found.values()
