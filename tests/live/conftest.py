"""Labs of the tests' own: their own state directory, slots and names, gone at the end."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import docker
import pytest

from labctl.lab.state import LabFiles, lab_names
from labctl.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
# The first of the slots; another, and two suites run side by side, as pytest-xdist's workers do.
# From slot 30 on ports are such as the system gives to any connection (ip_local_port_range).
SLOTS = 14
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FIRST_SLOT = int(os.environ.get("LAB_TEST_SLOTS", "16")) - SLOTS * _WORKER
LABCTL = ROOT / ".venv" / "bin" / "labctl"


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class LiveLab:
    """A running lab, driven by the command line as its users drive it."""

    name: str
    env: dict[str, str] = field(repr=False)

    def start(self, *arguments: str, own_group: bool = False, **env: str) -> subprocess.Popen[str]:
        """Start labctl without waiting for it, in a process group of its own if told so."""
        return subprocess.Popen(
            [LABCTL, "-n", self.name, *arguments],
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=own_group,
        )

    def ran(self, *arguments: str, **env: str) -> Ran:
        """Run labctl and return what it did."""
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=1800)
        return Ran(process.returncode, out, err)

    def run(self, *arguments: str, code: int = 0, **env: str) -> str:
        """Run labctl, which must exit with `code`; returns its standard output."""
        done = self.ran(*arguments, **env)
        if done.code != code:
            logs = self.ran("logs", "--tail", "30").out
            raise AssertionError(f"exit {done.code}\n{done.out}\n{done.err}\n{logs}")
        return done.out

    def json(self, *arguments: str, code: int = 0) -> dict:
        """Run a reading command with -o json."""
        return json.loads(self.run(*arguments, "-o", "json", code=code))

    @property
    def project(self) -> str:
        """The Compose project."""
        return f"mail-policy-lab-{self.json('endpoints')['slot']}"

    def container(self, service: str) -> str:
        """Return the name of a service's container."""
        return f"{self.project}-{service}-1"

    def inside(self, service: str, *command: str, stdin: str | None = None) -> Ran:
        """Run a command in a service's container."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.container(service), *command],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def must(self, service: str, *command: str, stdin: str | None = None) -> str:
        """Run a command in a service's container, which must succeed; returns its output."""
        done = self.inside(service, *command, stdin=stdin)
        assert done.code == 0, f"{command}: exit {done.code}\n{done.out}\n{done.err}"
        return done.out

    def verdicts(self, *arguments: str, code: int, **env: str) -> list[dict]:
        """Run a scenario, which must exit with `code`; returns its events."""
        out = self.run("scenario", *arguments, "-o", "jsonl", code=code, **env)
        return [json.loads(line) for line in out.splitlines()]


def docker_do(*arguments: str) -> str:
    """Run a docker command, which must succeed."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """Let interrupts reach what the tests start, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def somebodys(slot: int) -> str | None:
    """Return the lab in a slot that is not a test's: one of the caller's, or one with files outside
    of the temporary directory.
    """
    settings = load_settings(ROOT, os.environ)
    for name in lab_names(settings):
        record = LabFiles.of(settings, name).record()
        if record is not None and record.slot == slot:
            return name
    label = f"label=com.docker.compose.project=mail-policy-lab-{slot}"
    said = '{{.Label "mail-policy-lab.state"}}'
    for state in docker_do("ps", "-a", "--filter", label, "--format", said).splitlines():
        if Path(state).is_dir() and not Path(state).is_relative_to(tempfile.gettempdir()):
            return state
    return None


def clear(slot: int) -> None:
    """Remove what an earlier session that was killed left behind."""
    project = f"mail-policy-lab-{slot}"
    label = f"label=com.docker.compose.project={project}"
    if left := docker_do("ps", "-aq", "--filter", label).split():
        paused = docker_do("ps", "-q", "--filter", label, "--filter", "status=paused").split()
        for container in paused:  # else it could not be ended
            docker_do("unpause", container)
        docker_do("rm", "-f", "-v", *left)
    if networks := docker_do("network", "ls", "-q", "--filter", label).split():
        docker_do("network", "rm", *networks)
    volumes = docker_do("volume", "ls", "-q", "--filter", f"name=^{project}[_-]").split()
    if volumes:  # some are a measurement's, which belong to no project
        docker_do("volume", "rm", *volumes)


@pytest.fixture(scope="session", autouse=True)
def engine() -> Iterator[docker.DockerClient]:
    """The engine; without one the live tests fail, they are not skipped."""
    client = docker.from_env()
    client.ping()
    for slot in range(FIRST_SLOT, FIRST_SLOT + SLOTS):
        if owner := somebodys(slot):
            client.close()
            mend = "take it down with --volumes, or set LAB_TEST_SLOTS"
            pytest.fail(f"slot {slot} is taken by the lab {owner}: {mend}", pytrace=False)
    for slot in range(FIRST_SLOT, FIRST_SLOT + SLOTS):
        clear(slot)
    yield client
    client.close()


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory that all test labs share."""
    return tmp_path_factory.mktemp("state")


def environment(state: Path, slot: int, **settings: str) -> dict[str, str]:
    """Return an environment with one of the tests' slots, numbered from 0, in which `.env` and
    the caller's own settings play no part.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "LABCTL_"))}
    defaults = dict.fromkeys(("LAB_DOMAIN", "LAB_BASE_DN", "LAB_POLICY", "LAB_RELAYHOST"), "")
    own = {"LAB_STATE_DIR": str(state), "LAB_SLOT": str(FIRST_SLOT + slot), "NO_COLOR": "1"}
    return {**kept, **defaults, **own, **settings}


def bring_up(state: Path, slot: int, name: str, *options: str, **settings: str) -> LiveLab:
    """Bring a lab up."""
    lab = LiveLab(name, environment(state, slot, **settings))
    try:
        lab.run("up", *options)
    except BaseException:
        lab.ran("down", "--volumes")
        raise
    return lab


@pytest.fixture(scope="session")
def lab(state: Path) -> Iterator[LiveLab]:
    """A lab with the default profile. Tests leave it as they found it."""
    lab = bring_up(state, 0, "hardened")
    yield lab
    lab.run("down", "--volumes")


@pytest.fixture(scope="session")
def baseline(state: Path) -> Iterator[LiveLab]:
    """A lab with the baseline profile. Tests leave it as they found it."""
    lab = bring_up(state, 1, "baseline", "--policy", "baseline")
    yield lab
    lab.run("down", "--volumes")


@pytest.fixture(scope="session")
def broken_lab(state: Path) -> Iterator[LiveLab]:
    """The lab behind `scratch`."""
    lab = bring_up(state, 2, "scratch")
    yield lab
    lab.run("down", "--volumes")


@pytest.fixture
def scratch(broken_lab: LiveLab) -> Iterator[LiveLab]:
    """A lab whose servers a test may break: they are started anew, and mended, after it."""
    yield broken_lab
    docker_do("restart", "-t", "5", *docker_do("ps", "-aq", *_of(broken_lab)).split())
    broken_lab.run("up")
    broken_lab.run("reset")
    # Folders stay, and the next test's mailbox would not take what one of another's left.
    assert "belongs to" not in broken_lab.must("dovecot", "maildirs", "check")


def _of(lab: LiveLab) -> tuple[str, str]:
    return "--filter", f"label=com.docker.compose.project={lab.project}"
