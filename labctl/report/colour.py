"""Ink for a terminal: colour, and every line within the width. The one file that knows rich.

A step's line is shortened to fit; everything else goes on in the next line, beneath its text.
Only the sixteen colours are used, which a terminal's theme makes legible on light and dark.
"""

import re
from typing import Final, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from labctl.report.ink import INDENT, LABEL, Row
from labctl.report.wording import flowing

_NARROWEST: Final = 40  # below, labels would leave no room: the terminal itself breaks the lines
_WIDEST: Final = 112  # longer lines are hard to follow on a projector
_NOTE: Final = 18  # `554 5.7.1 at RCPT` fits
_TIME: Final = 9
_GAP: Final = 2

_STYLES: Final = {
    "passed": "green",
    "failed": "bold red",
    "error": "bold magenta",
    "skipped": "yellow",
    "interrupted": "bold yellow",
    "running": "cyan",
    "next": "bold cyan",
    "planned": "cyan",
    "command": "cyan",
    "unmet": "red",
    "quiet": "dim",
    "->": "dim",
    "<**": "bold red",
    "***": "bold red",
    "===": "dim",
}

_SHELL_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""")


class Colour:
    """Ink with colour, for a terminal."""

    def __init__(self, stream: TextIO, width: int | None = None, *, big: bool = False) -> None:
        self._console = Console(
            file=stream,
            width=width,
            force_terminal=True,
            color_system="standard",
            no_color=False,
            legacy_windows=False,
        )
        self._replace = False
        self._dim = "" if big else "dim"
        self._prose = "bold" if big else "italic"

    @property
    def width(self) -> int:
        """The columns in use; the terminal may be resized at any time."""
        return max(_NARROWEST, min(self._console.width, _WIDEST))

    def title(self, text: str, meta: str) -> None:
        """Write a heading, and what it is about at the right, or beneath where it is narrow."""
        heading, about = Text(text, "bold"), Text(meta, self._dim)
        room = self.width - heading.cell_len - about.cell_len
        if room < _GAP:
            self._paragraph(heading)
            self._paragraph(about)
        else:
            self._print(Text.assemble(heading, " " * room, about))
        self._print(Text("─" * self.width, self._dim))

    def prose(self, text: str, indent: int = 0) -> None:
        """Write a text for the room, its paragraphs filled to the width."""
        for paragraph in flowing(text):
            for part in self._wrapped(paragraph, self.width - indent) or [""]:
                self._print(Text(f"{'':{indent}}{part}", self._prose))

    def row(self, row: Row) -> None:
        """Write the line of a step, shortened to the width."""
        self._print(self._row(row))

    def pending(self, row: Row) -> None:
        """Show a line that the next one replaces."""
        self._print(self._row(row), end="")
        self._replace = True

    def detail(
        self, label: str, text: str, style: str = "", mark: str = "", note: str = ""
    ) -> None:
        """Write a line beneath a step; what does not fit goes on in the next, beneath the text."""
        room = self.width - INDENT - LABEL - len(mark)
        colour = self._style(style)
        margin = Text.assemble((f"{'':{INDENT}}{label:<{LABEL}}", self._dim), (mark, colour))
        parts = _shell_lines(text, room) if style == "command" else self._wrapped(text, room)
        meaning = f"# {note}" if note else ""
        beside = parts and cell_len(parts[-1]) + _GAP + cell_len(meaning) <= room
        for number, part in enumerate(parts, start=1):
            line = Text.assemble(margin, (part, colour))
            if meaning and beside and number == len(parts):
                line.append(f"{'':{_GAP}}{meaning}", "cyan")
            self._print(line)
            margin = Text(" " * margin.cell_len)
        if meaning and not beside:
            for part in self._wrapped(meaning, room):
                self._print(Text.assemble(margin, (part, "cyan")))

    def prompt(self, text: str) -> None:
        """Say which keys there are, in a line that the next one replaces."""
        self._print(_cut(Text(text, "bold cyan"), self.width), end="")
        self._replace = True

    def closing(self, word: str, text: str) -> None:
        """Write the last line: how it ended, and the numbers."""
        self._paragraph(Text.assemble((word, _STYLES.get(word, "")), f": {text}"))

    def blank(self) -> None:
        """Write an empty line."""
        self._print(Text())

    def _row(self, row: Row) -> Text:
        head = Text.assemble(
            (row.head[:5], self._dim), (row.head[5:], self._style(row.word)), f"  {row.verb:<12}  "
        )
        head.stylize("bold", len(row.head))
        middle = self._middle(row, self.width - head.cell_len - _TIME)
        line = _cut(Text.assemble(head, middle), self.width - _TIME)
        line.pad_right(self.width - _TIME - line.cell_len)
        line.append(f"{row.right:>{_TIME}}", self._dim)
        return Text(line.plain, self._dim) if row.quiet else line

    @staticmethod
    def _middle(row: Row, room: int) -> Text:
        """Return the body and the note in `room` columns: each may use what the other leaves."""
        usual = room - _GAP - _NOTE
        note = _cut(
            Text(row.note, _STYLES.get(row.word, "") if row.word == "failed" else "cyan"),
            room - _GAP - min(cell_len(row.body), usual),
        )
        body = _cut(Text(row.body), room - _GAP - note.cell_len if note else room)
        column = min(usual, room - _GAP - note.cell_len)
        body.pad_right(max(column - body.cell_len, 0) + _GAP)
        return Text.assemble(body, note)

    def _style(self, name: str) -> str:
        return self._dim if (style := _STYLES.get(name, "")) == "dim" else style

    def _paragraph(self, text: Text) -> None:
        self._print(*text.wrap(self._console, self.width, overflow="fold"))

    def _wrapped(self, text: str, room: int) -> list[str]:
        return [line.plain for line in Text(text).wrap(self._console, room, overflow="fold")]

    def _print(self, *texts: Text, end: str = "\n") -> None:
        if self._replace:
            self._console.control(
                Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
            )
            self._replace = False
        for text in texts:
            text.rstrip()
            self._console.print(text, end=end, no_wrap=True, overflow="ignore", crop=False)
        self._console.file.flush()


def _cut(text: Text, width: int) -> Text:
    """Return `text` in at most `width` columns, with an ellipsis where it was cut."""
    text.truncate(max(width, 0), overflow="ellipsis")
    return text


def _shell_lines(command: str, width: int) -> list[str]:
    r"""Break a command between words with `\`, so that it can be copied from the screen and run.

    A word is never broken, even if it is wider than the screen.
    """
    rows: list[str] = []
    for word in _SHELL_WORD.findall(command):
        if rows and cell_len(f"{rows[-1]} {word} \\") <= width:
            rows[-1] += f" {word}"
        else:
            rows.append(f"  {word}" if rows else word)
    return [f"{row} \\" for row in rows[:-1]] + rows[-1:]
