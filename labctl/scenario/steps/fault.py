"""The verbs `fault`, `heal` and `flush`: a server is taken away, and comes back."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict, Field, model_validator

from labctl.scenario.durations import Duration
from labctl.scenario.model import Step
from labctl.scenario.session import Kind, Session, Undo
from labctl.scenario.shapes import both, has, never

Service = Literal["openldap", "postfix", "dovecot", "milter"]
_ONLY: Mapping[str, Service] = {"deny": "openldap", "cache": "dovecot", "shadow": "postfix"}
_HEAL_SECONDS = 30.0


class Fault(Step):
    """Take a server away: `stop` it, `kill` it, or `pause` it, so that it hangs; `deny` leaves the
    directory running, but hides the policy attributes from Postfix; `cache` lets Dovecot remember
    sign-ins, as many installations do; `shadow` lets Postfix only warn of whom the policy would
    refuse, and closes its open sessions, as healing does then.

    Healed at the end at the latest. Needs the lab's containers; skipped elsewhere.
    """

    model_config = ConfigDict(
        json_schema_extra=never(
            *(
                both(
                    has("kind", const=kind),
                    has("service", enum=sorted({*get_args(Service)} - {only})),
                )
                for kind, only in _ONLY.items()
            )
        )
    )

    verb: ClassVar[str] = "fault"

    service: Service = Field(description="the server")
    kind: Kind = Field("stop", description="what happens to it")

    @model_validator(mode="after")
    def _who_can_deny(self) -> "Fault":
        only = _ONLY.get(self.kind)
        if only not in {None, self.service}:
            raise ValueError(f"only {only} can {self.kind}")
        return self

    def logs(self) -> Iterable[str]:
        """Return the server."""
        return (self.service,)

    def summary(self) -> str:
        """Say what happens to which server."""
        return f"{self.kind} {self.service}"

    def perform(self, session: Session) -> None:
        """Do it; before, see to it that it is healed."""
        containers = session.needed_containers()
        heal = partial(_heal, session, self.service, _HEAL_SECONDS)
        undo = Undo(session.number, self.verb, f"{self.service} runs", heal)
        session.undos.append(undo)
        session.show_command(containers.to_inflict(self.service, self.kind))
        session.faults.add(self.service)
        containers.inflict(self.service, self.kind)


class Heal(Step):
    """Let a server run again, and see its own check pass."""

    verb: ClassVar[str] = "heal"

    service: Service = Field(description="the server")
    within: Duration = Field(_HEAL_SECONDS, description="until when its check must pass")

    def logs(self) -> Iterable[str]:
        """Return the server."""
        return (self.service,)

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
    session.show_command(containers.to_mend(service))
    containers.mend(service, seconds)
    session.faults.discard(service)
    if service == "openldap":
        session.forget_directory()
