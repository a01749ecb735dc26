"""The documents do what they say: each command that they show runs here."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LABCTL, ROOT, LiveLab, environment

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/scenarios.md",
    "docs/presenting.md",
    "docs/reports.md",
    "docs/any-stack.md",
]
# What the commands of the pages write: here in a directory of the test's own.
WRITTEN = re.compile(r"\b(?:stack\.json|offboarding\.(?:html|xml|txt)|evidence\.tgz)")
# Run by the suite itself, or running it.
ELSEWHERE = {"make test", "make lint", "LAB_TESTS=unit make test"}


def commands(page: str) -> list[str]:
    """Return what stands behind `$ ` in the console blocks of a page."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def home(state: Path) -> Iterator[LiveLab]:
    """The lab that the documents' reader has."""
    lab = LiveLab("default", {**environment(state, 9), "LAB_STATE_DIR": str(state / "docs")})
    yield lab
    lab.ran("down", "--volumes")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(home: LiveLab, page: str, tmp_path: Path) -> None:
    """In the order of the page, each command exits with 0, or with the code it says."""
    home.run("up")
    env = {**home.env, "PATH": f"{LABCTL.parent}:{os.environ['PATH']}"}
    shown = commands(page)
    assert shown
    for command in shown:
        if command in ELSEWHERE:
            continue
        text = WRITTEN.sub(lambda match: f"{tmp_path}/{match[0]}", command)
        expected = int(found[1]) if (found := re.search(r"# exits with (\d+)", command)) else 0
        done = subprocess.run(
            ["bash", "-c", text], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == expected, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_table_of_commands_is_whole() -> None:
    """README's table names every command."""
    from labctl.cli import COMMANDS

    table = "\n".join(
        row for row in (ROOT / "README.md").read_text().splitlines() if row[:1] == "|"
    )
    assert [name for name in COMMANDS if not re.search(rf"[` ]{name}[` ]", table)] == []


def test_the_endpoints_are_what_scripts_rely_on(home: LiveLab) -> None:
    """The JSON has the documented keys, with secrets only when asked for."""
    home.run("up")
    plain, full = home.json("endpoints"), home.json("endpoints", "--secrets")
    services = {"ldap", "ldaps", "smtp", "submission", "submissions", "imap", "imaps"}
    keys = {"schema", "lab", "slot", "domain", "base_dn", "policy", "ca_file", *services}
    assert keys <= set(plain)
    assert set(plain["ldap"]) == {"host", "port", "uri"}
    secret = {"directory_admin", "policy_admin", "service_accounts", "accounts"}
    assert not secret & set(plain)
    assert secret <= set(full)
    assert set(full["accounts"]["alice"]) == {"login", "address", "aliases", "password"}
    assert full["accounts"]["alice"]["password"] not in json.dumps(plain)
