"""From a file to a `Scenario`, or to all of its errors at once.

Each error is `path:line:column: what is wrong`, with the nearest valid word where one is near.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from labctl.errors import InvalidScenario
from labctl.scenario.cases import PROFILES, Row, rows, written_out
from labctl.scenario.document import Document, Path_, nearest, read_document
from labctl.scenario.model import Case, Line, Name, Needs, Profile, Scenario, Step, Strict
from labctl.scenario.needs import spelt_out
from labctl.scenario.references import check_references
from labctl.scenario.steps import TABLE
from labctl.scenario.validation import report


class Header(Strict):
    """What stands at the top of a scenario file."""

    title: Line = Field(description="what it is called, on one line")
    why: str = Field("", description="what it shows, in Markdown: read out before the first step")
    accounts: tuple[Name, ...] = Field(
        description="the accounts it uses: the stack must have them, and steps name no others"
    )
    needs: Needs = Field(
        Needs(), description="what the stack must have; without it all is skipped, with the reason"
    )
    defaults: Mapping[str, Any] = Field(
        default_factory=dict, description="what cases leave out, see [Cases](#cases)"
    )
    cases: list[Any] = Field(
        default_factory=list, description="a table of values over the steps, see [Cases](#cases)"
    )
    steps: list[Any] = Field(
        description="what happens, in order; the first step that does not pass ends the story"
    )


class CaseHeader(Strict):
    """What stands in a case beside its values."""

    name: Annotated[Line, Field(min_length=1)] = Field(description="what it is called, for itself")
    needs: Needs = Field(Needs(), description="what the stack must have; else it is skipped")
    open: Profile | None = Field(
        None, description="the profile on which a way around the policy is known to be open here"
    )


def load(path: Path) -> Scenario:
    """Read a scenario; raises InvalidScenario with every error of the file."""
    document = read_document(path)
    if document.unreadable:
        raise _invalid(document)
    header = _header(document)
    told = document.data if isinstance(document.data, dict) else {}
    cases = _cases(document) if "cases" in told and "steps" in told else ()
    steps = _checked_steps(document) if told and "cases" not in told else ()
    if document.problems or header is None:
        raise _invalid(document)
    return Scenario(
        path=path,
        title=header.title,
        why=header.why,
        needs=header.needs,
        accounts=header.accounts,
        steps=steps,
        cases=cases,
        account_positions=tuple(
            "{}:{}:{}".format(path, *document.place(("accounts", i)))
            for i in range(len(header.accounts))
        ),
    )


def load_all(paths: Iterable[Path]) -> list[Scenario]:
    """Read several; raises one InvalidScenario with every error of every file."""
    scenarios, problems = [], []
    for path in paths:
        try:
            scenarios.append(load(path))
        except InvalidScenario as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidScenario(problems)
    return scenarios


def _invalid(document: Document) -> InvalidScenario:
    return InvalidScenario(sorted(dict.fromkeys(document.problems), key=_line_order))


def _line_order(problem: str) -> tuple[int, ...]:
    return tuple(int(part) for part in problem.split(": ", maxsplit=1)[0].rsplit(":", 2)[1:])


def _header(document: Document) -> Header | None:
    data = document.data
    if not isinstance(data, dict):
        document.problem((1, 1), "a scenario is a mapping with title, accounts and steps")
        return None
    if "needs" in data:
        data = {**data, "needs": spelt_out(document, ("needs",), data["needs"])}
    if "defaults" in data and "cases" not in data:
        place = document.place(("defaults",), key=True)
        document.problem(place, "there are defaults, but no cases that could leave anything out")
    try:
        header = Header.model_validate(data)
    except ValidationError as error:
        report(document, (), error, Header)
        return None
    for key, one in (("steps", "step"), ("cases", "case")):
        if key in data and not data[key]:
            document.problem(document.place((key,)), f"there is no {one}: nothing would be checked")
    return header


def _cases(document: Document) -> tuple[Case, ...]:
    names: dict[str, Path_] = {}
    found = (_case(document, row, names) for row in rows(document))
    return tuple(case for case in found if case is not None)


def _case(document: Document, row: Row, names: dict[str, Path_]) -> Case | None:
    profiles = PROFILES if row.differs else PROFILES[:1]
    wanted = profiles if row.sound else ()
    steps = {profile: _steps_of(document, row, profile) for profile in wanted}
    given = row.own
    if "needs" in given:
        given = {**given, "needs": spelt_out(document, (*row.path, "needs"), given["needs"])}
    try:
        own = CaseHeader.model_validate(given)
    except ValidationError as error:
        report(document, row.path, error, CaseHeader)
        return None
    if own.name in names:
        line = document.place(names[own.name])[0]
        text = f"the name {own.name!r} is already taken, on line {line}"
        document.problem(document.place((*row.path, "name")), text)
    names.setdefault(own.name, row.path)
    return Case(own.name, own.needs, own.open, steps)


def _steps_of(document: Document, row: Row, profile: str) -> tuple[Step, ...]:
    full = written_out(document, row, profile)
    steps = _steps(full)
    for i, step in steps:  # a name that leads nowhere is told at the row
        full.values["steps", i, step.verb] = document.place(row.path)
    check_references(full, steps)
    return tuple(step for _, step in steps)


def _checked_steps(document: Document) -> tuple[Step, ...]:
    steps = _steps(document)
    check_references(document, steps)
    return tuple(step for _, step in steps)


def _steps(document: Document) -> list[tuple[int, Step]]:
    items = document.data.get("steps")
    if not isinstance(items, list):
        return []
    found = ((i, _step(document, ("steps", i), item)) for i, item in enumerate(items))
    return [(i, step) for i, step in found if step is not None]


def _step(document: Document, path: Path_, item: Any) -> Step | None:
    if not isinstance(item, dict) or len(item) != 1:
        document.problem(document.place(path), "a step is one verb with its keys: `- verb: {…}`")
        return None
    [(verb, given)] = item.items()
    kind = TABLE.get(verb)
    if kind is None:
        text = f"unknown step {verb!r}{nearest(verb, TABLE)}"
        document.problem(document.place((*path, verb), key=True), text)
        return None
    given = {} if given is None else given
    if kind.short is not None and not isinstance(given, dict):
        given = {kind.short: given}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        report(document, (*path, verb), error, kind)
        return None
