"""What a scenario would do, told before anything is done."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from labctl.endpoints import Account, Attributes, Endpoints, Secret
from labctl.scenario.model import Planned, Scenario, Step
from labctl.scenario.session import Skipped

DOMAIN, BASE = "DOMAIN", "BASE"


def placeholders(scenario: Scenario, attributes: Attributes, policy: str) -> Endpoints:
    """Return endpoints for a scenario whose stack is not known: words stand for what it has."""
    accounts = {
        name: Account(name, name, f"{name}@{DOMAIN}", Secret("")) for name in scenario.accounts
    }
    return Endpoints(
        "none", None, DOMAIN, BASE, policy, None, {}, attributes=attributes, accounts=accounts
    )


def planned(step: Step, endpoints: Endpoints) -> Iterator[Planned]:
    """Tell what a step does, and what exactly it will do and expect on a stack."""
    yield "what", _first_sentence(step.__doc__ or "")
    try:
        yield from step.plan(endpoints)
    except Skipped as reason:
        yield "skipped", str(reason)


def cause(steps: Sequence[Step], behind: int, endpoints: Endpoints) -> tuple[int, Step] | None:
    """Return the last step before this one that changes an entry of somebody whom it is about,
    with its number: the reason, as a rule, for what it expects. None for a change itself.
    """
    if _changes(steps[behind], endpoints):
        return None
    whose = _whose(steps, behind)
    for number in range(behind, 0, -1):
        earlier = steps[number - 1]
        if _changes(earlier, endpoints) and whose & {*earlier.accounts()}:
            return number, earlier
    return None


def _changes(step: Step, endpoints: Endpoints) -> bool:
    return any(label == "ldif" for label, _ in planned(step, endpoints))


def first_change(steps: Sequence[Step]) -> int:
    """Return how many steps only read before the first that does more."""
    return sum(1 for _ in takewhile(lambda step: step.reads(), steps))


def _whose(steps: Sequence[Step], behind: int) -> set[str]:
    """Return whom a step is about; who sends a message again is whoever sent it first."""
    step = steps[behind]
    named = step.refers_to()
    if named is None or step.reads():
        return {*step.accounts()}
    for number, earlier in enumerate(steps[:behind]):
        if earlier.names() == named:
            return _whose(steps, number)
    return set()


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".") + "."
