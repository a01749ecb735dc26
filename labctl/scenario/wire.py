r"""The text of a dialogue: what a line means, byte by byte.

`-> text` is sent, with CRLF after it; `<- 554 5.7.1`, `<- 554` or `<- 5` is the reply that must
come, `<- closed` the end of the connection; `=== TLS` begins TLS.

In a text that is sent, `\` begins an escape: `\r`, `\n`, `\0`, `\xNN` a byte; `\\`, `\(`, `\)`
the character itself; `\c`, at the end, no CRLF; `\d` the stack's domain; `\p(alice)` her password;
`\b(text)` its base64; `\m(2000,text)` the text so many times.

A password is said in AUTH and nowhere else: a scenario may be a stranger's, and does not mail it
home.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from labctl.events import Mark
from labctl.protocols.smtp import Reply

CLOSED = "closed"
MASK = b"***"
_LINE = re.compile(r"(->|<-|===) (.*)", re.DOTALL)
_HEARD = re.compile(r"closed|[2-5](?:[0-9]{2}(?: [245]\.[0-9]{1,3}\.[0-9]{1,3})?)?")
LINE_PATTERN = f"^(-> |<- ({_HEARD.pattern})$|=== TLS$)"
"""What a line looks like, to a JSON Schema; `split` knows more."""
_TOKEN = re.compile(
    r"""(?P<plain>[^\\)]+) | (?P<end>\)) | \\(?:
        x(?P<hex>[0-9A-Fa-f]{2}) | (?P<char>[rn0\\()]) | (?P<stop>c\Z) | (?P<domain>d)
        | p\((?P<account>[a-z0-9._-]+)\) | (?P<coded>b\() | m\((?P<times>\d{1,6}),)""",
    re.VERBOSE | re.DOTALL,
)
# What a line with a password begins with: AUTH with its first answer, or a later answer alone.
_ANSWER = re.compile(r"(?:AUTH [A-Za-z0-9_-]+ )?\\b\(", re.IGNORECASE)
_MOST = 1_000_000  # bytes of a line
_DEEPEST = 8  # brackets in brackets
_CHARS = {"r": b"\r", "n": b"\n", "0": b"\0"}


@dataclass(frozen=True, slots=True)
class Spoken:
    """Bytes to send, and how the transcript shows them: with passwords masked."""

    data: bytes = b""
    shown: bytes = b""

    def __add__(self, other: "Spoken") -> "Spoken":
        return Spoken(self.data + other.data, self.shown + other.shown)

    def times(self, number: int) -> "Spoken":
        """Return it so many times; raises ValueError where that is more than a line may have."""
        _check_size(len(self.data) * number)
        return Spoken(self.data * number, self.shown * number)

    def coded(self) -> "Spoken":
        """Return its base64; what holds a secret is masked as a whole."""
        data = base64.b64encode(self.data)
        return Spoken(data, data if self.data == self.shown else MASK)


@dataclass(frozen=True, slots=True)
class Words:
    """What the words of a text stand for on a stack."""

    domain: str
    password: Callable[[str], str]


def split(line: str) -> tuple[Mark, str]:
    """Return a line's mark and its text; raises ValueError, which says why, if it is no line."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("a line is `-> text`, `<- reply` or `=== TLS`")
    mark, text = cast("Mark", match[1]), match[2]
    if mark == "<-" and not _HEARD.fullmatch(text):
        raise ValueError("a reply is `5`, `554`, `554 5.7.1` or `closed`")
    if mark == "===" and text != "TLS":
        raise ValueError("after `===` stands TLS, and nothing else")
    if mark == "->":
        spoken(text, Words("", str))
        if any(passwords(line)) and not _is_answer(text):
            raise ValueError(r"a password is said in AUTH alone: `AUTH PLAIN \b(\0a\0\p(a))`")
    return mark, text


def passwords(line: str) -> Iterator[str]:
    """Yield the accounts whose passwords a line that is sent holds."""
    return (name for name in re.findall(r"\\p\(([a-z0-9._-]+)\)", line))


def spoken(text: str, words: Words) -> Spoken:
    """Return the bytes of a text, CRLF included; raises ValueError at an escape that is none."""
    reader = _Reader(text, words)
    said = reader.read()
    return said if reader.stopped else said + Spoken(b"\r\n", b"\r\n")


def heard(expected: str, reply: Reply | None) -> bool:
    """Say whether a reply (None: the connection was closed) is the expected one."""
    if reply is None or expected == CLOSED:
        return reply is None and expected == CLOSED
    code, _, enhanced = expected.partition(" ")
    return str(reply.code).startswith(code) and enhanced in {"", reply.enhanced}


@dataclass(slots=True)
class _Reader:
    """Reads a text from left to right, and what stands between brackets the same way."""

    text: str
    words: Words
    at: int = 0
    stopped: bool = field(default=False)

    def read(self, depth: int = 0) -> Spoken:
        """Return what stands until the end, or in a bracket until that is closed."""
        if depth > _DEEPEST:
            raise ValueError(f"brackets are {_DEEPEST} deep at most")
        said: list[Spoken] = []
        while self.at < len(self.text):
            match = _TOKEN.match(self.text, self.at)
            if match is None:
                raise ValueError(f"unknown escape {self.text[self.at : self.at + 4]!r}")
            self.at = match.end()
            if match["end"] and depth:
                return _joined(said)
            said.append(self._token(match, depth))
        if depth:
            raise ValueError("a bracket is not closed")
        return _joined(said)

    def _token(self, match: re.Match[str], depth: int) -> Spoken:
        if match["account"]:
            return Spoken(self.words.password(match["account"]).encode(), MASK)
        if match["coded"]:
            return self.read(depth + 1).coded()
        if match["times"]:
            return self.read(depth + 1).times(int(match["times"]))
        data = self._bytes(match)
        return Spoken(data, data)

    def _bytes(self, match: re.Match[str]) -> bytes:
        if match["hex"]:
            return bytes.fromhex(match["hex"])
        if match["char"]:
            return _CHARS.get(match["char"], match["char"].encode())
        if match["stop"]:
            self.stopped = True
            return b""
        return self.words.domain.encode() if match["domain"] else match[0].encode()


def _joined(parts: Sequence[Spoken]) -> Spoken:
    _check_size(sum(len(part.data) for part in parts))
    return Spoken(b"".join(part.data for part in parts), b"".join(part.shown for part in parts))


def _check_size(size: int) -> None:
    if size > _MOST:
        raise ValueError(f"a line has {_MOST:,} bytes at most")


def _is_answer(text: str) -> bool:
    """Say whether a text is an answer in a sign-in, all of it in one bracket and so on one line."""
    match = _ANSWER.match(text)
    if match is None:
        return False
    reader = _Reader(text, Words("", str), match.end())
    reader.read(1)
    return reader.at == len(text)
