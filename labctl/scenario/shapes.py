"""Rules between the keys of a step as JSON Schema, for editors; the models have validators."""

from itertools import combinations
from typing import Any

Shape = dict[str, Any]


def has(key: str, **value: Any) -> Shape:
    """Return the shape of a mapping with this key, whose value has these words of JSON Schema."""
    return {"required": [key], "properties": {key: value}}


def both(*shapes: Shape) -> Shape:
    """Return the shape of what has all of these shapes."""
    return {"allOf": list(shapes)}


def never(*shapes: Shape) -> Shape:
    """Return the shape of what has none of these shapes."""
    return {"not": {"anyOf": list(shapes)}}


def at_most_one(*shapes: Shape) -> Shape:
    """Return the shape of what has no two of these shapes."""
    return never(*(both(*pair) for pair in combinations(shapes, 2)))
