"""How soon a change in the directory shows: the account's own transactions, up to RCPT.

The account signs in and says MAIL and RCPT, both its own address, as any client would; then it
resets, so nothing is sent. One such transaction comes before the change and says how it was:
accepted, or refused for good. After the change they follow one another, and the first with the
other verdict shows it. Its time runs from the directory's answer to the change to the reply that
decides; it is never told too short, and too long by no more than the pause between two.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from labctl.endpoints import Account
from labctl.errors import DeadlinePassed, ExpectationFailed
from labctl.events import Emit, Event
from labctl.protocols.poll import poll
from labctl.protocols.smtp import Envelope, Outcome, SmtpConnection
from labctl.scenario.durations import shown
from labctl.scenario.session import Session

_PAUSE = 0.005  # seconds, growing to eight times as long
_TRANSACTIONS = 8  # in a session: Postfix slows it down after ten errors (smtpd_soft_error_limit)
_WORDS = {True: "accepted", False: "refused"}


@contextmanager
def seen_within(
    session: Session, name: str, limit: float | None
) -> Iterator[Callable[[float], None]]:
    """Watch an account while it is changed; the body calls what it is given with the moment, by
    time.monotonic(), at which the directory answered. Without a limit nothing is watched.

    Raises ExpectationFailed where the effect is not seen within so many seconds, or could not be,
    since the account is neither accepted nor refused for good before.
    """
    if limit is None:
        yield lambda _: None
        return
    watch = _Watch(session, session.account(name))
    try:
        watch.look_before()
        yield lambda answered: watch.look_after(answered, limit)
    finally:
        watch.close()


class _Watch:
    """An account that asks, again and again."""

    def __init__(self, session: Session, account: Account) -> None:
        self._session = session
        self._account = account
        self._envelope = Envelope(account.address, (account.address,))
        self._connection: SmtpConnection | None = None
        self._left = 0
        self._wanted = True

    def look_before(self) -> None:
        outcome, _ = self._ask(self._session.emit)
        before = _accepted(outcome)
        if before is None:
            raise ExpectationFailed(f"no effect could be seen: before the change it is {outcome}")
        self._wanted = not before

    def look_after(self, answered: float, limit: float) -> None:
        last: list[tuple[Outcome, float]] = []
        said: list[Event] = []

        def look() -> bool | None:
            said.clear()  # of all the transactions, the last one is worth telling
            last[:] = [self._ask(said.append)]
            return True if _accepted(last[0][0]) is self._wanted else None

        with suppress(DeadlinePassed):
            left = limit - (time.monotonic() - answered)
            poll(look, what="the effect", seconds=left, pause=_PAUSE)
        for event in said:
            self._session.emit(event)
        outcome, at = last[0]
        changed = _accepted(outcome) is self._wanted
        self._session.check(
            "effect",
            expected=f"{_WORDS[self._wanted]}, unlike before, within {shown(limit)}",
            seen=f"{'' if changed else 'still '}{outcome} after {shown(at - answered)}",
            ok=changed and at - answered <= limit,
        )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, emit: Emit) -> tuple[Outcome, float]:
        """Return the outcome of a transaction, and when it was known."""
        connection = self._signed_in()
        connection.emit_to(emit)
        outcome, at = connection.address(self._envelope), time.monotonic()
        if not connection.closed:
            connection.reset()
        connection.emit_to(self._session.emit)
        return outcome, at

    def _signed_in(self) -> SmtpConnection:
        if self._left == 0 or self._connection is None or self._connection.closed:
            self.close()
            services = self._session.endpoints.services
            service = "submission" if "submission" in services else "submissions"
            self._connection = self._session.smtp(service)
            signed_in = self._connection.sign_in(self._account.login, self._account.password)
            if not signed_in.reply.ok:
                self.close()
                raise ExpectationFailed(f"{self._account.name} cannot sign in: {signed_in.reply}")
            self._left = _TRANSACTIONS
        self._left -= 1
        return self._connection


def _accepted(outcome: Outcome) -> bool | None:
    """Say whether the recipient is accepted or refused for good; None where it is neither."""
    return None if outcome.reply.temporary else outcome.reply.ok
