"""What is kept of a measurement: `.lab/bench/<id>.json`, which can be read again and compared."""

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from labctl.bench.figure import Chart, Figure
from labctl.endpoints import SCHEMA
from labctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement, taken: `began` in seconds since the epoch, `seconds` is what it took. One
    that is not complete has what was found before the measurement was cut short.
    """

    bench: str
    began: float
    seconds: float
    size: Mapping[str, int]
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    figures: tuple[Figure, ...]
    charts: tuple[Chart, ...] = ()
    complete: bool = True

    @property
    def id(self) -> str:
        """When it was taken (UTC), and which it is."""
        return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(self.began))}-{self.bench}"

    @property
    def missed(self) -> tuple[Figure, ...]:
        """The figures whose limits do not hold."""
        return tuple(figure for figure in self.figures if figure.holds is False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the documented interface."""
        figures = [
            {**_rounded(asdict(each)), "ratio": _round(each.ratio), "holds": each.holds}
            for each in self.figures
        ]
        return {"schema": SCHEMA, "id": self.id, **asdict(self), "figures": figures}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the result that `to_dict` made `data` from; raises ValueError if it is none."""
        if data.get("schema") != SCHEMA or "bench" not in data:
            raise ValueError(f"it is no result of `labctl bench` ({SCHEMA})")
        try:
            own = {name: data[name] for name in _names(cls) if name != "complete"}
            own["complete"] = data.get("complete", True) is True  # those of old do not say it
            own["figures"] = tuple(_made(Figure, each) for each in data["figures"])
            own["charts"] = tuple(_chart(each) for each in data["charts"])
            return cls(**own)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is not whole: {error}") from error


def write(result: Result, directory: Path) -> Path:
    """Keep a result below a directory, and return where."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.id}{'' if result.complete else '.incomplete'}.json"
    path.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Result:
    """Read a result; raises UsageError if the file is none."""
    try:
        return Result.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{path} cannot be used: {error}", "Name files that `labctl bench` wrote."
        ) from error


def machine() -> dict[str, str]:
    """Return what this host is, as far as it matters to a measurement."""
    system = os.uname()
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "system": f"{_pretty_name()}, {system.sysname} {system.release} {system.machine}",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.1f} GB",
        "load before": load,
    }


def _pretty_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return "unknown system"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _made(kind: type[Figure], data: Mapping[str, Any]) -> Figure:
    return kind(**{name: data[name] for name in _names(kind)})


def _chart(data: Mapping[str, Any]) -> Chart:
    own = {name: data[name] for name in _names(Chart)}
    own["labels"] = tuple(own["labels"])
    own["series"] = {name: tuple(values) for name, values in own["series"].items()}
    return Chart(**own)


def _rounded(data: dict[str, Any]) -> dict[str, Any]:
    return {name: _round(value) for name, value in data.items()}


def _round(value: Any) -> Any:
    """Return a number with six digits that count."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
