r"""The JSON Schema of scenario files (draft-07), made from the models, for editors.

It takes every file that `labctl check` takes, and refuses what JSON Schema can refuse: it does not
know which names exist, nor what is in an LDIF record. Where a file has `cases`, a text `{key}` may
stand for any value in a step, and within any text; so what steps hold is there twice.
"""

from collections.abc import Iterator
from inspect import getdoc
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from labctl.scenario.cases import PROFILES, RESERVED
from labctl.scenario.loader import CaseHeader, Header
from labctl.scenario.model import Needs, Step, Strict
from labctl.scenario.steps import TABLE

Schema = dict[str, Any]

IN_CASES = "InCases"
_KEY = "[a-z][a-z0-9_]*"
_PLACEHOLDER: Schema = {"type": "string", "pattern": f"^\\{{{_KEY}\\}}$"}
_WITH_BRACES: Schema = {"type": "string", "pattern": "\\{"}
_LABELS = ("title", "description", "default")


def scenario_schema() -> Schema:
    """Return the schema of a scenario file."""
    in_steps = {"Step": _step()}
    for kind in TABLE.values():
        in_steps |= dict(_models(kind))
    definitions = {
        **in_steps,
        **{f"{name}{IN_CASES}": _inside(schema) for name, schema in in_steps.items()},
        **dict(_models(Needs)),
        "NeedsList": _needs_list(),
        "Case": _case(),
        "Value": _value(),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_header(),
        "title": "A scenario of the mail-policy lab",
        "definitions": dict(sorted(definitions.items())),
    }


class _Titles(GenerateJsonSchema):
    """Gives no title to a field: it would only repeat its key."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  pydantic's
        return False


def model_schema(model: type[Strict]) -> tuple[Schema, dict[str, Schema]]:
    """Return the schema of a model, and those of the models in it by their names."""
    found = model.model_json_schema(schema_generator=_Titles, ref_template="#/definitions/{model}")
    parts = found.pop("$defs", {})
    words = {
        f"#/definitions/{name}": part["enum"] for name, part in parts.items() if "enum" in part
    }
    inner = {name: _draft_07(part, words) for name, part in parts.items() if "enum" not in part}
    return _draft_07(found, words), inner


def _models(model: type[Strict]) -> Iterator[tuple[str, Schema]]:
    schema, parts = model_schema(model)
    yield model.__name__, schema
    yield from parts.items()


def _draft_07(node: Any, words: dict[str, list[str]]) -> Any:
    """Return a schema of pydantic's (2020-12) as draft-07, enumerations written out."""
    if isinstance(node, list):
        return [_draft_07(each, words) for each in node]
    if not isinstance(node, dict):
        return node
    result = {key: _draft_07(each, words) for key, each in node.items()}
    if result.get("default", ...) is None:
        del result["default"]  # null says no more than that the key may be left out
    if "patternProperties" in result:
        result["additionalProperties"] = False
    if reference := result.get("$ref"):
        del result["$ref"]  # draft-07 passes over what stands beside it
        target = {"enum": words[reference]} if reference in words else None
        return {**result, **(target or {"allOf": [{"$ref": reference}]})}
    return result


def _inside(node: Schema) -> Schema:
    """Return a schema whose parts take placeholders, too, if not it itself."""
    result: Schema = {}
    for key, value in node.items():
        match key:
            case "properties" | "patternProperties":
                result[key] = {name: _opened(each) for name, each in value.items()}
            case "items":
                result[key] = _opened(value)
            case "anyOf" | "allOf":
                result[key] = [_inside(each) for each in value]
            case "$ref":
                result[key] = f"{value}{IN_CASES}"
            case "not":  # a placeholder may stand for null
                pass
            case _:
                result[key] = value
    return result


def _opened(node: Schema) -> Schema:
    """Return a schema that takes a placeholder, too."""
    labels = {key: value for key, value in node.items() if key in _LABELS}
    bare = _inside({key: value for key, value in node.items() if key not in _LABELS})
    if bare == {"type": "string"}:
        return node
    either = bare["anyOf"] if set(bare) == {"anyOf"} else [bare]
    return {**labels, "anyOf": [*either, _WITH_BRACES if _is_text(bare) else _PLACEHOLDER]}


def _is_text(node: Schema) -> bool:
    return (
        node.get("type") == "string"
        or any(isinstance(word, str) for word in node.get("enum", ()))
        or any(_is_text(each) for each in node.get("anyOf", ()))
    )


def _step() -> Schema:
    return {
        "description": "One verb with its keys.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {verb: _verb(kind) for verb, kind in TABLE.items()},
    }


def _verb(kind: type[Step]) -> Schema:
    schema, _ = model_schema(kind)
    either: list[Schema] = [{"$ref": f"#/definitions/{kind.__name__}"}]
    if kind.short is not None:
        field = schema["properties"][kind.short]
        either.append({key: value for key, value in field.items() if key not in _LABELS})
    if not schema.get("required"):
        either.append({"type": "null"})
    return {"description": getdoc(kind), "anyOf" if len(either) > 1 else "allOf": either}


def _header() -> Schema:
    schema, _ = model_schema(Header)
    properties = schema["properties"]
    properties["needs"] = _needs(properties["needs"])
    properties["defaults"] |= {
        "propertyNames": {"pattern": f"^{_KEY}$"},
        "additionalProperties": {"$ref": "#/definitions/Value"},
    }
    properties["cases"] |= {"minItems": 1, "items": {"$ref": "#/definitions/Case"}}
    properties["steps"] |= {"minItems": 1, "items": {}}
    return {
        **schema,
        "dependencies": {"defaults": ["cases"]},
        "if": {"required": ["cases"]},
        "then": _with_steps(f"Step{IN_CASES}"),
        "else": _with_steps("Step"),
    }


def _with_steps(name: str) -> Schema:
    return {"properties": {"steps": {"items": {"$ref": f"#/definitions/{name}"}}}}


def _needs(field: Schema) -> Schema:
    either = [{"$ref": "#/definitions/Needs"}, {"$ref": "#/definitions/NeedsList"}]
    return {"description": field["description"], "anyOf": either}


def _needs_list() -> Schema:
    schema, _ = model_schema(Needs)
    flags = [key for key, each in schema["properties"].items() if each.get("type") == "boolean"]
    either = [{"enum": flags}, {"$ref": "#/definitions/Needs"}]
    return {"type": "array", "uniqueItems": True, "items": {"anyOf": either}}


def _case() -> Schema:
    schema, _ = model_schema(CaseHeader)
    schema["properties"]["needs"] = _needs(schema["properties"]["needs"])
    own = "|".join(RESERVED)
    values = {f"^(?!({own})$){_KEY}$": {"$ref": "#/definitions/Value"}}
    return {**schema, "patternProperties": values, "additionalProperties": False}


def _value() -> Schema:
    value = {"$ref": "#/definitions/Value"}
    return {
        "description": "What a placeholder becomes; it may be another one on each policy profile.",
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": value},
            {
                "type": "object",
                "required": list(PROFILES),
                "properties": dict.fromkeys(PROFILES, value),
                "additionalProperties": False,
            },
        ],
    }
