"""Figures, results and comparisons: what is kept of a measurement, and how it is told."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure as Sheet

from labctl.bench.compare import compare, differences
from labctl.bench.figure import Chart, Figure, percentile, spread_of
from labctl.bench.measurements import TABLE
from labctl.bench.plot import draw
from labctl.bench.result import Result, machine, read, write
from labctl.bench.table import HEADER, compared_rows, markdown, number, rows
from labctl.errors import UsageError

FAST = Figure.of(
    "latency", [1.0, 2.0, 3.0, 4.0], "ms", floor=[2.5, 2.5], floor_is="plain", limit=1.5
)
BARS = Chart("rates", "Rates", "1/s", ("a", "b"), {"ours": (1.0, None), "floor": (2.0, 3.0)})
RESULT = Result("effect", 0.0, 9.5, {"toggles": 4}, {"cores": "2"}, {}, (FAST,), (BARS,))


def result(*figures: Figure) -> Result:
    """Return a result with these figures."""
    return replace(RESULT, figures=figures)


def test_percentiles_are_samples() -> None:
    """Nearest rank: 99 % of 100 samples do not exceed the 99th, and one sample is all of them. The
    median is what it is anywhere else.
    """
    samples = [float(each) for each in range(100, 0, -1)]
    assert [percentile(samples, each) for each in (50, 95, 99, 100)] == [50.5, 95, 99, 100]
    assert Figure.of("x", samples, "s").value == Figure.of("x", samples, "s").p50
    assert percentile([7.0], 99) == 7


def test_the_spread_is_that_of_the_percentile_and_not_of_the_samples() -> None:
    """Many samples know their median well, however far apart they are; a few span all they know."""
    many = [float(each) for each in range(1, 10_001)]
    assert spread_of(many) == pytest.approx(98 / 5000.5, rel=0.01)  # 1.96 x sqrt(10,000) / 2 ranks
    assert spread_of(many, 99) == pytest.approx(19.5 / 9900, rel=0.05)
    assert Figure.of("x", many, "ms", percent=99).spread == spread_of(many, 99)
    assert spread_of([1.0, 2.0, 2.0, 4.0, 4.0]) == 0.75
    assert spread_of([3.0, 3.0]) == 0
    assert spread_of([7.0]) is spread_of([0.0, 0.0]) is None


def test_a_ratio_is_known_as_well_as_what_it_is_made_of() -> None:
    """Of pairs, as the pairs' ratios; else as both that are divided. Nothing is against 0."""
    samples, floor = [2.0, 20.0, 200.0], [1.0, 10.0, 100.0]
    assert Figure.against("x", samples, "s", floor=floor, floor_is="y").spread == 0
    apart = Figure.of("x", samples, "s", floor=floor, floor_is="y")
    assert apart.ratio == 2
    assert apart.spread == pytest.approx(4.95 * 2**0.5)
    assert Figure.of("x", samples, "s", floor=[1.0], floor_is="y").spread is None
    with pytest.raises(ValueError, match="x: the floor, y, is 0"):
        Figure.of("x", samples, "s", floor=[0.0], floor_is="y")


def test_a_limit_holds_for_the_ratio_where_there_is_a_floor_else_for_the_value() -> None:
    """Less is better, or more; without a limit nothing is said."""
    assert (FAST.value, FAST.ratio, FAST.holds) == (2.5, 1.0, True)
    assert replace(FAST, floor=1.0).holds is False
    assert replace(FAST, floor=None).holds is False
    assert replace(FAST, floor=None, limit=2.5).holds is True
    assert replace(FAST, direction="more").holds is False
    assert replace(FAST, floor=1.0, direction="more").holds is True
    assert replace(FAST, limit=None).holds is None
    assert Figure.one("stale", 0, "", n=10_000, limit=0).holds is True
    assert Figure.one("stale", 1, "", n=10_000, limit=0).holds is False


def test_pairs_are_compared_one_by_one() -> None:
    """A round in which all was slow moves the ratio as little as any other."""
    figure = Figure.against("rate", [2.0, 20.0, 3.0], "1/s", floor=[1.0, 10.0, 3.0], floor_is="x")
    assert (figure.value, figure.ratio, figure.n) == (3.0, 2.0, 3)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Nothing is lost; the file says the schema, the ratio and whether the limit holds, too."""
    path = write(RESULT, tmp_path / "bench")
    assert path.name == "19700101T000000-effect.json"
    assert read(path) == RESULT
    data = json.loads(path.read_text())
    assert data["schema"] == "labctl/v1"
    assert (data["figures"][0]["ratio"], data["figures"][0]["holds"]) == (1.0, True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "labctl/v1", "bench": "effect"}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    """The message names the file."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"x\.json cannot be used"):
        read(path)


def test_figures_are_compared_by_their_ratio_and_spread() -> None:
    """What differs by less than both spread is the same; which way is better, the figure says.
    What was counted once is not judged, but by its limit.
    """
    known = replace(Figure.one("", 0, ""), spread=0.03)
    after = [
        replace(FAST, value=2.6),
        replace(known, name="rate", value=20, direction="more"),
        replace(known, name="time", value=3),
        Figure.one("stale", 1, "", limit=0),
        Figure.one("weight", 39, "MB"),
        Figure.one("as heavy", 39, "MB"),
        Figure.one("only here", 1, ""),
    ]
    before = [
        Figure.one("weight", 38, "MB"),
        Figure.one("as heavy", 39, "MB"),
        Figure.one("stale", 0, "", limit=0),
        replace(known, name="time", value=2),
        replace(known, name="rate", value=10, direction="more"),
        FAST,
    ]
    found = {each.name: each for each in compare(result(*before), result(*after))}
    assert {name: each.change for name, each in found.items()} == {
        "latency": "same",
        "rate": "better",
        "time": "worse",
        "stale": "worse",
        "weight": "unsure",
        "as heavy": "same",
    }
    assert (found["rate"].ratio, found["stale"].ratio) == (2.0, None)
    assert found["rate"].spread == pytest.approx(2 * 0.03 * 2**0.5)
    assert compared_rows([found["time"]]) == [("time", "2", "3", "", "1.50", "± 0.06", "worse")]
    assert compared_rows([found["weight"]])[0][4:] == ("1.03", "", "unsure")


def test_a_change_of_all_samples_is_seen_however_wide_they_are() -> None:
    """10,000 that are a quarter slower each, and a tail that is."""
    samples = [1 + each / 1000 for each in range(10_000)]
    fast, slow = (Figure.of("x", [k * each for each in samples], "ms") for k in (1, 1.25))
    assert [each.change for each in compare(result(fast), result(slow))] == ["worse"]
    assert [each.change for each in compare(result(slow), result(fast))] == ["better"]
    late = [*samples[:9800], *(4 * each for each in samples[9800:])]
    tails = [Figure.of("x", each, "ms", percent=99) for each in (samples, late)]
    assert [each.change for each in compare(result(tails[0]), result(tails[1]))] == ["worse"]


def test_what_makes_it_harder_to_compare_is_told() -> None:
    """Another size, machine, version, floor; figures that one lacks. The load is always another."""
    one = Figure.one("x", 4, "s", floor=2, floor_is="bare")
    before = result(one, Figure.one("gone", 1, ""))
    after = replace(
        result(replace(one, floor_is="rare"), Figure.one("new", 1, "")),
        size={"toggles": 5},
        machine={"cores": "4", "load before": "9"},
        versions={"slapd": "2.6"},
    )
    assert list(differences(before, before)) == []
    assert list(differences(before, after)) == [
        "measured in different sizes: toggles 4; toggles 5",
        "another machine: cores",
        "another version: slapd",
        "only the first has: gone",
        "only the second has: new",
        "held against 'bare' before, 'rare' after: x",
    ]
    assert compare(before, after)[0].unit == "s"


def test_figures_with_a_floor_are_compared_as_multiples_of_it() -> None:
    """The machine became half as fast, and nothing else changed; then the figure did."""
    fast = replace(Figure.one("latency", 2.5, "ms", floor=2.5, floor_is="plain"), spread=0.1)
    slow = replace(fast, value=5.0, floor=5.0)
    (same,) = compare(result(fast), result(slow))
    assert (same.before, same.after, same.unit, same.change) == (1.0, 1.0, "of plain", "same")
    (worse,) = compare(result(fast), result(replace(slow, value=15.0)))
    assert (worse.after, worse.ratio, worse.change) == (3.0, 3.0, "worse")


def test_different_measurements_are_not_compared() -> None:
    """Nor those that share no figure."""
    with pytest.raises(UsageError, match="different measurements"):
        compare(RESULT, replace(RESULT, bench="cost"))
    with pytest.raises(UsageError, match="no figure in common"):
        compare(RESULT, result(Figure.one("other", 1, "")))


def test_a_row_says_whether_the_limit_holds() -> None:
    """Percentiles are told where there are several samples; the floor says what it is."""
    assert rows([FAST]) == [
        ("latency", "2.5", "ms", "4", "", "", "4", "2.5 plain", "1.00", "≤ 1.5", "holds")
    ]
    some, many = (Figure.of("x", range(n), "ms") for n in (20, 100))
    assert [row[4:7] for row in rows([some, many])] == [("18", "", "19"), ("94", "98", "99")]
    missed = Figure.one("rate", 3, "1/s", limit=4, direction="more")
    assert rows([missed])[0][1:] == ("3", "1/s", "1", "", "", "", "", "", "≥ 4", "MISSED")
    table = markdown(HEADER, rows([FAST]))
    assert table.splitlines()[2].startswith("| latency | 2.5 | ms |")
    told = {0.0: "0", 12345.6: "12,346", 999.6: "1,000", 0.01234: "0.0123", 1.0: "1"}
    assert [number(each) for each in told] == list(told.values())
    assert rows([Figure.one("x", 3, "MB", floor=1000.0)])[0][8] == "0.003"


@pytest.mark.parametrize(
    ("labels", "aslant"),
    [
        (("1 sessions, signed in before", "1 sessions, AUTH included") * 3, 0),
        (("labctl", "plain clients of Python", "bash, ldapmodify, swaks, curl"), 0),
        (tuple(f"{number}: openldap pause" for number in range(20)), 40),
    ],
)
def test_no_name_below_a_chart_lies_on_another(
    labels: tuple[str, ...], aslant: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen where matplotlib has put the names when it has drawn them."""
    sheets: list[Sheet] = []
    monkeypatch.setattr(Sheet, "savefig", lambda sheet, *_, **__: sheets.append(sheet))
    draw(replace(BARS, labels=labels, series={"ours": (1.0,) * len(labels)}), tmp_path / "chart")
    sheets[0].canvas.draw()
    names = sheets[0].axes[0].get_xticklabels()
    assert {each.get_rotation() for each in names} == {aslant}
    if not aslant:
        boxes = [each.get_window_extent() for each in names]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_a_chart_is_drawn_as_png_and_svg_and_always_the_same(tmp_path: Path) -> None:
    """Bars, stacked bars and lines, gaps among them; the files hold no date."""
    for kind in ("bars", "stacked", "lines"):
        chart = replace(BARS, kind=kind)
        png, svg = draw(chart, tmp_path / kind)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in svg.read_text()
        again = draw(chart, tmp_path / "again")
        assert [each.read_bytes() for each in again] == [png.read_bytes(), svg.read_bytes()]


def test_every_measurement_is_described_and_has_a_short_form() -> None:
    """No two of one name; a short form is not larger, and each option says what it is."""
    assert len({each.name for each in TABLE}) == len(TABLE)
    for measurement in TABLE:
        assert measurement.about
        assert measurement.options
        for option in measurement.options:
            assert 0 <= option.least <= option.short <= option.full
            assert option.about.endswith(".")


def test_the_machine_is_told() -> None:
    """Its cores and its load, without which no time means anything."""
    assert {"system", "processor", "cores", "memory", "load before"} == set(machine())
