"""Whether any scenario goes red when the lab is broken."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from labctl.events import CaseStarted, Event, StepEnded, StepStarted, Verdict
from labctl.prove.mutation import Mutation
from labctl.scenario.model import Scenario
from labctl.scenario.steps.fault import Fault

Play = Callable[[Scenario, Callable[[Event], None]], None]
"""Runs a scenario on the broken lab, telling its events."""

_RED = (Verdict.FAILED, Verdict.ERROR)


@dataclass(frozen=True, slots=True)
class Caught:
    """Where a mutation was noticed: the scenario, the line in it, and what was seen there."""

    scenario: str
    line: str
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutation; one that nothing noticed has survived."""

    mutation: Mutation
    caught: Caught | None
    seconds: float


class _Red(Exception):
    """The first step that did not pass: the rest of the scenario need not be told."""


@dataclass(slots=True)
class _Watch:
    """Follows a run until a step does not pass."""

    case: str = ""
    step: str = ""
    caught: tuple[str, str] | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, CaseStarted):
            self.case = f"{event.name}: "
        elif isinstance(event, StepStarted):
            self.step = f"{self.case}{event.number} {event.verb} {event.summary}"
        elif isinstance(event, StepEnded) and event.verdict in _RED and self.caught is None:
            self.caught = (self.step, event.reason.partition("\n")[0])
            raise _Red


def caught_by(scenario: Scenario, play: Play) -> Caught | None:
    """Run one scenario until a step does not pass; returns that, or None if all passed."""
    watch = _Watch()
    with suppress(_Red):
        play(scenario, watch)
    return None if watch.caught is None else Caught(scenario.name, *watch.caught)


def prove(
    mutation: Mutation,
    scenarios: Iterable[Scenario],
    play: Play,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Run scenarios on a lab that is broken already until one goes red: the likeliest first, those
    with many cases last, and after them those that take servers away, which takes long. One that
    rehearses the policy counts for its own mutations alone: shadow refuses to touch any other
    main.cf, which says nothing about the hole in it.
    """
    begun = clock()
    witnesses = [each for each in scenarios if each.name == mutation.scenario or not _shadows(each)]
    order = sorted(
        witnesses,
        key=lambda each: (each.name != mutation.scenario, _faults(each) != [], len(each.cases)),
    )
    found: Iterator[Caught | None] = (caught_by(each, play) for each in order)
    caught = next((each for each in found if each is not None), None)
    return Result(mutation, caught, clock() - begun)


def _faults(scenario: Scenario) -> list[Fault]:
    """Return the steps of a scenario, or of its cases, that break a server."""
    lists = (scenario.steps, *(one for case in scenario.cases for one in case.steps.values()))
    return [step for steps in lists for step in steps if isinstance(step, Fault)]


def _shadows(scenario: Scenario) -> bool:
    return any(fault.kind == "shadow" for fault in _faults(scenario))


def survivors(results: Sequence[Result]) -> list[Result]:
    """Return those that no scenario noticed."""
    return [result for result in results if result.caught is None]
