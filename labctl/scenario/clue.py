"""What helps to understand why a step did not pass: the policy at that moment, and a command."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labctl.errors import LabctlError, LabNotReady, UsageError
from labctl.events import Clue, Event
from labctl.scenario.by_hand import ldif_line
from labctl.scenario.model import Step
from labctl.scenario.session import Session

if TYPE_CHECKING:
    from labctl.protocols.directory import Directory

_SECONDS = 3  # for each answer: a directory that hangs must not hold up the report for long


def clue(step: Step, session: Session, error: LabctlError) -> Clue:
    """Return what is known of a step that just ended with `error`. Never raises a LabctlError."""
    names = [name for name in step.concerned(session) if name in session.endpoints.accounts]
    if session.containers is not None and isinstance(error, LabNotReady):
        further = session.by_hand.labctl("status")
    else:
        further = step.further(session)
    return Clue(_policies(session, list(dict.fromkeys(names))), further)


def _policies(session: Session, names: Sequence[str]) -> str:
    """Return the policy attributes as LDIF, read over a connection of its own: one that was left
    waiting for an answer is of no more use to whoever has to put things back.
    """
    if not names:
        return ""
    from labctl.protocols.directory import Directory

    endpoints = session.endpoints
    try:
        with Directory.open(
            endpoints, endpoints.policy_admin, emit=_unheard, seconds=_SECONDS
        ) as directory:
            return "\n\n".join(_policy(directory, name) for name in names)
    except LabctlError as error:
        return f"# not read: {error.what}"


def _unheard(_event: Event) -> None:
    """Listen to nothing: what is looked up afterwards is no part of the step."""


def _policy(directory: "Directory", name: str) -> str:
    try:
        entry = directory.person(name)
    except UsageError as error:
        return f"# {error.what}"
    values = {each: entry.first(each) for each in directory.attributes.names}
    shown = [
        f"# {key} is absent" if value is None else ldif_line(key, value)
        for key, value in values.items()
    ]
    return "\n".join([ldif_line("dn", entry.dn), *shown])
