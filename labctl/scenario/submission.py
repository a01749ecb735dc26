"""What `send` and `resend` have in common: one transaction, and its outcome held to account."""

import time
from contextlib import suppress

from labctl.endpoints import Account
from labctl.errors import DeadlinePassed, LabNotReady
from labctl.protocols.poll import poll
from labctl.protocols.smtp import Outcome, SmtpConnection, Stage
from labctl.scenario.messages import Route, Sent, Trace, queue_id_of
from labctl.scenario.model import Expect
from labctl.scenario.patterns import found
from labctl.scenario.session import Attempt, Session

_Told = tuple[Outcome, str]
"""What came of a transaction, and the name that its session gave with EHLO."""


def transact(session: Session, sent: Sent, expect: Expect, within: float | None) -> None:
    """Send, and check stage, codes and text of the reply that decided. With `within` (seconds) a
    temporary refusal (4xx), or no answer, is tried again until then, as any mail client would.

    Raises ExpectationFailed when they are not as expected.
    """
    session.attempt = Attempt(sent)
    login = sent.route.login
    by_hand = session.by_hand.send(sent, None if login is None else session.account(login))
    going_on = sent.route.session is not None and session.held(sent.route.session) is not None
    if not (going_on and session.faults):  # who signs in anew is told of an outage before
        session.show_command(by_hand)
    begun = time.time()
    told = _submit(session, sent) if within is None else _retried(session, sent, within)
    outcome, client = told
    session.attempt = Attempt(sent, outcome)
    queue_id = queue_id_of(outcome.reply.text) if outcome.accepted else ""
    identity = sent.message.message_id
    session.traces[identity] = Trace(identity, sent.envelope.sender, client, begun, queue_id)
    check_outcome(session, outcome, expect)


def check_outcome(session: Session, outcome: Outcome, expect: Expect) -> None:
    """Hold stage, codes and text against what is expected; raises ExpectationFailed."""
    met = expect.codes_met(outcome)
    if met and expect.text is not None:
        text = outcome.reply.text
        fits = found(expect.text, text) is not None
        session.check("text", expected=f"/{expect.text}/", seen=text, ok=fits)
    session.check("reply", expected=str(expect), seen=str(outcome), ok=met)


def _retried(session: Session, sent: Sent, seconds: float) -> _Told:
    """Submit until the reply is no temporary refusal, or the time is over; returns the last.

    A server that does not answer, or hangs up, may do so later; raises LabNotReady if it never did.
    """
    told: list[_Told | LabNotReady] = []

    def attempt() -> bool | None:
        try:
            outcome, client = _submit(session, sent)
        except LabNotReady as error:
            told.append(error)
            return None
        told.append((outcome, client))
        return None if outcome.reply.temporary else True

    with suppress(DeadlinePassed):
        poll(attempt, what="no temporary refusal", seconds=seconds, pause=0.02)
    last = told[-1]
    if isinstance(last, LabNotReady):
        raise last
    return last


def _submit(session: Session, sent: Sent) -> _Told:
    route = sent.route
    connection = session.held(route.session) if route.session else None
    if connection is None:
        connection = session.smtp(route.service)
        refused = _sign_in(session, connection, route)
        if refused is not None:
            connection.close()
            return refused, connection.client
    elif route.session and route.login:
        session.require_own(route.session, connection, route.login)
    try:
        return connection.submit(sent.envelope, sent.message.content), connection.client
    finally:
        if route.session:
            session.hold(route.session, connection)
        else:
            connection.close()


def _sign_in(session: Session, connection: SmtpConnection, route: Route) -> Outcome | None:
    if route.login is None:
        return None
    account = session.account(route.login)
    outcome = connection.sign_in(account.login, account.password)
    return None if outcome.reply.ok else outcome


def people(session: Session) -> list[str]:
    """Return the accounts that the message of the step is from and for."""
    if session.attempt is None:
        return []
    sent, accounts = session.attempt.sent, session.endpoints.accounts.values()
    addresses = {address.lower() for address in (sent.envelope.sender, *sent.envelope.recipients)}
    named = [] if sent.route.login is None else [sent.route.login]
    named += [each.name for each in accounts if addresses & {*_addresses(each)}]
    return list(dict.fromkeys(named))


def _addresses(account: Account) -> list[str]:
    return [address.lower() for address in (account.address, *account.aliases)]


def further(session: Session) -> str | None:
    """Return the command that tells why the message of the step got its reply: what the log says
    of a sign-in, a content or an outage, and of all between them what Postfix was asked. None where
    there is no such message, or on a foreign stack.
    """
    attempt, hands = session.attempt, session.by_hand
    if attempt is None or session.containers is None:
        return None
    outcome, route, envelope = attempt.outcome, attempt.sent.route, attempt.sent.envelope
    who = route.login or next(iter(people(session)), None)
    if outcome is None or who is None or outcome.reply.temporary or _beyond(outcome):
        services = ["postfix"] if outcome is None else ["postfix", *_ASKED.get(outcome.stage, ())]
        return hands.labctl("logs", *services, "--tail", "20")
    port = [] if route.service == "submission" else ["--port", _PORTS[route.service]]
    recipient = envelope.recipients[-1]
    return hands.labctl("explain", who, "--from", envelope.sender, "--to", recipient, *port)


def _beyond(outcome: Outcome) -> bool:
    """Say whether it is a refusal of which the restrictions know nothing."""
    return outcome.stage not in {Stage.MAIL, Stage.RCPT, Stage.DATA} and not outcome.reply.ok


_ASKED = {Stage.AUTH: ("dovecot",), Stage.EOM: ("milter",)}
_PORTS = {"smtp": "25", "submission": "587", "submissions": "465"}
