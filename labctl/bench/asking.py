"""One session, and how long its decisions take."""

import time

from labctl.endpoints import Account, Endpoints
from labctl.errors import ExpectationFailed
from labctl.events import Event
from labctl.protocols.smtp import Envelope, SmtpConnection
from labctl.protocols.tls import client_context


def signed_in(endpoints: Endpoints, account: Account) -> SmtpConnection:
    """Return a session on submission that an account has signed in to.

    Raises ExpectationFailed if it may not.
    """
    connection = SmtpConnection.open(
        "submission",
        endpoints.service("submission"),
        context=client_context(endpoints.ca_file),
        emit=_unheard,
    )
    outcome = connection.sign_in(account.login, account.password)
    if not outcome.reply.ok:
        connection.close()
        raise ExpectationFailed(f"{account.login} cannot sign in: {outcome.reply}")
    return connection


def decisions(endpoints: Endpoints, account: Account, count: int) -> list[float]:
    """Return how long so many RCPTs of an account to itself take, see `decision`."""
    with signed_in(endpoints, account) as connection:
        return [decision(connection, account, account) for _ in range(count)]


def decision(connection: SmtpConnection, account: Account, to: Account) -> float:
    """Return how long RCPT takes in the session of an account, in milliseconds; it must be
    accepted.
    """
    connection.begin(account.address)
    begun = time.perf_counter()
    outcome = connection.recipient(to.address)
    took = 1000 * (time.perf_counter() - begun)
    if not outcome.reply.ok:
        raise ExpectationFailed(f"{account.login} may send to {to.address}, but is told {outcome}")
    connection.reset()
    return took


def send(connection: SmtpConnection, account: Account, to: Account) -> None:
    """Submit a short message, which must be accepted."""
    content = f"From: {account.address}\r\nSubject: Bench\r\n\r\nHello.\r\n".encode()
    outcome = connection.submit(Envelope(account.address, (to.address,)), content)
    if not outcome.accepted:
        raise ExpectationFailed(f"{account.login} may send, but is told {outcome}")


def _unheard(_event: Event) -> None:
    """Listen to nothing."""
