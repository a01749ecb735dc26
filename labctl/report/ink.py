"""Puts lines on paper: what a view writes with, and the plain kind for pipes and files.

Plain text holds no escapes and cuts nothing; only on a terminal does it ask how wide that is, and
break lines there. Columns line up where the text lets them. Callers pass only `visible` text, prose
aside. The other kind is `colour`.
"""

import os
import shutil
import textwrap
from dataclasses import dataclass
from typing import Final, Protocol, TextIO

from labctl.report.wording import lines

_WIDTH: Final = 100  # where durations end, unless the text is longer
_BODY: Final = 38
_ASCII = str.maketrans({"✓": "+", "»": ">", "✗": "x", "–": "-", "↩": "<", "…": "~", "·": "|"})  # noqa: RUF001

INDENT: Final = 7
LABEL: Final = 13
"""Details stand under their step, indented, text behind a column of labels."""


@dataclass(frozen=True, slots=True)
class Row:
    """One step on one line; `quiet` rows stay in the background."""

    number: int
    mark: str
    word: str
    verb: str
    body: str
    note: str = ""
    right: str = ""
    quiet: bool = False

    @property
    def head(self) -> str:
        """The number, the mark and the word, in their columns."""
        return f"{self.number:>3}  {self.mark} {self.word:<7}"


class Ink(Protocol):
    """What a view writes with."""

    def title(self, text: str, meta: str) -> None:
        """Write a heading, and what it is about at the right."""

    def prose(self, text: str, indent: int = 0) -> None:
        """Write a text for the room, in Markdown, which may have several lines."""

    def row(self, row: Row) -> None:
        """Write the line of a step."""

    def pending(self, row: Row) -> None:
        """Show a line that the next one replaces, where lines can be replaced."""

    def detail(
        self, label: str, text: str, style: str = "", mark: str = "", note: str = ""
    ) -> None:
        """Write a line beneath a step: a label, a mark before the text, the text, what it means."""

    def prompt(self, text: str) -> None:
        """Say which keys there are, in a line that the next one replaces, where lines can be."""

    def closing(self, word: str, text: str) -> None:
        """Write the last line: how it ended, and the numbers."""

    def blank(self) -> None:
        """Write an empty line."""


class Plain:
    """Ink without colour."""

    def __init__(self, stream: TextIO, width: int | None = None) -> None:
        self._stream = stream
        if width is None and stream.isatty():
            width = shutil.get_terminal_size().columns
        self._breaks = width is not None
        self._width = min(_WIDTH, width or _WIDTH)

    def title(self, text: str, meta: str) -> None:
        """Write a heading, and what it is about at the right."""
        self._line(text, f"  {meta}")

    def prose(self, text: str, indent: int = 0) -> None:
        """Write a text for the room as it was written."""
        for line in lines(text):
            for part in self._parts(line, self._width - indent):
                self._line(f"{'':{indent}}{part}")

    def row(self, row: Row) -> None:
        """Write the line of a step, its columns padded and never cut."""
        body = f"{row.body:<{_BODY}}  {row.note}" if row.note else row.body
        self._line(f"{row.head}  {row.verb:<12}  {body}", f"  {row.right}")

    def pending(self, row: Row) -> None:
        """Show nothing: what is on paper stays there."""

    def detail(
        self,
        label: str,
        text: str,
        style: str = "",  # noqa: ARG002  no styles here
        mark: str = "",
        note: str = "",
    ) -> None:
        """Write a line beneath a step."""
        whole = f"{text}  # {note}" if note else text
        margin = f"{'':{INDENT}}{label:<{LABEL - 1}} {mark}"
        for part in self._parts(whole, self._width - len(margin)):
            self._line(f"{margin}{part}")
            margin = " " * len(margin)

    def prompt(self, text: str) -> None:
        """Say which keys there are."""
        self._line(text)

    def closing(self, word: str, text: str) -> None:
        """Write the last line: how it ended, and the numbers."""
        self._line(f"{word}: {text}")

    def blank(self) -> None:
        """Write an empty line."""
        self._line("")

    def _parts(self, text: str, room: int) -> list[str]:
        return (textwrap.wrap(text, room) if self._breaks else []) or [text]

    def _line(self, left: str, right: str = "") -> None:
        line = left.ljust(self._width - len(right)) + right if right.strip() else left
        self._stream.write(self._writable(line.rstrip()) + "\n")
        self._stream.flush()

    def _writable(self, text: str) -> str:
        """Return `text` in what the stream can encode: ASCII marks and escapes if it must be."""
        encoding = self._stream.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
        return text


def ink_for(
    stream: TextIO, *, colour: bool | None = None, width: int | None = None, big: bool = False
) -> Ink:
    """Return the ink for `stream`; `colour` None means: as the stream and NO_COLOR suggest.

    `width` overrides the terminal's; `big` leaves nothing dim, for a projector. rich is imported
    only if there is to be colour.
    """
    if not (wants_colour(stream) if colour is None else colour):
        return Plain(stream, width)
    from labctl.report.colour import Colour  # rich costs 38 ms

    return Colour(stream, width, big=big)


def wants_colour(stream: TextIO) -> bool:
    """Say whether `stream` is a terminal that shows colour and Unicode, to one who wants colour."""
    unicode = (stream.encoding or "").lower().startswith("utf")
    dumb = os.environ.get("TERM") == "dumb"
    return stream.isatty() and unicode and not dumb and not os.environ.get("NO_COLOR")
