"""What a step works on: endpoints, open connections, messages sent, and what to take back."""

import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Timer
from typing import TYPE_CHECKING, Literal, Protocol

from labctl.endpoints import Account, Endpoint, Endpoints
from labctl.errors import (
    ExpectationFailed,
    LabctlError,
    LabNotReady,
    SignInRefused,
    UsageError,
)
from labctl.events import Change, Check, Command, Emit, Event
from labctl.protocols.entry import PolicyChange, Values
from labctl.protocols.imap import ImapConnection
from labctl.protocols.smtp import Outcome, SmtpConnection
from labctl.protocols.tls import client_context
from labctl.scenario.by_hand import ByHand
from labctl.scenario.journal import Journal
from labctl.scenario.messages import HOST, Sent, Trace
from labctl.scenario.names import account_of, address_of

if TYPE_CHECKING:
    from labctl.protocols.directory import Directory

Kind = Literal[
    "stop", "kill", "pause", "slow", "cut", "behind", "full", "deny", "cache", "shadow", "tight"
]

_A_MOMENT = 0.001  # seconds, for the end of a connection to be read that has come already


class Containers(Protocol):
    """What a step can ask of the lab's own containers, and of no foreign stack."""

    def fingerprint(self) -> Mapping[str, str]:
        """Return what identifies Postfix's running processes and its configuration."""

    def mail_files(self, account: str, message_id: str) -> tuple[str, ...]:
        """Return the files of the account's Maildir that hold the message: `new/…`, `cur/…`."""

    def kick(self, login: str) -> tuple[int, int]:
        """Close somebody's open sessions; returns how many of IMAP, and how many processes of
        Postfix that he was the last to sign in to.
        """

    def hold(self, login: str, *, on: bool) -> tuple[str, ...]:
        """Put what somebody submitted, and is in the queue, on hold, or take it off; returns the
        queue ids.
        """

    def sendmail(self, user: str, arguments: Sequence[str], text: str) -> tuple[int, str]:
        """Submit a text beside Postfix, as a user of the system, with these arguments of
        sendmail(1); returns its exit status, and what it printed.
        """

    def inflict(self, service: str, kind: Kind) -> None:
        """Break a server, as the step `fault` says.

        Raises HostCannot where this host lacks what that takes.
        """

    def rehearsed(self, message_id: str) -> tuple[str, tuple[Outcome, ...]] | None:
        """Return who signed in to send a message, and what he would have been told instead of it
        being taken; None as long as the log does not tell.
        """

    def flush(self) -> None:
        """Let Dovecot forget the sign-ins that it remembers."""

    def mend(self, service: str, seconds: float) -> None:
        """Let a server run again, and see its own check pass within so many seconds."""

    def await_replicas(self, seconds: float) -> bool:
        """Wait until the copies of the directory, but those that are broken on purpose, have all
        that it has now; says whether there are any.
        """

    def lag(self, replica: str) -> float | None:
        """Return how many seconds a copy of the directory is behind it: where the directory does
        not answer, as many as since the newest change that the copy has. None: it does not answer.
        """

    def container_name(self, service: str) -> str:
        """Return the name of a service's container."""

    def to_inflict(self, service: str, kind: Kind) -> str:
        """Return the command that does by hand what `inflict` does."""

    def to_mend(self, service: str) -> str:
        """Return the commands that do by hand what `mend` would do now."""

    def queue(self) -> Mapping[str, str]:
        """Return what is in Postfix's queue: by queue id, which queue it is in, and why still."""

    def log_lines(self, service: str, since: float) -> tuple[str, ...]:
        """Return what a service has logged since then (seconds since the epoch)."""


class Presenter(Protocol):
    """Somebody at a terminal who shows the run to a room."""

    def wait(self, seconds: float | None) -> None:
        """Wait until he goes on, or for so many seconds at most."""


class Skipped(Exception):
    """A step cannot be performed on this stack; the text says why. Not an error."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes a step back; `number` is that step's."""

    number: int
    verb: str
    summary: str
    action: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A message that a step sends, and what came of it; None while that is not known."""

    sent: Sent
    outcome: Outcome | None = None


@dataclass(slots=True)
class Session:
    """One run's state. Steps use its methods; the runner lets each begin.

    The journal, if there is one, knows what is to be put back as long as that is so.
    """

    endpoints: Endpoints
    run: str
    listener: Emit
    wait_seconds: float = 10.0
    containers: Containers | None = None
    journal: Journal | None = None
    presenter: Presenter | None = None
    number: int = 0
    attempt: Attempt | None = None  # of the step that is being performed
    faults: set[str] = field(default_factory=set)  # the services that a step has taken away
    returns: dict[str, Timer] = field(default_factory=dict)  # services that come back by themselves
    checks: int = 0
    messages: dict[str, Sent] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)  # by Message-ID
    remarks: list[str] = field(default_factory=list)  # of a step that passes, for its reason
    undos: list[Undo] = field(default_factory=list)
    changed: bool = False  # the directory, since its copies were last waited for
    fingerprint: Mapping[str, str] | None = None
    each_step_undone: bool = False  # every change has its undo, not just an account's first
    _submissions: dict[str, SmtpConnection] = field(default_factory=dict)
    _mailboxes: dict[str, ImapConnection] = field(default_factory=dict)
    _directory: "Directory | None" = None
    _whole: "Session | None" = None  # of a case: the session of the whole run
    _restored: set[tuple[str, str]] = field(default_factory=set)  # attributes of accounts
    _opened: dict[str, int] = field(default_factory=dict)  # SMTP sessions: by which step
    _backs: int = 0

    def for_case(self, number: int) -> "Session":
        """Return a session of its own for a case: the same stack, and nothing left open or said."""
        return Session(
            self.endpoints,
            f"{self.run}.{number}",
            self.listener,
            self.wait_seconds,
            self.containers,
            self.journal,
            self.presenter,
            fingerprint=self.fingerprint,
            _whole=self,
        )

    def begin(self, number: int) -> None:
        """Let a step begin."""
        self.number, self.attempt = number, None

    def emit(self, event: Event) -> None:
        """Pass an event on to whoever listens now."""
        self.changed = self.changed or isinstance(event, Change)
        self.listener(event)

    def follow(self) -> None:
        """Wait, after a change in the directory, until its replicas have it, where there are any.

        Raises DeadlinePassed where one that is not broken on purpose stays behind.
        """
        if self.changed and self.containers is not None:
            self.changed = False
            if self.containers.await_replicas(self.wait_seconds):
                self.remarks.append("the replicas have it, too")

    def check(self, what: str, *, expected: str, seen: str, ok: bool) -> None:
        """Hold an expectation against what was seen; raises ExpectationFailed if it is not met."""
        self.checks += 1
        self.emit(Check(what, expected, seen, ok))
        if not ok:
            raise ExpectationFailed(f"{what}: expected {expected}, seen {seen}")

    def show_command(self, line: str) -> None:
        """Tell the command that does the same by hand."""
        self.emit(Command(line))

    @property
    def by_hand(self) -> ByHand:
        """The commands that do by hand what steps do."""
        container = self.containers.container_name if self.containers else None
        return ByHand(self.endpoints, container)

    def trace(self, name: str) -> Trace:
        """Return how the message of this name is found again; an earlier step has sent it."""
        return self.traces[self.messages[name].message.message_id]

    def needed_containers(self) -> Containers:
        """Return the lab's own containers; raises Skipped on a stack that has none."""
        if self.containers is None:
            raise Skipped("needs the lab's own containers")
        return self.containers

    def needed_replicas(self) -> Containers:
        """Return the lab's own containers; raises Skipped where its directory has no replicas."""
        if self.endpoints.directory != "replicated":
            raise Skipped("needs a replicated directory")
        return self.needed_containers()

    def account(self, name: str) -> Account:
        """Return an account; raises UsageError if the endpoints do not know it."""
        return self.endpoints.account(name)

    def address(self, name: str) -> str:
        """Return the address that a scenario's name means (labctl.scenario.names)."""
        account = account_of(name)
        return name if account is None else address_of(name, self.account(account))

    def endpoint(self, service: str) -> Endpoint:
        """Return where a service is reached; raises NoSuchService if the stack has none."""
        return self.endpoints.service(service)

    @property
    def tls(self) -> ssl.SSLContext:
        """The TLS context that trusts the stack's CA."""
        return client_context(self.endpoints.ca_file)

    def smtp(self, service: str, *, greet: bool = True) -> SmtpConnection:
        """Open a new SMTP session; the caller closes it."""
        return SmtpConnection.open(
            service,
            self.endpoint(service),
            context=self.tls,
            emit=self.emit,
            greet=greet,
            client=None if self.containers is None else f"{self.number}.{self.run}.{HOST}",
        )

    def held(self, name: str) -> SmtpConnection | None:
        """Return the SMTP session that an earlier step left open under this name, if any."""
        connection = self._submissions.get(name)
        return None if connection is None or connection.closed else connection

    def left(self, name: str) -> SmtpConnection | None:
        """Return the SMTP session that an earlier step left under this name, closed or not."""
        return self._submissions.get(name)

    def require_own(self, name: str, connection: SmtpConnection, account: str) -> None:
        """Raise UsageError where it was not this account that signed in to a session left open:
        whatever came of it would be told of somebody else.
        """
        if connection.login != self.account(account).login:
            whose = f"{connection.login}'s" if connection.login else "nobody's"
            raise UsageError(
                f"the session {name!r} is {whose}, and {account} cannot go on with it",
                "Give this step a session of its own.",
            )

    def hold(self, name: str, connection: SmtpConnection) -> None:
        """Leave an SMTP session open for later steps."""
        self._submissions[name] = connection
        self._opened.setdefault(name, self.number)

    def go_back_before(self, number: int) -> None:
        """Stand before a step again: the SMTP sessions that were opened since are closed, and what
        is sent from now on has Message-IDs of its own.
        """
        for name in [name for name, opened in self._opened.items() if opened >= number]:
            del self._opened[name]
            with suppress(LabctlError, OSError):
                self._submissions.pop(name).close()
        self._backs += 1

    @property
    def identity(self) -> str:
        """What the Message-IDs of this run have in common, anew after each going back."""
        return f"{self.run}.back{self._backs}" if self._backs else self.run

    @property
    def imap_service(self) -> str:
        """The service by which mailboxes are looked into."""
        return "imaps" if "imaps" in self.endpoints.services else "imap"

    def imap(self, service: str) -> ImapConnection:
        """Open a new IMAP session; the caller closes it."""
        return ImapConnection.open(
            service, self.endpoint(service), context=self.tls, emit=self.emit
        )

    def mailbox(self, name: str) -> ImapConnection:
        """Return a signed-in IMAP session of an account, opened anew only if the server has
        closed it, as one that was stopped meanwhile did.
        """
        if name in self._mailboxes and self._mailboxes[name].hung_up(_A_MOMENT):
            self._mailboxes.pop(name).close()
        if name not in self._mailboxes:
            account = self.account(name)
            connection = self.imap(self.imap_service)
            try:
                connection.sign_in(account.login, account.password)
            except SignInRefused as refusal:
                connection.close()
                self.check("imap", expected="sign-in accepted", seen=refusal.what, ok=False)
            self._mailboxes[name] = connection
        return self._mailboxes[name]

    def closed_by_server(self, name: str, seconds: float) -> dict[str, bool]:
        """Say of each session that the run holds open for an account whether the server closes it
        within so many seconds; what is closed is opened anew when it is next needed.
        """
        login, ended = self.account(name).login, {}
        for label, connection in self._submissions.items():
            if connection.login == login and not connection.closed:
                ended[f"SMTP session {label}"] = connection.hung_up(seconds)
        if name in self._mailboxes and self._mailboxes[name].hung_up(seconds):
            self._mailboxes.pop(name).close()
            ended["IMAP session"] = True
        elif name in self._mailboxes:
            ended["IMAP session"] = False
        return ended

    def directory(self) -> "Directory":
        """Return the directory, bound as the policy-admin, opened once in a run."""
        if self._whole is not None:
            return self._whole.directory()
        if self._directory is None:
            from labctl.protocols.directory import Directory

            self._directory = Directory.open(
                self.endpoints, self.endpoints.policy_admin, emit=self.emit
            )
        return self._directory

    def forget_directory(self) -> None:
        """Hang up on the directory; the next use opens it anew."""
        session = self._whole or self
        if session._directory is not None:
            session._directory.close()
            session._directory = None

    def later(self, service: str, timer: Timer) -> None:
        """Let a service that was taken away come back when the timer says so."""
        self.not_later(service)
        self.returns[service] = timer
        timer.daemon = True
        timer.start()

    def not_later(self, service: str) -> None:
        """See that no timer brings a service back any more: it has done so, or never will."""
        if timer := self.returns.pop(service, None):
            timer.cancel()
            timer.join()

    def change_policy(self, verb: str, name: str, change: PolicyChange) -> float:
        """Change an account's policy attributes, as far as the stack has them, to be put back at
        the end of the run; returns when the directory answered, by time.monotonic().

        Raises Skipped if it has none of them.
        """
        directory = self.directory()
        values = directory.values_of(change)
        if not values:
            raise Skipped(f"the stack has no attribute for {' and '.join(change)}")
        directory.emit_to(self.emit)
        entry = directory.person(name)
        # The first change of an attribute knows how it was before all of them.
        known = set() if self.each_step_undone else self._restored
        before = {each: entry.all(each) for each in values if (name, each) not in known}
        if before:
            self._restored.update((name, each) for each in before)
            if self.journal is not None:
                self.journal.note(entry.dn, before)
            action = partial(self._put_back, entry.dn, before)
            self.undos.append(Undo(self.number, verb, f"{name} as before", action))
        self._show_change(entry.dn, values)
        return self._replace(entry.dn, values)

    def _put_back(self, dn: str, values: Values) -> None:
        self._show_change(dn, values)
        try:
            self._replace(dn, values)
        except LabNotReady:  # the connection alone may be to blame
            self.forget_directory()
            self._replace(dn, values)

    def _show_change(self, dn: str, values: Values) -> None:
        self.show_command(self.by_hand.change_policy(dn, values))

    def _replace(self, dn: str, values: Values) -> float:
        directory = self.directory()
        directory.emit_to(self.emit)
        try:
            directory.replace(dn, values)
        except ExpectationFailed as refusal:
            self.check("directory", expected="the change", seen=refusal.what, ok=False)
        return directory.answered

    def close(self) -> None:
        """Hang up everywhere."""
        held = (*self._submissions.values(), *self._mailboxes.values(), self._directory)
        for connection in held:
            if connection is not None:
                with suppress(LabctlError, OSError):
                    connection.close()


def new_run_id() -> str:
    """Return an identity for a run: when it began (UTC), and four random characters."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
