"""The verbs `fault`, `heal` and `flush`: a server is taken away, and comes back."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Timer
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict, Field, model_validator

from labctl.errors import HostCannot, LabctlError
from labctl.scenario.durations import Duration, shown
from labctl.scenario.model import Step
from labctl.scenario.session import Containers, Kind, Session, Skipped, Undo
from labctl.scenario.shapes import both, has, never

Service = Literal["openldap", "postfix", "dovecot", "milter", "replica1", "replica2"]
_REPLICAS: tuple[Service, ...] = ("replica1", "replica2")
_ONLY: Mapping[str, tuple[Service, ...]] = {
    "full": ("openldap", "postfix", "dovecot"),
    "deny": ("openldap",),
    "behind": _REPLICAS,
    "cache": ("dovecot",),
    "shadow": ("postfix",),
    "tight": ("postfix",),
}
_CAN = {"full": "be full", "behind": "be behind"}
_HEAL_SECONDS = 30.0


class Fault(Step):
    """Take a server away: `stop` it, `kill` it, or `pause` it, so that it hangs; make it `slow`, so
    that each packet leaves it 300 ms later; `cut` it off from the network; let a replica of the
    directory be `behind`: it hears the directory no more, and is asked as before; let its disk be
    `full`: Postfix's for the queue, Dovecot's for mail, and the directory takes no change. `deny`
    leaves the directory running, but hides the policy attributes from Postfix; `cache` lets Dovecot
    remember sign-ins, as many installations do; `shadow` lets Postfix only warn of whom the policy
    would refuse; `tight` lets it bear 4 errors in a session, and 6 sign-ins of one address in a
    minute, where it bears 20 and 3000 else. Both close its open sessions, as healing does then.

    Healed after the time that `for` says, meanwhile the steps go on; without it by `heal`, at the
    end at the latest. Needs the lab's containers; skipped elsewhere, and where the host's kernel or
    engine lacks what it takes (`slow`: netem).
    """

    model_config = ConfigDict(
        json_schema_extra=never(
            *(
                both(
                    has("kind", const=kind),
                    has("service", enum=sorted({*get_args(Service)} - {*only})),
                )
                for kind, only in _ONLY.items()
            )
        )
    )

    verb: ClassVar[str] = "fault"

    service: Service = Field(description="the server")
    kind: Kind = Field("stop", description="what happens to it")
    lasts: Duration | None = Field(
        None, alias="for", description="how long; without it until `heal`, or the end"
    )

    @model_validator(mode="after")
    def _who_can(self) -> "Fault":
        only = _ONLY.get(self.kind, (self.service,))
        if self.service not in only:
            raise ValueError(f"only {_either(only)} can {_CAN.get(self.kind, self.kind)}")
        return self

    def logs(self) -> Iterable[str]:
        """Return the server."""
        return (self.service,)

    def breaks(self) -> str | None:
        """Return the server."""
        return self.service

    def summary(self) -> str:
        """Say what happens to which server, and for how long."""
        lasting = f" for {shown(self.lasts)}" if self.lasts else ""
        return f"{self.kind} {self.service}{lasting}"

    def perform(self, session: Session) -> None:
        """Do it; before, see to it that it is healed."""
        replica = self.service in _REPLICAS
        containers = session.needed_replicas() if replica else session.needed_containers()
        heal = partial(_heal, session, self.service, _HEAL_SECONDS)
        undo = Undo(session.number, self.verb, f"{self.service} runs", heal)
        session.undos.append(undo)
        session.show_command(containers.to_inflict(self.service, self.kind))
        session.faults.add(self.service)
        try:
            containers.inflict(self.service, self.kind)
        except HostCannot as lack:
            session.undos.remove(undo)
            session.faults.discard(self.service)
            raise Skipped(lack.what) from lack
        if self.service == "openldap":
            session.forget_directory()
        if self.lasts:
            mend = partial(_mend_quietly, containers, self.service)
            session.later(self.service, Timer(self.lasts, mend))


class Heal(Step):
    """Let a server run again, and see its own check pass."""

    verb: ClassVar[str] = "heal"

    service: Service = Field(description="the server")
    within: Duration = Field(_HEAL_SECONDS, description="until when its check must pass")

    def logs(self) -> Iterable[str]:
        """Return the server."""
        return (self.service,)

    def mends(self) -> str | None:
        """Return the server."""
        return self.service

    def summary(self) -> str:
        """Say which server comes back."""
        return f"{self.service} comes back"

    def perform(self, session: Session) -> None:
        """Do it."""
        _heal(session, self.service, self.within)


class Flush(Step):
    """Let Dovecot forget the sign-ins that it remembers (`fault: {kind: cache}`)."""

    verb: ClassVar[str] = "flush"

    def logs(self) -> Iterable[str]:
        """Return the server."""
        return ("dovecot",)

    def summary(self) -> str:
        """Say what is forgotten."""
        return "Dovecot forgets whom it remembers"

    def perform(self, session: Session) -> None:
        """Do it."""
        containers = session.needed_containers()
        session.show_command(session.by_hand.inside("dovecot", "auth-cache", "flush"))
        containers.flush()


def _heal(session: Session, service: str, seconds: float) -> None:
    containers = session.needed_containers()
    session.not_later(service)
    session.show_command(containers.to_mend(service))
    containers.mend(service, seconds)
    session.faults.discard(service)
    if service == "openldap":
        session.forget_directory()


def _mend_quietly(containers: Containers, service: str) -> None:
    """Mend a server; should that fail, `heal` or the end of the run will tell, and try again."""
    with suppress(LabctlError):
        containers.mend(service, _HEAL_SECONDS)


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
