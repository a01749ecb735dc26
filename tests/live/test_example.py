"""Somebody else's project, as its own people run it; and broken, it goes red and says where."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, LiveLab, Ran, docker_do, environment

EXAMPLE = ROOT / "examples" / "acme-offboarding"
BLOCK = re.compile(r"```(?:python|yaml|ini)\n# (\S+)\n(.*?)```", re.DOTALL)
# Holds where the page's own fixture is used, and nowhere else: absent denies.
ABSENT = """\
title: Absent denies at Acme
accounts: [alice]
steps:
  - set:  {account: alice, send_allowed: absent, status: absent}
  - send: {from: alice, to: outside@acme.example, expect: {stage: RCPT, reply: 554 5.7.1}}
"""


def suite(directory: Path, env: dict[str, str], *arguments: str) -> Ran:
    """Run pytest in a directory, as a program; nothing is written there."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    env = {**env, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "250"}
    done = subprocess.run(
        command, cwd=directory, env=env, capture_output=True, text=True, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def stack(lab: LiveLab, tmp_path: Path) -> str:
    """The option that points a suite at a lab that is up."""
    file = tmp_path / "stack.json"
    file.touch(0o600)
    file.write_text(lab.run("endpoints", "-o", "json", "--secrets"))
    return f"--mail-lab-endpoints={file}"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the example, to be broken."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "copy"))


def break_(file: Path, old: str, new: str) -> None:
    """Change a file; the change must change something."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_example_passes_on_a_lab_of_its_own(state: Path, tmp_path: Path) -> None:
    """Eight tests, four of them scenarios and cases, and nothing of the lab is left."""
    env = {**environment(state, 12), "TMPDIR": str(tmp_path)}
    done = suite(EXAMPLE, env, "-v")
    assert done.code == 0, done.out + done.err
    assert re.search(r"=+ 8 passed in ", done.out), done.out
    assert "mail_lab: postfix: a sign-in seen" in done.out
    assert not list(tmp_path.glob("mail-policy-lab-testing-*/slot-*/*"))
    own = [tmp for tmp in labels() if str(tmp_path) in tmp]
    assert own == []


def labels() -> list[str]:
    """Return where the labs of this engine keep their state."""
    form = '{{.Label "mail-policy-lab.state"}}'
    return docker_do("ps", "-a", "--format", form).splitlines()


def test_a_job_that_changes_the_wrong_attribute_is_red(
    copy: Path, stack: str, state: Path, lab: LiveLab
) -> None:
    """What rests on the job fails, and the leaver is back after it all the same."""
    job = copy / "acme_offboarding.py"
    break_(job, '{"tnAccountStatus": "offboarded", "tnMailSendAllowed": "FALSE"}', '{"title": "x"}')
    break_(job, "raise_exceptions=True", "raise_exceptions=False")
    done = suite(copy, environment(state, 12), stack)
    assert done.code == 1, done.out
    assert re.search(r"=+ 2 failed, 6 passed in ", done.out), done.out
    assert "AssertionError: assert '250 2.0.0 at EOM' == '554 5.7.1 at RCPT'" in done.out
    assert lab.json("user", "show", "alice")["user"]["may_send"] is True


def test_scenarios_that_do_not_hold_are_told_step_by_step(
    copy: Path, stack: str, state: Path
) -> None:
    """The steps with their marks, the one that failed with what was seen and the wire; a case
    fails by itself.
    """
    break_(copy / "tests" / "leaver.scenario.yaml", "- offboard:     {", "- enable:       {")
    break_(
        copy / "tests" / "states.scenario.yaml",
        "on leave, status: disabled",
        "on leave, status: active",
    )
    done = suite(copy, environment(state, 12), stack, "-m", "labctl_scenario")
    assert done.code == 1, done.out
    assert re.search(r"=+ 2 failed, 2 passed, 4 deselected in ", done.out), done.out
    lines = (
        r"  2  ✓ passed   receive  .* bob finds before .*",
        r"  4  ✗ failed   resend  .* before again .* 250 2\.0\.0 at EOM .*",
        r"       expected     554 5\.7\.1 at RCPT",
        r"       seen         250 2\.0\.0 at EOM",
        r"       submission    -> RCPT TO:<bob@truenorth\.local>",
        r"  5  – skipped  authenticate .*",  # noqa: RUF001 - the mark of a step that was not reached
        r"FAILED tests/states\.scenario\.yaml::on leave - .*expected 554 5\.7\.1 at RCPT, seen .*",
    )
    for line in lines:
        assert re.search(rf"^{line}$", done.out, re.MULTILINE), f"{line}\n{done.out}"
    assert "Traceback" not in done.out
    assert "labctl/" not in done.out


def test_a_scenario_with_errors_is_not_run(copy: Path, stack: str, state: Path) -> None:
    """Every error stands with its place, and nothing is run."""
    break_(copy / "tests" / "leaver.scenario.yaml", "receive:", "recieve:")
    done = suite(copy, environment(state, 12), stack)
    assert done.code == 2, done.out
    place = r"^tests/leaver\.scenario\.yaml:6:5: unknown step 'recieve'; did you mean 'receive'\?"
    assert re.search(place, done.out, re.MULTILINE), done.out
    assert "1 error in" in done.out


def test_the_page_about_testing_does_what_it_says(stack: str, state: Path, tmp_path: Path) -> None:
    """Each block that names its file is one: a suite that passes, a fixture that takes the place of
    ours for scenarios, too, and a program.
    """
    files = dict(BLOCK.findall((ROOT / "docs" / "testing.md").read_text()))
    files["acme/absent.scenario.yaml"] = ABSENT
    project, env = tmp_path / "project", environment(state, 12)
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    done = suite(project, env, stack)
    assert done.code == 0, done.out
    assert re.search(r"=+ 5 passed in ", done.out), done.out
    program = subprocess.run(
        [sys.executable, project / "by_itself.py"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (program.returncode, program.stdout) == (0, "554 5.7.1 at RCPT\n"), program.stderr
