"""Postfix's lookup tables: what one is asked, what it answers, and where LDAP ones look."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from labctl.errors import UsageError

_PATTERNS = {"regexp", "pcre", "cidr"}
_ESCAPED = str.maketrans({c: f"\\{ord(c):02x}" for c in "*()\\\0"})  # RFC 4515 §3
_WORD = re.compile(r"%(.)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a table returned: a value, nothing, or that it could not be asked."""

    value: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question to a table and its answer."""

    table: str
    key: str
    answer: Answer


class Maps(Protocol):
    """Where answers come from."""

    def query(self, table: str, key: str) -> Answer:
        """Ask a table, such as `ldap:/etc/postfix/x.cf`, for a key."""


def kind(table: str) -> str:
    """Return the type of a table, such as `ldap`."""
    return table.partition(":")[0]


def is_pattern(table: str) -> bool:
    """Say whether a table holds patterns, which are asked for whole addresses alone."""
    return kind(table) in _PATTERNS


class LookupFailedError(Exception):
    """A table could not be asked: smtpd answers that with a temporary refusal."""


@dataclass(slots=True)
class Recorder:
    """Asks on behalf of one restriction and keeps what was asked."""

    maps: Maps
    lookups: list[Lookup] = field(default_factory=list)

    def ask(self, table: str, key: str) -> str | None:
        """Ask one table; raises LookupFailedError if it does not answer."""
        answer = self.maps.query(table, key)
        self.lookups.append(Lookup(table, key, answer))
        if answer.problem:
            raise LookupFailedError(answer.problem)
        return answer.value


@dataclass(slots=True)
class Remembered:
    """Answers known so far. What is not known counts as no match and is noted as missing, so
    that a second evaluation, after one batch of questions, finds it.
    """

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    missing: dict[tuple[str, str], None] = field(default_factory=dict)

    def query(self, table: str, key: str) -> Answer:
        """Return the answer if it is known."""
        known = self.answers.get((table, key))
        if known is None:
            self.missing[table, key] = None
        return known or Answer()


@dataclass(frozen=True, slots=True)
class LdapSource:
    """The part of an ldap_table(5) file that says what is searched, and where."""

    base: str
    scope: str
    query_filter: str
    domains: tuple[str, ...]

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Return the source that a file's parameters describe, with ldap_table(5)'s defaults."""
        return cls(
            parameters.get("search_base", ""),
            parameters.get("scope", "sub"),
            parameters.get("query_filter", "(mailacceptinggeneralid=%s)"),
            tuple(parameters.get("domain", "").replace(",", " ").split()),
        )

    def covers(self, key: str) -> bool:
        """Say whether the directory is asked for this key at all (`domain`)."""
        _, at, domain = key.rpartition("@")
        if not self.domains:
            return True
        named = domain.lower() in {each.lower() for each in self.domains}
        return bool(at and key[0] != "@" and domain) and ("static:all" in self.domains or named)

    def filled(self, key: str) -> str:
        """Return the filter for a key, as the table folds and escapes it."""
        folded = key.lower()
        local, at, domain = folded.rpartition("@")
        words = {"s": folded, "u": local if at else folded, "d": domain, "%": "%"}

        def fill(match: re.Match[str]) -> str:
            if match[1] not in words:
                raise UsageError(f"explain cannot fill in {match[0]} of {self.query_filter}")
            return words[match[1]].translate(_ESCAPED) if match[1] != "%" else "%"

        return _WORD.sub(fill, self.query_filter)
