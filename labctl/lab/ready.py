"""When a lab counts as up: each server has answered in its own protocol, and the next behind it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from labctl.errors import DeadlinePassed, LabNotReady
from labctl.events import Event
from labctl.lab.containers import LabContainers
from labctl.protocols.imap import ImapConnection
from labctl.protocols.poll import poll
from labctl.protocols.smtp import SmtpConnection
from labctl.protocols.tls import client_context
from labctl.settings import Account, Endpoints


def unheard(_event: Event) -> None:
    """Listen to nothing: what is said while waiting is in no transcript."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Something that must be seen; `service` is whose log tells why it is not."""

    service: str
    what: str
    look: Callable[[], Any]


def imap_greets(endpoints: Endpoints) -> bool:
    """See an IMAP greeting, over TLS."""
    context = client_context(endpoints.ca_file)
    ImapConnection.open("imaps", endpoints.services["imaps"], context=context, emit=unheard).close()
    return True


def signs_in(endpoints: Endpoints, account: Account) -> bool:
    """See a SASL handshake through Postfix, Dovecot and the directory."""
    context = client_context(endpoints.ca_file)
    with SmtpConnection.open(
        "submissions", endpoints.services["submissions"], context=context, emit=unheard
    ) as connection:
        outcome = connection.sign_in(account.login, account.password)
    if not outcome.reply.ok:
        raise LabNotReady(f"submissions answers the sign-in of {account.name} with {outcome.reply}")
    return True


def delivers(containers: LabContainers) -> bool:
    """See Dovecot's LMTP greeting from where Postfix stands."""
    return containers.execute("postfix", ["lmtp-path"]).strip() != ""


def negotiates(containers: LabContainers) -> bool:
    """See the milter negotiate its options, as Postfix does first of all."""
    return containers.execute("milter", ["healthcheck"]).strip() != ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait for a lab's servers (seconds), and whom to tell."""

    containers: LabContainers
    seconds: float
    say: Callable[[str], None]

    def for_all(self, *probes: Probe) -> list[Any]:
        """Wait until all have been seen, side by side; returns what each look returned.

        Raises DeadlinePassed, ending with the last log lines of the service that is missing.
        """
        with ThreadPoolExecutor(len(probes)) as pool:
            return list(pool.map(self._for, probes))

    def _for(self, probe: Probe) -> Any:
        try:
            seen = poll(probe.look, what=probe.what, seconds=self.seconds, retry=(LabNotReady,))
        except DeadlinePassed as error:
            raise DeadlinePassed(
                f"{probe.service}: {error.what}",
                f"The last lines of its log:\n{self.containers.last_lines(probe.service).rstrip()}",
            ) from error
        self.say(f"{probe.service}: {probe.what} seen")
        return seen
