"""How a watched account is shown: two panes on a terminal, lines in a pipe."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Self, TextIO

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from labctl.report.wording import visible
from labctl.stage.watching import Answer, Look

_STYLES: Final = {True: "bold green", False: "bold red", None: "bold yellow"}
_MARKS: Final = {True: "✓", False: "✗", None: "?"}
_HISTORY: Final = 8  # changes; a screen has 24 lines
_BESIDE: Final = 60  # columns; below, the panes stand one beneath the other


class Lines:
    """Prints a line for each look that saw something new."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: Look | None = None

    def show(self, look: Look) -> None:
        """Print the look, if it is news."""
        if not look.same(self._last) or look.effect is not None:
            self._stream.write(f"{_line(look)}\n")
            self._stream.flush()
        self._last = look

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Panes:
    """Keeps two panes on a terminal up to date, and beneath them the last changes."""

    def __init__(self, stream: TextIO, title: str) -> None:
        self._title = title
        self._console = Console(file=stream, force_terminal=True, legacy_windows=False)
        self._live = Live(console=self._console, auto_refresh=False)
        self._news: deque[str] = deque(maxlen=_HISTORY)
        self._last: Look | None = None

    def show(self, look: Look) -> None:
        """Draw the look."""
        if not look.same(self._last) or look.effect is not None:
            self._news.append(_line(look))
        self._last = look
        self._live.update(self._drawn(look), refresh=True)

    def _drawn(self, look: Look) -> Group:
        width = self._console.width
        beside = width >= _BESIDE
        half = width // 2 if beside else width
        panes = (
            Panel(_entry(look), title="the directory says", width=half),
            Panel(_servers(look), title="the servers do", width=half),
        )
        both = Columns(panes, padding=0) if beside else Group(*panes)
        return Group(
            Text(f"{self._title}  {_time(look.at)}", "bold", no_wrap=True, overflow="ellipsis"),
            both,
            *(Text(line, no_wrap=True, overflow="ellipsis") for line in self._news),
            # Short, and the last: where the terminal echoes ^C, no line breaks.
            Text("Ctrl-C ends"),
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _entry(look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in look.policy.items():
        table.add_row(visible(name), Text(visible(value), "bold"))
    return table


def _servers(look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, answer in (("RCPT", look.rcpt), ("sign-in", look.sign_in)):
        verdict = f"{_MARKS[answer.accepted]} {answer.word}"
        table.add_row(name, Text(verdict, _STYLES[answer.accepted]), visible(answer.text))
    return table


def _line(look: Look) -> str:
    return "  ".join(_parts(look))


def _parts(look: Look) -> Iterator[str]:
    yield _time(look.at)
    if look.effect is not None:
        yield f"in effect after {look.effect * 1000:.0f} ms at most"
    yield _said("RCPT", look.rcpt)
    yield _said("sign-in", look.sign_in)
    for name, value in look.policy.items():
        yield f"{visible(name)}={visible(value)}"


def _said(name: str, answer: Answer) -> str:
    return f"{name} {answer.word} ({visible(answer.text)})"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-3]
