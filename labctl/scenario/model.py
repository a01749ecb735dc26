"""What a scenario is made of: strict, frozen values; the file's keys are the fields here."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    WithJsonSchema,
)

from labctl.endpoints import KINDS, SERVICES, Endpoints
from labctl.protocols.smtp import Outcome, Stage
from labctl.scenario.durations import Duration
from labctl.scenario.patterns import require_pattern

if TYPE_CHECKING:
    from labctl.scenario.session import Session

_REPLY = re.compile(r"[2-5][0-9]{2}(?: [245]\.[0-9]{1,3}\.[0-9]{1,3})?")


class Strict(BaseModel):
    """Base of all models here: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _reply(value: str) -> str:
    if not _REPLY.fullmatch(value):
        raise ValueError("a reply is a code, or a code and an enhanced code: 554 5.7.1")
    return value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# The titles are the words by which docs/scenarios.md calls these types.
Name = Annotated[str, Field(title="name", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Line = Annotated[str, Field(title="line", pattern=r"^[^\r\n]*$", max_length=998)]
ReplyText = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_reply),
    WithJsonSchema(
        {
            "title": "reply",
            "anyOf": [
                {"type": "integer", "minimum": 200, "maximum": 599},
                {"type": "string", "pattern": f"^{_REPLY.pattern}$"},
            ],
        }
    ),
]
Pattern = Annotated[str, AfterValidator(require_pattern), Field(title="regular expression")]


class Expect(Strict):
    """The reply that must come, and the stage at which it must."""

    stage: Stage = Field(description="where in the transaction the deciding reply comes")
    reply: ReplyText = Field(description="its code, or code and enhanced code: `554 5.7.1`")
    text: Pattern | None = Field(None, description="what its text must match, somewhere")

    def codes_met(self, outcome: Outcome) -> bool:
        """Say whether stage, code and (where one is expected) enhanced code are as expected."""
        code, _, enhanced = self.reply.partition(" ")
        return (
            outcome.stage is self.stage
            and outcome.reply.code == int(code)
            and (not enhanced or outcome.reply.enhanced == enhanced)
        )

    def __str__(self) -> str:
        return f"{self.reply} at {self.stage}"

    @property
    def whole(self) -> str:
        """All that is expected, in words."""
        kinds = {"2": "accepted", "4": "refused for now", "5": "refused"}
        text = f", text /{self.text}/" if self.text else ""
        return f"{self}{text}: {kinds.get(self.reply[0], 'to go on')}"


ACCEPTED = Expect(stage=Stage.EOM, reply="250")


Planned = tuple[str, str]
"""A label, `ldif`, `expects` or another word, and what it says, which may have several lines."""


@dataclass(frozen=True, slots=True)
class Touch:
    """What a step does to a stack that outlasts the step: the change of an attribute of somebody's
    entry, which the end of the run puts back, or (without an attribute) mail to an address.
    """

    whose: str
    attribute: str = ""


class Step(Strict):
    """One verb. A step says what it is about to do, and does it on a session."""

    verb: ClassVar[str]
    short: ClassVar[str | None] = None  # the key that is meant where no mapping stands

    def accounts(self) -> Iterable[str]:
        """Return the names of the accounts that the step is about."""
        return ()

    def names(self) -> str | None:
        """Return the name by which later steps know the message this one sends, if any."""
        return None

    def refers_to(self) -> str | None:
        """Return the name of the message, sent by an earlier step, that this one needs."""
        return None

    def logs(self) -> Iterable[str]:
        """Return the services whose logs tell more of the step."""
        return ()

    def concerned(self, session: "Session") -> Iterable[str]:  # noqa: ARG002  resend asks it
        """Return the accounts whose policy explains how the step ended."""
        return self.accounts()

    def further(self, session: "Session") -> str:
        """Return the command to look further where the step did not pass."""
        services, names = list(self.logs()), list(self.concerned(session))
        if services and session.containers is not None:
            return session.by_hand.labctl("logs", *services, "--tail", "20")
        return session.by_hand.labctl("user", *(["show", names[0]] if names else ["list"]))

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what it will do and expect on a stack, as exactly as that is known before."""
        return iter(())

    def breaks(self) -> str | None:
        """Return the server that it takes away: later steps are about that, up to what mends it."""
        return None

    def mends(self) -> str | None:
        """Return the server that it brings back."""
        return None

    def reads(self) -> bool:
        """Say whether it only looks, so that it can be performed although nothing else is."""
        return False

    def touches(self, endpoints: Endpoints) -> Iterable[Touch]:  # noqa: ARG002 - for those who do
        """Return what the step may do to a stack that outlasts it."""
        return ()

    def prepare(self, session: "Session") -> None:
        """Look, before the first step runs, at what the step will compare with."""

    @abstractmethod
    def summary(self) -> str:
        """Say in a few words what the step does."""

    @abstractmethod
    def perform(self, session: "Session") -> None:
        """Do it. Raises ExpectationFailed, or another LabctlError when it cannot be done."""


Profile = Literal["baseline", "hardened"]


class Needs(Strict):
    """What a stack must have for a scenario to make sense there; else it is skipped."""

    policy: Profile | None = Field(None, description="the policy profile that Postfix enforces")
    directory: Literal["single", "replicated"] | None = Field(
        None, description="one directory, or one and replicas of it that Postfix asks"
    )
    max_lag: Duration | None = Field(
        None, description="replicas that hide the policy when they are so far behind, at the latest"
    )
    containers: StrictBool = Field(
        default=False, description="the lab's own containers, which no foreign stack has"
    )
    send_allowed: StrictBool = Field(
        default=False, description="an attribute of the directory that allows or forbids to send"
    )
    status: StrictBool = Field(
        default=False, description="an attribute of the directory for the account's status"
    )
    smtp: StrictBool = Field(default=False, description="the relay, port 25")
    submission: StrictBool = Field(default=False, description="submission with STARTTLS, port 587")
    submissions: StrictBool = Field(default=False, description="submission over TLS, port 465")
    imap: StrictBool = Field(default=False, description="IMAP with STARTTLS, port 143")
    imaps: StrictBool = Field(default=False, description="IMAP over TLS, port 993")
    ldap: StrictBool = Field(default=False, description="the directory with STARTTLS, port 389")
    ldaps: StrictBool = Field(default=False, description="the directory over TLS, port 636")

    def unmet(self, endpoints: Endpoints, *, containers: bool) -> str:
        """Return why a stack does not fit, or nothing if it does."""
        if self.policy not in {None, endpoints.policy}:
            return f"needs the policy profile {self.policy}; this is {endpoints.policy}"
        if self.directory not in {None, endpoints.directory}:
            return f"needs a {self.directory} directory; this is {endpoints.directory}"
        limit = endpoints.max_lag_seconds
        if self.max_lag is not None and (limit is None or limit > self.max_lag):
            most = f"needs LAB_MAX_LAG_SECONDS of at most {self.max_lag:g}"
            return f"{most}; this is {'not set' if limit is None else limit}"
        for kind in KINDS:
            if getattr(self, kind) and not endpoints.attributes.name(kind):
                return f"needs an attribute for {kind}; the stack has none"
        if self.containers and not containers:
            return "needs the lab's own containers"
        wanted = (name for name in SERVICES if getattr(self, name))
        missing = [name for name in wanted if name not in endpoints.services]
        return f"needs {' and '.join(missing)}; the stack has no such service" if missing else ""


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a scenario's table: the steps with its values, as they are on each profile.

    On the profile `open_on` the case shows a way around the policy that is known to be open there.
    """

    name: str
    needs: Needs
    open_on: Profile | None
    steps: Mapping[str, tuple[Step, ...]]

    def steps_on(self, policy: str) -> tuple[Step, ...]:
        """Return the steps for a profile; a stack that names none is held to be hardened."""
        return self.steps.get(policy, self.steps["hardened"])


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that was read and found valid: steps, or cases that each have steps."""

    path: Path
    title: str
    why: str
    accounts: tuple[str, ...]
    steps: tuple[Step, ...]
    account_positions: tuple[str, ...]
    needs: Needs
    cases: tuple[Case, ...] = ()

    @property
    def size(self) -> str:
        """Return how much it is, in words."""
        number, noun = (len(self.cases), "case") if self.cases else (len(self.steps), "step")
        return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

    @property
    def name(self) -> str:
        """Return the name it is called by: its file's, without the ending."""
        return self.path.stem
