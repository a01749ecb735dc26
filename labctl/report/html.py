"""The run as one HTML page to keep or to send: no network, no script, light and dark, printable."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from labctl.report.chart import columns, timeline
from labctl.report.replay import Replay
from labctl.report.run import Case
from labctl.report.wording import (
    INTERRUPTED,
    MARKS,
    OPEN,
    count,
    duration,
    lines,
    visible,
    wire_mark,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Template
    from markupsafe import Markup

_MANY: Final = 40  # so many rows in which nothing happened are folded away

_MARKS: Final = {**MARKS, OPEN: "○", "met": MARKS["passed"], "not met": MARKS["failed"]}
_GROUPS: Final = {
    "failed": ("Failed", "An expectation was not met."),
    "error": ("Error", "Could not be performed."),
    INTERRUPTED: ("Interrupted", "Did not come to an end."),
    OPEN: ("Expected open", "Passed: ways around the policy that are known to be open here."),
    "skipped": ("Skipped", "Not performed, for the reason that is given."),
    "passed": ("Passed", "Every expectation was met."),
}


@dataclass(frozen=True, slots=True)
class Group:
    """The cases that ended the same way, worst first; `folded` if there is no need to see them."""

    run: Replay
    kind: str
    title: str
    about: str
    number: int

    @property
    def folded(self) -> bool:
        """Say whether they are out of the way: many, and nothing happened in them."""
        return self.kind in ("skipped", "passed") and self.number > _MANY

    @property
    def cases(self) -> Iterator[Case]:
        """The cases, as the run is read again."""
        return (case for case in self.run.cases() if case.kind == self.kind)


def to_html(runs: Sequence[Replay]) -> Iterator[str]:
    """Yield runs as a self-contained page, piece by piece.

    Every value is escaped for HTML and made `visible`: the page shows what a server sent, and
    cannot be changed by it.
    """
    return _template().generate(
        runs=runs,
        marks=_MARKS,
        groups=groups,
        timeline=timeline,
        columns=columns,
        count=count,
        wire_mark=wire_mark,
    )


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("labctl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"lines": lines, "markdown": _markdown(), "duration": duration}
    return environment.get_template("report.html")


def _markdown() -> "Callable[[str], Markup]":
    """Return what makes HTML of a text for the room: with no HTML of its own (CommonMark §6.6) and
    no pictures, which the network would have to bring.
    """
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    reader = MarkdownIt("commonmark", {"html": False}).disable("image")
    return lambda text: Markup(reader.render("\n".join(lines(text))))  # noqa: S704  escaped by it


def _printable(value: Any) -> Any:
    """Make plain text visible; markup is the template's own."""
    return visible(value) if type(value) is str else value


def groups(run: Replay) -> list[Group]:
    """Return the cases of a run by how they ended."""
    ways = run.sums.cases.ways
    return [Group(run, name, *told, ways[name]) for name, told in _GROUPS.items() if ways[name]]
