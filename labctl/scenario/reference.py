"""The reference of the language in docs/scenarios.md: tables made from the models."""

from collections.abc import Iterable, Iterator
from inspect import getdoc
from typing import Any

from labctl.scenario.durations import shown
from labctl.scenario.loader import CaseHeader, Header
from labctl.scenario.model import Expect, Needs, Scenario, Strict
from labctl.scenario.schema import Schema, model_schema
from labctl.scenario.steps import TABLE

_HEAD = "| key | value | default | meaning |\n|---|---|---|---|\n"


def tables(tour: Iterable[Scenario]) -> dict[str, str]:
    """Return each table of docs/scenarios.md by the name that its markers have there."""
    return {
        "tour": "| scenario | shows |\n|---|---|\n" + "".join(map(_stop, tour)),
        "header": _table(Header),
        "needs": _table(Needs),
        "case": _table(CaseHeader),
        "expect": _table(Expect),
        "steps": "\n".join(_steps()),
    }


def written_into(page: str, tour: Iterable[Scenario]) -> str:
    """Return a page with what stands between its markers written anew.

    Raises ValueError where the page lacks a marker.
    """
    for name, table in tables(tour).items():
        begin, end = f"<!-- {name}: from the models, by `make reference` -->\n", "<!-- end -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"the page lacks {begin!r} with {end!r} after it")
        page = f"{before}{begin}{table}{end}{after}"
    return page


def _stop(scenario: Scenario) -> str:
    return f"| [{scenario.name}](../scenarios/tour/{scenario.path.name}) | {scenario.title} |\n"


def _steps() -> Iterator[str]:
    for verb, kind in TABLE.items():
        yield f"### `{verb}`\n\n{getdoc(kind)}\n"
        if kind.model_fields:
            yield _table(kind)


def _table(model: type[Strict]) -> str:
    schema, _ = model_schema(model)
    required = schema.get("required", ())
    rows = (
        (f"`{key}`", _words(field), _default(field, needed=key in required), field["description"])
        for key, field in schema["properties"].items()
    )
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _words(field: Schema) -> str:
    """Return what kind of value a field takes."""
    if either := field.get("anyOf"):
        named = (_words(each) for each in either if each.get("type") != "null")
        return field.get("title") or " or ".join(dict.fromkeys(named))
    if enum := field.get("enum"):
        return ", ".join(f"`{word}`" for word in enum)
    if field.get("type") == "array":
        inner = field["items"]
        return f"list of {_words(inner)}{'s' if inner.get('title') else ''}" if inner else "list"
    if reference := field.get("allOf"):
        name = reference[0]["$ref"].rpartition("/")[2].lower()
        return f"[{name}](#{name})"
    return field.get("title") or _TYPES[field["type"]]


_TYPES = {"string": "text", "boolean": "`true`, `false`", "object": "mapping"}


def _default(field: Schema, *, needed: bool) -> str:
    if needed:
        return "required"
    value: Any = field.get("default")
    if isinstance(value, dict):
        value = {key: each for key, each in value.items() if each not in {None, False}}
    if value in (None, "", [], {}):
        return ""
    return f"`{shown(value) if field.get('title') == 'duration' else _yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).rstrip("\n")
