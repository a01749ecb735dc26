"""Mail that is submitted whatever happens to the servers, and a ledger of what became of it.

A sender does as a mail client does: a message is tried until it is accepted, under one Message-ID,
also where no answer came to the end of its data; so it may be there twice (RFC 1047). Somebody who
may not send tries all the time, each time with another message.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from labctl.endpoints import Account, Endpoints
from labctl.errors import DeadlinePassed, LabctlError
from labctl.events import Event
from labctl.protocols.smtp import Envelope, Outcome, SmtpConnection
from labctl.protocols.tls import client_context

HOST = "labctl.invalid"
_PATIENCE = 8  # refusals in a session; after some more Postfix answers slowly
_PAUSE = 0.05  # seconds, after a try that came to nothing
_STANDSTILL = 120.0  # seconds without a single message being accepted


@dataclass(slots=True)
class Ledger:
    """What senders were told. Of each message that was accepted, by its Message-ID, how often it
    was tried without an answer before; of the rest, how often there was which.
    """

    accepted: dict[str, int] = field(default_factory=dict)
    deferred: int = 0  # tries that were answered 4yz
    unanswered: int = 0  # tries in which the connection ended, or there was none
    refused: list[str] = field(default_factory=list)  # for good, of somebody who may send
    blocked: int = 0  # tries of somebody who may not
    let_through: list[str] = field(default_factory=list)  # those of them that were accepted
    changed: threading.Condition = field(default_factory=threading.Condition)


@dataclass(frozen=True, slots=True)
class Mailing:
    """So many sessions of one person who may send to another, and one of somebody who may not."""

    endpoints: Endpoints
    sender: Account
    blocked: Account
    to: Account
    ledger: Ledger = field(default_factory=Ledger)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def going_on(self, sessions: int) -> Iterator[None]:
        """Submit all the while; at the end each session finishes the try that it is at.

        Raises whatever else than a LabctlError ends a session.
        """
        numbers = count(1)
        errors: list[Exception] = []

        def until_stopped(work: Callable[[Iterator[int]], None]) -> None:
            try:
                work(numbers)
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)
                self.stopped.set()

        works = [*[self._send_each] * sessions, self._try_in_vain]
        threads = [threading.Thread(target=until_stopped, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def until(self, accepted: int) -> None:
        """Wait until so many messages are accepted; raises DeadlinePassed if for two minutes none
        is, or if the sessions have ended.
        """
        ledger, seen, since = self.ledger, -1, time.monotonic()
        with ledger.changed:
            while len(ledger.accepted) < accepted:
                if len(ledger.accepted) > seen:
                    seen, since = len(ledger.accepted), time.monotonic()
                if self.stopped.is_set() or time.monotonic() - since > _STANDSTILL:
                    raise DeadlinePassed(f"no message is accepted any more, after {seen}")
                ledger.changed.wait(timeout=1)

    def _send_each(self, numbers: Iterator[int]) -> None:
        """Send one message after the other, each until it is accepted."""
        with _Line(self.endpoints, self.sender) as line:
            for number in numbers:
                identity, missed = f"<sent.{number}@{HOST}>", 0
                while not self.stopped.is_set():
                    outcome = line.submit(self.to, identity)
                    missed += outcome is None
                    if self._noted(identity, outcome, missed):
                        break
                    self.stopped.wait(_PAUSE)
                if self.stopped.is_set():
                    return

    def _noted(self, identity: str, outcome: Outcome | None, missed: int) -> bool:
        """Note what came of a try; say whether the message needs no other."""
        ledger = self.ledger
        with ledger.changed:
            ledger.changed.notify_all()
            if outcome is None:
                ledger.unanswered += 1
            elif outcome.accepted:
                ledger.accepted[identity] = missed
                return True
            elif outcome.reply.temporary:
                ledger.deferred += 1
            else:
                ledger.refused.append(f"{identity}: {outcome}")
                return True
        return False

    def _try_in_vain(self, _numbers: Iterator[int]) -> None:
        """Try to send what must not be sent."""
        with _Line(self.endpoints, self.blocked) as line:
            for number in count(1):
                identity = f"<blocked.{number}@{HOST}>"
                outcome = line.submit(self.to, identity)
                with self.ledger.changed:
                    self.ledger.blocked += 1
                    if outcome is not None and outcome.accepted:
                        self.ledger.let_through.append(identity)
                if number % _PATIENCE == 0:
                    line.close()
                if self.stopped.wait(_PAUSE):
                    return


@dataclass(slots=True)
class _Line:
    """A session that is opened anew where it has broken."""

    endpoints: Endpoints
    account: Account
    connection: SmtpConnection | None = None

    def submit(self, to: Account, identity: str) -> Outcome | None:
        """Submit a message; returns the deciding reply, be it that to AUTH, or None if there was
        none.
        """
        try:
            if self.connection is None or self.connection.closed:
                refusal = self._open()
                if refusal is not None:
                    return refusal
            return self._submitted(to, identity)
        except LabctlError:
            self.close()
            return None

    def _open(self) -> Outcome | None:
        self.connection = SmtpConnection.open(
            "submission",
            self.endpoints.service("submission"),
            context=client_context(self.endpoints.ca_file),
            emit=_unheard,
        )
        outcome = self.connection.sign_in(self.account.login, self.account.password)
        if outcome.reply.ok:
            return None
        self.close()
        return outcome

    def _submitted(self, to: Account, identity: str) -> Outcome | None:
        if self.connection is None:
            return None
        sender = self.account.address
        head = (f"From: {sender}", f"To: {to.address}", f"Message-ID: {identity}", "", "Hello.", "")
        return self.connection.submit(
            Envelope(sender, (to.address,)), "\r\n".join(head).encode("ascii")
        )

    def close(self) -> None:
        """Hang up."""
        if self.connection is not None:
            with suppress(LabctlError, OSError):
                self.connection.close()
            self.connection = None

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Balance:
    """The ledger held against what lies in the mailbox."""

    lost: tuple[str, ...]  # accepted, and not there
    let_through: tuple[str, ...]  # of somebody who may not send: accepted, or there
    sent_again: int  # copies that are there because a try had no answer
    delivered_again: int  # copies for which no try without an answer accounts
    unasked: int  # there, and never answered with 250

    @classmethod
    def of(cls, ledger: Ledger, found: Sequence[str]) -> "Balance":
        """Return it; `found` are the Message-IDs in the mailbox, once for each copy."""
        copies = Counter(found)
        surplus = {each: copies[each] - 1 for each in ledger.accepted if copies[each] > 1}
        again = {each: min(more, ledger.accepted[each]) for each, more in surplus.items()}
        blocked = {each for each in copies if each.startswith("<blocked.")}
        return cls(
            tuple(each for each in ledger.accepted if not copies[each]),
            tuple(sorted({*ledger.let_through, *blocked})),
            sum(again.values()),
            sum(surplus.values()) - sum(again.values()),
            len(copies.keys() - ledger.accepted.keys() - blocked),
        )


def _unheard(_event: Event) -> None:
    """Listen to nothing."""
