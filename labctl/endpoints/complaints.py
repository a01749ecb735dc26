"""What pydantic found wrong with an endpoints file, in words."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError

from labctl.endpoints.form import StackFile, Strict

_KINDS = {
    "missing": "is missing, give it a value (docs/any-stack.md)",
    "string_type": "is no text, put it in quotes",
    "int_type": "is no whole number, write one without quotes",
    "model_type": "is no table, give it keys of its own",
    "dict_type": "is no table, give it keys of its own",
    "mapping_type": "is no table, give it keys of its own",
    "tuple_type": "is no list, put it in brackets",
}


def complaints(error: ValidationError) -> Iterator[str]:
    """Yield what pydantic found, as `key: what, what to do`."""
    for item in error.errors(include_url=False):
        loc = tuple(part for part in item["loc"] if part != "[key]")
        text = _KINDS.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            text = f"means nothing here, {_advice(str(loc[-1]), _keys_at(loc[:-1]))}"
        elif item["type"] == "literal_error":
            text = f"{item['input']!r} cannot be used, choose {item['ctx']['expected']}"
        elif text == item["msg"]:
            text = f"{item['input']!r} cannot be used, {text[:1].lower()}{text[1:]}"
        yield ": ".join(filter(None, (".".join(map(str, loc)), text)))


def _advice(word: str, valid: list[str]) -> str:
    near = get_close_matches(word, valid, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(valid)}"


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are valid in the part of the file that `loc` leads to."""
    model: type[Strict] = StackFile
    for part in loc:
        known = model.model_fields.get(str(part))
        inner = _model_in(known.annotation) if known else None
        model = inner or model  # the name of an account leads no further
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_in(annotation: Any) -> type[Strict] | None:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    found = (_model_in(each) for each in get_args(annotation))
    return next((each for each in found if each), None)
