"""Sessions that keep asking while an attribute is toggled, and what the answers say.

A probe is one RCPT; it lasts from the moment at which the command is sent to its reply. A change
lasts from the request to the directory's answer. A probe that overlaps a change may see the one
state or the other and counts as neither; of every other probe it is known what the directory
says, and an answer against it is a stale decision.

Sessions ask at a pace of their own, below what the servers could answer: else what is measured is
how long a probe queues behind the others. Just after the directory's answer one of those that are
held open, each in its turn, asks at once. Where sessions insist, so does one whose answer was
stale, until it is not: when a change shows is not told by when its turn would have come.

A new session costs a hash of the password and a handshake, so that few are opened meanwhile; after
it, each change is asked about in new sessions alone.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from labctl.endpoints import Account, Endpoints
from labctl.errors import DeadlinePassed, ExpectationFailed
from labctl.events import Event, Wire
from labctl.protocols.directory import Directory
from labctl.protocols.entry import ENABLE, PolicyChange
from labctl.protocols.smtp import Outcome, SmtpConnection
from labctl.protocols.tls import client_context

SERVICES = ("submission", "submissions")
_SECONDS = 30.0  # for a change to be asked about
_NEVER = float("inf")


@dataclass(slots=True)
class Change:
    """What the directory was told, when, and when it answered (seconds, time.monotonic)."""

    allowed: bool
    begun: float
    answered: float = _NEVER
    shown: float = _NEVER  # when a decision first showed it
    obeyed: float = _NEVER  # when one that was asked for after the answer first did


@dataclass(frozen=True, slots=True)
class Probe:
    """One RCPT: through which service, in a session that was held open or is new, and its lines."""

    service: str
    held: bool
    begun: float
    ended: float
    outcome: Outcome
    lines: tuple[str, ...]

    @property
    def accepted(self) -> bool | None:
        """Say whether the recipient was accepted or refused for good; None if it was neither."""
        return None if self.outcome.reply.temporary else self.outcome.reply.ok


def known(changes: Sequence[Change], begun: float, ended: float) -> Change | None:
    """Return the change whose state the directory had from `begun` to `ended`, or None where one
    went on meanwhile. Changes follow one another, so the last that had begun by the end decides.
    """
    last = next((each for each in reversed(changes) if each.begun <= ended), None)
    return last if last is not None and last.answered <= begun else None


@dataclass(frozen=True, slots=True)
class Stale:
    """A decision against what the directory said since `since`, this many seconds before."""

    allowed: bool
    seconds: float
    probe: Probe

    def transcript(self) -> str:
        """Return what was said, and what should have been."""
        should = "may send" if self.allowed else "may not send"
        session = "held open" if self.probe.held else "new"
        head = (
            f"stale decision on {self.probe.service}, session {session}: {self.probe.outcome}, "
            f"though {self.seconds * 1000:.1f} ms before the directory had said: {should}"
        )
        return "\n".join([head, *self.probe.lines])


Directed = dict[bool, list[float]]
"""Samples by whether sending was allowed."""


def _directed() -> Directed:
    return {False: [], True: []}


@dataclass(slots=True)
class Seen:
    """What came of it: how often it was toggled, the probes that were judged (by service, and
    whether the session was held open), those that overlapped a change, and the stale ones.

    Seconds, apart for what was allowed and what was refused, since a refusal ends sooner: from each
    answer of the directory to the first decision that shows it (0 where one did before), to the
    first that was asked for after it, and those that each RCPT on a session held open took.
    """

    toggles: int = 0
    judged: Counter[tuple[str, bool]] = field(default_factory=Counter)
    overlapping: int = 0
    stale: list[Stale] = field(default_factory=list)
    effects: Directed = field(default_factory=_directed)
    asked_after: Directed = field(default_factory=_directed)
    trips: Directed = field(default_factory=_directed)


class Watch:
    """Judges probes as they end; threads share it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.seen = Seen()
        self._now = now
        self.stopped = threading.Event()
        before = Change(allowed=True, begun=-_NEVER, answered=-_NEVER, shown=0.0, obeyed=0.0)
        self._changes = [before]
        self._asked: dict[int, float] = {}  # since when each held session last knew
        self._news = threading.Condition()
        self._error: Exception | None = None

    def begin(self, *, allowed: bool) -> None:
        """Note that a change begins."""
        with self._news:
            del self._changes[:-2]  # a probe overlaps no more than these
            self._changes.append(Change(allowed, self._now()))

    def answer(self, at: float) -> None:
        """Note when the directory had answered the change."""
        with self._news:
            change = self._changes[-1]
            change.answered = at
            self.seen.toggles += 1
            if change.shown != _NEVER:
                self.seen.effects[change.allowed].append(max(change.shown - at, 0.0))

    def judge(self, session: int, probe: Probe) -> bool:
        """Hold an answer against what the directory said; says whether it is stale."""
        with self._news:
            if probe.held and probe.accepted is not None:
                self.seen.trips[probe.accepted].append(probe.ended - probe.begun)
            self._show(probe)
            change = known(self._changes, probe.begun, probe.ended)
            if change is None:
                self.seen.overlapping += 1
                return False
            self.seen.judged[probe.service, probe.held] += 1
            stale = probe.accepted is not change.allowed
            if stale:
                since = probe.begun - change.answered
                self.seen.stale.append(Stale(change.allowed, since, probe))
            elif change.obeyed == _NEVER:
                change.obeyed = probe.ended
                self.seen.asked_after[change.allowed].append(probe.ended - change.answered)
            if probe.held:
                self._asked[session] = probe.begun
            self._news.notify_all()
            return stale

    def _show(self, probe: Probe) -> None:
        """Note a decision that shows the last change, whether or not it was asked for during it."""
        *_, before, last = [self._changes[0], *self._changes]
        if last.shown != _NEVER or probe.begun < before.answered or probe.ended < last.begun:
            return
        if probe.accepted is last.allowed:
            last.shown = probe.ended
            if last.answered != _NEVER:
                self.seen.effects[last.allowed].append(max(probe.ended - last.answered, 0.0))

    def await_all(self, held: Sequence[int]) -> None:
        """Wait until each held session has been asked since the last change was answered."""
        with self._news:
            answered = self._changes[-1].answered

            def asked() -> bool:
                return self._error is not None or all(
                    self._asked.get(each, -_NEVER) >= answered for each in held
                )

            if not self._news.wait_for(asked, _SECONDS):
                raise DeadlinePassed(f"waited {_SECONDS:g} s for the sessions to ask again")
        if self._error is not None:
            raise self._error

    def fail(self, error: Exception) -> None:
        """Let the one who waits know that a session broke."""
        with self._news:
            self._error = error
            self._news.notify_all()


@dataclass(frozen=True, slots=True)
class Paces:
    """How often a second each session that is held open asks, and how many are opened in all."""

    held: float
    new: float

    def pause(self, number: int, sessions: int) -> float:
        """Return the seconds from one question of a session to its next."""
        return sessions // 2 / self.new if number % 2 else 1 / self.held


@dataclass(frozen=True, slots=True)
class Asker:
    """One that keeps asking: on one session that it holds open, at once when `now` is set, or on a
    new one each time; with so many seconds between. One that insists sets `now` itself where the
    answer was stale.
    """

    number: int
    endpoints: Endpoints
    account: Account
    watch: Watch
    pause: float
    insists: bool
    now: threading.Event = field(default_factory=threading.Event)

    @property
    def service(self) -> str:
        """Through which service it asks: two sessions each in turn."""
        return SERVICES[self.number // 2 % 2]

    @property
    def held(self) -> bool:
        """Say whether it holds one session open: every other one does."""
        return self.number % 2 == 0

    def open(self) -> SmtpConnection:
        """Open a session and sign in."""
        connection = SmtpConnection.open(
            self.service,
            self.endpoints.service(self.service),
            context=client_context(self.endpoints.ca_file),
            emit=_unheard,
        )
        signed_in = connection.sign_in(self.account.login, self.account.password)
        if not signed_in.reply.ok:
            connection.close()
            raise ExpectationFailed(f"{self.account.name} cannot sign in: {signed_in.reply}")
        return connection

    def ask(self, connection: SmtpConnection) -> None:
        """Ask once, when it is time, and have the answer judged."""
        said: list[Event] = []
        connection.emit_to(said.append)
        connection.begin(self.account.address)
        if self.held:
            self._wait()
        begun = time.monotonic()
        outcome = connection.recipient(self.account.address)
        ended = time.monotonic()
        lines = tuple(f"{each.mark:>3} {each.line}" for each in said if isinstance(each, Wire))
        probe = Probe(self.service, self.held, begun, ended, outcome, lines)
        if self.watch.judge(self.number, probe) and self.insists and self.held:
            self.now.set()
        connection.reset()

    def run(self, held: SmtpConnection | None) -> None:
        """Ask until it is stopped."""
        try:
            while not self.watch.stopped.is_set():
                if held is not None:
                    self.ask(held)
                elif not self._wait():
                    with self.open() as fresh:
                        self.ask(fresh)
        except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits raises it
            self.watch.fail(error)

    def _wait(self) -> bool:
        """Wait until it is time to ask; says whether it is out of turn."""
        told = self.now.wait(self.pause)
        self.now.clear()
        return told


def _unheard(_event: Event) -> None:
    """Listen to nothing: what comes before a probe is not judged."""


def toggle(
    endpoints: Endpoints,
    name: str,
    *,
    toggles: int,
    sessions: int,
    paces: Paces,
    insists: bool,
    count: Callable[[int, int], None],
) -> Seen:
    """Toggle an account's policy so often while it keeps asking in so many sessions, half of them
    held open all the time, half new for each probe, through both submission services; returns what
    was seen. Each change waits until every session that is held open has asked since. Those that
    insist ask again at once where the answer was stale.

    The account may send before, and after it. Raises LabctlError where a server breaks off.
    """
    watch = Watch()
    account = endpoints.account(name)
    askers = [
        Asker(number, endpoints, account, watch, paces.pause(number, sessions), insists)
        for number in range(sessions)
    ]
    held = [each for each in askers if each.held]
    with ExitStack() as stack:
        directory = stack.enter_context(
            Directory.open(endpoints, endpoints.policy_admin, emit=_unheard)
        )
        dn = directory.dn(name)
        opened = [stack.enter_context(each.open()) if each.held else None for each in askers]
        stack.callback(directory.set_policy, dn, ENABLE)
        threads = [
            threading.Thread(target=asker.run, args=(connection,))
            for asker, connection in zip(askers, opened, strict=True)
        ]
        stack.callback(_end, watch, askers, threads)
        for thread in threads:
            thread.start()
        for number in range(toggles):
            count(number, toggles)
            _change(watch, directory, dn, allowed=number % 2 == 1)
            held[number % len(held)].now.set()
            watch.await_all([each.number for each in held])
    return watch.seen


def toggle_anew(
    endpoints: Endpoints, name: str, *, toggles: int, count: Callable[[int, int], None]
) -> Seen:
    """Toggle an account's policy so often, and ask about each change in a session that is opened
    after the directory's answer, one through each submission service; returns what was seen.

    The account may send before, and after it. Raises LabctlError where a server breaks off.
    """
    watch = Watch()
    account = endpoints.account(name)
    # Every other one asks in new sessions, and two in turn through the same service.
    askers = [Asker(number, endpoints, account, watch, pause=0, insists=False) for number in (1, 3)]
    with Directory.open(endpoints, endpoints.policy_admin, emit=_unheard) as directory:
        dn = directory.dn(name)
        try:
            for number in range(toggles):
                count(number, toggles)
                _change(watch, directory, dn, allowed=number % 2 == 1)
                for asker in askers:
                    with asker.open() as fresh:
                        asker.ask(fresh)
        finally:
            directory.set_policy(dn, ENABLE)
    return watch.seen


def _change(watch: Watch, directory: Directory, dn: str, *, allowed: bool) -> None:
    change: PolicyChange = {"send_allowed": "TRUE" if allowed else "FALSE"}
    watch.begin(allowed=allowed)
    directory.set_policy(dn, change)
    watch.answer(directory.answered)


def _end(watch: Watch, askers: Sequence[Asker], threads: Sequence[threading.Thread]) -> None:
    watch.stopped.set()
    for asker in askers:
        asker.now.set()
    for thread in threads:
        with suppress(RuntimeError):  # an interrupt came before it was started
            thread.join()
