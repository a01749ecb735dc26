"""What is asked of the lab's running containers, service by service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl.errors import HostProblem, LabNotReady
from labctl.lab.engine import Engine

if TYPE_CHECKING:
    from docker.models.containers import Container


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service as the engine sees it; `health` is the image's own check."""

    service: str
    state: str
    health: str
    started: str
    image: str

    @property
    def well(self) -> bool:
        """Say whether it runs and its own check passes."""
        return self.state == "running" and self.health == "healthy"


class LabContainers:
    """The containers of one Compose project."""

    def __init__(self, engine: Engine, project: str) -> None:
        self._engine = engine
        self._project = project

    def _find(self, service: str | None = None) -> "list[Container]":
        labels = [f"com.docker.compose.project={self._project}"]
        if service:
            labels.append(f"com.docker.compose.service={service}")
        return self._engine.client.containers.list(all=True, filters={"label": labels})

    def _container(self, service: str) -> "Container":
        found = self._find(service)
        if not found:
            raise LabNotReady(f"there is no {service} container", "Bring it up: `labctl up`.")
        return found[0]

    def execute(self, service: str, command: Sequence[str]) -> str:
        """Run a command in a service's container and return its output.

        Raises LabNotReady when the container does not run or the command fails.
        """
        from docker.errors import APIError

        try:
            code, output = self._container(service).exec_run(list(command), stream=False)
        except APIError as error:
            raise LabNotReady(f"{service} does not run: {error.explanation}") from error
        text = output.decode("utf-8", "backslashreplace") if isinstance(output, bytes) else ""
        if code != 0:
            raise LabNotReady(f"{service}: {command[0]} failed ({code}): {text.strip()}")
        return text

    def last_lines(self, service: str, count: int = 10) -> str:
        """Return the end of a service's log."""
        try:
            lines = b"".join(self._container(service).logs(tail=count, stream=True, follow=False))
        except (LabNotReady, HostProblem) as error:
            return str(error)
        return lines.decode("utf-8", "backslashreplace")

    def states(self) -> list[ServiceState]:
        """Return the state of every service."""
        return sorted((_state(found) for found in self._find()), key=lambda row: row.service)

    # What steps may ask (labctl.scenario.session.Containers).

    def fingerprint(self) -> Mapping[str, str]:
        """Return what identifies Postfix's running processes and its configuration."""
        lines = self.execute("postfix", ["fingerprint"]).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def mail_files(self, account: str, message_id: str) -> tuple[str, ...]:
        """Return the files of the account's Maildir that hold the message: `new/…`, `cur/…`."""
        output = self.execute("dovecot", ["maildirs", "find", account, message_id])
        return tuple(output.split())

    def swaks(self) -> tuple[str, ...]:
        """Return the command that runs the Postfix image's swaks."""
        return ("docker", "exec", "-i", str(self._container("postfix").name), "swaks")


def _state(container: "Container") -> ServiceState:
    state = container.attrs["State"]
    return ServiceState(
        service=container.labels["com.docker.compose.service"],
        state=str(state["Status"]),
        health=str(state.get("Health", {}).get("Status", "none")),
        started=str(state["StartedAt"]).partition(".")[0],
        image=str(container.attrs["Config"]["Image"]),
    )
