"""The look at the replicas of the directory, where there are any."""

from typing import TYPE_CHECKING, Final

from labctl.lab.doctor.finding import Finding, well, wrong
from labctl.lab.replicas import Lag

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

_LATE: Final = 3.0  # seconds; the directory changes something once a second


def in_step(lab: "Lab") -> Finding:
    """See that no replica answers Postfix as of long ago."""
    lags = lab.containers.lags()
    late = [lag for lag in lags if not _follows(lag)]
    if late:
        said = "; ".join(f"{lag.service} is behind: {lag}" for lag in late)
        names = " ".join(lab.containers.container_name(lag.service) for lag in late)
        return wrong(f"{said}; Postfix gets answers as of then", f"docker restart {names}")
    return well(", ".join(f"{lag.service} {lag} behind" for lag in lags))


def _follows(lag: Lag) -> bool:
    return lag.seconds is not None and lag.seconds <= _LATE
