"""One lab as a Compose project: its variables, and the commands that bring it up and down."""

import ipaddress
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labctl.endpoints import SERVICES, Endpoint
from labctl.errors import HostProblem, SlotTaken
from labctl.lab.engine import Engine, run
from labctl.lab.images import PREFIX, Image
from labctl.lab.state import LabFiles, LabRecord, write_private
from labctl.settings import Settings

if TYPE_CHECKING:
    from docker.models.containers import Container

BESIDE = f"{PREFIX}.beside"  # the label of a container that is run beside a project's
_ENGINE_GOES_ON: Final = 5.0  # seconds, at most, from taking a port to saying that it runs
STANDARD_PORTS: Mapping[str, int] = {
    "smtp": 25,
    "imap": 143,
    "ldap": 389,
    "submissions": 465,
    "submission": 587,
    "ldaps": 636,
    "imaps": 993,
}


def port_of(service: str, slot: int) -> int:
    """Return the port on the host: (2 + slot) * 1000 + the standard port."""
    return (2 + slot) * 1000 + STANDARD_PORTS[service]


def services_of(settings: Settings, slot: int) -> dict[str, Endpoint]:
    """Return where the lab in this slot is reached."""
    host = reachable(settings)
    return {name: Endpoint(host, port_of(name, slot), tls) for name, tls in SERVICES.items()}


def subnet_of(settings: Settings, slot: int) -> ipaddress.IPv4Network:
    """Return the subnet of the lab in this slot: 16 addresses."""
    return list(settings.subnets.subnets(new_prefix=28))[slot]


def reachable(settings: Settings) -> str:
    """Return the address at which this host reaches the published ports."""
    return "127.0.0.1" if settings.bind == "0.0.0.0" else settings.bind  # noqa: S104 - compared


def containers_in(engine: Engine, slot: int) -> "list[Container]":
    """Return the containers in a slot, whosever they are, as the engine lists them: `attrs`
    has the labels, and no more is asked of each.
    """
    return engine.client.containers.list(all=True, sparse=True, filters=_in(slot))


def require_unused(engine: Engine, slot: int) -> None:
    """Raise SlotTaken if anything belongs to a lab in this slot, be it the volumes of one that is
    down.
    """
    if containers_in(engine, slot) or engine.client.volumes.list(filters=_in(slot)):
        raise SlotTaken(
            f"slot {slot} is used by another lab, or was and its volumes are kept",
            "Take that one down with --volumes, or choose another slot.",
        )


def _let_go_on(container: "Container") -> None:
    """Let a container go on that was made to stand still, by the engine or by a signal: Compose
    stumbles over the one, and takes the other for well. One that is on no network any more it
    starts as it is, so that is removed.
    """
    from docker.errors import APIError

    with suppress(APIError):  # it has ended meanwhile
        if not container.attrs["NetworkSettings"]["Networks"]:
            container.remove(force=True)
        elif container.status == "paused":
            container.unpause()
        elif container.status == "running":
            container.kill("SIGCONT")


def owner(container: "Container") -> tuple[str, str]:
    """Return the name and state directory of the lab that a container says it belongs to."""
    labels = container.attrs["Labels"]
    return labels.get("mail-policy-lab.name", ""), labels.get("mail-policy-lab.state", "")


def _in(slot: int) -> dict[str, Any]:
    return {"label": f"com.docker.compose.project={PREFIX}-{slot}"}


@dataclass(frozen=True, slots=True)
class Project:
    """The Compose project of a lab."""

    settings: Settings
    files: LabFiles
    record: LabRecord
    engine: Engine

    @property
    def name(self) -> str:
        """The project's name."""
        return f"{PREFIX}-{self.record.slot}"

    @property
    def file(self) -> Path:
        """The compose file."""
        return self.settings.root / "compose" / "compose.yaml"

    def command(self, *arguments: str, once_replicated: bool = False) -> list[str]:
        """Return a Compose command about this project; `once_replicated` also about the replicas
        that it has no more.
        """
        replicas = self.file.with_name("replicated.yaml")
        overlay = ["--file", str(replicas)] if once_replicated or self.record.replicas else []
        return [
            *self.engine.compose.command,
            "--project-name",
            self.name,
            "--env-file",
            str(self.files.compose_env),
            "--file",
            str(self.file),
            *overlay,
            *self._extra,
            *arguments,
        ]

    @property
    def _extra(self) -> list[str]:
        extra = self.settings.compose_extra
        return ["--file", str(extra)] if extra else []

    @property
    def _health_seconds(self) -> str:
        """How far apart the engine's own checks are: rare, but where somebody waits for them."""
        extra = self.settings.compose_extra
        return "5" if extra and "service_healthy" in extra.read_text("utf-8", "replace") else "30"

    def write_env(self, images: Mapping[str, Image]) -> None:
        """Write the variables of the compose file; no secret is among them."""
        lines = [f"{name}={value}" for name, value in self._variables(images).items()]
        write_private(self.files.compose_env, "\n".join(lines) + "\n")

    @property
    def _state(self) -> str:
        return str(self.files.directory.resolve())

    def _variables(self, images: Mapping[str, Image]) -> dict[str, str]:
        settings, slot = self.settings, self.record.slot
        subnet = subnet_of(settings, slot)
        return {
            "LAB_NAME": self.files.name,
            "LAB_STATE": self._state,
            "LAB_SECRETS_ID": self.files.secrets_id(),
            "LAB_SUBNET": str(subnet),
            "LAB_BIND": settings.bind,
            "LAB_HEALTH_SECONDS": self._health_seconds,
            "LAB_DOMAIN": settings.domain,
            "LAB_HOSTNAME": hostname(settings),
            "LAB_BASE_DN": settings.base_dn,
            "LAB_ATTR_SEND_ALLOWED": settings.attributes.send_allowed,
            "LAB_ATTR_STATUS": settings.attributes.status,
            "LAB_POLICY": self.record.policy,
            "LAB_POLICY_ABSENT": settings.policy_absent,
            "LAB_NULL_SENDER": settings.null_sender,
            "LAB_MILTER": settings.milter,
            "LAB_STATUS_FREE": "1" if settings.status_free else "0",
            "LAB_AUTH_PENALTY": settings.auth_penalty,
            "LAB_LDAP_LOG": settings.ldap_log,
            **self._directories(),
            "LAB_RELAYHOST": settings.relayhost,
            "LAB_MASQUERADE": "true" if settings.relayhost else "false",
            **{f"LAB_PORT_{name.upper()}": str(port_of(name, slot)) for name in SERVICES},
            **{f"LAB_IMAGE_{k.upper()}": image.reference for k, image in images.items()},
        }

    def _directories(self) -> dict[str, str]:
        """Return who asks which directory: where there are replicas, Postfix and the milter ask
        them alone, and Dovecot turns to them where the provider is away.
        """
        provider, replicas = "openldap", self.record.replicas
        limit = self.record.max_lag
        return {
            "LAB_LDAP_ROLE": "provider" if replicas else "single",
            "LAB_LDAP_HOST": " ".join(replicas or (provider,)),
            "LAB_LDAP_HOST_OF_DOVECOT": " ".join((provider, *replicas)),
            "LAB_MAX_LAG_SECONDS": "" if limit is None else str(limit),
        }

    def up(self, started: Callable[[str], object]) -> None:
        """Create and start what is not running as the files say, and tell `started` of each server;
        returns once all are started.

        Compose creates, and the engine is asked to start as many servers at once as there are
        processors, the directory first, which takes longest to answer: Compose starts one after the
        other, which takes twice as long.

        Raises SlotTaken when a port or the subnet is taken, HostProblem when the engine refuses.
        """
        for container in self._require_slot():
            _let_go_on(container)
        try:
            self._compose_up("--no-start", "--remove-orphans")
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(lambda service: started(self._start(service)), self.record.servers))
            if self._extra:  # services that are not ours, in the order that they want
                self._compose_up("--detach")
        except HostProblem as error:
            raise self._explained(error) from error

    def create(self) -> None:
        """Create containers, network and volumes, and start nothing; raises as `up` does."""
        self._require_slot()
        try:
            self._compose_up("--no-start")
        except HostProblem as error:
            raise self._explained(error) from error

    def _compose_up(self, *options: str) -> None:
        run(self.command("up", "--no-build", *options), env=_environment())

    def _start(self, service: str) -> str:
        from docker.errors import APIError

        try:
            self.engine.client.api.start(f"{self.name}-{service}-1")
        except APIError as error:
            raise HostProblem(f"{service} cannot be started: {error.explanation}") from error
        return service

    def _require_slot(self) -> "list[Container]":
        """Keep apart from a lab of another checkout in the same slot, and from taken ports; returns
        what there is of this one.

        Where an `up` was killed, the engine goes on with what it was asked for: a port is taken
        before it says that the container runs.
        """
        end = time.monotonic() + _ENGINE_GOES_ON
        while True:
            found = containers_in(self.engine, self.record.slot)
            if others := self._others(found):
                name, state = others
                raise SlotTaken(
                    f"slot {self.record.slot} is used by the lab {name!r} of {state}",
                    "Take that one down, or choose another slot: LAB_SLOT=1 in .env.",
                )
            if any(container.status in {"running", "paused"} for container in found):
                return found
            try:
                self._require_ports()
            except SlotTaken:
                if not found or time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return found

    def _others(self, found: "list[Container]") -> tuple[str, str] | None:
        """Return the name and state directory of another lab that has the slot, if one has.

        Services that LAB_COMPOSE_EXTRA adds beside ours do not say whose they are.
        """
        mine, nobodys = (self.files.name, self._state), ("", "")
        whose = {owner(container) for container in found} - {mine}
        if mine in map(owner, found):
            whose.discard(nobodys)
        for name, state in whose:
            return name or "unknown", state or "unknown"
        return None

    def _require_ports(self) -> None:
        for service, endpoint in services_of(self.settings, self.record.slot).items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((endpoint.host, endpoint.port))
                except OSError as error:
                    raise SlotTaken(
                        f"the port {endpoint} for {service} cannot be used: {error.strerror}",
                        "End what listens there, or choose another slot: LAB_SLOT=1 in .env.",
                    ) from error

    def _explained(self, error: HostProblem) -> HostProblem:
        if "overlaps" in error.what or "Pool" in error.what:
            return SlotTaken(
                f"the subnet of slot {self.record.slot} is taken by another network of this host",
                "Choose another range: LAB_SUBNETS=10.214.0.0/16 in .env.",
            )
        return error

    def down(self, *, volumes: bool) -> None:
        """Stop and remove the containers and the network, with `volumes` all mail and entries.

        Where another lab has the slot there is nothing of this one, and nothing is touched.
        """
        if self._others(containers_in(self.engine, self.record.slot)):
            return
        self._remove_helpers()
        extra = ["--volumes"] if volumes else []
        command = self.command("down", "--timeout", "5", *extra, once_replicated=True)
        run(command, env=_environment())

    def _remove_helpers(self) -> None:
        """Remove what faults have run beside the servers, and was cut short: a container that was
        made and never started is there for good.
        """
        from docker.errors import APIError

        beside: dict[str, Any] = {"label": f"{BESIDE}={self.name}"}
        for container in self.engine.client.containers.list(all=True, sparse=True, filters=beside):
            with suppress(APIError):  # it has ended meanwhile
                container.remove(force=True)

    def follow_logs(self, arguments: Sequence[str]) -> int:
        """Let Compose print the logs; returns its exit code."""
        return subprocess.run(
            self.command("logs", *arguments), env=_environment(), check=False
        ).returncode


def hostname(settings: Settings) -> str:
    """Return the name that the mail server calls itself."""
    return f"mail.{settings.domain}"


def _environment() -> dict[str, str]:
    """Return the environment without variables that would override the project's own."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "COMPOSE_"))}
