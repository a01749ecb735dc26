"""The pytest plugin: what it collects, how it tells a failure, and that it is idle otherwise."""

import json
from pathlib import Path

import docker  # noqa: F401 - what the runs below import is imported once, and not by each anew
import pytest
from dialogue import playing

import labctl.report.terminal
import labctl.testing.items  # noqa: F401

pytest_plugins = ["pytester"]

SEND = """\
title: An outsider is refused
accounts: []
steps:
  - send: {from: mallory@outside.example, to: bob@x.org, expect: {stage: RCPT, reply: 554 5.7.1}}
"""
TABLE = """\
title: A table
accounts: []
cases:
  - {name: first, to: bob@x.org}
  - {name: only on baseline, to: bob@x.org, needs: {policy: baseline}}
steps:
  - send: {from: mallory@outside.example, to: "{to}"}
"""
ACCEPTING = [
    "S: 220 mail",
    "C: ehlo .*",
    "S: 250 mail",
    "C: MAIL .*",
    "S: 250 2.1.0 Ok",
    "C: RCPT .*",
    "S: 250 2.1.5 Ok",
    "C: DATA",
    "S: 354 Go on",
    "MESSAGE",
    "S: 250 2.0.0 Ok: queued",
]


def stack(directory: Path, port: int) -> Path:
    """Write an endpoints file whose relay is on this port; returns it."""
    file = directory / "stack.json"
    data = {
        "schema": "labctl/v1",
        "lab": "elsewhere",
        "domain": "x.org",
        "base_dn": "dc=x",
        "policy": "hardened",
        "smtp": {"host": "127.0.0.1", "port": port, "tls": "none"},
    }
    file.write_text(json.dumps(data))
    return file


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever starts a lab here fail."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run a suite; hypothesis is not in it, and would take longer than all the rest."""
    return pytester.runpytest("-p", "no:hypothesispytest", *arguments)


def write(pytester: pytest.Pytester, name: str, text: str) -> None:
    """Write a scenario."""
    (pytester.path / f"{name}.scenario.yaml").write_text(text)


def test_a_scenario_is_an_item_and_so_is_each_case(pytester: pytest.Pytester) -> None:
    """They are collected beside Python tests, marked, and no lab is started for that."""
    write(pytester, "one", SEND)
    write(pytester, "two", TABLE)
    (pytester.path / "other.yaml").write_text("not: ours")
    pytester.makepyfile("def test_own(): pass")
    every = run(pytester, "--collect-only", "-q", "--strict-markers")
    every.stdout.fnmatch_lines_random(
        [
            "one.scenario.yaml::An outsider is refused",
            "two.scenario.yaml::first",
            "two.scenario.yaml::only on baseline",
            "*::test_own",
            "4 tests collected*",
        ]
    )
    marked = run(pytester, "--collect-only", "-q", "-m", "labctl_scenario")
    marked.stdout.fnmatch_lines(["3/4 tests collected*"])
    run(pytester, "-m", "not labctl_scenario").assert_outcomes(passed=1, deselected=3)


def test_what_is_wrong_in_a_file_is_told_when_it_is_collected(pytester: pytest.Pytester) -> None:
    """Every error has its place, and none comes as a traceback."""
    write(pytester, "wrong", SEND.replace("send:", "sned:").replace("title: An", "titel: An"))
    done = run(pytester)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        [
            "wrong.scenario.yaml:1:1: *title*",
            "wrong.scenario.yaml:4:5: unknown step 'sned'; did you mean 'send'?*",
        ]
    )
    done.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("mode", ["in process", "summary"])
def test_a_failure_is_told_step_by_step(pytester: pytest.Pytester, mode: str) -> None:
    """What was expected, what was seen and the wire stand below the step, and no traceback."""
    write(pytester, "one", SEND)
    with playing(ACCEPTING) as server:
        file = stack(pytester.path, server.endpoint.port)
        done = run(pytester, f"--mail-lab-endpoints={file}", "--junitxml=junit.xml")
    done.assert_outcomes(failed=1)
    if mode == "summary":
        done.stdout.fnmatch_lines(
            ["FAILED one.scenario.yaml::An outsider is refused - reply: expected*"]
        )
        assert "expected 554 5.7.1 at RCPT" in (pytester.path / "junit.xml").read_text()
        return
    done.stdout.fnmatch_lines(
        [
            "*1  ✗ failed*send *mallory@outside.example → bob@x.org*250 2.0.0 at EOM*",
            "*expected *554 5.7.1 at RCPT",
            "*seen *250 2.0.0 at EOM",
            "*smtp * -> *RCPT TO:<bob@x.org>",
            "*smtp *<-  250 2.1.5 Ok",
            "failed: 1 step*",
        ]
    )
    done.stdout.no_fnmatch_line("*Traceback*")
    done.stdout.no_fnmatch_line("*.py:*")


def test_unmet_needs_skip_a_case_with_their_reason(pytester: pytest.Pytester) -> None:
    """The case that needs another profile is skipped; the other is run, and passes."""
    write(pytester, "two", TABLE)
    with playing(ACCEPTING) as server:
        stack(pytester.path, server.endpoint.port)
        pytester.makeini("[pytest]\nmail_lab_endpoints = stack.json\n")
        done = run(pytester, "-rs")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED*needs the policy profile baseline; this is hardened"])


FAKE = """
import pytest
from labctl.events import RunEnded, StepEnded, Verdict
from labctl.testing.results import Played

class Stack:
    def run(self, scenario):
        step = StepEnded(1, Verdict.PASSED, "", 0.0)
        return Played((step, RunEnded(Verdict.{verdict}, "{reason}", 1, 0, 0, 0, 0, 0.0, {code})))

@pytest.fixture(scope="session")
def mail_lab():
    return Stack()
"""


def test_a_run_in_which_nothing_was_checked_fails(pytester: pytest.Pytester) -> None:
    """The step passed, and that proves nothing. The fixture is the suite's own here."""
    write(pytester, "one", SEND)
    pytester.makeconftest(FAKE.format(verdict="SKIPPED", reason="nothing was checked", code=1))
    done = run(pytester)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["FAILED one.scenario.yaml::* - nothing was checked"])


def test_an_interrupt_that_a_run_has_told_ends_the_session(pytester: pytest.Pytester) -> None:
    """The runner puts things back and returns; pytest has to hear of it all the same."""
    write(pytester, "one", SEND)
    pytester.makeconftest(FAKE.format(verdict="ERROR", reason="interrupted", code=130))
    done = pytester.runpytest_subprocess("-p", "no:hypothesispytest")
    assert done.ret is pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*KeyboardInterrupt*"])


def test_a_stack_that_cannot_be_had_is_an_error_in_plain_lines(pytester: pytest.Pytester) -> None:
    """Neither an endpoints file that is none nor a missing engine is told as a traceback."""
    write(pytester, "one", SEND)
    (pytester.path / "empty.json").write_text("{}")
    wrong = run(pytester, "--mail-lab-endpoints=empty.json")
    wrong.assert_outcomes(errors=1)
    wrong.stdout.fnmatch_lines([f"empty.json: {key}: is missing, *" for key in ("schema", "lab")])
    missing = run(pytester)
    missing.assert_outcomes(errors=1)
    missing.stdout.fnmatch_lines(["*no Docker Engine answers: *", "Install and start Docker*"])
    for done in (wrong, missing):
        done.stdout.no_fnmatch_line("*Traceback*")
        done.stdout.no_fnmatch_line("*.py:*")
        done.stdout.no_fnmatch_line("*another exception*")
        done.stdout.no_fnmatch_line("*direct cause*")


def test_other_runs_are_left_alone(pytester: pytest.Pytester) -> None:
    """Where there is no scenario and nobody asks for the fixture, nothing heavy is imported."""
    pytester.makepyfile(
        """
        import sys

        HEAVY = {"docker", "pydantic", "ruamel", "ldap3", "rich", "dotenv", "smtplib"}

        def test_own(request):
            assert request.config.pluginmanager.hasplugin("labctl")
            assert not HEAVY & set(sys.modules)
            assert "labctl.testing.items" not in sys.modules
        """
    )
    done = pytester.runpytest_subprocess("-W", "error", "-p", "no:hypothesispytest")
    done.assert_outcomes(passed=1)
