"""The redacting wire tap: turns bytes of a conversation into `Wire` events."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from labctl.events import Emit, Mark, Wire

MASK = "***"

# What may carry a secret: SASL's initial response (RFC 4954 §4, RFC 9051 §6.2.2), IMAP's LOGIN.
_SASL = re.compile(r"^((?:\S+ )?AUTH(?:ENTICATE)? \S+)(?: .*)?$", re.IGNORECASE)
_LOGIN = re.compile(r"^(\S+ LOGIN) .*$", re.IGNORECASE)


def masked(line: str) -> str:
    """Return the line that a client sent with its secret, if it carries one, as `***`."""
    if match := _LOGIN.match(line):
        return f"{match[1]} {MASK}"
    if (match := _SASL.match(line)) and match[0] != match[1]:
        return f"{match[1]} {MASK}"
    return line


@dataclass(slots=True)
class Tap:
    """Listens to one connection. `emit` may be changed while it is open, as steps go by."""

    peer: str
    emit: Emit
    now: Callable[[], float] = field(default=time.time)
    _answering: bool = False  # the next line sent answers a SASL challenge

    def sent(self, data: bytes) -> None:
        """Record what the client sent, line by line."""
        for line in _lines(data):
            shown = MASK if self._answering and line != "*" else masked(line)
            self._answering = False
            self._wire("->", shown)

    def received(self, line: bytes) -> None:
        """Record a line that the server sent."""
        text = _text(line)
        # A challenge: 334 in SMTP (RFC 4954 §4), "+" in IMAP (RFC 9051 §2.2.1).
        self._answering = text.startswith(("334", "+ "))
        self._wire("<-", text)

    def note(self, text: str, mark: Mark = "===") -> None:
        """Record what is no part of the conversation: opened, closed, TLS begun."""
        self._wire(mark, text)

    def message(self, data: bytes) -> None:
        """Record a message's content, which never holds a secret of ours."""
        for line in _lines(data):
            self._wire("->", line)

    def _wire(self, mark: Mark, line: str) -> None:
        self.emit(Wire(self.peer, mark, line, self.now()))


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8", "backslashreplace")
    return text.removesuffix("\r\n").split("\r\n")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").rstrip("\r\n")
