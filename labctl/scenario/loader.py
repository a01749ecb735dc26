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
        _report(document, (), error, _Header)
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
        _report(document, row.path, error, _Case)
        return None
    if own.name in names:
        line = document.place(names[own.name])[0]
        text = f"the name {own.name!r} is already taken, on line {line}"
        document.problem(document.place((*row.path, "name")), text)
    names.setdefault(own.name, row.path)
    steps = {
        profile: _checked_steps(written_out(document, row, profile))
        for profile in (PROFILES if row.differs else PROFILES[:1])
    }
    return Case(own.name, own.needs, own.open, steps)


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
        _report(document, (*path, verb), error, kind)
        return None


def _report(document: Document, base: Path_, error: ValidationError, model: type[Strict]) -> None:
    for item in error.errors(include_url=False):
        loc = _without_branches(item["loc"])
        path, name = (*base, *loc), str(loc[-1]) if loc else ""
        if item["type"] == "extra_forbidden":
            near = nearest(name, _keys_at(model, loc[:-1]))
            document.problem(document.place(path, key=True), f"unknown key {name!r}{near}")
        elif item["type"] == "missing":
            document.problem(document.place(path[:-1]), f"the key {name!r} is missing")
        else:
            where = f"{name}: " if name else ""
            document.problem(document.place(path), f"{where}{_said(item)}")


def _without_branches(loc: Path_) -> Path_:
    """Return where an error is, without the names that pydantic gives the sides of a union."""
    return tuple(part for part in loc if isinstance(part, int) or part.isidentifier())


def _keys_at(model: type[Strict], loc: Path_) -> list[str]:
    """Return the keys that are valid in the part of a model that `loc` leads to."""
    for part in loc:
        fields = {info.alias or name: info for name, info in model.model_fields.items()}
        inner = fields[str(part)].annotation if str(part) in fields else None
        if not (isinstance(inner, type) and issubclass(inner, Strict)):
            return []
        model = inner
    return [info.alias or name for name, info in model.model_fields.items()]


_KINDS = {
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}


def _said(item: Any) -> str:
    text = _KINDS.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
    given = item["input"]
    if item["type"] == "value_error" or not isinstance(given, str | int | float | bool):
        return text
    near = nearest(str(given), _choices(item)) if item["type"] in _CHOICES else ""
    return f"{given!r}: {text[:1].lower()}{text[1:]}{near}"


_CHOICES = {"enum", "literal_error"}


def _choices(item: Any) -> list[str]:
    expected = str(item.get("ctx", {}).get("expected", ""))
    return [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
