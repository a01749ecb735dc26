"""LDIF change records (RFC 2849): what is to become of an entry.

Values are bytes, as the directory has them: LDIF can say what is no text.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from labctl.protocols.dn import pairs, parent, parts

Values = Mapping[str, tuple[bytes, ...]]
Operation = Literal["add", "delete", "replace"]


@dataclass(frozen=True, slots=True)
class Add:
    """A new entry."""

    dn: str
    values: Values


@dataclass(frozen=True, slots=True)
class Delete:
    """An entry goes."""

    dn: str


@dataclass(frozen=True, slots=True)
class Modification:
    """What becomes of one attribute (RFC 4511 §4.6)."""

    operation: Operation
    attribute: str
    values: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Modify:
    """Attributes of an entry change, in this order."""

    dn: str
    modifications: tuple[Modification, ...]


@dataclass(frozen=True, slots=True)
class Rename:
    """An entry gets another name, and perhaps another place (RFC 4511 §4.9)."""

    dn: str
    new_rdn: str
    delete_old: bool
    new_superior: str | None = None

    @property
    def new_dn(self) -> str:
        """Where the entry is afterwards."""
        superior = parent(self.dn) if self.new_superior is None else self.new_superior
        return f"{self.new_rdn},{superior}" if superior else self.new_rdn


Record = Add | Delete | Modify | Rename


def parse(text: str) -> Record:
    """Return the change record of a text; raises ValueError, which says why, if it is not one."""
    lines = list(_lines(text))
    if lines and lines[0].key == "version":
        lines.pop(0)
    if not lines or lines[0].key != "dn":
        raise ValueError("a record begins with `dn: …`")
    dn = lines[0].text
    pairs(parts(dn)[0])
    if len(lines) == 1 or lines[1].key != "changetype":
        raise ValueError("after the `dn:` stands `changetype: add`, `modify`, `delete` or `modrdn`")
    kind, rest = lines[1].text.lower(), lines[2:]
    if any(line.key == "dn" for line in rest):
        raise ValueError("a second record begins: one change is one step")
    match kind:
        case "add":
            return Add(dn, _values(rest))
        case "delete":
            _ended(rest)
            return Delete(dn)
        case "modify":
            return Modify(dn, tuple(_modifications(rest)))
        case "modrdn" | "moddn":
            return _rename(dn, rest)
    raise ValueError(f"changetype {kind!r} is none: use add, modify, delete or modrdn")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, unfolded: its number, and what stands before and after the colon."""

    number: int
    name: str
    value: bytes

    @property
    def key(self) -> str:
        return self.name.lower()

    @property
    def text(self) -> str:
        try:
            return self.value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"line {self.number}: {self.name} is not UTF-8") from error


def _lines(text: str) -> Iterator[_Line]:
    """Yield the lines, comments and empty ones left out; what begins with a blank goes on."""
    unfolded: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(" ") and unfolded:
            before, start = unfolded[-1]
            unfolded[-1] = before, start + line[1:]
        else:
            unfolded.append((number, line))
    for number, line in unfolded:
        if line and not line.startswith("#"):
            yield _line(number, line)


def _line(number: int, line: str) -> _Line:
    if line == "-":
        return _Line(number, "-", b"")
    name, colon, rest = line.partition(":")
    if not colon or not name or name != name.strip():
        raise ValueError(f"line {number}: {line!r} is no `attribute: value`")
    if rest.startswith("<"):
        raise ValueError(f"line {number}: a value is written here, not read from a URL")
    if not rest.startswith(":"):
        return _Line(number, name, rest.lstrip(" ").encode())
    try:
        return _Line(number, name, base64.b64decode(rest[1:].strip(), validate=True))
    except binascii.Error as error:
        raise ValueError(f"line {number}: {name} is not base64: {error}") from error


def _values(lines: Sequence[_Line]) -> Values:
    values: dict[str, tuple[bytes, ...]] = {}
    for line in lines:
        if line.name == "-":
            raise ValueError(f"line {line.number}: `-` ends a modification, and this is none")
        values[line.name] = (*values.get(line.name, ()), line.value)
    if not values:
        raise ValueError("an entry has attributes")
    return values


def _modifications(lines: Sequence[_Line]) -> Iterator[Modification]:
    if not lines:
        raise ValueError("a modification is missing: `replace: attribute`")
    rest = list(lines)
    while rest:
        head = rest.pop(0)
        operation = _OPERATIONS.get(head.key)
        if operation is None:
            text = f"{head.name!r} is no modification: use add, delete or replace"
            raise ValueError(f"line {head.number}: {text}")
        values: list[bytes] = []
        while rest and (line := rest.pop(0)).name != "-":
            if line.key != head.text.lower():
                text = f"{line.name!r} stands in a modification of {head.text!r}"
                raise ValueError(f"line {line.number}: {text}; a `-` ends each modification")
            values.append(line.value)
        if operation == "add" and not values:
            raise ValueError(f"line {head.number}: there is no value to add")
        yield Modification(operation, head.text, tuple(values))


_OPERATIONS: Mapping[str, Operation] = {"add": "add", "delete": "delete", "replace": "replace"}


def _rename(dn: str, lines: Sequence[_Line]) -> Rename:
    given = {line.key: line for line in lines}
    new_rdn, old = given.pop("newrdn", None), given.pop("deleteoldrdn", None)
    superior = given.pop("newsuperior", None)
    if new_rdn is None or old is None or old.text not in {"0", "1"} or given:
        raise ValueError("a modrdn has `newrdn:`, `deleteoldrdn: 0` or `1`, perhaps `newsuperior:`")
    pairs(new_rdn.text)
    return Rename(dn, new_rdn.text, old.text == "1", None if superior is None else superior.text)


def _ended(lines: Sequence[_Line]) -> None:
    if lines:
        raise ValueError(f"line {lines[0].number}: nothing follows `changetype: delete`")
