"""The command line: help everywhere, clear errors, documented exit codes, stdout for data."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from test_evidence_bundle import MEMBERS, WHOLE, adding
from test_report_sample import MIXED, rendered, stored

from labctl.cli import COMMANDS, cli
from labctl.cli.variables import read_dotenv
from labctl.errors import UsageError
from labctl.report.views import ENDINGS

ROOT = Path(__file__).resolve().parents[2]
USER = ("list", "show", "set", "disable", "enable", "offboard", "kick", "add", "remove")


def labctl(*arguments: str, state: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run labctl in a process of its own, with a state directory of the test's own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "LABCTL_"))}
    return subprocess.run(
        [sys.executable, "-m", "labctl", *arguments],
        env={**kept, "LAB_STATE_DIR": str(state), **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("form", ["text", "jsonl", "junit", "html"])
def test_nobody_who_reads_on_is_no_error_to_speak_of(tmp_path: Path, form: str) -> None:
    """`labctl report … | head`: silent, and ended as by SIGPIPE, as other tools are."""
    run = tmp_path / "runs" / "r1" / "transcript.jsonl"
    run.parent.mkdir(parents=True)
    stored(run, MIXED)
    read, write = os.pipe()
    os.close(read)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "LABCTL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "labctl", "report", "r1", "-o", form],
        env={**kept, "LAB_STATE_DIR": str(tmp_path)},
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_backup_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    """What is there stays, unless --force says otherwise; then only the lab is wanting."""
    file = tmp_path / "x.tgz"
    file.write_text("mine")
    done = labctl("backup", str(file), state=tmp_path)
    assert (done.returncode, file.read_text()) == (2, "mine")
    assert "--force" in done.stderr
    assert labctl("backup", str(file), "--force", state=tmp_path).returncode == 3
    assert file.read_text() == "mine"


def test_a_backup_takes_the_place_of_no_device(tmp_path: Path) -> None:
    """Not even with --force: root would replace what others use."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = labctl("backup", str(pipe), "--force", state=tmp_path)
    assert done.returncode == 2
    assert "no ordinary file" in done.stderr
    assert pipe.is_fifo()


def test_what_is_larger_than_any_bundle_is_not_read(tmp_path: Path) -> None:
    """A file of gigabytes is refused by its size."""
    file = tmp_path / "x.tgz"
    file.touch()
    os.truncate(file, 1 << 34)
    done = labctl("evidence", "verify", str(file), state=tmp_path)
    assert done.returncode == 2
    assert "larger than any evidence bundle" in done.stderr


def test_a_hint_names_the_lab_that_it_is_about(tmp_path: Path) -> None:
    """What is to be typed next is for the lab of -n, once."""
    done = labctl("-n", "blue", "user", "show", "--password", "alice", state=tmp_path)
    assert done.stderr.count("-n blue") == 1, done.stderr
    error = UsageError("no", "See `labctl user list`, or `labctl -n red up`.")
    error.for_lab("blue")
    assert error.hint == "See `labctl -n blue user list`, or `labctl -n red up`."
    error.for_lab("default")
    assert error.hint == "See `labctl -n blue user list`, or `labctl -n red up`."


def test_every_command_is_in_the_help(tmp_path: Path) -> None:
    """`labctl --help` lists each command with a line about it, and the exit codes."""
    done = labctl("--help", state=tmp_path)
    listed = done.stdout.partition("Commands:")[2].split("\n")
    assert {line.split()[0] for line in listed if len(line.split()) > 2} == set(COMMANDS)
    assert "130 interrupted" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "command", [*COMMANDS, *(f"user {verb}" for verb in USER), "evidence verify", "bench compare"]
)
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    """--help of each command says what it does, exit code 0."""
    done = labctl(*command.split(), "--help", state=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.split("\n\n")[1].strip()) > 20


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["frobnicate"], 2, "No such command"),
        (["up", "--policy", "lenient"], 2, "hardened"),
        (["-n", "../x", "status"], 2, "cannot name a lab"),
        (["scenario"], 2, "Missing argument"),
        (["scenario", "ofboarding"], 2, "Did you mean 'offboarding'?"),
        (["scenario", "offboarding"], 3, "labctl up"),
        (["scenario", "offboarding", "--step"], 2, "need a terminal"),
        (["scenario", "offboarding", "--pace", "1"], 2, "need a terminal"),
        (["scenario", "offboarding", "--step", "-o", "jsonl"], 2, "on the terminal"),
        (["scenario", "offboarding", "--dry-run", "-o", "jsonl"], 2, "prints text"),
        (["scenario", "offboarding", "--dry-run=no"], 2, "'plan', 'probe'"),
        (["scenario", "offboarding", "--dry-run=probe"], 3, "labctl up"),
        (["watch"], 3, "labctl up"),
        (["watch", "--interval", "0"], 2, "interval"),
        (["watch", "--interval", "nan"], 2, "not a number of seconds"),
        (["scenario", "missing.yaml"], 6, "missing.yaml:1:1: cannot be read"),
        (["check", "tests/unit/cases/typo-in-a-key.yaml"], 6, "did you mean 'from'?"),
        (["report", "last"], 2, "no run yet"),
        (["report", "nothing"], 2, "no transcript"),
        (["user", "set", "alice"], 2, "nothing to set"),
        (["user", "show", "alice"], 3, "labctl up"),
        (["send", "--from", "alice", "--to", "bob"], 3, "labctl up"),
        (["send", "--from", "alice"], 2, "--to"),
        (["inbox", "alice", "--count", "0"], 2, "--count"),
        (["explain", "alice"], 3, "labctl up"),
        (["explain", "alice", "--port", "26"], 2, "--port"),
        (["explain", "alice", "--to", ""], 2, "cannot be empty"),
        (["shadow"], 3, "labctl up"),
        (["shadow", "--on"], 3, "labctl up"),
        (["shadow", "on"], 2, "unexpected extra argument"),
        (["endpoints"], 3, "labctl up"),
        (["status"], 3, "labctl up"),
        (["reset"], 3, "labctl up"),
        (["logs"], 3, "labctl up"),
        (["inbox", "alice", "--endpoints", "README.md"], 2, "no endpoints file"),
        (["scenario", "offboarding", "--report", "r.pdf"], 2, "Use one of .txt, .jsonl"),
        (["scenario", "offboarding", "--report", "nowhere/r.xml"], 2, "No such file or directory"),
        (["scenario", "offboarding", "--evidence", "e.zip"], 2, "Use one of .tgz, .tar.gz"),
        (["scenario", "offboarding", "--evidence", "nowhere/e.tgz"], 2, "cannot be written"),
        (["report", "./README.md"], 2, "not a transcript: README.md:1: not JSON"),
        (["evidence", "verify", "docs"], 2, "docs is no file"),
        (["evidence", "verify", "/dev/zero"], 2, "/dev/zero is no file"),
        (["evidence", "verify", "none.tgz"], 2, "cannot be read: No such file"),
        (["evidence", "verify", "README.md"], 2, "no evidence bundle"),
        (["bench", "speed"], 2, "No such command 'speed'"),
        (["bench", "scenario", "--rounds", "0"], 2, "--rounds"),
        (["bench", "scale", "--accounts", "9"], 2, "x>=10"),
        (["bench", "compare", "README.md"], 2, "Missing argument"),
        (["bench", "compare", "README.md", "README.md"], 2, "README.md cannot be used"),
        (["completion", "tcsh"], 2, "tcsh"),
    ],
)
def test_what_is_wrong_is_said_on_stderr_with_the_documented_code(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    """Each mistake has its exit code and its words, on stderr; stdout stays empty."""
    done = labctl(*arguments, state=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_results_of_different_sizes_are_compared_with_a_word_about_it(tmp_path: Path) -> None:
    """The figures of 100 toggles are not those of 10,000; of the same size nothing is said."""
    kept = json.loads((ROOT / "benchmarks" / "results" / "footprint.json").read_text())
    less = tmp_path / "less.json"
    less.write_text(json.dumps({**kept, "size": {"rounds": 3}}))
    for after, said in (("benchmarks/results/footprint.json", ""), (str(less), "rounds 3\n")):
        done = labctl(
            "bench", "compare", "benchmarks/results/footprint.json", after, state=tmp_path
        )
        assert done.returncode == 0
        assert done.stderr.endswith(said)
        assert bool(done.stderr) == bool(said)
        assert "memory of an idle lab" in done.stdout


def test_logs_of_a_server_that_the_lab_has_not_are_told_so(tmp_path: Path) -> None:
    """A single directory has no replicas: a mistake (2), with who there is."""
    lab = tmp_path / "labs" / "default"
    lab.mkdir(parents=True)
    (lab / "lab.json").write_text('{"slot": 0, "policy": "hardened"}')
    done = labctl("logs", "postfix", "replica1", state=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the lab 'default' has no replica1\nIt has openldap, postfix," in done.stderr


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The host's fault (4), in two lines that name the file; so is what stands in its place."""
    (tmp_path / "file").write_text("")
    (tmp_path / "state" / "labs" / "default" / "lock").mkdir(parents=True)
    for state in (tmp_path / "file", tmp_path / "state"):
        done = labctl("up", state=state)
        assert done.returncode == 4, done.stderr
        assert str(state) in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["scenarios", "version"])
@pytest.mark.parametrize("output", ["json", "yaml", "table"])
def test_reading_commands_print_data_and_nothing_else(
    tmp_path: Path, command: str, output: str
) -> None:
    """JSON is one object with the schema, YAML the same, the table plain text without escapes."""
    done = labctl(command, "-o", output, state=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    if output == "json":
        assert json.loads(done.stdout)["schema"] == "labctl/v1"
    elif output == "yaml":
        assert "schema: labctl/v1" in done.stdout
    assert "\x1b" not in done.stdout


def test_options_come_from_the_environment_too(tmp_path: Path) -> None:
    """LABCTL_* mirrors each option; a flag is stronger."""
    by_env = labctl("scenarios", state=tmp_path, LABCTL_SCENARIOS_OUTPUT="json")
    assert json.loads(by_env.stdout)["scenarios"]
    flag = labctl("scenarios", "-o", "table", state=tmp_path, LABCTL_SCENARIOS_OUTPUT="json")
    assert flag.stdout.startswith("NAME")
    named = labctl("status", state=tmp_path, LABCTL_NAME="blue")
    assert "labctl -n blue up" in named.stderr


def test_a_setting_that_cannot_be_used_is_a_usage_error(tmp_path: Path) -> None:
    """The variable is named, exit code 2."""
    done = labctl("status", state=tmp_path, LAB_SLOT="99")
    assert done.returncode == 2
    assert "LAB_SLOT='99'" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(tmp_path: Path, shell: str) -> None:
    """Each shell gets a script that asks labctl."""
    assert "_LABCTL_COMPLETE" in labctl("completion", shell, state=tmp_path).stdout


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    """What the script asks is answered with the commands that begin so."""
    env = {"_LABCTL_COMPLETE": "bash_complete", "COMP_WORDS": "labctl sce", "COMP_CWORD": "1"}
    assert "scenario" in labctl(state=tmp_path, **env).stdout


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    """A stored run in which a step failed."""
    return stored(tmp_path / "t.jsonl", MIXED)


def test_reports_are_written_by_their_endings(tmp_path: Path, transcript: Path) -> None:
    """Each file is of its form; stdout is what `-o` says, and nothing is left beside."""
    places = [tmp_path / f"r{ending}" for ending in ENDINGS]
    options = [part for place in places for part in ("--report", str(place))]
    done = labctl("report", str(transcript), "-o", "junit", *options, state=tmp_path)
    assert done.returncode == 0
    assert done.stdout == rendered("junit", MIXED)
    for place in places:
        assert place.read_text() == rendered(ENDINGS[place.suffix], MIXED)
        assert f"wrote {place}" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"t.jsonl", *(p.name for p in places)}


def test_reports_come_from_the_environment_too(tmp_path: Path, transcript: Path) -> None:
    """Several are parted as paths are."""
    places = [tmp_path / "a.html", tmp_path / "b.xml"]
    value = os.pathsep.join(map(str, places))
    done = labctl("report", str(transcript), state=tmp_path, LABCTL_REPORT_REPORT=value)
    assert done.returncode == 0, done.stderr
    assert all(place.is_file() for place in places)


def test_what_dotenv_says_of_options_is_weaker_than_the_environment(tmp_path: Path) -> None:
    """Only what is there not yet is added, and nothing but options."""
    (tmp_path / ".env").write_text("LABCTL_NAME=a\nLABCTL_USER_LIST_OUTPUT=json\nLAB_SLOT=3\n")
    environ = {"LABCTL_NAME": "b"}
    read_dotenv(tmp_path, environ)
    assert environ == {"LABCTL_NAME": "b", "LABCTL_USER_LIST_OUTPUT": "json"}


def options(command: click.Command, *path: str) -> Iterator[tuple[str | None, str]]:
    """Yield the variable of each option of labctl, and the one that what is typed makes."""
    context = click.Context(command)
    for each in command.params:
        if isinstance(each, click.Option) and each.name not in {"version", "help"}:
            typed = "_".join(["labctl", *path, max(each.opts, key=len).removeprefix("--")])
            yield each.envvar, typed.replace("-", "_").upper()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below, *path, name)


def test_each_option_has_the_variable_that_its_name_says() -> None:
    """Also where the parameter of our function is called otherwise; no two have the same."""
    found = list(options(cli))
    assert [has for has, _ in found] == [typed for _, typed in found]
    assert len(set(found)) == len(found) > 100


@pytest.mark.parametrize(
    ("arguments", "environ", "code"),
    [
        (["prove"], {"LABCTL_PROVE_LIST": "1"}, 0),
        (["check", "offboarding"], {"LABCTL_CHECK_ENDPOINTS": "/nonexistent"}, 2),
        (["user", "list"], {"LABCTL_USER_LIST_OUTPUT": "nonsense"}, 2),
    ],
)
def test_an_option_is_heard_by_the_name_of_its_variable(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], code: int
) -> None:
    """What is meant to keep a lab from being broken is not dropped."""
    done = labctl(*arguments, state=tmp_path, **environ)
    assert done.returncode == code, done.stderr
    assert (code == 0) == ("null sender" in done.stdout)


def test_an_old_report_stays_where_a_new_one_cannot_be_made(
    tmp_path: Path, transcript: Path
) -> None:
    """What cannot be rendered leaves the file that was there as it was."""
    place = tmp_path / "r.html"
    place.write_text("old")
    transcript.write_text("{}\n")
    done = labctl("report", str(transcript), "--report", str(place), state=tmp_path)
    assert done.returncode == 2
    assert "not a labctl/v1 event" in done.stderr
    assert place.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"t.jsonl", "r.html"}


@pytest.mark.parametrize("output", ["text", "jsonl", "junit", "html"])
def test_a_transcript_without_a_run_is_an_error(tmp_path: Path, output: str) -> None:
    """In each form, and not a report that reads like a success."""
    (tmp_path / "t.jsonl").touch()
    done = labctl("report", str(tmp_path / "t.jsonl"), "-o", output, state=tmp_path)
    assert done.returncode == 2
    assert "holds no run" in done.stderr
    assert done.stdout == ""


def test_a_transcript_that_was_cut_off_is_rendered_and_told(
    tmp_path: Path, transcript: Path
) -> None:
    """A crash left half a line: all before it is shown, and stderr says what happened."""
    transcript.write_bytes(transcript.read_bytes()[:-20])
    done = labctl("report", str(transcript), state=tmp_path)
    assert done.returncode == 0
    assert "the transcript ends before the run did" in done.stdout
    assert "ends in the middle of a line" in done.stderr


def test_verifying_says_what_is_wrong(tmp_path: Path) -> None:
    """0 and the members where a bundle is whole; 1 and the problems, escaped, where it is not."""
    place = tmp_path / "e.tgz"
    place.write_bytes(WHOLE)
    done = labctl("evidence", "verify", str(place), state=tmp_path)
    assert (done.returncode, done.stdout.count("as listed")) == (0, len(MEMBERS))
    assert hashlib.sha256(WHOLE).hexdigest() in done.stderr
    place.write_bytes(adding("evidence-r1/\x1b[2J"))
    done = labctl("evidence", "verify", str(place), "-o", "json", state=tmp_path)
    data = json.loads(done.stdout)
    assert (done.returncode, data["whole"], data["schema"]) == (1, False, "labctl/v1")
    assert "NOT whole" in done.stderr
    assert "\x1b" not in done.stderr
    states = {each["name"]: each["state"] for each in data["members"]}
    assert states.pop("\x1b[2J") == "not listed"
    assert set(states.values()) == {"as listed"}


def test_a_dry_run_needs_no_lab_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Numbered steps, LDIF with BASE, the expected replies; no lab, no run, exit code 0."""
    done = labctl("scenario", "offboarding", "--dry-run", state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "  4  » planned  resend" in done.stdout
    assert "dn: uid=alice,ou=users,BASE\n" in done.stdout
    assert "tnAccountStatus: offboarded" in done.stdout
    assert "554 5.7.1 at RCPT, text /directory policy/: refused" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_scenario_can_be_planned(tmp_path: Path) -> None:
    """Every step of every scenario that ships says what it would do, cases included."""
    names = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("scenarios/**/*.yaml"))
    done = labctl("scenario", "--dry-run", *names, state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("dry run: nothing is touched") == len(names)
