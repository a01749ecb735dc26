"""A transcript in any of its forms, and which ending of a file means which form."""

import io
from collections.abc import Iterable, Mapping
from typing import Final

from labctl.events import Event
from labctl.report.html import to_html
from labctl.report.jsonl import JsonlWriter
from labctl.report.junit import to_junit
from labctl.report.run import runs
from labctl.report.terminal import Terminal

FORMS: Final = ("text", "jsonl", "junit", "html")
ENDINGS: Final[Mapping[str, str]] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".xml": "junit",
    ".html": "html",
}


def render(form: str, events: Iterable[Event], *, verbose: int = 0) -> str:
    """Return the transcript in one of `FORMS`, ending with a line feed.

    `verbose` is that of the text. Raises ValueError if there is no run in the transcript.
    """
    found = list(events)
    if form == "junit":
        return f"{to_junit(found)}\n"
    if form == "html":
        return f"{to_html(found)}\n"
    runs(found)
    stream = io.StringIO()
    if form == "jsonl":
        _emit_all(found, JsonlWriter(stream))
    else:
        with Terminal(stream, verbose=verbose, colour=False) as terminal:
            _emit_all(found, terminal)
    return stream.getvalue()


def _emit_all(events: Iterable[Event], emit: Terminal | JsonlWriter) -> None:
    for event in events:
        emit(event)
