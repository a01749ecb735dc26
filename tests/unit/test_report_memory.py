"""No view holds a transcript: what it takes to render one does not grow with its length."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from test_report_sample import ACCEPTED, SENT, STARTED, cases, said, step, stored

from labctl.events import Event, RunEnded, StepStarted, Verdict
from labctl.evidence.masking import Mask
from labctl.evidence.snapshot import Snapshot
from labctl.evidence.statement import Replayed, bundle
from labctl.report.jsonl import Stored
from labctl.report.replay import runs
from labctl.report.views import FORMS, write

LONG = said("<-", "250 " + "x" * 10_000)


def steps(number: int) -> Iterator[Event]:
    """Yield one run of so many steps, of which every other one failed."""
    yield STARTED
    for each in range(number):
        yield from (
            step(each, "send carol to bob", ACCEPTED, Verdict.FAILED, reason=f"no: {each}")
            if each % 2
            else step(each, "send alice to bob", SENT)
        )
    yield RunEnded(Verdict.FAILED, "not met", number, number, 0, 0, number, 1.0, 1)


def rows(number: int) -> Iterator[Event]:
    """Yield one run of so many cases, of which some failed, and some are expected open."""
    yield from cases(number, failed=range(0, number, 3), open_=range(1, number, 3))


def with_long_lines(events: Iterator[Event]) -> Iterator[Event]:
    """Yield events, and a long line on the wire in each step."""
    for event in events:
        yield event
        if isinstance(event, StepStarted):
            yield LONG


def render(form: str, path: Path) -> None:
    """Render a transcript, or put it into a bundle of evidence."""
    if form == "evidence":
        replayed = Replayed(path, "", path)
        with TemporaryDirectory(dir=path.parent) as place:
            kept = bundle([replayed], Snapshot(), Snapshot(), Mask(None), Path(place))
            assert kept is not None
            assert sum(map(len, kept.packed())) > 0
    else:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  a device
            write(form, runs([Stored.at(path)]), nowhere, verbose=2)


def most_memory(form: str, path: Path) -> int:
    """Return the most bytes that were in use at once while a transcript was rendered."""
    tracemalloc.start()
    try:
        render(form, path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("long", [steps, rows])
@pytest.mark.parametrize("form", [*FORMS, "evidence"])
def test_a_longer_transcript_takes_no_more_memory(
    tmp_path: Path, form: str, long: Callable[[int], Iterator[Event]]
) -> None:
    """A step, or a case, is held at a time, and of a run only sums: ten times as many of them take
    nothing near as much more as they are longer.
    """
    few, many = (
        stored(tmp_path / f"{number}.jsonl", with_long_lines(long(number))) for number in (12, 120)
    )
    most_memory(form, few)  # what is made once: imports, the template
    more = most_memory(form, many) - most_memory(form, few)
    longer = many.stat().st_size - few.stat().st_size
    assert more < longer / 5, f"{more:,} bytes more for {longer:,} bytes"
