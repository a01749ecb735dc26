"""A transcript in any of its forms, and which ending of a file means which form."""

from collections.abc import Mapping, Sequence
from typing import Final, TextIO

from labctl.report import jsonl
from labctl.report.html import to_html
from labctl.report.junit import to_junit
from labctl.report.replay import Replay
from labctl.report.terminal import Terminal

FORMS: Final = ("text", "jsonl", "junit", "html")
ENDINGS: Final[Mapping[str, str]] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".xml": "junit",
    ".html": "html",
}


def write(form: str, runs: Sequence[Replay], stream: TextIO, *, verbose: int = 0) -> None:
    """Write runs to a stream in one of `FORMS`, as they are read again, ending with a line feed.

    `verbose` is that of the text. Raises ValueError if there are none: a report about nothing would
    read like a success.
    """
    if not runs:
        raise ValueError("the transcript holds no run: it has no run-started event")
    if form == "text":
        with Terminal(stream, verbose=verbose, colour=False) as terminal:
            for run in runs:
                for event in run.events():
                    terminal(event)
    elif form == "jsonl":
        stream.writelines(jsonl.line(event) for run in runs for event in run.events())
    else:
        stream.writelines(to_html(runs) if form == "html" else to_junit(runs))
        stream.write("\n")
