"""What is asked of the lab's running containers, service by service."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labctl.errors import HostCannot, LabNotReady
from labctl.lab.broken import Broken
from labctl.lab.engine import Engine
from labctl.lab.faults import HEAL_FIRST, Kind, by_hand, inflict, mend, mended_by_hand
from labctl.lab.maillog import Line, transactions
from labctl.lab.replicas import Lag, await_copies, lags
from labctl.lab.shell import Shell
from labctl.lab.spoken import Said
from labctl.protocols.smtp import Outcome

if TYPE_CHECKING:
    from docker.models.containers import Container

# text, user, command
_AS_USER = 't=$1 u=$2; shift 2; printf %s "$t" | setpriv --reuid="$u" --clear-groups "$@"'


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service as the engine sees it; `health` is what the image's own check says now."""

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

    def __init__(
        self,
        engine: Engine,
        project: str,
        broken: Broken | None = None,
        *,
        replicas: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self.project = project
        self.broken = broken or Broken()
        self.replicas = replicas
        self._shells: dict[str, Shell] = {}

    def container_name(self, service: str) -> str:
        """Return the container's name as Compose gives it; asking the engine takes longer."""
        return f"{self.project}-{service}-1"

    @property
    def network(self) -> str:
        """The name of the lab's network."""
        return f"{self.project}_lab"

    @cached_property
    def helper(self) -> str:
        """The image in which what a fault needs is run beside a server: it has `tc`."""
        return str(self._container("milter").attrs["Config"]["Image"])

    @property
    def _ours(self) -> dict[str, Any]:
        return {"label": f"com.docker.compose.project={self.project}"}

    def open(self, *services: str) -> None:
        """Open shells in these containers, so that the first command there need not wait."""
        for service in services:
            shell = self._shells.get(service)
            if shell is None or not shell.alive:
                self._shells[service] = Shell(self.container_name(service))

    def hang_up(self) -> None:
        """End the shells that are open; whoever runs a command opens one again."""
        for service in list(self._shells):
            self._shells.pop(service).end()

    def execute(self, service: str, command: Sequence[str]) -> str:
        """Run a command in a service's container and return its output.

        Raises LabNotReady when the container does not run or the command fails.
        """
        self.open(service)
        try:
            code, text = self._shells[service].run(command)
        except LabNotReady as error:
            raise LabNotReady(f"{service} does not run: {error.what}") from error
        if code != 0:
            raise LabNotReady(f"{service}: {command[0]} failed ({code}): {text.strip()}")
        return text

    def last_lines(self, service: str, count: int = 10) -> str:
        """Return the end of a service's log."""
        from docker.errors import APIError

        try:
            lines: bytes = self._engine.client.api.logs(self.container_name(service), tail=count)
        except APIError as error:
            return f"there is no log: {error.explanation}"
        return lines.decode("utf-8", "backslashreplace")

    def mail_log(self) -> list[Line]:
        """Return what Postfix has logged since its container was made; raises LabNotReady where the
        engine has no log.
        """
        lines = (Line.of(f"{said.at} {said.text}") for said in self.said("postfix"))
        return [line for line in lines if line is not None]

    def said(self, service: str) -> list[Said]:
        """Return what a service has logged since its container was made, as `mail_log` does."""
        from docker.errors import APIError

        try:
            log: bytes = self._engine.client.api.logs(self.container_name(service), timestamps=True)
        except APIError as error:
            raise LabNotReady(f"there is no log of {service}: {error.explanation}") from error
        lines = log.decode("utf-8", "backslashreplace").split("\n")
        return [_said(service, line) for line in lines if line]

    def follow(self, service: str, since: str) -> Iterator[Said]:
        """Yield what a service logs after a time (as `Said` has it), until its container stops.

        Raises LabNotReady where the engine has no log.
        """
        from docker.errors import DockerException

        seconds = datetime.fromisoformat(since).timestamp()
        rest = b""
        try:
            for chunk in self._engine.client.api.logs(
                self.container_name(service),
                stream=True,
                follow=True,
                timestamps=True,
                since=seconds,
            ):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    said = _said(service, line.decode("utf-8", "backslashreplace"))
                    if said.at > since:
                        yield said
        except DockerException as error:
            raise LabNotReady(f"there is no log of {service}: {error}") from error

    def exit_code(self, service: str) -> int | None:
        """Return how a service's container ended, or None if it runs or there is none."""
        from docker.errors import NotFound

        try:
            state = self._engine.client.api.inspect_container(self.container_name(service))["State"]
        except NotFound:
            return None
        return int(state["ExitCode"]) if state["Status"] in {"exited", "dead"} else None

    def states(self) -> list[ServiceState]:
        """Return the state of every service, side by side."""
        found = self._engine.client.containers.list(
            all=True, filters=self._ours, ignore_removed=True
        )
        with ThreadPoolExecutor(len(found) or 1) as pool:
            return sorted(pool.map(self._state, found), key=lambda row: row.service)

    def _state(self, container: "Container") -> ServiceState:
        state, service = container.attrs["State"], container.labels["com.docker.compose.service"]
        return ServiceState(
            service=service,
            state=str(state["Status"]),
            health=self._health(container, service) if state["Status"] == "running" else "-",
            started=str(state["StartedAt"]).partition(".")[0],
            image=str(container.attrs["Config"]["Image"]),
        )

    def _health(self, container: "Container", service: str) -> str:
        """Run the image's own check; what the engine saw last may be a minute old.

        Servers pass it whom the others do not reach on the lab's network by their name, and those
        whose first process stands still (state T, proc(5)), for the time being.
        """
        network = container.attrs["NetworkSettings"]["Networks"].get(self.network) or {}
        if service not in (network.get("Aliases") or ()):
            return "cut off"
        try:
            first = self.execute(service, ["cat", "/proc/1/stat"])
            if first.rpartition(") ")[2].startswith("T"):
                return "stands still"
            self.execute(service, ["healthcheck"])
        except LabNotReady:
            return "unhealthy"
        return "healthy"

    def lags(self) -> list[Lag]:
        """Return how far each read-only copy of the directory is behind it."""
        return lags(self.execute, self.replicas)

    def lag(self, replica: str) -> float | None:
        """Return how many seconds a copy of the directory is behind it: where the directory does
        not answer, as many as since the newest change that the copy has. None: it does not answer.
        """
        (found,) = lags(self.execute, [replica])
        return found.age if found.seconds is None else found.seconds

    def await_replicas(self, seconds: float) -> bool:
        """Wait until the copies of the directory, but those that are broken on purpose, have all
        that it has now; says whether there are any.

        Raises DeadlinePassed where one that runs stays behind.
        """
        well = [each for each in self.replicas if not self.broken.kinds(each)]
        if well:
            await_copies(self.execute, self.runs, well, seconds)
        return bool(well)

    def was_killed_for_memory(self, service: str) -> bool:
        """Say whether the kernel ended a service because it used more memory than it may."""
        return bool(self._container(service).attrs["State"]["OOMKilled"])

    def usage(self, service: str) -> Mapping[str, Any]:
        """Return what the engine counts of a service: memory, processes and their limits."""
        name = self.container_name(service)
        counted: Mapping[str, Any] = self._engine.client.api.stats(
            name, stream=False, one_shot=True
        )
        return counted

    def running(self) -> list[str]:
        """Return the services whose containers run and are not paused."""
        found = self._engine.client.containers.list(filters=self._ours, ignore_removed=True)
        return sorted(
            each.labels["com.docker.compose.service"] for each in found if each.status == "running"
        )

    def identity(self, service: str) -> dict[str, str]:
        """Return the ids of a service's container and image, and when the container was made."""
        attributes = self._container(service).attrs
        return {
            "container_id": str(attributes["Id"]),
            "image_id": str(attributes["Image"]),
            "created": str(attributes["Created"]).partition(".")[0],
        }

    # What steps may ask (labctl.scenario.session.Containers).

    def fingerprint(self) -> Mapping[str, str]:
        """Return what identifies Postfix's running processes and its configuration."""
        lines = self.execute("postfix", ["fingerprint"]).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def mail_files(self, account: str, message_id: str) -> tuple[str, ...]:
        """Return the files of the account's Maildir that hold the message: `new/…`, `cur/…`."""
        output = self.execute("dovecot", ["maildirs", "find", account, message_id])
        return tuple(output.split())

    def kick(self, login: str) -> tuple[int, int]:
        """Close somebody's open sessions; returns how many of IMAP, and how many processes of
        Postfix that he was the last to sign in to.
        """
        rows = [row.split() for row in self.execute("dovecot", ["sessions", login]).splitlines()]
        submissions = [process for kind, process in rows if kind == "submission"]
        imaps = sum(kind == "imap" for kind, _ in rows)
        if imaps:
            self.execute("dovecot", ["doveadm", "kick", login])
        if not submissions:
            return imaps, 0
        ended = self.execute("postfix", ["hang-up", *submissions])
        return imaps, len(ended.split())

    def hold(self, login: str, *, on: bool) -> tuple[str, ...]:
        """Put what somebody submitted, and is in the queue, on hold, or take it off; returns the
        queue ids.
        """
        return tuple(self.execute("postfix", ["hold", "on" if on else "off", login]).split())

    def sendmail(self, user: str, arguments: Sequence[str], text: str) -> tuple[int, str]:
        """Submit a text beside Postfix, as a user of the system, with these arguments of
        sendmail(1); returns its exit status, and what it printed.
        """
        self.open("postfix")
        return self._shells["postfix"].run(
            ["bash", "-c", _AS_USER, "sendmail", text, user, "sendmail", *arguments]
        )

    def rehearsed(self, message_id: str) -> tuple[str, tuple[Outcome, ...]] | None:
        """Return who signed in to send a message, and what he would have been told instead of it
        being taken; None as long as the log does not tell.
        """
        for each in reversed(transactions(self.mail_log())):
            if each.message_id == message_id and each.taken:
                return each.login, tuple(refusal.outcome for refusal in each.refusals())
        return None

    def inflict(self, service: str, kind: Kind) -> None:
        """Break a server, as the step `fault` says; on the disk there stands that it is broken
        before it is. Raises HostCannot where this host lacks what that takes, LabNotReady where
        the server does not run.
        """
        from docker.errors import APIError

        container = self._container(service)
        self.broken.note(service, kind)
        if kind == "pause" and service in self._shells:  # it would stand still, too
            self._shells.pop(service).end()
        try:
            inflict(self, container, service, kind)
        except HostCannot:
            self.broken.forget(service, kind)
            raise
        except APIError as error:
            raise LabNotReady(
                f"{service} cannot be broken so: {error.explanation}", HEAL_FIRST
            ) from error

    def flush(self) -> None:
        """Let Dovecot forget the sign-ins that it remembers."""
        self.execute("dovecot", ["auth-cache", "flush"])

    def mend(self, service: str, seconds: float) -> None:
        """Let a server run again, and see its own check pass within so many seconds."""
        kinds = tuple(self.broken.kinds(service))  # another thread may break it in one more way
        mend(self, self._container(service), service, kinds, seconds)
        for kind in kinds:
            self.broken.forget(service, kind)

    def queue(self) -> Mapping[str, str]:
        """Return what is in Postfix's queue: by queue id, which queue it is in, and why still."""
        rows = map(json.loads, self.execute("postfix", ["postqueue", "-j"]).splitlines())
        return {row["queue_id"]: _waiting(row) for row in rows}

    def log_lines(self, service: str, since: float) -> tuple[str, ...]:
        """Return what a service has logged since then (seconds since the epoch)."""
        from docker.errors import APIError

        try:
            lines: bytes = self._engine.client.api.logs(self.container_name(service), since=since)
        except APIError as error:
            raise LabNotReady(f"{service} has no log: {error.explanation}") from error
        return tuple(lines.decode("utf-8", "backslashreplace").splitlines())

    def restart(self, service: str) -> None:
        """Start a server anew."""
        self._container(service).restart(timeout=2)

    def _container(self, service: str) -> "Container":
        from docker.errors import NotFound

        try:
            return self._engine.client.containers.get(self.container_name(service))
        except NotFound as error:
            raise LabNotReady(f"there is no {service}: {error.explanation}") from error

    def inspected(self, service: str) -> Mapping[str, Any]:
        """Return what the engine says of a service's container.

        Raises LabNotReady if there is none.
        """
        found: Mapping[str, Any] = self._container(service).attrs
        return found

    def runs(self, service: str) -> bool:
        """Say whether a service's container runs."""
        return self.exists(service) and self.inspected(service)["State"]["Status"] == "running"

    def exists(self, service: str) -> bool:
        """Say whether a service has a container, be it one that does not run."""
        try:
            return bool(self._container(service))
        except LabNotReady:
            return False

    def to_inflict(self, service: str, kind: Kind) -> str:
        """Return the commands that do by hand what `inflict` does."""
        return " && ".join(map(shlex.join, by_hand(self, service, kind)))

    def to_mend(self, service: str) -> str:
        """Return the commands that do by hand what `mend` would do now."""
        kinds = self.broken.kinds(service)
        commands = mended_by_hand(self, self._container(service), service, kinds)
        return " && ".join(map(shlex.join, commands))


def _said(service: str, line: str) -> Said:
    at, _, text = line.rstrip("\r").partition(" ")
    return Said(at, service, text)


def _waiting(row: Mapping[str, Any]) -> str:
    """Return a row of `postqueue -j` in words, see postqueue(1)."""
    reasons = (each.get("delay_reason") for each in row["recipients"])
    return ": ".join([row["queue_name"], *dict.fromkeys(filter(None, reasons))])
