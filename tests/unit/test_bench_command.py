"""Measurements as commands: what they keep, also if they are cut short; programs that are timed."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from labctl.bench import measurement as module
from labctl.bench import plot
from labctl.bench.command import ran
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.result import Result, read
from labctl.cli import bench as cli
from labctl.cli.app import App
from labctl.errors import DeadlinePassed, HostProblem, LabNotReady, UsageError
from labctl.lab import provenance

FOUND = Figure.one("found", 3, "s")
DRAWN = Chart("drawn", "Drawn", "s", ("a",), {"ours": (1.0,)})
WHOLE = (FOUND, DRAWN)


@dataclass
class Taking:
    """Takes measurements of what a test says, with neither engine nor labs."""

    state: Path
    order: list[str] = field(default_factory=list)

    def take(self, measure: Callable[[Bench], Yielded], *options: str) -> int:
        """Run the command of such a measurement, and return its exit code."""

        def measured(bench: Bench) -> Yielded:
            self.order.append("measured")
            yield from measure(bench)

        of = Measurement("made-up", "Nothing.", (Option("rounds", "How many.", 2, 1),), measured)
        app = App(self.state, {"LAB_STATE_DIR": str(self.state)}, "unit")
        arguments = ["-o", "json", *options]
        code: int = cli._command(of).main(arguments, obj=app, standalone_mode=False)
        return code

    @property
    def kept(self) -> list[Path]:
        """What is kept."""
        return sorted((self.state / "bench").glob("*"))


@pytest.fixture
def taking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Taking:
    """Return what takes measurements."""
    taking = Taking(tmp_path)

    def versions(*_: object, **__: object) -> dict[str, str]:
        taking.order.append("versions")
        return {"labctl": "0"}

    monkeypatch.setattr(provenance, "tool_versions", versions)
    return taking


def whole(_: Bench) -> Yielded:
    """Yield all there is."""
    yield from WHOLE


def test_what_is_measured_is_of_the_versions_before_it(taking: Taking) -> None:
    """Whoever commits meanwhile does not change what is told of the files that were measured."""
    assert taking.take(whole) == 0
    assert taking.order == ["versions", "measured"]


@pytest.mark.parametrize(
    "error",
    [LabNotReady("gone"), DeadlinePassed("late"), KeyboardInterrupt(), ZeroDivisionError()],
    ids=lambda each: type(each).__name__,
)
def test_what_was_found_before_an_error_is_kept_as_incomplete(
    taking: Taking, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    """The error goes on as it is; the file says what it is, and the message where."""

    def cut_short(_: Bench) -> Yielded:
        yield FOUND
        raise error

    expected = click.Abort if isinstance(error, KeyboardInterrupt) else type(error)
    with pytest.raises(expected):
        taking.take(cut_short)
    (path,) = taking.kept
    assert path.name.endswith("-made-up.incomplete.json")
    assert json.loads(path.read_text())["complete"] is False
    assert (read(path).figures, read(path).complete) == ((FOUND,), False)
    said = capsys.readouterr()
    assert f"cut short; what was found is in {path}" in said.err
    assert said.out == ""


def test_nothing_is_kept_of_a_measurement_that_found_nothing(taking: Taking) -> None:
    """Neither of one that failed before its first figure, nor is anything said to be."""

    def at_once(_: Bench) -> Yielded:
        raise LabNotReady("gone")
        yield FOUND

    with pytest.raises(LabNotReady):
        taking.take(at_once)
    assert taking.kept == []


def test_what_cannot_be_kept_does_not_hide_why_it_was_cut_short(
    taking: Taking, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file stands where the directory is to be."""

    def cut_short(_: Bench) -> Yielded:
        yield FOUND
        raise LabNotReady("gone")

    (taking.state / "bench").write_text("")
    with pytest.raises(LabNotReady):
        taking.take(cut_short)
    assert "what was found is lost" in capsys.readouterr().err


def test_an_incomplete_result_is_not_compared(taking: Taking) -> None:
    """On neither side."""

    def cut_short(_: Bench) -> Yielded:
        yield FOUND
        raise LabNotReady("gone")

    with pytest.raises(LabNotReady):
        taking.take(cut_short)
    taking.take(whole, "--no-plot")
    partly, wholly = map(str, taking.kept)
    assert "incomplete" in partly
    for pair in ([partly, wholly], [wholly, partly]):
        with pytest.raises(UsageError, match="is incomplete: its measurement was cut short"):
            cli.compare.main(pair, standalone_mode=False)
    cli.compare.main([wholly, wholly], standalone_mode=False)


def test_plots_are_drawn_beside_the_result_unless_told_otherwise(
    taking: Taking, capsys: pytest.CaptureFixture[str]
) -> None:
    """PNG and SVG, named on stderr; with --no-plot neither, and nothing is said of it."""
    assert taking.take(whole, "--no-plot") == 0
    assert [path.suffix for path in taking.kept] == [".json"]
    assert "no plot is drawn" not in capsys.readouterr().err
    for options in ([], ["--plot"]):
        assert taking.take(whole, *options) == 0
        said = capsys.readouterr().err
        assert {path.suffix for path in taking.kept} == {".json", ".png", ".svg"}
        for path in taking.kept:
            assert f"wrote {path}\n" in said
            path.unlink()


def test_without_matplotlib_it_is_said_how_to_get_plots(
    taking: Taking, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that names the extra; who demands plots learns it before anything is measured."""
    monkeypatch.setattr(plot, "find_spec", lambda _: None)
    assert taking.take(whole) == 0
    assert [path.suffix for path in taking.kept] == [".json"]
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "no plot is drawn" in line)
    assert "pip install -e '.[bench]'" in line
    taking.take(whole, "--no-plot")
    assert "no plot is drawn" not in capsys.readouterr().err
    taking.order.clear()
    with pytest.raises(HostProblem, match="no matplotlib"):
        taking.take(whole, "--plot")
    assert taking.order == []


def in_labs(bench: Bench) -> Yielded:
    """Be done with two labs."""
    for _ in range(2):
        with bench.lab():
            yield FOUND


def test_a_result_has_the_versions_of_the_servers_that_were_measured(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first lab tells them when it is done with; whoever has no lab has none."""
    asked: list[str] = []

    def told(lab: SimpleNamespace) -> dict[str, str]:
        asked.append(lab.name)
        return {"slapd": "2.5", "openldap's image": "sha256:1"}

    monkeypatch.setattr(provenance, "running_servers", told)
    monkeypatch.setattr(module, "own_lab", OwnLab)
    assert taking.take(in_labs, "--no-plot") == 0
    (path,) = taking.kept
    assert asked == ["unit"]
    assert read(path).versions == {"labctl": "0", "slapd": "2.5", "openldap's image": "sha256:1"}


def test_servers_that_do_not_tell_their_versions_do_not_cost_the_result(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says why there are none."""

    def silent(_: object) -> dict[str, str]:
        raise LabNotReady("dovecot does not run")

    monkeypatch.setattr(provenance, "running_servers", silent)
    monkeypatch.setattr(module, "own_lab", OwnLab)
    assert taking.take(in_labs, "--no-plot") == 0
    (path,) = taking.kept
    assert read(path).versions["servers"] == "unknown: dovecot does not run"


class OwnLab:
    """In the place of a lab that comes up."""

    def __init__(self, _: object, name: str, __: object) -> None:
        self.name = name

    def __enter__(self) -> SimpleNamespace:
        return SimpleNamespace(name=self.name)

    def __exit__(self, *_: object) -> None:
        pass


def test_the_versions_of_the_servers_are_read_from_their_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the ids of the images from the containers, also those that stand beside."""
    installed = {
        "openldap": "libc6 2.36\nslapd 2.5.13\n",
        "postfix": "postfix 3.7.11\n",
        "dovecot": "dovecot-core 1:2.3.19\n",
        "milter": "python3-milter 1.0.5\n",
    }
    containers = SimpleNamespace(execute=lambda service, _: installed[service])
    images = {"openldap": {"image_id": "sha256:1"}, "replica1": {"image_id": "sha256:2"}}
    monkeypatch.setattr(provenance, "identities", lambda _: images)
    assert provenance.running_servers(SimpleNamespace(containers=containers)) == {
        "slapd": "2.5.13",
        "postfix": "3.7.11",
        "dovecot": "1:2.3.19",
        "milter": "1.0.5",
        "openldap's image": "sha256:1",
        "replica1's image": "sha256:2",
    }


def test_a_commit_is_dirty_if_its_files_are_other_ones(tmp_path: Path) -> None:
    """But not for what is in the places that are named; files that git does not know are none."""

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

    def commit(*places: str) -> str:
        return provenance._commit(tmp_path, places)

    assert commit() == "unknown: this is no git checkout"
    (tmp_path / "docs").mkdir()
    page, code = tmp_path / "docs" / "page", tmp_path / "code"
    for path in (page, code):
        path.write_text("a")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "x")
    clean = commit()
    assert len(clean) == 40
    (tmp_path / "new").write_text("")
    assert commit() == clean
    page.write_text("b")
    assert (commit(), commit("docs")) == (f"{clean}-dirty", clean)
    code.write_text("b")
    assert commit("docs") == f"{clean}-dirty"


def test_what_writing_results_down_changes_makes_no_commit_dirty() -> None:
    """The page and what it shows; what measurements are made of does."""
    assert set(cli._OURS) == {"docs", "benchmarks/results"}


def test_a_result_of_old_is_complete(tmp_path: Path) -> None:
    """The files in benchmarks/results do not say so."""
    data = Result("made-up", 0.0, 1.0, {}, {}, {}, (FOUND,)).to_dict()
    assert data.pop("complete") is True
    path = tmp_path / "old.json"
    path.write_text(json.dumps(data))
    assert read(path).complete
    path.write_text(json.dumps({**data, "complete": "perhaps"}))
    assert not read(path).complete


def test_lines_are_told_as_they_come() -> None:
    """In order, each once, and all of them are its output, too."""
    program = "print('first'); print('last')"
    told: list[str] = []
    done = ran([sys.executable, "-c", program], tell=told.append)
    assert told == ["first\n", "last\n"]
    assert done.output == "first\nlast\n"
    assert done.processor > 0
    assert done.seconds > 0


def test_one_that_fails_is_told_of_with_what_it_said() -> None:
    """The exit status and the last lines are in the error."""
    with pytest.raises(HostProblem, match=r"ended with 3; it last said:\nwhy not"):
        ran([sys.executable, "-c", "print('why not'); raise SystemExit(3)"])
