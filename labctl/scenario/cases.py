"""Cases: a table of values over one list of steps, written out before the steps are looked at.

A text in the steps may hold `{key}` of a row (`{{` and `}}` are braces); one that is nothing but
`{key}` becomes the row's value, whatever it is, and a list in a list becomes part of it. A value
`{hardened: …, baseline: …}` is another one on each policy profile. `defaults` is what the rows
leave out.
"""

import re
from collections import ChainMap, Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from labctl.scenario.document import Document, Path_, nearest

PROFILES = ("hardened", "baseline")
RESERVED = ("name", "needs", "open")
_MOST = 2_000_000  # characters and nodes of all cases, written out: a file has half of that
_BRACES = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: where it stands, its own keys, and the values with their places.

    With one that is not `sound` the steps cannot be written out.
    """

    path: Path_
    own: dict[str, Any]
    values: dict[str, tuple[Any, Path_]]
    sound: bool = True

    @property
    def differs(self) -> bool:
        """Say whether any of its values depends on the policy profile."""
        return any(_differs(value) for value, _ in self.values.values())


def rows(document: Document) -> list[Row]:
    """Return the rows, having noted what is wrong with the table in the document's problems."""
    defaults = _values(document.data.get("defaults"), ("defaults",))
    found = []
    for i, given in enumerate(_list(document.data.get("cases"))):
        path: Path_ = ("cases", i)
        if not isinstance(given, dict):
            document.problem(document.place(path), "a case is a mapping: `- {name: …, key: …}`")
            continue
        own = {key: value for key, value in given.items() if key in RESERVED}
        said = {key: value for key, value in given.items() if key not in RESERVED}
        found.append(Row(path, own, defaults | _values(said, path)))
    steps = document.data.get("steps")
    uses = list(_used(document, steps, ("steps",)))
    if _size(steps) * len(found) + sum(_sizes(found, uses)) > _MOST:
        text = f"written out, the cases have more than {_MOST:,} characters: make it two scenarios"
        document.problem(document.place(("cases",), key=True), text)
        return []
    used = dict(uses)
    _check_keys(document, found, defaults, used)
    return [replace(row, sound=_check_values(document, row, used)) for row in found]


def written_out(document: Document, row: Row, profile: str) -> Document:
    """Return the document with the row's values in its steps, as on one policy profile.

    A problem with a value is told at the value's own place.
    """
    values: dict[Path_, tuple[int, int]] = {}
    expansion = _Expansion(document, row, profile, values)
    steps = expansion.of(document.data["steps"], ("steps",), ("steps",))
    data = {**document.data, "steps": steps}
    return replace(document, data=data, values=ChainMap(values, document.values))


def _size(value: Any) -> int:
    """Return how much there is to copy."""
    if isinstance(value, dict):
        return 1 + sum(len(key) + _size(item) for key, item in value.items())
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1 + (len(value) if isinstance(value, str) else 0)


def _sizes(found: Iterable[Row], uses: Iterable[tuple[str, Path_]]) -> Iterator[int]:
    """Yield how much the values of each row are, as often as the steps use them."""
    times = Counter(key for key, _ in uses)
    for row in found:
        yield sum(times[key] * _size(value) for key, (value, _) in row.values.items())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _values(given: Any, path: Path_) -> dict[str, tuple[Any, Path_]]:
    if not isinstance(given, dict):  # none, or the header's error
        return {}
    return {key: (value, (*path, key)) for key, value in given.items()}


def _by_profile(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(PROFILES)


def _differs(value: Any) -> bool:
    return _by_profile(value) or any(_differs(item) for item in _list(value))


def _used(document: Document, value: Any, path: Path_) -> Iterator[tuple[str, Path_]]:
    """Yield the keys in the braces of the steps, and where; a lone brace is a problem."""
    if isinstance(value, str):
        for match in _BRACES.finditer(value):
            if match[1]:
                yield match[1], path
            elif match[0] in "{}":
                text = f"a lone {match[0]!r} in {value!r}: a brace is written twice"
                document.problem(document.place(path), text)
        return
    items = value.items() if isinstance(value, dict) else enumerate(_list(value))
    for key, item in items:
        yield from _used(document, item, (*path, key))


def _check_keys(
    document: Document,
    found: list[Row],
    defaults: dict[str, tuple[Any, Path_]],
    used: dict[str, Path_],
) -> None:
    known = {key for row in found for key in row.values} | set(defaults)
    for key in sorted(set(used) - known):
        text = f"no case has the key {key!r}{nearest(key, sorted(known))}"
        document.problem(document.place(used[key]), text)
    for row in found:
        for key in sorted((set(used) & known) - set(row.values)):
            document.problem(document.place(row.path), f"the key {key!r} is missing")


def _check_values(document: Document, row: Row, used: Mapping[str, Path_]) -> bool:
    """Note what is wrong with a row's values; say whether the steps can be written out with it."""
    for key in sorted(set(row.values) - set(used)):
        text = f"no step uses the key {key!r}{nearest(key, sorted(used))}"
        document.problem(document.place(row.values[key][1], key=True), text)
    usable = [_check_value(document, *row.values[key]) for key in row.values]
    return set(used) <= set(row.values) and all(usable)


def _check_value(document: Document, value: Any, path: Path_) -> bool:
    if isinstance(value, list):
        found = [_check_value(document, item, (*path, i)) for i, item in enumerate(value)]
        return all(found)
    if _by_profile(value):
        found = [_check_value(document, value[key], (*path, key)) for key in PROFILES]
        return all(found)
    if isinstance(value, dict):
        text = "a value is text, a list, or a mapping of both profiles: hardened and baseline"
        document.problem(document.place(path), text)
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Expansion:
    """Copies the steps for one row and profile, and notes where each value came from."""

    document: Document
    row: Row
    profile: str
    places: dict[Path_, tuple[int, int]]

    def of(self, value: Any, source: Path_, target: Path_) -> Any:
        """Return the value that stands at `source`, as it is to stand at `target`."""
        if _by_profile(value) and source[0] != "steps":
            return self.of(value[self.profile], (*source, self.profile), target)
        if isinstance(value, dict):
            return {
                key: self.of(item, (*source, key), (*target, key)) for key, item in value.items()
            }
        if isinstance(value, list):
            return self._list(value, source, target)
        if isinstance(value, str) and source[0] == "steps":  # a row's own text is taken as it is
            return self._text(value, source, target)
        self.places[target] = self.document.place(source)
        return value

    def _list(self, items: list[Any], source: Path_, target: Path_) -> list[Any]:
        self.places[target] = self.document.place(source)
        result: list[Any] = []
        for i, item in enumerate(items):
            value = self.of(item, (*source, i), (*target, len(result)))
            if isinstance(value, list):  # written out again, item by item, for their places
                inner = self._source(item, (*source, i))
                for j, each in enumerate(value):
                    self.places[(*target, len(result))] = self.document.place((*inner, j))
                    result.append(each)
            else:
                result.append(value)
        return result

    def _source(self, item: Any, source: Path_) -> Path_:
        if _by_profile(item) and source[0] != "steps":
            return self._source(item[self.profile], (*source, self.profile))
        whole = _BRACES.fullmatch(item) if isinstance(item, str) and source[0] == "steps" else None
        if whole and whole[1] in self.row.values:
            return self._source(*self.row.values[whole[1]])
        return source

    def _text(self, text: str, source: Path_, target: Path_) -> Any:
        whole = _BRACES.fullmatch(text)
        if whole and whole[1] in self.row.values:
            value, path = self.row.values[whole[1]]
            return self.of(value, path, target)
        self.places[target] = self.document.place(source)
        return _BRACES.sub(lambda match: self._part(match, target), text)

    def _part(self, match: re.Match[str], target: Path_) -> str:
        if not match[1]:
            return match[0][0]
        value, path = self.row.values.get(match[1], ("", ()))
        if _by_profile(value):
            value, path = value[self.profile], (*path, self.profile)
        self.places[target] = self.document.place(path)
        if isinstance(value, list):
            text = f"{match[1]} is a list, which can only stand alone"
            self.document.problem(self.document.place(path), text)
        return str(value)
