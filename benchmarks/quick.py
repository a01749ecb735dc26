"""Quick measurements, each as a ratio to its floor, the two taken in turn in one run.

Prints a table, and with `--json FILE` writes every sample. The lab it measures is its own, in
slot 39, and is removed at the end. Absolute times stand beside the ratios for orientation only.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
LABCTL = str(Path(sys.executable).parent / "labctl")
SLOT = 39
PROJECT = f"mail-policy-lab-{SLOT}"
MESSAGES, SESSIONS = "400", "8"
SERVICES = ("openldap", "postfix", "dovecot", "milter")


@dataclass(frozen=True)
class Figure:
    """One comparison: samples of ours and of the floor in `unit`, and the ratio's limit."""

    what: str
    floor_is: str
    unit: str
    ours: list[float]
    floor: list[float]
    limit: float

    @property
    def ratio(self) -> float:
        """The median of the ratios, pair by pair."""
        return statistics.median(a / b for a, b in zip(self.ours, self.floor, strict=True))


def run(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    """Run a command, which must succeed; returns its output."""
    done = subprocess.run(list(command), env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def in_turn(
    count: int,
    ours: Callable[[], object],
    floor: Callable[[], object],
    between: Callable[[], object] = lambda: None,
) -> tuple[list[float], list[float]]:
    """Time both `count` times, one after the other; `between` prepares each."""
    a, b = [], []
    for _ in range(count):
        between()
        b.append(seconds(floor))
        between()
        a.append(seconds(ours))
    return a, b


class Bench:
    """The measurements, on a lab of their own."""

    def __init__(self, state: Path, count: int) -> None:
        self.count = count
        self.state = state
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "LABCTL_"))}
        self.env = {**kept, "LAB_STATE_DIR": str(state), "LAB_SLOT": str(SLOT)}

    def labctl(self, *arguments: str) -> str:
        """Run labctl on the lab."""
        return run([LABCTL, *arguments], self.env)

    def compose(self, *arguments: str) -> str:
        """Run the same Compose on the same files."""
        sys.path.insert(0, str(ROOT))
        from labctl.lab.engine import Engine

        files = self.state / "labs" / "default" / "compose.env"
        command = [*Engine().compose.command, "-p", PROJECT, "--env-file", str(files)]
        kept = {k: v for k, v in self.env.items() if not k.startswith("LAB_")}
        return run([*command, "-f", str(ROOT / "compose" / "compose.yaml"), *arguments], kept)

    def start_up(self) -> Figure:
        """Time `labctl --version` against a Python that does nothing."""
        ours, floor = in_turn(
            3 * self.count,
            lambda: run([LABCTL, "--version"]),
            lambda: run([PYTHON, "-c", "pass"]),
        )
        return Figure("labctl --version", "python -c pass", "s", ours, floor, 5)

    def up(self) -> Figure:
        """Time `labctl up` against `docker compose up --wait` of the same files, images present."""
        ours, floor = in_turn(
            self.count,
            lambda: self.labctl("up"),
            lambda: self.compose("up", "--detach", "--wait"),
            between=lambda: self.labctl("down"),
        )
        return Figure("labctl up", "docker compose up --wait", "s", ours, floor, 1.25)

    def reset(self) -> Figure:
        """Time `labctl reset` against starting the services anew."""
        ours, floor = in_turn(
            self.count,
            lambda: self.labctl("reset"),
            lambda: self.compose("restart"),
        )
        self.labctl("up")
        return Figure("labctl reset", "docker compose restart", "s", ours, floor, 1)

    def scenario(self) -> Figure:
        """Time `labctl scenario offboarding` against the same story told by plain clients."""
        file = self.state / "stack.json"
        file.write_text(self.labctl("endpoints", "-o", "json", "--secrets"), encoding="utf-8")
        story = [PYTHON, str(ROOT / "benchmarks" / "story_by_hand.py"), str(file)]
        ours, floor = in_turn(
            2 * self.count,
            lambda: self.labctl("scenario", "offboarding"),
            lambda: run(story),
        )
        return Figure("scenario offboarding", "the story by plain clients", "s", ours, floor, 3)

    def policy(self) -> Figure:
        """Time submissions under `hardened` without the milter, against `baseline`."""
        return self._cost("policy: hardened", 1 / 0.95, "off")

    def milter(self) -> Figure:
        """Time submissions under `hardened` with the milter, against `baseline`."""
        return self._cost("policy: with milter", float("inf"), "on")

    def _cost(self, what: str, limit: float, milter: str) -> Figure:
        file = self.state / "stack.json"
        file.write_text(self.labctl("endpoints", "-o", "json", "--secrets"), encoding="utf-8")
        load = [PYTHON, str(ROOT / "benchmarks" / "load.py"), str(file), MESSAGES, SESSIONS]
        seconds_of: dict[str, list[float]] = {"hardened": [], "baseline": []}
        self.env["LAB_MILTER"] = milter
        for _ in range(2 * self.count):
            for profile, samples in seconds_of.items():
                self.labctl("up", "--policy", profile)
                run(load)  # Postfix has its processes then, and the caches are warm
                samples.append(float(run(load)))
        self.labctl("up", "--policy", "hardened")
        floor = f"baseline, {MESSAGES} messages"
        return Figure(what, floor, "s", seconds_of["hardened"], seconds_of["baseline"], limit)

    def memory(self) -> Figure:
        """Weigh the idle services, against the 50 MB that a lab may take."""
        names = [f"{PROJECT}-{service}-1" for service in SERVICES]
        rows = run(["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", *names])
        used = sum(_megabytes(row.split("/")[0].strip()) for row in rows.splitlines())
        return Figure("memory, idle lab", "50 MB", "MB", [used], [50.0], 1)

    def images(self) -> Figure:
        """Weigh all layers of the images, against the Debian packages installed in them."""
        layers: dict[str, float] = {}
        packages: dict[str, float] = {}
        for service in SERVICES:
            container = f"{PROJECT}-{service}-1"
            image = run(["docker", "inspect", "-f", "{{.Image}}", container]).strip()
            layers |= _layers(image)
            query = ["dpkg-query", "-W", "-f", "${Package} ${Installed-Size}\n"]
            for line in run(["docker", "exec", container, *query]).splitlines():
                name, kilobytes = line.split()
                packages[name] = int(kilobytes) / 1000
        ours, floor = [sum(layers.values())], [sum(packages.values())]
        return Figure("images together", "their Debian packages", "MB", ours, floor, 1.3)


def _megabytes(text: str) -> float:
    for unit, factor in (("GiB", 1073.7), ("MiB", 1.0486), ("KiB", 0.001024), ("B", 1e-6)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(f"{text!r} is no amount of memory")


def _layers(image: str) -> dict[str, float]:
    """Return the size of each layer in MB; a base that images share counts once."""
    ids = json.loads(run(["docker", "inspect", "-f", "{{json .RootFS.Layers}}", image]))
    history = run(
        ["docker", "history", "--no-trunc", "--format", "{{.Size}}", "--human=false", image]
    )
    sizes = [int(size) / 1e6 for size in reversed(history.split()) if int(size) > 0]
    filled = (
        ids[: len(sizes)] if len(ids) >= len(sizes) else [f"{image}/{n}" for n in range(len(sizes))]
    )
    return dict(zip(filled, sizes, strict=True))


@contextlib.contextmanager
def lab(count: int) -> Iterator[Bench]:
    """Bring a lab up for the measurements, and remove it."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), count)
        try:
            bench.labctl("up")
            yield bench
        finally:
            bench.labctl("down", "--volumes")


def main() -> None:
    """Measure, print, and exit with 1 if a ratio is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3, help="pairs per measurement")
    parser.add_argument("--json", type=Path, help="write every sample there")
    options = parser.parse_args()
    figures: list[Figure] = []
    with lab(options.count) as bench:
        for measure in (
            bench.start_up,
            bench.images,
            bench.memory,
            bench.scenario,
            bench.policy,
            bench.milter,
            bench.reset,
            bench.up,
        ):
            print(f"measuring {measure.__name__} …", file=sys.stderr)
            figures.append(measure())
    show(figures)
    if options.json:
        rows = [{**asdict(figure), "ratio": figure.ratio} for figure in figures]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(figure.ratio > figure.limit for figure in figures))


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    print(f"{'what':<22} {'ours':>10} {'floor':>10} {'ratio':>7} {'limit':>6}  floor is")
    for figure in figures:
        ours, floor = statistics.median(figure.ours), statistics.median(figure.floor)
        mark = "" if figure.ratio <= figure.limit else "  ABOVE"
        print(
            f"{figure.what:<22} {ours:>7.2f} {figure.unit:<2} {floor:>7.2f} {figure.unit:<2} "
            f"{figure.ratio:>7.2f} {figure.limit:>6.2f}  {figure.floor_is}{mark}"
        )


if __name__ == "__main__":
    main()
