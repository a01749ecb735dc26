"""What the containers of a lab use, as the engine reads it from their control groups."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.lab.images import SERVICES
from labctl.lab.lab import Lab


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one container: processor time since its start (seconds), memory without what is only
    cached from files (MB).
    """

    processor: float
    memory: float


def usage(lab: Lab, services: Sequence[str] = SERVICES) -> dict[str, Usage]:
    """Return what each of these services of a lab uses."""
    api = lab.engine.client.api

    def of(service: str) -> Usage:
        name = lab.containers.container_name(service)
        return _usage(api.stats(name, stream=False, one_shot=True))

    with ThreadPoolExecutor(len(services)) as pool:
        return dict(zip(services, pool.map(of, services), strict=True))


def processor(lab: Lab, services: Sequence[str] = SERVICES) -> float:
    """Return the processor time of these services together, in seconds."""
    return sum(each.processor for each in usage(lab, services).values())


def available(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Return how much memory this host has for programs that start now, in MB, or None where its
    kernel does not tell.
    """
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    told = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(kilobytes) * 1024 / 1e6 for kilobytes in told), None)


def _usage(stats: Mapping[str, Any]) -> Usage:
    memory = stats["memory_stats"]
    # As `docker stats` counts: the first name is that of cgroup v1, the second of v2.
    cached = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
    return Usage(
        stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, (memory["usage"] - cached) / 1e6
    )
