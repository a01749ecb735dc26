"""What pydantic found wrong, in the words of a scenario file, at the place in the file."""

from typing import Any

from pydantic import ValidationError

from labctl.scenario.document import Document, Path_, nearest
from labctl.scenario.model import Strict


def report(document: Document, base: Path_, error: ValidationError, model: type[Strict]) -> None:
    """Add each error of a value at `base`, which is to be a `model`, to the document's problems."""
    for item in error.errors(include_url=False):
        loc = _without_branches(item["loc"])
        path, name = (*base, *loc), loc[-1] if loc and isinstance(loc[-1], str) else ""
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
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
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
