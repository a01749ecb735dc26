"""The words, marks and escapes that all views share."""

import re
from typing import Final

INTERRUPTED: Final = "interrupted"
"""How a step or a run ended that has no end in the transcript."""

OPEN: Final = "expected open"
"""How a case ended that passed because a way is open that is known to be."""

OUTCOMES: Final = ("passed", "failed", "error", INTERRUPTED, "skipped")
"""How a step, a case or a run can end, in the order in which they are counted."""

MARKS: Final = {
    "passed": "✓",
    "failed": "✗",
    "error": "!",
    "skipped": "–",  # noqa: RUF001  a dash is meant: nothing happened here
    INTERRUPTED: "!",
    "running": "…",
    "undo": "↩",
    "next": "»",
}
"""The mark before each word; the word is always there too, so colour and glyph stay optional."""

_BLOCK = re.compile(r"\s|[-*+]\s|[>#|]|```|~~~|\d+[.)]\s")  # what begins a line of its own
_WIRE_MARKS = {"->": " ->", "<-": "<- "}


def visible(text: str) -> str:
    r"""Return `text` on one line, whatever does not print as an escape: `\x1b`, `\r`, `\u202e`.

    Control characters could repaint a terminal, are illegal in XML, and hide what a server sent;
    lone surrogates (bytes that were no UTF-8) cannot be encoded. None of them passes.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def lines(text: str) -> list[str]:
    """Return the lines of `text`, each of them `visible`; only a line feed ends a line."""
    return [visible(line) for line in text.removesuffix("\n").split("\n")]


def flowing(text: str) -> list[str]:
    """Return the lines of a Markdown text, each `visible`, those of a paragraph joined into one."""
    result: list[str] = []
    for line in lines(text):
        if result and result[-1] and line and not _BLOCK.match(line):
            result[-1] += f" {line}"
        else:
            result.append(line)
    return result


def wire_mark(mark: str) -> str:
    """Return a mark of the wire with a space after it, as swaks prints it, all equally wide."""
    return f"{_WIRE_MARKS.get(mark, visible(mark))} "


def milliseconds(seconds: float) -> str:
    """Return a step's duration: `38 ms`."""
    return "<1 ms" if 0 < seconds < 0.0005 else f"{seconds * 1000:.0f} ms"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """Return a time for reading: `38 ms` below a second, `1.2 s` from there on."""
    return milliseconds(seconds) if seconds < 1 else f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
