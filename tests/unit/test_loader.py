"""Every error of a scenario file is reported, with its place and the nearest valid word."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labctl.errors import InvalidScenario
from labctl.scenario.loader import load, load_all
from labctl.scenario.model import Scenario

CASES = Path(__file__).parent / "cases"
SHIPPED = Path(__file__).resolve().parents[2] / "scenarios"


def problems(path: Path) -> list[str]:
    """Return the errors of a file, without the folder in front."""
    with pytest.raises(InvalidScenario) as caught:
        load(path)
    return [problem.removeprefix(f"{path.parent}/") for problem in caught.value.problems]


@pytest.mark.parametrize("case", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_wrong_file_gives_exactly_these_errors(case: Path) -> None:
    """Each case stands beside the errors it must give, to the letter."""
    assert problems(case) == case.with_suffix(".errors").read_text().splitlines()


@pytest.mark.parametrize("path", sorted(SHIPPED.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_scenario_is_valid(path: Path) -> None:
    """What ships loads, has a title and a reason, and ends by checking that nothing changed, unless
    it lets Postfix read another configuration.
    """
    scenario = load(path)
    assert scenario.name == path.stem
    assert scenario.title
    assert scenario.why
    reloads = any(getattr(step, "kind", "") in {"shadow", "tight"} for step in scenario.steps)
    assert scenario.cases or reloads or scenario.steps[-1].verb == "unchanged"


def test_the_errors_of_all_files_come_together() -> None:
    """Two wrong files give the errors of both."""
    files = sorted(CASES.glob("*.yaml"))[:2]
    with pytest.raises(InvalidScenario) as caught:
        load_all(files)
    assert {problem.partition(":")[0] for problem in caught.value.problems} == set(map(str, files))


def test_no_is_a_string(tmp_path: Path) -> None:
    """YAML 1.2: the account `no` is called no, not false."""
    file = tmp_path / "x.yaml"
    file.write_text("title: t\naccounts: [no]\nsteps: [{disable: {account: no}}]\n")
    assert load(file).accounts == ("no",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"title: \x00",
        b"a: [1, 2",
        b"\t- x",
        b"{" * 5000,
        b"&a [*a]",
        b"? [1]",
    ],
)
def test_what_is_no_scenario_at_all_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    """Empty, binary, cut off or absurdly nested files are errors with a place."""
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    assert problems(file)[0].startswith("x.yaml:")


def test_of_a_file_without_end_only_so_much_is_read(tmp_path: Path) -> None:
    """A device or a pipe that never ends is an error, not the end of this host's memory."""
    file = tmp_path / "x.yaml"
    file.symlink_to("/dev/zero")
    assert problems(file) == ["x.yaml:1:1: cannot be read: larger than 1,000,000 bytes"]


@pytest.mark.parametrize(
    ("cases", "steps"),
    [
        ("{name: a, k: " + "x" * 2000 + "}", "{note: '" + "{k}" * 1100 + "'}"),
        (",".join(f"{{name: a{i}, k: 1}}" for i in range(700)), "{note: '{k}'}," * 700),
    ],
)
def test_cases_do_not_grow_without_end(tmp_path: Path, cases: str, steps: str) -> None:
    """A small file that would be a large one, written out, is refused before it is."""
    file = tmp_path / "x.yaml"
    file.write_text(f"title: t\naccounts: [alice]\ncases: [{cases}]\nsteps: [{steps}]\n")
    assert problems(file) == [
        "x.yaml:3:1: written out, the cases have more than 2,000,000 characters: "
        "make it two scenarios"
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("9" * 5000, "this number is too long"),
        ("[" * 60 + "]" * 60, "this is nested too deeply"),
        ("{k: " * 60 + "1" + "}" * 60, "this is nested too deeply"),
    ],
)
def test_what_no_scenario_needs_is_an_error_with_its_place(
    tmp_path: Path, value: str, why: str
) -> None:
    """Long numbers and deep nesting are told, and no traceback."""
    file = tmp_path / "x.yaml"
    file.write_text(f"title: t\naccounts: [alice]\nsteps: [{{note: {value}}}]\n")
    [problem] = problems(file)
    assert problem.startswith("x.yaml:3:")
    assert problem.endswith(why)


def test_what_is_not_utf_8_is_told_where_it_stands(tmp_path: Path) -> None:
    """Saved by an editor in Latin-1: the line and the byte in it."""
    file = tmp_path / "x.yaml"
    file.write_bytes(b"title: t\naccounts: [a]\nsteps: [{note: caf\xe9}]\n")
    assert problems(file) == ["x.yaml:3:19: cannot be read: what stands here is not UTF-8"]


def test_a_file_that_is_nested_without_end_says_so(tmp_path: Path) -> None:
    """Not in the words of the language that this is written in."""
    file = tmp_path / "x.yaml"
    file.write_text("{" * 5000)
    assert problems(file) == ["x.yaml:1:1: cannot be read: it is nested too deeply"]


def test_a_file_that_is_not_there_is_an_error_of_the_file(tmp_path: Path) -> None:
    """A missing file is told like any other error."""
    assert "No such file" in problems(tmp_path / "missing.yaml")[0]


words = st.sampled_from(
    ["title", "accounts", "steps", "send", "from", "to", "alice", "{", "}", "[", "]", ": ", "- ",
     "\n", "  ", "expect", "stage", "RCPT", "reply", "554", "&a", "*a", "!!python/name:os", "no",
     "cases", "defaults", "name", "x", "hardened", "baseline", "{x}"]
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(st.binary(max_size=200), st.lists(words, max_size=60).map("".join).map(str.encode))
)
@example(
    b"title: t\naccounts: []\ncases: [{name: a, x: {hardened: [], baseline: [[{}]]}}]\n"
    b"steps: ['{x}']"
)
@example(b"title: t\naccounts: [a]\nsteps: [{set: {account: a, status: 1e999}}]")
@example(b"&!{&!")
def test_whatever_the_file_it_loads_or_says_why(tmp_path: Path, content: bytes) -> None:
    """No content of a file gives anything but a scenario or InvalidScenario."""
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    try:
        found: Scenario | list[str] = load(file)
    except InvalidScenario as error:
        found = error.problems
    assert isinstance(found, Scenario) or all(row.startswith(f"{file}:") for row in found)
    assert found


if __name__ == "__main__":  # writes the .errors files anew: read the difference before committing
    for each in CASES.glob("*.yaml"):
        each.with_suffix(".errors").write_text("\n".join(problems(each)) + "\n")
        sys.stdout.write(f"{each.stem}\n" + each.with_suffix(".errors").read_text())
