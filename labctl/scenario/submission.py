"""What `send` and `resend` have in common: one transaction, and its outcome held to account."""

import re
import shlex
from contextlib import suppress

from labctl.errors import DeadlinePassed
from labctl.protocols.poll import poll
from labctl.protocols.smtp import Outcome, SmtpConnection
from labctl.scenario.messages import Route, Sent
from labctl.scenario.model import Expect
from labctl.scenario.session import Session


def transact(session: Session, sent: Sent, expect: Expect, within: float | None) -> None:
    """Send, and check stage, codes and text of the reply that decided. With `within` (seconds) a
    temporary refusal (4xx) is tried again until then, as any mail client would.

    Raises ExpectationFailed when they are not as expected.
    """
    session.show_command(swaks_command(session, sent))
    outcome = _submit(session, sent) if within is None else _retried(session, sent, within)
    check_outcome(session, outcome, expect)


def check_outcome(session: Session, outcome: Outcome, expect: Expect) -> None:
    """Hold stage, codes and text against what is expected; raises ExpectationFailed."""
    met = expect.codes_met(outcome)
    if met and expect.text is not None:
        text = outcome.reply.text
        found = re.search(expect.text, text) is not None
        session.check("text", expected=f"/{expect.text}/", seen=text, ok=found)
    session.check("reply", expected=str(expect), seen=str(outcome), ok=met)


def _retried(session: Session, sent: Sent, seconds: float) -> Outcome:
    """Submit until the reply is no temporary refusal, or the time is over; returns the last."""
    outcomes: list[Outcome] = []

    def attempt() -> bool | None:
        outcomes.append(_submit(session, sent))
        return None if outcomes[-1].reply.temporary else True

    with suppress(DeadlinePassed):
        poll(attempt, what="no temporary refusal", seconds=seconds, pause=0.02)
    return outcomes[-1]


def _submit(session: Session, sent: Sent) -> Outcome:
    route = sent.route
    connection = session.held(route.session) if route.session else None
    if connection is None:
        connection = session.smtp(route.service)
        refused = _sign_in(session, connection, route)
        if refused is not None:
            connection.close()
            return refused
    try:
        return connection.submit(sent.envelope, sent.message.content)
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


_SWAKS_TLS = {"starttls": ["-tls"], "tls": ["--tls-on-connect"], "none": []}


def swaks_command(session: Session, sent: Sent) -> str:
    """Return the swaks command that sends the same; the password is asked of labctl."""
    endpoint = session.endpoint(sent.route.service)
    where = [f"{endpoint.host}:{endpoint.port}"]
    runner = ["swaks"]
    if session.containers is not None:
        runner = list(session.containers.swaks())
        where = [f"localhost:{_PORTS[sent.route.service]}"]
    command = [*runner, "--server", *where, *_SWAKS_TLS[endpoint.tls]]
    command += ["--from", sent.envelope.sender or "<>", "--to", ",".join(sent.envelope.recipients)]
    command += ["--h-From", sent.message.draft.sender, "--h-Subject", sent.message.draft.subject]
    line = shlex.join(command)
    if sent.route.login is None:
        return line
    login = shlex.quote(session.account(sent.route.login).login)
    name = shlex.quote(sent.route.login)
    lab = session.endpoints.lab
    labctl = "labctl" if lab == "default" else f"labctl -n {shlex.quote(lab)}"
    password = f'"$({labctl} user show {name} --password)"'
    return f"{line} --auth PLAIN --auth-user {login} --auth-password {password}"


_PORTS = {"smtp": 25, "submission": 587, "submissions": 465}
