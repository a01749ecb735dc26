"""The HTML page: self-contained, escaped, and complete for every kind of run."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from test_report_sample import (
    FURTHER,
    INTERRUPTED,
    LDIF,
    MIXED,
    PASSED,
    POLICY,
    STARTED,
    cases,
    rendered,
)

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Collects tags and text, and insists that every tag is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Remember an open tag."""
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Remember text."""
        self.words.append(data)


def parsed(page: str) -> Balance:
    """Return the parsed page, all of whose tags are balanced."""
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("events", [PASSED, MIXED, INTERRUPTED], ids=["passed", "mixed", "cut"])
def test_the_page_needs_nothing_else(events: list[object]) -> None:
    """No script, no image, no address: one file, well formed, whose links stay within it."""
    page = rendered("html", events)  # type: ignore[arg-type]
    assert parsed(page).seen.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not re.search(r"https?://|url\(|@import|\ssrc=|\shref=\"[^#]", page)
    assert "default-src 'none'" in page


def test_the_verdict_comes_first() -> None:
    """The page's title and its first words are the verdict and the scenario's title."""
    words = [word.strip() for word in parsed(rendered("html", MIXED)).words if word.strip()]
    assert words[0] == "failed: Alice leaves the company"
    assert words[2:6] == [
        "✗",
        "failed",
        "6 steps (3 passed, 1 failed, 1 error, 1 skipped), 4 checks, 6.41 s",
        "Alice leaves the company",
    ]


def test_the_page_says_what_the_scenario_is_about() -> None:
    """`why` is Markdown in which HTML is text; without it there is nothing in its place."""
    told = [replace(STARTED, why="*One* change\nstops <her>.\n\n- She stays.\n"), *PASSED[1:]]
    page = rendered("html", told)
    assert "<p><em>One</em> change\nstops &lt;her&gt;.</p>" in page
    assert "<li>She stays.</li>" in page
    assert '<div class="why">' not in rendered("html", PASSED)


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://example.org/x.png)",
        "[x](javascript:alert(1))",
        "<script>alert(1)</script>",
        "a\x07b\x1b[2J",
    ],
)
def test_markdown_brings_nothing_in(text: str) -> None:
    """No picture from the network, no script, no control character."""
    page = rendered("html", [replace(STARTED, why=text), *PASSED[1:]])
    told = page[page.index('<div class="why">') : page.index("</header>")]
    assert not re.search(r"<img|src=|<script|href=\"(?!https?:)|[\x00-\x08\x1b]", told)


def test_steps_show_checks_ldif_commands_and_wire() -> None:
    """All that a step left behind is in the page."""
    page = rendered("html", MIXED)
    text = "".join(parsed(page).words)
    assert all(line in text for line in LDIF.splitlines())
    for part in ("554 5.7.1 at RCPT", "not met", "by hand", "--auth-user", "<- 235 2.7.0"):
        assert part in " ".join(text.split())
    assert "last seen: nothing" in text


def test_a_failed_step_shows_the_policy_and_where_to_look_further() -> None:
    """The policy attributes at that moment, and the command, are in the page."""
    words = parsed(rendered("html", MIXED)).words
    assert f"{POLICY}\n" in words
    assert f"{FURTHER}\n" in words
    assert "to look further" not in rendered("html", PASSED)


def test_only_steps_that_went_wrong_are_unfolded() -> None:
    """The wire of a passed step is folded; that of a failed one is open."""
    assert "<details open>" not in rendered("html", PASSED)
    assert rendered("html", MIXED).count("<details open>") == 2


def test_a_server_cannot_write_into_the_page() -> None:
    """Markup is escaped, control characters are visible, and the page can be stored as UTF-8."""
    page = rendered("html", MIXED)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert r"\x1b[2J\x07" in page
    assert all(char.isprintable() for char in page.replace("\n", ""))
    assert page.encode()


def test_the_time_is_a_picture_that_is_also_told() -> None:
    """Each step that was performed is a bar of its length, and the caption names the longest."""
    page = rendered("html", MIXED)
    assert page.count('<rect class="edge"') == 7, "eight steps and undos, one of them skipped"
    assert 'width="24.08%"' in page, "1204 ms of 5000"
    assert "Longest: step 5, receive, 5 s." in page


def test_cases_are_summed_up_before_they_are_listed() -> None:
    """A table of how many ended which way comes first; its links lead to the groups."""
    page = rendered("html", cases(3, failed={2}, open_=set()))
    sums = page[page.index('<table class="sums">') : page.index("</table>")]
    assert re.findall(r"<td class=\"number\">(\d+)", sums) == ["1", "2"]
    for place in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{place}"' in page


def test_what_is_open_is_never_folded_away_and_many_that_passed_are() -> None:
    """Of hundreds of cases those that failed or are expected open are in sight."""
    page = rendered("html", cases(200, failed={7}, open_=set(range(100, 160))))
    parser = parsed(page)
    assert "Expected open: 60" in parser.words
    assert "Passed: 139" in parser.words
    assert page.count('<details class="fold">') == 1
    assert page.index("Expected open: 60") < page.index('<details class="fold">')
    assert page.count("<details open>") == 1


def test_a_few_cases_are_not_folded_away() -> None:
    """What fits on a screen is shown at once."""
    page = rendered("html", cases(12, failed=set(), open_=set()))
    assert "fold" not in page.partition("</style>")[2]


def test_an_interrupted_run_says_so() -> None:
    """Verdict, step and title all say that the run has no end."""
    words = " ".join(parsed(rendered("html", INTERRUPTED)).words)
    assert "! interrupted 3 steps (2 passed, 1 interrupted)" in " ".join(words.split())
    assert "the transcript ends before the run did" in words


def test_several_runs_share_a_page() -> None:
    """Each run has its own heading, and a list of them all comes first."""
    page = rendered("html", PASSED + MIXED)
    assert page.count("<h1>") == 2
    assert page.index('href="#r2"') < page.index('<article id="r1"')
    assert "<nav" not in rendered("html", PASSED)
