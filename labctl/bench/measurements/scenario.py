"""The off-boarding as it is run, how much of it is waiting, and the same story by other means.

What is spent waiting is read from the transcript: from each line that was sent to the next reply
of the same server, TLS handshakes, signing in to the directory and its changes among it. All the
rest, Python's start and the commands in containers included, is labctl's own.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from labctl.bench.command import Ran, labctl, ran
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.errors import HostProblem
from labctl.events import Change, Event, Wire
from labctl.lab.lab import Lab
from labctl.lab.state import write_private
from labctl.report.jsonl import read

_NAME = "offboarding"
_WHOLE_SECONDS, _OWN_SECONDS = 1.0, 0.25  # what it may take, on two cores
_ANSWERS = ("<-", "<**")
_REACHED = ("TLS begun", "bound")  # what a client notes when the server has done its part


@dataclass(frozen=True, slots=True)
class Told:
    """The story, told once by labctl."""

    ran: Ran
    waited: float

    @property
    def own(self) -> float:
        """Seconds that were not spent waiting for a server."""
        return self.ran.seconds - self.waited


def waited(events: Iterable[Event]) -> float:
    """Return the seconds of a run that were spent waiting for servers; what was waited for at the
    same time counts once.
    """
    last: dict[str, Wire] = {}
    spans: list[tuple[float, float]] = []
    changes = 0.0
    for event in events:
        if isinstance(event, Change):
            changes += event.seconds
        elif isinstance(event, Wire):
            before = last.get(event.peer)
            if before is not None and _answers(event):
                spans.append((before.at, event.at))
            last[event.peer] = event
    return changes + _covered(spans)


def _answers(wire: Wire) -> bool:
    return wire.mark in _ANSWERS or wire.line in _REACHED


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def _measure(bench: Bench) -> Yielded:
    told: list[Told] = []
    by_hand: dict[str, list[float]] = {}
    rounds = bench.size["rounds"]
    with bench.lab() as lab, tempfile.TemporaryDirectory() as directory:
        tell_otherwise = _otherwise(lab, Path(directory) / "stack.json")
        bench.progress.step(f"{_NAME}, and the same story by other means")
        for number in range(rounds + 1):
            bench.progress.count(number, rounds + 1)
            this = _tell(lab)
            others = {way: tell().seconds for way, tell in tell_otherwise.items()}
            if number:  # the first round warms everything up
                told.append(this)
                for way, seconds in others.items():
                    by_hand.setdefault(way, []).append(seconds)
    yield from _figures(told, by_hand)


def _otherwise(lab: Lab, stack: Path) -> dict[str, Callable[[], Ran]]:
    """Return the other ways to tell the story."""
    endpoints = lab.endpoints()
    write_private(stack, json.dumps(endpoints.to_dict(secrets=True)))
    programs = lab.settings.root / "benchmarks"
    plain = [sys.executable, str(programs / "story_by_hand.py"), str(stack)]
    tools = [str(programs / "story.sh"), lab.project.name, endpoints.domain, endpoints.base_dn]
    passwords = {
        name.upper(): endpoints.account(name).password.reveal() for name in ("alice", "bob")
    }
    return {
        "plain clients of Python": lambda: ran(plain),
        "bash, ldapmodify, swaks, curl": lambda: ran(tools, {**os.environ, **passwords}),
    }


def _tell(lab: Lab) -> Told:
    told = labctl(lab, "scenario", _NAME)
    run = re.search(r"\brun (\S+)$", told.output, re.MULTILINE)
    if run is None:
        raise HostProblem(f"`labctl scenario {_NAME}` does not tell its run")
    return Told(told, waited(read(lab.settings.state / "runs" / run[1] / "transcript.jsonl")))


def _figures(told: Sequence[Told], by_hand: Mapping[str, Sequence[float]]) -> Yielded:
    whole = [each.ran.seconds for each in told]
    own = [each.own for each in told]
    yield Figure.of(f"{_NAME}, in all", whole, "s", limit=_WHOLE_SECONDS)
    yield Figure.of("of it labctl's own", own, "s", limit=_OWN_SECONDS)
    yield Figure.of("of it waiting for servers", [each.waited for each in told], "s")
    yield Figure.of("processor time of labctl", [each.ran.processor for each in told], "s")
    for way, seconds in by_hand.items():
        yield Figure.against(f"{_NAME}, against {way}", whole, "s", floor=seconds, floor_is=way)
    bars = {"labctl": median(whole), **{way: median(seconds) for way, seconds in by_hand.items()}}
    yield Chart(
        "scenario",
        "An off-boarding, told in several ways",
        "s",
        tuple(bars),
        {
            "waiting for servers": (median(each.waited for each in told), *[0.0] * len(by_hand)),
            "labctl's own": (median(own), *[0.0] * len(by_hand)),
            "in all": (0.0, *(median(seconds) for seconds in by_hand.values())),
        },
        "stacked",
    )


SCENARIO = Measurement(
    "scenario",
    """Time the off-boarding, and how much of it is waiting.

    `labctl scenario offboarding` from its start to its end, what of that was spent waiting for
    servers, and the same story told by plain clients and by the tools of the shell.""",
    (Option("rounds", "How often the story is told.", 20, 5),),
    _measure,
)
