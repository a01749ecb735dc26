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
from labctl.scenario.references import check_references
from labctl.scenario.steps import TABLE
from labctl.scenario.validation import report


class _Header(Strict):
    title: Line
    why: str = ""
    accounts: tuple[Name, ...]
    needs: Needs = Needs()
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    cases: list[Any] | None = None
    steps: list[Any]


class _Case(Strict):
    name: Annotated[Line, Field(min_length=1)]
    needs: Needs = Needs()
    open: Profile | None = None


def load(path: Path) -> Scenario:
    """Read a scenario; raises InvalidScenario with every error of the file."""
    document = read_document(path)
    if document.unreadable:
        raise _invalid(document)
    header = _header(document)
    tabled = header is not None and header.cases is not None
    cases = _cases(document) if tabled else ()
    steps = () if tabled or not isinstance(document.data, dict) else _checked_steps(document)
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


def _header(document: Document) -> _Header | None:
    if not isinstance(document.data, dict):
        document.problem((1, 1), "a scenario is a mapping with title, accounts and steps")
        return None
    try:
        header = _Header.model_validate(document.data)
    except ValidationError as error:
        report(document, (), error, _Header)
        return None
    if not header.steps:
        document.problem(document.place(("steps",)), "there is no step: nothing would be checked")
    return header


def _cases(document: Document) -> tuple[Case, ...]:
    found = rows(document)
    if not found:
        document.problem(document.place(("cases",)), "there is no case: nothing would be checked")
    if document.problems:  # the steps could not be written out in full
        return ()
    names: dict[str, Path_] = {}
    return tuple(case for row in found if (case := _case(document, row, names)) is not None)


def _case(document: Document, row: Row, names: dict[str, Path_]) -> Case | None:
    try:
        own = _Case.model_validate(row.own)
    except ValidationError as error:
        report(document, row.path, error, _Case)
        return None
    if own.name in names:
        line = document.place(names[own.name])[0]
        text = f"the name {own.name!r} is already taken, on line {line}"
        document.problem(document.place((*row.path, "name")), text)
    names.setdefault(own.name, row.path)
    profiles = PROFILES if row.differs else PROFILES[:1]
    steps = {profile: _steps_of(document, row, profile) for profile in profiles}
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
    try:
        return kind.model_validate({} if given is None else given)
    except ValidationError as error:
        report(document, (*path, verb), error, kind)
        return None
