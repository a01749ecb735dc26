"""One account under observation: its entry, what RCPT and AUTH answer now, and what lies between.

It only looks. The entry is read often; a transaction, signed in, goes as far as the reply to RCPT
and is reset, so nothing is sent.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from labctl.endpoints import Account, Endpoints
from labctl.errors import LabctlError, UsageError
from labctl.events import Event
from labctl.protocols.directory import Directory
from labctl.protocols.poll import SYSTEM, Clock
from labctl.protocols.smtp import Envelope, Outcome, SmtpConnection
from labctl.protocols.tls import client_context

READ_EVERY: Final = 0.04  # seconds between two readings of the entry
ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: `accepted` is None where it could not be asked, or did not decide."""

    accepted: bool | None
    text: str

    @property
    def word(self) -> str:
        """It in one word."""
        return {True: "accepted", False: "refused", None: "no verdict"}[self.accepted]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one time (`at`, seconds since the epoch). `effect` is the time in seconds
    from a change of the entry to the verdict of RCPT that shows it, at most; None at other times.
    """

    at: float
    policy: Mapping[str, str]
    rcpt: Answer
    sign_in: Answer
    effect: float | None = None

    def same(self, other: "Look | None") -> bool:
        """Say whether another look saw the same."""
        return other is not None and (self.policy, self.rcpt, self.sign_in) == (
            other.policy,
            other.rcpt,
            other.sign_in,
        )


_NOT_ASKED: Final = Answer(None, "not asked")
_NO_ANSWER: Final = Answer(None, "no answer")


def _ignore(_: Event) -> None:
    pass


@dataclass
class Watch:
    """Observes an account of a stack; a server that is away is seen as such, and asked again."""

    endpoints: Endpoints
    account: Account
    clock: Clock = SYSTEM
    _directory: Directory | None = None
    _policy: Mapping[str, str] = field(default_factory=dict)
    _may_send: bool | None = None  # what the directory contract makes of it
    _read: float = 0.0  # when the entry was last read
    _changed: float | None = None  # when it was last seen as it was before its last change
    _session: SmtpConnection | None = None
    _signed_in: Answer = _NOT_ASKED
    _rcpt: Answer | None = None

    def __post_init__(self) -> None:
        """Raise UsageError if there is nothing to look at, LabNotReady if nobody answers."""
        if not {"submission", "submissions"} & self.endpoints.services.keys():
            raise UsageError("the stack has no submission service to watch")
        self._tls = client_context(self.endpoints.ca_file)
        self._directory = self._opened()
        self._directory.person(self.account.name)

    def looks(self, interval: float) -> Iterator[Look]:
        """Yield a look every so many seconds, and at once when the entry has changed."""
        while True:
            self._read_entry()
            yield self._look()
            end, seen = self.clock.now() + interval, self._policy
            while self._policy == seen and self.clock.now() < end:
                self.clock.sleep(READ_EVERY)
                self._read_entry()

    def close(self) -> None:
        """Hang up."""
        self._hang_up()
        self._leave_directory()

    def _leave_directory(self) -> None:
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _look(self) -> Look:
        before, effect = self._rcpt, None
        if self._session is None:
            self._sign_in()
        self._rcpt = self._recipient()
        answered = self.clock.now()
        if before is not None and _turned(before, self._rcpt):
            if self._changed is None:
                self._read_entry()  # it has changed since it was read
            if self._changed is not None:
                effect = answered - self._changed
        if self._may_send == self._rcpt.accepted:
            self._changed = None  # what it was to show, it has shown
        self._sign_in()
        return Look(time.time(), self._policy, self._rcpt, self._signed_in, effect)

    def _read_entry(self) -> None:
        begun = self.clock.now()
        policy = self._entry()
        if self._policy and policy != self._policy:
            self._changed = self._read
        self._policy, self._read = policy, begun

    def _entry(self) -> Mapping[str, str]:
        try:
            self._directory = self._directory or self._opened()
            entry = self._directory.person(self.account.name)
        except UsageError:
            return {"entry": ABSENT}
        except LabctlError:
            self._leave_directory()
            return {"directory": "does not answer"}
        self._may_send = self._directory.policy(entry).may_send
        return {name: entry.first(name) or ABSENT for name in self.endpoints.attributes.names}

    def _opened(self) -> Directory:
        return Directory.open(self.endpoints, self.endpoints.policy_admin, emit=_ignore)

    def _sign_in(self) -> None:
        """Sign in anew, and leave that session open for the next recipient: it answers at once."""
        self._hang_up()
        services = self.endpoints.services
        service = "submission" if "submission" in services else "submissions"
        try:
            session = SmtpConnection.open(
                service, services[service], context=self._tls, emit=_ignore
            )
            outcome = session.sign_in(self.account.login, self.account.password)
        except LabctlError:
            self._signed_in = _NO_ANSWER
            return
        self._signed_in = _answer(outcome)
        if outcome.reply.ok:
            self._session = session
        else:
            session.close()

    def _recipient(self) -> Answer:
        """Return what RCPT answers in the session that is open; nothing is sent."""
        if self._session is None:
            return _NOT_ASKED
        own = self.account.address
        try:
            answer = _answer(self._session.address(Envelope(own, (own,))))
            self._session.reset()
        except LabctlError:
            return _NO_ANSWER
        return answer

    def _hang_up(self) -> None:
        if self._session is not None:
            with suppress(LabctlError, OSError):
                self._session.close()
            self._session = None


def _answer(outcome: Outcome) -> Answer:
    reply = outcome.reply
    verdict = None if reply.temporary else reply.ok
    return Answer(verdict, reply.codes())


def _turned(before: Answer, now: Answer) -> bool:
    """Say whether one of the two was accepted and the other refused."""
    return {before.accepted, now.accepted} == {True, False}
