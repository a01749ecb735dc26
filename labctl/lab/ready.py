"""When a lab counts as up: each server has answered in its own protocol, and the next behind it."""

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from labctl.endpoints import Account, Endpoints
from labctl.errors import DeadlinePassed, LabNotReady, ServerEnded
from labctl.events import Event
from labctl.lab.containers import LabContainers
from labctl.protocols.imap import ImapConnection
from labctl.protocols.poll import poll
from labctl.protocols.smtp import SmtpConnection
from labctl.protocols.tls import client_context


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


class _GivenUp(Exception):
    """Another probe has failed already: that one tells why."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long to wait for a lab's servers (seconds), and whom to tell."""

    containers: LabContainers
    seconds: float
    say: Callable[[str], None]

    def for_all(self, *probes: Probe) -> list[Any]:
        """Wait until all have been seen, side by side; returns what each look returned.

        Raises DeadlinePassed, or ServerEnded at once when a server has ended by itself; both end
        with the last log lines of the service that is missing.
        """
        given_up = threading.Event()
        with ThreadPoolExecutor(len(probes)) as pool:
            waits = [pool.submit(self._for, probe, given_up) for probe in probes]
            try:
                wait(waits, return_when=FIRST_EXCEPTION)
            finally:
                given_up.set()  # after a failure, or an interrupt, nobody waits on
        errors = [error for each in waits if (error := each.exception()) is not None]
        if errors:
            raise next((error for error in errors if not isinstance(error, _GivenUp)), errors[0])
        return [each.result() for each in waits]

    def _for(self, probe: Probe, given_up: threading.Event) -> Any:
        def look() -> Any:
            if given_up.is_set():
                raise _GivenUp
            return self._look(probe)

        try:
            seen = poll(look, what=probe.what, seconds=self.seconds, retry=(LabNotReady,))
        except (DeadlinePassed, ServerEnded) as error:
            raise type(error)(
                f"{probe.service}: {error.what}",
                f"The last lines of its log:\n{self.containers.last_lines(probe.service).rstrip()}",
            ) from error
        self.say(f"{probe.service}: {probe.what} seen")
        return seen

    def _look(self, probe: Probe) -> Any:
        """Look once; whoever does not answer because it has ended is not waited for."""
        try:
            return probe.look()
        except LabNotReady:
            code = self.containers.exit_code(probe.service)
            if code is None:
                raise
            raise ServerEnded(f"ended by itself with exit status {code}") from None
