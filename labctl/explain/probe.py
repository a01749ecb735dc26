"""The same transaction, really begun: up to the reply to DATA, never a word of content."""

from labctl.endpoints import Account, Endpoints
from labctl.events import Emit
from labctl.explain.model import Transaction
from labctl.protocols.smtp import Envelope, Outcome, SmtpConnection
from labctl.protocols.tls import client_context

SERVICES = {587: "submission", 465: "submissions", 25: "smtp"}


def probe(
    endpoints: Endpoints, account: Account, transaction: Transaction, *, emit: Emit
) -> Outcome:
    """Sign in where the transaction does, and go as far as DATA; nothing is delivered.

    Raises LabNotReady when Postfix does not answer.
    """
    service = SERVICES[transaction.port]
    context = client_context(endpoints.ca_file)
    endpoint = endpoints.services[service]
    with SmtpConnection.open(service, endpoint, context=context, emit=emit) as connection:
        if transaction.login is not None:
            outcome = connection.sign_in(account.login, account.password)
            if not outcome.reply.ok:
                return outcome
        return connection.announce(Envelope(transaction.sender, (transaction.recipient,)))
