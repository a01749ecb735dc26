"""How a look at something ends: well, with a warning, or wrong."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from labctl.errors import Exit, LabctlError

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

_COMMAND = re.compile(r"`([^`]+)`")


class Level(StrEnum):
    """`warn`: the lab works, but not as one might think; `fail`: something does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was seen (where it is not well, the cause), and what mends it: one
    command, or where none can, what to do.
    """

    what: str
    level: Level
    seen: str
    mend: str = ""
    exit_code: int = int(Exit.NOT_READY)


def well(seen: str) -> Finding:
    """Return that it is well."""
    return Finding("", Level.OK, seen)


def warn(cause: str, mend: str) -> Finding:
    """Return a warning."""
    return Finding("", Level.WARN, cause, mend)


def wrong(cause: str, mend: str, exit_code: Exit = Exit.NOT_READY) -> Finding:
    """Return what is wrong."""
    return Finding("", Level.FAIL, cause, mend, int(exit_code))


def looked(lab: "Lab", what: str, look: Callable[["Lab"], Finding]) -> Finding:
    """Look; an error of ours is what is wrong, and the command in its hint what mends it. The
    engine's own errors are told, too: what was looked at may be gone in the middle.
    """
    from docker.errors import DockerException

    try:
        return replace(look(lab), what=what)
    except DockerException as error:
        return Finding(what, Level.FAIL, f"the engine says: {error}", f"{lab.files.command} status")
    except LabctlError as error:
        command = _COMMAND.search(error.hint)
        mend = command[1] if command else error.hint
        return Finding(what, Level.FAIL, error.what, mend, int(error.exit_code))
