"""A transcript in any form: from whatever events there are, and whatever they hold."""

import json
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import JUnitXml
from test_report_html import parsed
from test_report_sample import INTERRUPTED, MIXED, PASSED, STARTED, UNKIND, rendered, stored

from labctl.cli.keeping import REPORTS
from labctl.events import (
    CaseEnded,
    CaseStarted,
    Change,
    Check,
    Command,
    Event,
    RunEnded,
    RunStarted,
    StepEnded,
    StepStarted,
    Verdict,
    Wire,
    from_dict,
    to_dict,
)
from labctl.report.jsonl import is_cut_off, parse, read
from labctl.report.views import ENDINGS, FORMS

# What a server, a directory or a scenario's author might write, and what could break a report.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.sampled_from(["]]>", "<script>x</script>", "{{ 7*7 }}", "\x1b[2J", "\r\n", "&amp;", UNKIND]),
)
TIMES = st.floats(0, 1e9)
VALUES = {
    str: TEXTS,
    int: st.integers(0, 999),
    float: TIMES,
    bool: st.booleans(),
    Verdict: st.sampled_from(Verdict),
}
KINDS: list[type[Event]] = [
    RunStarted,
    CaseStarted,
    StepStarted,
    Wire,
    Change,
    Check,
    Command,
    StepEnded,
    CaseEnded,
    RunEnded,
]


def any_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Return events of a kind with any values."""
    marks = st.sampled_from(["->", "<-", "<**", "===", "***"])
    return st.builds(
        kind,
        **{
            field.name: marks if field.name == "mark" else VALUES[field.type]  # type: ignore[index]
            for field in fields(kind)
        },
    )


EVENTS = st.one_of([any_of(kind) for kind in KINDS])


@settings(max_examples=40)
@given(st.lists(EVENTS, max_size=25))
def test_whatever_the_events_every_form_is_well_formed(events: list[Event]) -> None:
    """In any order and with any text: the page is balanced and without script, the XML is read by
    JUnit's readers, the text has no control character, and the lines are the events again.
    """
    told = [STARTED, *events]
    page, xml, text, lines = (rendered(form, told) for form in ("html", "junit", "text", "jsonl"))
    assert "script" not in parsed(page).seen
    assert JUnitXml.fromstring(xml).tests == len(list(ET.fromstring(xml).iter("testcase")))  # noqa: S314
    for shown in (page, xml, text):
        assert all(char.isprintable() for char in shown.replace("\n", ""))
        assert shown.encode()
    # Compared as text: some numbers and lone surrogates are not equal to themselves.
    assert list(map(repr, parse(lines.encode().splitlines(keepends=True), "x"))) == list(
        map(repr, told)
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_ends_with_one_line_feed(form: str) -> None:
    """A report is a text file."""
    text = rendered(form, MIXED)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("form", FORMS)
def test_no_run_is_no_report(form: str) -> None:
    """In no form does an empty transcript look like a success."""
    with pytest.raises(ValueError, match="holds no run"):
        rendered(form, PASSED[1:])


def test_every_form_has_its_ending() -> None:
    """The command line, which must not load the views early, knows the same endings."""
    assert set(ENDINGS.values()) == set(FORMS)
    assert set(ENDINGS) == set(REPORTS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", [1, 60])
def test_a_transcript_that_a_crash_cut_off_says_that_it_ended_early(
    tmp_path: Path, form: str, cut: int
) -> None:
    """It is rendered up to its last whole event, and nothing in it looks like an end."""
    path = stored(tmp_path / "t.jsonl", MIXED)
    path.write_bytes(path.read_bytes()[: -1 - cut])
    assert is_cut_off(path)
    shown = rendered(form, list(read(path)))
    if form == "jsonl":
        assert "run-ended" not in shown
    else:
        assert "interrupted" in shown
        assert "the transcript ends before the run did" in shown


def test_a_whole_transcript_is_not_cut_off(tmp_path: Path) -> None:
    """With or without the last line feed."""
    path = stored(tmp_path / "t.jsonl", MIXED)
    assert not is_cut_off(path)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert not is_cut_off(path)


@pytest.mark.parametrize("form", ["text", "junit", "html"])
def test_an_interrupted_run_says_so(form: str) -> None:
    """Also one that came to its end in an orderly way, with what was changed put back."""
    ended = RunEnded(Verdict.ERROR, "interrupted", 2, 0, 0, 0, 1, 0.2, 130)
    shown = rendered(form, [*INTERRUPTED, ended])
    assert "interrupted" in shown
    if form == "text":
        assert shown.endswith("\ninterrupted: 3 steps (2 passed, 1 interrupted), 1 check, 0.20 s\n")


def test_transcripts_from_before_there_was_a_why_are_read() -> None:
    """A key that a transcript lacks, and that has a default, is no error."""
    old = {name: value for name, value in to_dict(STARTED).items() if name != "why"}
    assert from_dict(json.loads(json.dumps(old))) == STARTED
