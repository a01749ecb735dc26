"""How far the read-only copies of a lab's directory are behind it.

The provider changes something once a second, and each directory says when the newest change was
made that it has (its contextCSN, RFC 4533 §1.3). So the lag, the difference of the two, is known
within a second; and without the provider it is known how old a copy is.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from labctl.errors import LabNotReady
from labctl.protocols.poll import poll

PROVIDER: Final = "openldap"
REPLICAS: Final = ("replica1", "replica2")
Ask = Callable[[str, Sequence[str]], str]
"""Runs a command in a service's container; raises LabNotReady where that fails."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a copy is behind the provider (None: either does not answer), and how old the newest
    change is that it has (None: it does not answer); both in seconds.
    """

    service: str
    seconds: float | None
    age: float | None

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:.1f} s"
        return "unknown" if self.age is None else f"unknown, as of {self.age:.1f} s ago"


def newest(ask: Ask, service: str) -> float:
    """Return when the newest change was made that a directory has, in seconds since the epoch.

    Raises LabNotReady where it does not answer, or is a copy that is not whole yet.
    """
    return float(ask(service, ["newest-change"]))


def is_whole(ask: Ask, replica: str, since: float) -> bool | None:
    """Say whether a copy has all that the provider had when its newest change was made `since`, and
    hides nothing from Postfix; None as long as it has not. Raises LabNotReady as long as it hides.
    """
    if newest(ask, replica) < since:
        return None
    ask(replica, ["hide-policy", "is-off"])
    return True


def await_copies(
    ask: Ask, runs: Callable[[str], bool], replicas: Sequence[str], seconds: float
) -> None:
    """Wait until the copies that run have all that the provider has now; one that does not run
    gives nobody a stale answer either. One that only does not answer may give it a moment later.

    Raises LabNotReady where the provider does not answer, DeadlinePassed where a copy stays behind.
    """

    def follows(replica: str) -> bool | None:
        had = _if_known(ask, replica)
        return (not runs(replica) if had is None else had >= since) or None

    since = newest(ask, PROVIDER)
    end = time.monotonic() + seconds
    for replica in replicas:
        poll(
            partial(follows, replica),
            what=f"{replica} to follow",
            seconds=max(end - time.monotonic(), 0.0),
            pause=_PAUSE,
        )


def lags(ask: Ask, replicas: Sequence[str]) -> list[Lag]:
    """Ask the provider, and then the copies: one that has all that the provider had by then is not
    behind.
    """
    if not replicas:
        return []
    since = _if_known(ask, PROVIDER)
    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(pool.map(lambda service: _lag(ask, service, since), replicas))


_PAUSE: Final = 0.005  # seconds


def _if_known(ask: Ask, service: str) -> float | None:
    try:
        return newest(ask, service)
    except LabNotReady:
        return None


def _lag(ask: Ask, service: str, since: float | None) -> Lag:
    had = _if_known(ask, service)
    if had is None:
        return Lag(service, None, None)
    behind = None if since is None else max(since - had, 0.0)
    return Lag(service, behind, max(time.time() - had, 0.0))
