"""A YAML file as plain data that remembers where everything stood.

YAML 1.2 (`no` is a string). Equal keys in one mapping, anchors and tags are problems; all of
them are reported together, with the line and column they stand at.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path_ = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"
_MAX_BYTES = 1_000_000
_DEEPEST = 50  # mappings and lists in one another


@dataclass(slots=True)
class Document:
    """`data` with the place of every key (`keys`) and value (`values`), by its path."""

    path: Path
    data: Any = None
    keys: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    values: MutableMapping[Path_, tuple[int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unreadable: bool = False  # the data is not whole: to look further would only mislead

    def problem(self, at: tuple[int, int], text: str) -> None:
        """Note a problem at a line and column, both counted from 1."""
        self.problems.append(f"{self.path}:{at[0]}:{at[1]}: {text}")

    def cannot_read(self, at: tuple[int, int], text: str) -> None:
        """Note a problem that leaves the data incomplete."""
        self.unreadable = True
        self.problem(at, text)

    def place(self, path: Path_, *, key: bool = False) -> tuple[int, int]:
        """Return where a value, or its key, stands; failing that, what holds it."""
        where = self.keys if key else self.values
        while path and path not in where:
            path, where = path[:-1], self.values
        return where.get(path, (1, 1))


def read_document(path: Path) -> Document:
    """Read a file; what cannot be read is among the document's `problems`."""
    document = Document(path)
    try:
        with warnings.catch_warnings():  # that an anchor is used twice: it may not be used at all
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            root = YAML(typ="safe", pure=True).compose(_text(path))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.cannot_read(place, f"not YAML: {_trouble(error)}")
    except RecursionError:
        document.cannot_read((1, 1), "cannot be read: it is nested too deeply")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        document.cannot_read(place, "cannot be read: what stands here is not UTF-8")
    except (OSError, ValueError, YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
        document.cannot_read((1, 1), f"cannot be read: {reason}")
    else:
        if root is None:
            document.cannot_read((1, 1), "the file is empty")
        else:
            document.data = _value(document, root, ())
    return document


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)  # not all of it: what is named may never end
    if len(content) > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
    return content.decode("utf-8")


def _trouble(error: MarkedYAMLError) -> str:
    if error.problem == "but found another document":
        return "a second document begins here, and a file is one scenario"
    return str(error.problem or error.context)


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _value(document: Document, node: Node, path: Path_) -> Any:
    document.values[path] = _place(node)
    if node.anchor:
        document.cannot_read(_place(node), "anchors and aliases are not used here: write it out")
        return None
    if len(path) > _DEEPEST:
        document.cannot_read(_place(node), "this is nested too deeply")
        return None
    if isinstance(node, MappingNode):
        return _mapping(document, node, path)
    if isinstance(node, SequenceNode):
        return [_value(document, item, (*path, i)) for i, item in enumerate(node.value)]
    return _scalar(document, node)


def _mapping(document: Document, node: MappingNode, path: Path_) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, ScalarNode):
            document.problem(_place(key_node), "a key must be a word")
            continue
        key = str(key_node.value)
        if key in result:
            line = document.keys[(*path, key)][0]
            document.problem(_place(key_node), f"duplicate key {key!r}: first on line {line}")
            continue
        document.keys[(*path, key)] = _place(key_node)
        result[key] = _value(document, value_node, (*path, key))
        if value_node.start_mark.index == value_node.end_mark.index:  # nothing stands there
            document.values[(*path, key)] = _place(key_node)
    return result


def _scalar(document: Document, node: Node) -> Any:
    text, tag = str(node.value), str(node.tag).removeprefix(_TAG)
    read = _SCALARS.get(tag)
    if read is None:
        document.cannot_read(_place(node), f"the tag {tag!r} is not used here")
        return None
    try:
        return read(text)
    except ValueError:  # Python reads no number of so many digits
        document.cannot_read(_place(node), "this number is too long")
        return None


def _int(text: str) -> int:
    return int(text, 0) if text.lstrip("+-").startswith(("0x", "0o")) else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
    "int": _int,
    "float": _float,
    "timestamp": str,
}


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest valid word, else the list of all of them."""
    choices = list(valid)
    near = get_close_matches(word, choices, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; valid: {', '.join(choices)}" if choices else ""
