"""The wire as it is shown to a room: who speaks, what it means, and what is routine folded away."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import shorten

from labctl.events import Wire
from labctl.report.terminal import WireLine
from labctl.report.wording import count

_WHO = {"->": "client", "<-": "server", "<**": "unexpected", "===": "", "***": "error"}

_SAID = [
    (re.compile(pattern, re.IGNORECASE), note)
    for pattern, note in (
        (r"(EHLO|HELO)\b", "greets"),
        (r"STARTTLS\b", "asks for TLS"),
        (r"AUTH\b", "signs in"),
        (r"MAIL FROM:", "envelope sender"),
        (r"RCPT TO:", "the directory is asked"),
        (r"DATA\b", "wants to send it"),
        (r"RSET\b", "forgets this transaction"),
        (r"QUIT\b", "says goodbye"),
        (r"\S+ (LOGIN|AUTHENTICATE)\b", "signs in"),
        (r"\S+ EXAMINE\b", "opens the mailbox to read"),
        (r"\S+ UID SEARCH\b", "looks for the message"),
    )
]
# By the first digit of a reply (RFC 5321 §4.2.1), and by what it answers.
_HEARD = {
    ("AUTH", "2"): "signed in",
    ("AUTH", "4"): "cannot be asked now",
    ("AUTH", "5"): "wrong name or password",
    ("RCPT", "2"): "may be sent to",
    ("CONTENT", "2"): "accepted, queued",
    ("", "4"): "refused for now: try again",
    ("", "5"): "refused for good",
}
_FOLDED = 32  # characters of the first of several lines; a screen has 80 columns
_REPLY = re.compile(r"([2-5])\d\d(?P<more>-)?")
_GOES_AHEAD = re.compile(r"354\b")  # RFC 5321 §4.1.1.4
_ENDS_WELL = re.compile(r"2\d\d |\S+ OK\b")  # the last of several lines
_ROUTINE = re.compile(r"\* (?!SEARCH|NO|BAD|BYE)")  # untagged, RFC 9051 §2.2.2


def annotated(wires: Sequence[Wire]) -> Iterator[WireLine]:
    """Yield the lines of a wire with what they mean; greetings up to TLS, lists of what a server
    offers, untagged IMAP and the content of a message are folded into one line each.
    """
    reader = _Reader()
    for wire in wires:
        yield from reader.read(wire)
    yield from reader.folded()


def in_words(wires: Sequence[Wire]) -> Iterator[WireLine]:
    """Yield every line of a wire, with a word for who speaks beside the mark."""
    return (_line(wire) for wire in wires)


@dataclass
class _Reader:
    """Reads a wire line by line; what is held back is told by its first line and a number."""

    verb: str = ""  # the last command, or CONTENT
    held: list[WireLine] = field(default_factory=list)
    in_content: bool = False
    greeting: bool = False

    def read(self, wire: Wire) -> Iterator[WireLine]:
        match wire.mark:
            case "->":
                yield from self._sent(wire)
            case "<-":
                yield from self._received(wire)
            case _:
                if wire.line == "TLS begun":
                    note = f"{len(self.held)} lines of greeting before it" if self.held else ""
                    self.held.clear()
                    yield _line(wire, note)
                else:
                    yield from self.folded()
                    yield _line(wire)
                self.greeting = wire.line.startswith("connecting to")

    def folded(self) -> Iterator[WireLine]:
        """Yield what was held back: one line as it is, more as the first with their number."""
        if not self.held:
            return
        first, more = self.held[0], len(self.held) - 1
        if more or _ROUTINE.match(first.text):
            text = shorten(first.text, _FOLDED, placeholder=" …")
            rest = f"and {count(more, 'more line')}" if more else ""
            note = " ".join(filter(None, (first.note, rest)))
            first = WireLine(first.label, first.mark, text, note)
        self.held.clear()
        yield first

    def _sent(self, wire: Wire) -> Iterator[WireLine]:
        if self.in_content:
            self.held.append(_line(wire, "" if self.held else "the message"))
            self.in_content = wire.line != "."
            return
        if self.greeting and re.match(r"(EHLO|STARTTLS)\b", wire.line, re.IGNORECASE):
            self.held.append(_line(wire))
            return
        self.greeting = False
        yield from self.folded()
        self.verb = wire.line.upper().partition(" ")[0]
        yield _line(wire, next((note for pattern, note in _SAID if pattern.match(wire.line)), ""))

    def _received(self, wire: Wire) -> Iterator[WireLine]:
        reply = _REPLY.match(wire.line)
        if self.greeting or _ROUTINE.match(wire.line) or (reply and reply["more"]):
            self.held.append(_line(wire))
            return
        if self.held and self.held[-1].mark == "<-" and _ENDS_WELL.match(wire.line):
            self.held.append(_line(wire))
            yield from self.folded()
            return
        yield from self.folded()
        note = ""
        if reply:
            note = _HEARD.get((self.verb, reply[1]), _HEARD.get(("", reply[1]), ""))
        if _GOES_AHEAD.match(wire.line):
            self.in_content, self.verb, note = True, "CONTENT", "go on"
        yield _line(wire, note)


def _line(wire: Wire, note: str = "") -> WireLine:
    label = _WHO[wire.mark] or wire.peer
    return WireLine(label, wire.mark, wire.line, note)
