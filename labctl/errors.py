"""What can go wrong, as one tree. Each class knows the exit code it ends the process with.

::

    LabctlError
    ├── ExpectationFailed     1   a server answered otherwise than expected
    │   └── SignInRefused     1   wrong name or password
    ├── UsageError            2   the command line or a setting cannot be used
    │   ├── InvalidEndpoints  2   an endpoints file cannot be used
    │   └── NoSuchService     2   the stack has no such service
    ├── LabNotReady           3   the lab is not up, or a server does not answer
    ├── ServerEnded           3   a server ended by itself while it was waited for
    ├── HostProblem           4   this host lacks something: engine, compose, a free port
    │   ├── HostCannot        4   its kernel or engine cannot do what a fault takes
    │   └── SlotTaken         4   a slot's ports, subnet or name are in use already
    ├── DeadlinePassed        5   a wait ended without what it waited for
    └── InvalidScenario       6   a scenario file cannot be used

An interrupt (Ctrl-C) ends with 130. Messages say what happened, why, and what to do next:
`LabctlError(what, hint)` prints as two lines.
"""

import re
from enum import IntEnum

_COMMAND = re.compile(r"`labctl (?!-n )")


class Exit(IntEnum):
    """Exit codes that scripts rely on."""

    OK = 0
    EXPECTATION = 1
    USAGE = 2
    NOT_READY = 3
    HOST = 4
    DEADLINE = 5
    SCENARIO = 6
    INTERRUPTED = 130


class LabctlError(Exception):
    """Base of every error that labctl raises on purpose.

    `what` says what happened and why, on one line; `hint` says what to do next.
    """

    exit_code = Exit.EXPECTATION

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}" if self.hint else self.what

    def for_lab(self, name: str) -> None:
        """Let the commands that the hint names be for this lab."""
        if name != "default":
            self.hint = _COMMAND.sub(f"`labctl -n {name} ", self.hint)


class ExpectationFailed(LabctlError):
    """A server answered, but not as expected."""


class SignInRefused(ExpectationFailed):
    """The server refused the name or the password."""


class UsageError(LabctlError):
    """The command line, a setting or an endpoints file cannot be used."""

    exit_code = Exit.USAGE


class InvalidEndpoints(UsageError):
    """An endpoints file cannot be used; `problems` holds every `path: key: what, what to do`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NoSuchService(UsageError):
    """The stack has no such service; a scenario skips what needs it."""


class LabNotReady(LabctlError):
    """The lab is not up, or one of its servers does not answer."""

    exit_code = Exit.NOT_READY


class ServerEnded(LabctlError):
    """A server ended by itself, so that to wait on would be in vain."""

    exit_code = Exit.NOT_READY


class HostProblem(LabctlError):
    """The host lacks something that the lab needs: an engine, compose, a free port."""

    exit_code = Exit.HOST


class HostCannot(HostProblem):
    """The kernel or the engine of this host cannot do that; a scenario skips what needs it."""


class SlotTaken(HostProblem):
    """What belongs to a slot is in use already: another slot may do."""


class DeadlinePassed(LabctlError):
    """A wait ended without what it waited for; the text says what was last seen."""

    exit_code = Exit.DEADLINE


class InvalidScenario(LabctlError):
    """A scenario file cannot be used; `problems` holds every `path:line:column: text`."""

    exit_code = Exit.SCENARIO

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
