"""A lab: what `up`, `down` and `reset` do, and the endpoints that scenarios use."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from labctl.endpoints import Endpoints, Login, Secret
from labctl.errors import LabNotReady
from labctl.lab.broken import Broken, Kinds, forget_left, left
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.lab.images import CERTIFIED, Progress, ensure_images
from labctl.lab.people import Person, new_password, read_people, write_people
from labctl.lab.project import Project, hostname, reachable, services_of
from labctl.lab.replicas import PROVIDER, is_whole, newest
from labctl.lab.state import LabFiles, LabRecord, free_slot, write_private
from labctl.settings import Settings

if TYPE_CHECKING:
    from labctl.lab.ready import Waiting
    from labctl.lab.seed import Converged, SeedEntry
    from labctl.protocols.directory import Directory

T = TypeVar("T")
PASSWORDS = ("directory-admin", "policy-admin", "postfix", "dovecot")
_HEAL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Came:
    """What `up` or `reset` did to the directory."""

    seed: "Converged"
    certificates: tuple[str, ...] = ()


class Lab:
    """One lab of this host, by its name."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.files = LabFiles.of(settings, name)
        self.engine = Engine()

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.files.name

    @cached_property
    def project(self) -> Project:
        """The Compose project; raises LabNotReady before the lab first came up."""
        return Project(self.settings, self.files, self.files.require(), self.engine)

    @cached_property
    def containers(self) -> LabContainers:
        """The containers of the project."""
        replicas = self.project.record.replicas
        return LabContainers(
            self.engine, self.project.name, Broken(self.files.broken), replicas=replicas
        )

    def endpoints(self) -> Endpoints:
        """Return where this lab is reached, and as whom; raises LabNotReady if it never came up."""
        record, base = self.files.require(), self.settings.base_dn
        if not self.files.ca.is_file():
            raise self._not_whole(self.files.ca)
        services = f"ou=services,{base}"
        people = read_people(self.files.accounts)
        return Endpoints(
            lab=self.name,
            slot=record.slot,
            domain=self.settings.domain,
            base_dn=base,
            policy=record.policy,
            directory=record.directory,
            max_lag_seconds=record.max_lag,
            ca_file=self.files.ca.resolve(),
            services=services_of(self.settings, record.slot),
            attributes=self.settings.attributes,
            directory_admin=self._login("directory-admin", f"cn=admin,{base}"),
            policy_admin=self._login("policy-admin", f"cn=policy-admin,{services}"),
            service_accounts={
                name: self._login(name, f"cn={name},{services}") for name in ("postfix", "dovecot")
            },
            accounts={name: person.account() for name, person in people.items()},
        )

    def _login(self, name: str, dn: str) -> Login:
        path = self.files.secrets / f"{name}.password"
        try:
            return Login(dn, Secret(path.read_text(encoding="utf-8").strip()))
        except OSError as error:
            raise self._not_whole(path) from error

    def _not_whole(self, path: Path) -> LabNotReady:
        return LabNotReady(
            f"the lab {self.name!r} is not whole: {path} cannot be read",
            f"Bring it up again with `{self.files.command} up`.",
        )

    def up(
        self, progress: Progress, *, policy: str | None = None, directory: str | None = None
    ) -> Came:
        """Bring the lab up, or to what settings and files now say; twice changes nothing.

        Returns when a directory search, a SASL handshake, the LMTP path, an IMAP greeting and the
        milter's options were seen. Raises HostProblem or DeadlinePassed.
        """
        with self.files.locked("labctl up"):
            self.engine.client.ping()
            if self.files.half_restored.exists():
                raise LabNotReady(
                    f"the lab {self.name!r} is half of a backup: its restore was cut short",
                    f"`{self.files.command} down --volumes` removes it; then restore it again.",
                )
            self._decide(progress, policy, directory)
            certificates = self.prepare(progress)
            with suppress(LabNotReady):  # a server that is not there is made anew
                self._heal()
            progress.step(f"starting {', '.join(self.project.record.servers)}")
            with ThreadPoolExecutor(1) as pool:
                wanted = pool.submit(self._wanted, reset=False)  # while the engine is busy
                self.project.up(self.containers.open)
            converged = self._bring_to_seed(progress, *wanted.result(), reset=False)
            return Came(converged, tuple(certificates))

    def prepare(self, progress: Progress) -> list[str]:
        """Make what a start needs: secrets that are missing, images, the compose file's variables;
        returns which certificates were made.
        """
        certificates = self._ensure_secrets()
        self.project.write_env(ensure_images(self.engine, self.settings.root, progress))
        return certificates

    def start(self, progress: Progress) -> None:
        """Start what was prepared, entries and mail as they are, and see every server answer."""
        progress.step(f"starting {', '.join(self.project.record.servers)}")
        self.project.up(self.containers.open)
        self._see_answers(progress, self._look_at_people, read_people(self.files.accounts))

    def _look_at_people(self) -> bool:
        with self.directory() as directory:
            return directory.people() is not None

    def warnings(self) -> list[str]:
        """Return what is set that opens the lab further than to this host."""
        settings, found = self.settings, []
        if not settings.bind.startswith("127."):
            found.append(f"LAB_BIND={settings.bind}: others on the network can reach this lab")
        if settings.relayhost:
            found.append(
                f"LAB_RELAYHOST={settings.relayhost}: mail for other domains leaves the lab"
            )
        return found

    def reset(self, progress: Progress) -> Came:
        """Put directory and mailboxes back to the seed, with everything running on."""
        self.files.require()
        with self.files.locked("labctl reset"), ThreadPoolExecutor() as pool:
            self._heal()
            tasks = [
                pool.submit(self.containers.execute, "postfix", ["postsuper", "-d", "ALL"]),
                pool.submit(self.containers.execute, "dovecot", ["maildirs", "empty"]),
            ]
            converged = self._bring_to_seed(progress, *self._wanted(reset=True), reset=True)
            for task in tasks:
                task.result()
            return Came(converged)

    def heal(self) -> Kinds:
        """Mend what a process that is gone has left broken, see each server's own check pass, and
        return what it was, by service.

        Raises LabNotReady where one of them is there no more, after the others were mended, and
        DeadlinePassed where one stays away.
        """
        self.files.require()
        with self.files.locked("labctl heal"):
            return self._heal()

    def _heal(self) -> Kinds:
        found = left(self.files.broken)
        gone = [service for service in found if not self.containers.exists(service)]
        there = {service: kinds for service, kinds in found.items() if service not in gone}
        self.containers.broken.take_over(there)
        for service in there:
            self.containers.mend(service, _HEAL_SECONDS)
        forget_left(self.files.broken)
        if gone:
            raise LabNotReady(
                f"there is no {' and no '.join(gone)} to mend",
                f"`{self.files.command} up` brings up whole what is missing.",
            )
        return there

    def down(self, *, volumes: bool) -> None:
        """Stop and remove the lab; with `volumes` also its mail, entries, passwords and CA."""
        self.files.require()
        with self.files.locked("labctl down"):
            self.project.down(volumes=volumes)
            forget_left(self.files.broken)
            if volumes:
                self.files.remove()

    def _decide(self, progress: Progress, policy: str | None, directory: str | None) -> None:
        record = self.files.record() or LabRecord(
            free_slot(self.settings, self.name), self.settings.policy, self.settings.directory
        )
        if self.settings.slot is not None and self.name == "default":
            record = replace(record, slot=self.settings.slot)
        if policy is not None:
            record = replace(record, policy=policy)
        if directory is not None:
            record = replace(record, directory=directory)
        bounded = record.bounded(self.settings)
        if record.replicas and record.max_lag is not None and bounded.max_lag is None:
            progress.step("LAB_MAX_LAG_SECONDS is not set any more: old replicas answer, too")
        self.files.write_record(bounded)

    def _ensure_secrets(self) -> list[str]:
        from labctl.lab.certificates import Host, ensure_certificates

        for name in PASSWORDS:
            path = self.files.secrets / f"{name}.password"
            if not path.is_file():
                write_private(path, new_password())
        host = Host(hostname(self.settings), reachable(self.settings))
        servers = (*CERTIFIED, *self.files.require().replicas)
        return ensure_certificates(self.files.secrets, servers, host)

    def _wanted(self, *, reset: bool) -> "tuple[list[SeedEntry], dict[str, Person]]":
        """Return who is to be in the directory, and the people that this host is to know, whom it
        notes: those of the seed and, but for a `reset`, those who were added.
        """
        from labctl.lab.seed import entry_of, people_of, read_seed

        seed = read_seed(self.settings.root / "scenarios" / "seed.ldif", self.settings)
        people = people_of(seed, self._known_people(seed, reset=reset))
        write_people(self.files.accounts, people)
        names = {entry.name for entry in seed}
        added = [entry_of(who, self.settings) for name, who in people.items() if name not in names]
        return [*seed, *added], people

    def _bring_to_seed(
        self,
        progress: Progress,
        seed: "list[SeedEntry]",
        people: Mapping[str, Person],
        *,
        reset: bool,
    ) -> "Converged":
        """Bring directory and Maildirs to the seed, have the policy enforced, and see every
        server answer.
        """
        from labctl.lab.seed import converge

        def converged() -> "Converged":
            with self.directory() as directory:
                return converge(directory, seed, people, reset=reset)

        found = self._see_answers(progress, converged, people)
        settled = {name: replace(who, pending=False) for name, who in people.items()}
        write_people(self.files.accounts, settled)
        return found

    def _see_answers(
        self, progress: Progress, directory: Callable[[], T], people: Mapping[str, Person]
    ) -> T:
        """See every server answer, the directory to this look; returns what the look did."""
        from labctl.lab import ready, shadow

        endpoints = self.endpoints()
        first = next(iter(endpoints.accounts.values()), None)
        waiting = ready.Waiting(self.containers, self.settings.ready_seconds, progress.step)
        found: T
        _, _, _, found = waiting.for_all(
            ready.Probe("milter", "its options", lambda: ready.negotiates(self.containers)),
            ready.Probe("dovecot", "an IMAP greeting", lambda: ready.imap_greets(endpoints)),
            ready.Probe("postfix", "the delivery path", lambda: ready.delivers(self.containers)),
            ready.Probe("openldap", "a bind and a search", directory),
        )
        self._see_replicas(waiting)
        shadow.switch(self.containers, on=False)
        if first is not None:
            waiting.for_all(
                ready.Probe("postfix", "a sign-in", lambda: ready.signs_in(endpoints, first)),
                ready.Probe("dovecot", "the Maildirs", lambda: self.make_maildirs(people)),
            )
        return found

    def _see_replicas(self, waiting: "Waiting") -> None:
        """See each replica have all that the directory has now."""
        from labctl.lab.ready import Probe

        if replicas := self.project.record.replicas:
            ask = self.containers.execute
            since = newest(ask, PROVIDER)
            waiting.for_all(
                *(
                    Probe(name, "all of the directory", partial(is_whole, ask, name, since))
                    for name in replicas
                )
            )

    def _known_people(self, seed: "list[SeedEntry]", *, reset: bool) -> dict[str, Person]:
        known = read_people(self.files.accounts)
        names = {entry.name for entry in seed}
        return {name: who for name, who in known.items() if name in names or not reset}

    def directory(self) -> "Directory":
        """Open the directory as its administrator, who alone adds and removes people."""
        from labctl.protocols.directory import Directory

        endpoints = self.endpoints()
        return Directory.open(endpoints, endpoints.directory_admin, emit=lambda _: None)

    def make_maildirs(self, people: Mapping[str, Person]) -> bool:
        """Make the homes and Maildirs of people, each owned by its uid."""
        owners = [f"{who.login}:{who.uid_number}:{who.uid_number}" for who in people.values()]
        self.containers.execute("dovecot", ["maildirs", "ensure", *owners])
        return True

    def remove_maildirs(self, name: str) -> None:
        """Remove the home of somebody who was removed from the directory."""
        self.containers.execute("dovecot", ["maildirs", "remove", name])
