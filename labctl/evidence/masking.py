"""Leaving passwords out: by the name that they stand behind, and wherever else they turn up."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from labctl.endpoints import Account, Endpoints, Login

MASK: Final = "***"
_OUR_WORDS: Final = ("schema", "event", "mark", "verdict")  # of an event: never a password
_STABLE: Final = 8  # characters of base64, of six bits: fewer would be found in anything

# `bind_pw = …` of a map (ldap_table(5)), `dnpass = …` of Dovecot, with the lines that belong to it.
_SETTING = re.compile(
    r"^([ \t]*\w*(?:pw|pass|passwd|password|secret)[ \t]*=)[^\n]*(?:\n[ \t]+[^\n]*)*",
    re.MULTILINE | re.IGNORECASE,
)
# `olcRootPW:: …` of an LDIF, folded or not (RFC 2849).
_ATTRIBUTE = re.compile(
    r"^(\w*(?:pw|password|passwd|pwdHistory|credentials))::?[^\n]*(?:\n [^\n]*)*",
    re.MULTILINE | re.IGNORECASE,
)


def without_passwords(text: str) -> str:
    """Return a configuration or an LDIF with every value masked that is named like a password."""
    return _ATTRIBUTE.sub(rf"\1: {MASK}", _SETTING.sub(rf"\1 {MASK}", text))


@dataclass(frozen=True, slots=True)
class Mask:
    """Finds a stack's passwords in any text, as they are and in base64."""

    pattern: re.Pattern[str] | None

    @classmethod
    def of(cls, endpoints: Endpoints) -> "Mask":
        """Return the mask for every password that the endpoints know."""
        admins = (endpoints.directory_admin, endpoints.policy_admin)
        services, people = endpoints.service_accounts.values(), endpoints.accounts.values()
        forms = {
            form
            for login in (*admins, *services, *people)
            if login is not None
            for form in _forms(login)
        }
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        return cls(re.compile("|".join(map(re.escape, longest_first))) if forms else None)

    def apply(self, text: str) -> tuple[str, int]:
        """Return the text with each password as `***`, and how many there were."""
        return self.pattern.subn(MASK, text) if self.pattern else (text, 0)

    def apply_to_transcript(self, text: str) -> tuple[str, int]:
        """Return a transcript so; its events stay events, whatever the passwords are."""
        done = [self._line(line) for line in text.splitlines(keepends=True)]
        return "".join(line for line, _ in done), sum(times for _, times in done)

    def _line(self, line: str) -> tuple[str, int]:
        masked, times = self.apply(line)
        if not times:
            return line, 0
        try:
            event = json.loads(line)
        except ValueError:
            return masked, times  # what a crash left of a line
        texts = {
            name: self.apply(value)[0]
            for name, value in event.items()
            if isinstance(value, str) and name not in _OUR_WORDS
        }
        return json.dumps(event | texts) + "\n", times


def _forms(login: Account | Login) -> Iterator[str]:
    password = login.password.reveal()
    if not password:
        return
    name = login.login if isinstance(login, Account) else login.name
    yield from {password, json.dumps(password)[1:-1]}
    for text in (password, f"\0{name}\0{password}", f"{name}\0{name}\0{password}"):  # RFC 4616
        yield b64encode(text.encode()).decode().rstrip("=")
    yield from _within_base64(password.encode())


def _within_base64(secret: bytes) -> Iterable[str]:
    """Return the base64 of a secret in the middle of something: what does not depend on its
    neighbours, for each of the three places in which a group of three bytes can begin.
    """
    for before in range(3):
        coded = b64encode(bytes(before) + secret).decode()
        first = (before * 8 + 5) // 6
        stable = coded[first : (before + len(secret)) * 8 // 6]
        if len(stable) >= _STABLE:
            yield stable
