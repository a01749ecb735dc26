"""What `postconf` prints, as frozen values: the services, and the parameters of one of them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from labctl.errors import UsageError

_PARAMETER = re.compile(r"^([A-Za-z0-9_]+) =(?: (.*))?$")
_OVERRIDE = re.compile(r"^([^/\s]+/[a-z-]+)/([A-Za-z0-9_]+) = ?(.*)$")
_NUMBER, _TYPE, _COMMAND = 0, 1, 7  # columns of master.cf, master(5)


@dataclass(frozen=True, slots=True)
class Service:
    """An smtpd of master.cf and what it overrides with `-o`."""

    name: str
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The parameters as one service has them, every $name expanded by Postfix."""

    service: Service
    parameters: Mapping[str, str]

    def value(self, name: str) -> str:
        """Return a parameter; raises UsageError if this Postfix has none of that name."""
        try:
            return self.parameters[name]
        except KeyError:
            raise UsageError(f"this Postfix has no parameter {name!r}") from None

    def yes(self, name: str) -> bool:
        """Return a boolean parameter."""
        return self.value(name).lower() == "yes"

    def number(self, name: str) -> int:
        """Return a parameter that is a number, such as a reply code."""
        return int(self.value(name))

    def items(self, name: str) -> tuple[str, ...]:
        """Return the items of a list; braces keep together what they enclose."""
        return tuple(split_items(self.value(name)))


def split_items(value: str) -> Iterator[str]:
    """Split at commas and white space outside braces, as Postfix does (mystrtokq)."""
    depth, item = 0, ""
    for character in value:
        depth += (character == "{") - (character == "}")
        if depth <= 0 and (character == "," or character.isspace()):
            if item:
                yield item
            item = ""
        else:
            item += character
    if item:
        yield item


def service_of_port(master: str, overrides: str, port: int) -> Service:
    """Return the smtpd that listens on a port: `postconf -M`, and `postconf -P` beside it.

    Raises UsageError when there is none.
    """
    for line in master.splitlines():
        columns = line.split(None, _COMMAND)
        if len(columns) <= _COMMAND or columns[_TYPE] != "inet":
            continue
        listens = columns[_NUMBER].rpartition(":")[2]
        if columns[_COMMAND].split()[0] == "smtpd" and _WELL_KNOWN.get(listens, listens) == str(
            port
        ):
            return Service(columns[_NUMBER], _overrides(overrides, f"{columns[_NUMBER]}/inet"))
    raise UsageError(f"no smtpd of this Postfix listens on port {port}", "See its master.cf.")


_WELL_KNOWN = {"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465"}


def _overrides(text: str, service: str) -> dict[str, str]:
    matches = (_OVERRIDE.match(line) for line in text.splitlines())
    return {match[2]: match[3] for match in matches if match and match[1] == service}


def parse_parameters(text: str) -> dict[str, str]:
    """Read the lines `name = value` that postconf prints; anything else is none of them."""
    matches = (_PARAMETER.match(line) for line in text.splitlines())
    return {match[1]: (match[2] or "").strip() for match in matches if match}
