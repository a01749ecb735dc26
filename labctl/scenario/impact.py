"""What scenarios will do to a stack that outlasts their steps, known before the first of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from labctl.endpoints import Endpoints
from labctl.errors import ExpectationFailed, UsageError
from labctl.protocols.directory import Directory
from labctl.scenario.entries import is_account
from labctl.scenario.model import Scenario, Step, Touch


@dataclass(frozen=True, slots=True)
class Held:
    """An entry that will change, with the attributes concerned as they are now."""

    whose: str
    dn: str
    values: Mapping[str, tuple[str, ...]]


def touches_of(scenarios: Iterable[Scenario], endpoints: Endpoints) -> list[Touch]:
    """Return what the scenarios may do to a stack without containers, each thing once."""
    steps = (step for scenario in scenarios for step in _steps(scenario, endpoints))
    return list(dict.fromkeys(touch for step in steps for touch in step.touches(endpoints)))


def _steps(scenario: Scenario, endpoints: Endpoints) -> Iterator[Step]:
    """Yield the steps that are not skipped for what the stack lacks."""
    if scenario.needs.unmet(endpoints, containers=False):
        return
    yield from scenario.steps
    for case in scenario.cases:
        if not case.needs.unmet(endpoints, containers=False):
            yield from case.steps_on(endpoints.policy)


def held(touches: Iterable[Touch], directory: Directory) -> list[Held]:
    """Return the entries that the touches are about, as `directory` sees them.

    Raises UsageError if an account has no entry there, or several.
    """
    names: dict[str, list[str]] = {}
    for touch in touches:
        if touch.attribute:
            names.setdefault(touch.whose, []).append(touch.attribute)
    return [_held(whose, attributes, directory) for whose, attributes in names.items()]


def _held(whose: str, attributes: Iterable[str], directory: Directory) -> Held:
    entry = directory.person(whose) if is_account(whose) else directory.read(whose)
    if entry is None:
        return Held(whose, whose, dict.fromkeys(attributes, ()))
    return Held(whose, entry.dn, {name: entry.all(name) for name in attributes})


def require_rights(entries: Iterable[Held], directory: Directory, *, who: str) -> None:
    """See that `directory` takes changes of the policy, by writing what is there already.

    What is absent is left alone: to write that again is to remove it, should it only be hidden.
    Raises UsageError naming the first entry that cannot be changed.
    """
    policy = {directory.attributes.send_allowed, directory.attributes.status}
    for entry in entries:
        values = {name: given for name, given in entry.values.items() if given and name in policy}
        try:
            if values:
                directory.replace(entry.dn, values)
        except ExpectationFailed as error:
            raise UsageError(
                f"{who} cannot change {' and '.join(values)} of {entry.whose}: {error.what}",
                "Nothing was changed. Let it write these attributes, or name another policy_admin.",
            ) from error
