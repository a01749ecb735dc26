"""The run as one HTML page to keep or to send: no network, no script, light and dark, printable."""

from collections.abc import Iterable
from typing import Any

from labctl.events import Event
from labctl.report.run import Run, runs
from labctl.report.wording import MARKS, lines, milliseconds, visible, wire_mark


def to_html(events: Iterable[Event]) -> str:
    """Return the transcript as a self-contained page. Raises ValueError if there is no run in it.

    Every value is escaped for HTML and made `visible`: the page shows what a server sent, and
    cannot be changed by it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("labctl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"lines": lines, "milliseconds": milliseconds}
    page = environment.get_template("report.html")
    return page.render(runs=runs(events), marks=MARKS, share=share, wire_mark=wire_mark)


def _printable(value: Any) -> Any:
    """Make plain text visible; markup is the template's own."""
    return visible(value) if type(value) is str else value


def share(run: Run, seconds: float) -> float:
    """Return how long `seconds` is beside the run's longest step, in percent."""
    longest = max((step.seconds for step in run.steps), default=0.0)
    return round(100 * seconds / longest, 1) if longest else 0.0
