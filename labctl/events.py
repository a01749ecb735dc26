"""The transcript's vocabulary: what a run emits, in order, as frozen values.

A transcript is a sequence of these events, one JSON object a line. Reports are views of it and
nothing else, so a stored transcript can be rendered again at any time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Literal

SCHEMA = "labctl/v1"

Mark = Literal["->", "<-", "<**", "===", "***"]
"""swaks' marks: sent, received, received and unexpected, information, local error."""


class Verdict(StrEnum):
    """How a step or a run ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A scenario begins. `at` is seconds since the epoch; `why` is Markdown, for the room."""

    run: str
    scenario: str
    title: str
    lab: str
    policy: str
    at: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class CaseStarted:
    """A case of a scenario begins; `number` counts from 1, and so do the steps within it."""

    number: int
    name: str
    at: float


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins; `number` counts from 1. Undo steps have `undo` set, and the number of the
    step that they take back.
    """

    number: int
    verb: str
    summary: str
    at: float
    undo: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """One line of a conversation, secrets masked. `peer` names the endpoint (`submission`)."""

    peer: str
    mark: Mark
    line: str
    at: float


@dataclass(frozen=True, slots=True)
class Change:
    """A change made in the directory, as LDIF; `seconds` is the time it took."""

    ldif: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation held against what was seen."""

    what: str
    expected: str
    seen: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Command:
    """The command that does the same by hand."""

    line: str


@dataclass(frozen=True, slots=True)
class Clue:
    """What helps to understand why a step did not pass: the policy attributes of the accounts it
    is about, as LDIF, read at that moment (a comment says so where they could not be), and the
    command to look further.
    """

    policy: str
    further: str


@dataclass(frozen=True, slots=True)
class Note:
    """What the speaker says, in Markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class Moved:
    """The presenter did not simply go on: `repeat`, `back`, `skip` or `quit`, when as many steps
    as `behind` says lay behind.
    """

    move: str
    behind: int
    at: float


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step is over. `reason` says why it did not pass, or why it was skipped."""

    number: int
    verdict: Verdict
    reason: str
    seconds: float
    undo: bool = False


@dataclass(frozen=True, slots=True)
class CaseEnded:
    """A case is over. `note` says what its having passed means, if not what it usually does."""

    number: int
    verdict: Verdict
    reason: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over. `checks` counts the expectations that were held against something.

    In a scenario with cases the four numbers count cases, else steps.
    """

    verdict: Verdict
    reason: str
    passed: int
    failed: int
    error: int
    skipped: int
    checks: int
    seconds: float
    exit_code: int


Event = (
    RunStarted
    | CaseStarted
    | StepStarted
    | Wire
    | Change
    | Check
    | Command
    | Clue
    | Note
    | Moved
    | StepEnded
    | CaseEnded
    | RunEnded
)
Emit = Callable[[Event], None]

_KINDS: Mapping[str, type[Event]] = {
    "run-started": RunStarted,
    "case-started": CaseStarted,
    "step-started": StepStarted,
    "wire": Wire,
    "change": Change,
    "check": Check,
    "command": Command,
    "clue": Clue,
    "note": Note,
    "moved": Moved,
    "step-ended": StepEnded,
    "case-ended": CaseEnded,
    "run-ended": RunEnded,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_FIELDS = {kind: [field.name for field in fields(kind)] for kind in _NAMES}


def to_dict(event: Event) -> dict[str, Any]:
    """Return the event as a JSON object with its `schema` and `event` names."""
    kind = type(event)
    values = {name: getattr(event, name) for name in _FIELDS[kind]}
    return {"schema": SCHEMA, "event": _NAMES[kind], **values}


def from_dict(data: Mapping[str, Any]) -> Event:
    """Return the event that `to_dict` made `data` from.

    Raises ValueError if it is none of ours: another schema, another name, a field missing.
    """
    if data.get("schema") != SCHEMA:
        raise ValueError(f"not a {SCHEMA} event: schema is {data.get('schema')!r}")
    kind = _KINDS.get(str(data.get("event")))
    if kind is None:
        raise ValueError(f"unknown event {data.get('event')!r}")
    values = {name: data[name] for name in _FIELDS[kind] if name in data}
    if "verdict" in values:
        values["verdict"] = Verdict(values["verdict"])
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"incomplete {data['event']} event: {error}") from error
