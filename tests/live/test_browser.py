"""The HTML page in a real browser: drawn, legible, in one piece, and without a word to anybody."""

import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import Page, find_browser, opened
from conftest import ROOT, LiveLab

from labctl.events import (
    CaseEnded,
    CaseStarted,
    Check,
    Event,
    RunEnded,
    RunStarted,
    StepEnded,
    Verdict,
    from_dict,
)
from labctl.report.jsonl import JsonlWriter, Stored
from labctl.report.replay import runs
from labctl.report.views import write
from labctl.report.wording import MARKS
from labctl.settings import dotenv

PAGES = ("passed", "failed", "cut", "catalogue", "several")
WRONG = """title: Dave may send
why: He may not.
accounts: [dave, bob]
steps:
  - send: {from: dave, to: bob, as: report}
  - receive: {account: bob, message: report}
"""
WAYS = [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")]

# Relative luminance and contrast: WCAG 2.2, 1.4.3. What is behind a text is the nearest background
# that is opaque; ours are all opaque. Returns the texts whose contrast is less than 4.5.
PALE = """
(() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const ink = canvas.getContext("2d", {willReadFrequently: true});
  const seen = new Map();
  const luminance = color => {
    if (!seen.has(color)) {
      ink.clearRect(0, 0, 1, 1); ink.fillStyle = color; ink.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = ink.getImageData(0, 0, 1, 1).data;
      const part = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      seen.set(color, a < 255 ? null : 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b));
    }
    return seen.get(color);
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = luminance(getComputedStyle(node).backgroundColor);
      if (found !== null) return found;
    }
    return 1;
  };
  const pale = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility()) continue;
    texts += 1;
    const style = getComputedStyle(node);
    const a = luminance(node instanceof SVGElement ? style.fill : style.color), b = behind(node);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) pale.push([walk.currentNode.data.trim(), contrast]);
  }
  for (const text of document.querySelectorAll("svg:not(.dense) g > text")) {
    const bar = text.parentElement.querySelector("rect");
    if (!bar) continue;
    const a = luminance(getComputedStyle(text).fill), b = luminance(getComputedStyle(bar).fill);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) pale.push([text.textContent, contrast]);
  }
  return {texts, pale};
})()
"""

# What sticks out of the window at its right, by its class and text.
OUTSIDE = """
[...document.querySelectorAll("body *")]
  .filter(each => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 1)
  .map(each => [each.getAttribute("class"), each.textContent.trim().slice(0, 40)])
"""

# How many colours a picture has, and how much of it is not of the most frequent one.
COLOURS = """
(async data => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const ink = canvas.getContext("2d");
  ink.drawImage(picture, 0, 0);
  const pixels = new Uint32Array(ink.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  return {colours: counts.size, drawn: 1 - Math.max(...counts.values()) / pixels.length};
})("%s")
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab of a browser. Without one the tests fail, or say that it was not to be installed."""
    browser = find_browser()
    if browser is None and {**dotenv(ROOT), **os.environ}.get("LAB_NO_INSTALL") == "1":
        pytest.skip("there is no Chromium, and LAB_NO_INSTALL=1 forbids to install it")
    assert browser, "there is no Chromium: `scripts/browser` installs it"
    with opened(browser, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def files(lab: LiveLab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of real runs: one that passed, one that failed, one cut off, one with 450 cases."""
    place = tmp_path_factory.mktemp("pages")
    wrong = place / "wrong.yaml"
    wrong.write_text(WRONG)
    passed = [from_dict(each) for each in lab.verdicts("offboarding", code=0)]
    failed = [from_dict(each) for each in lab.verdicts(str(wrong), code=1)]
    told = {
        "passed": passed,
        "failed": failed,
        "cut": failed[: failed.index(next(e for e in failed if isinstance(e, Check)))],
        "catalogue": list(catalogue(passed)),
        "several": [*passed, *failed],
    }
    found = {name: place / f"{name}.html" for name in PAGES}
    for name, file in found.items():
        transcript = place / f"{name}.jsonl"
        with JsonlWriter(transcript) as emit:
            for event in told[name]:
                emit(event)
        with file.open("w", encoding="utf-8") as page:
            write("html", runs([Stored.at(transcript)]), page)
    return found


def catalogue(events: list[Event]) -> Iterator[Event]:
    """Yield a run of 450 cases, each of which is the first step of a run."""
    first, last = (each for each in events if isinstance(each, RunStarted | RunEnded))
    end = next(place for place, event in enumerate(events) if isinstance(event, StepEnded))
    yield first
    for number in range(1, 451):
        verdict = {7: Verdict.FAILED, 300: Verdict.ERROR, 301: Verdict.SKIPPED}.get(number)
        reason = "what was expected did not come" if verdict else ""
        note = "expected open" if number % 5 == 0 and not verdict else ""
        yield CaseStarted(number, f"a way around the policy, number {number}", first.at + number)
        yield from events[1 : end + 1]
        yield CaseEnded(number, verdict or Verdict.PASSED, reason, number / 1000, note)
    yield replace(last, verdict=Verdict.FAILED, exit_code=1)


def unfold(page: Page) -> None:
    """Open everything that is folded."""
    page.ask("document.querySelectorAll('details').forEach(each => { each.open = true })")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_speaks_to_nobody(page: Page, files: dict[str, Path], name: str) -> None:
    """No request but for the file itself, and nothing to complain of in the console."""
    page.told.clear()
    page.show(files[name])
    unfold(page)
    asked = [each["params"].get("request", each)["url"] for each in page.told]
    assert asked == [files[name].resolve().as_uri()]
    assert page.ask("document.scripts.length") == 0


@pytest.mark.parametrize(("width", "scheme"), WAYS)
@pytest.mark.parametrize("name", PAGES)
def test_every_text_is_legible_and_nothing_sticks_out(
    page: Page, files: dict[str, Path], name: str, width: int, scheme: Any
) -> None:
    """On a wide and on a narrow screen, light and dark: contrast of 4.5 or more for every text, all
    of it within the window.
    """
    page.show(files[name], width, scheme)
    if name != "catalogue":
        unfold(page)
    found = page.ask(PALE)
    assert found["texts"] > 20
    assert found["pale"] == []
    assert page.ask("document.documentElement.scrollWidth") <= width
    assert page.ask(OUTSIDE) == []


def test_a_pale_text_and_one_that_sticks_out_would_be_found(
    page: Page, files: dict[str, Path], tmp_path: Path
) -> None:
    """What the test before looks for can be seen."""
    spoilt = tmp_path / "spoilt.html"
    style = "</style><style>.why { color: #bbb } h1 { margin-left: 100vw; white-space: nowrap }"
    spoilt.write_text(files["passed"].read_text().replace("</style>", f"{style}</style>", 1))
    page.show(spoilt)
    assert page.ask(PALE)["pale"]
    assert page.ask(OUTSIDE)


@pytest.mark.parametrize(("width", "scheme"), WAYS)
def test_the_page_is_drawn(
    page: Page, files: dict[str, Path], width: int, scheme: Any, tmp_path: Path
) -> None:
    """Its picture has many colours and the scheme's ground; that of an empty page has one."""
    page.show(files["passed"], width, scheme)
    seen = page.ask(COLOURS % b64encode(page.picture()).decode())
    assert seen["colours"] > 30
    assert 0.03 < seen["drawn"] < 0.6
    light = page.ask("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0]
    assert (int(light) > 127) == (scheme == "light")
    blank = tmp_path / "blank.html"
    blank.write_text("<!doctype html>")
    page.show(blank, width, scheme)
    assert page.ask(COLOURS % b64encode(page.picture()).decode())["colours"] == 1


@pytest.mark.parametrize("name", PAGES)
def test_a_verdict_is_a_mark_and_a_word(page: Page, files: dict[str, Path], name: str) -> None:
    """Colour is never alone; and whoever cannot see finds headings in order, and pictures named."""
    page.show(files[name])
    words = page.ask("[...document.querySelectorAll('.outcome')].map(each => each.textContent)")
    known = {f"{mark}{word}" for word, mark in MARKS.items()}
    assert set(words) <= known | {"○expected open", "✓met", "✗not met"}
    assert len(words) > 1
    levels = page.ask("[...document.querySelectorAll('h1,h2,h3')].map(each => +each.tagName[1])")
    assert all(after - before <= 1 for before, after in pairwise(levels))
    names = "[...document.querySelectorAll('svg')].map(each => document.getElementById("
    assert all(page.ask(f"{names}each.getAttribute('aria-labelledby'))?.textContent)"))


def test_hundreds_of_cases_stay_readable(page: Page, files: dict[str, Path]) -> None:
    """What failed is unfolded, what is expected open is in sight, what passed is a click away; the
    summary's numbers are those of the rows, and its links lead there.
    """
    page.show(files["catalogue"])
    rows = page.ask(
        """[...document.querySelectorAll(".cases > li")].map(each =>
            [each.querySelector(".outcome").lastChild.data, each.checkVisibility(),
             each.querySelector("details").open])"""
    )
    seen = {word: [row[1:] for row in rows if row[0] == word] for word in {row[0] for row in rows}}
    assert seen["failed"] == seen["error"] == [[True, True]]
    assert seen["expected open"] == [[True, False]] * 89
    assert seen["passed"] == [[False, False]] * 358
    sums = page.ask(
        """[...document.querySelectorAll(".sums tbody tr")].map(each =>
            [each.querySelector(".outcome").lastChild.data,
             each.querySelector(".number").textContent,
             !!document.querySelector(each.querySelector("a").getAttribute("href"))])"""
    )
    assert {word: (int(number), there) for word, number, there in sums} == {
        word: (len(found), True) for word, found in seen.items()
    }
    page.ask("document.querySelector('.fold').open = true")
    assert page.ask("[...document.querySelectorAll('.cases > li')].every(e => e.checkVisibility())")


def test_on_paper_everything_is_there(page: Page, files: dict[str, Path]) -> None:
    """What was said on the wire is printed, too, in ink on white, also in a dark room."""
    page.show(files["passed"], 1280, "dark")
    assert not page.ask("document.querySelector('.wire').checkVisibility()")
    assert page.printed().startswith(b"%PDF-")
    page.show(files["passed"], 700, "dark", "print")
    assert page.ask("[...document.querySelectorAll('.wire')].every(each => each.checkVisibility())")
    assert page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.ask(PALE)["pale"] == []
