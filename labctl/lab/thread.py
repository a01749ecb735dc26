"""What the logs of a lab say of one account or one message, joined into one thread.

A line belongs to the thread if it names the account or the message, or stands in a bundle with one
that does: an SMTP session (a process of smtpd, until its next client), a message in the queue (its
queue id), a session of Dovecot's, an operation of slapd's. Often a later line shows that a bundle
belongs: then what came before is told, too.

Nothing in slapd's log says which SMTP transaction it was asked for. An operation belongs to an
account if its filter or DN names it; to a message, if it names who signed in, the sender or a
recipient while the message was on its way. What was asked then for another message looks the same.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from labctl.lab.spoken import Key, Said, Spoken, Subject, spoken

_BUNDLES: Final = 20_000  # that are remembered, and lines of each
_LINES: Final = 500


@dataclass(frozen=True, slots=True)
class Strand:
    """A line of the thread: when (RFC 3339, UTC), whose log, which program, about what (a queue id,
    a session, an operation), and why it belongs: `named`, `same session`, `same message`, `same
    operation`, or `name and time`.
    """

    at: str
    service: str
    program: str
    about: str
    text: str
    why: str


@dataclass(slots=True)
class _Heard:
    """A line that was read, and whether it was told."""

    said: Said
    spoken: Spoken
    told: bool = False


@dataclass(slots=True)
class _Bundle:
    """Lines that belong together; `claimed` once they are the thread's, and why."""

    lines: deque[_Heard] = field(default_factory=lambda: deque(maxlen=_LINES))
    claimed: str = ""


@dataclass(slots=True)
class _Mail:
    """A message in the queue: the people it has to do with, and from when to when."""

    since: str
    people: set[str] = field(default_factory=set)
    session: Key | None = None
    identity: Key | None = None
    ours: bool = False
    until: str = "~"  # after any time


class Thread:
    """Joins what it is given, in about the order of time."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._bundles: OrderedDict[Key, _Bundle] = OrderedDict()
        self._mails: dict[Key, _Mail] = {}
        self._gone: deque[_Mail] = deque(maxlen=_LINES)  # ours, that have left the queue
        self._known = 0  # how many people our messages were seen to have to do with
        self._bound: dict[str, str] = {}  # by connection of slapd's, as whom

    def read(self, said: Said) -> list[Strand]:
        """Read a line; returns what is now seen to belong to the thread, in the order of time."""
        found = spoken(said, self._subject)
        if found is None:
            return []
        self._sign(found)
        heard = _Heard(said, found)
        if found.begins:
            self._bundles.pop(found.begins, None)
        self._follow_mail(heard)
        told = [*self._tell(heard, "named")] if found.named else []
        for key in found.bundles:
            bundle = self._bundle(key)
            bundle.lines.append(heard)
            if bundle.claimed:
                told += self._tell(heard, bundle.claimed)
        for key in found.claims:
            told += self._claim(key)
        told += self._asked_meanwhile(heard)
        if found.ends:
            self._end(found.ends, said.at)
        return sorted(told, key=lambda strand: strand.at)

    def _sign(self, found: Spoken) -> None:
        """Write to an operation for whom slapd does it, where his bind was seen."""
        if found.binds is not None:
            self._bound.pop(found.connection, None)
            if found.binds:
                self._bound[found.connection] = found.binds.partition(",")[0].partition("=")[2]
        if found.connection in self._bound:
            found.program = f"slapd for {self._bound[found.connection]}"

    def _bundle(self, key: Key) -> _Bundle:
        bundle = self._bundles.setdefault(key, _Bundle())
        self._bundles.move_to_end(key)
        if len(self._bundles) > _BUNDLES:
            self._bundles.popitem(last=False)
        return bundle

    def _tell(self, heard: _Heard, why: str) -> Iterator[Strand]:
        if not heard.told:
            heard.told = True
            said, found = heard.said, heard.spoken
            yield Strand(said.at, said.service, found.program, found.about, found.text, why)

    def _claim(self, key: Key) -> Iterator[Strand]:
        bundle = self._bundle(key)
        bundle.claimed = f"same {key.kind}"
        for heard in bundle.lines:
            yield from self._tell(heard, bundle.claimed)
        mail = self._mails.get(key)
        if mail is not None and not mail.ours:
            mail.ours = True
            if self._subject.message and mail.session:
                yield from self._claim(mail.session)
            if mail.identity:
                yield from self._claim(mail.identity)

    def _follow_mail(self, heard: _Heard) -> None:
        """Keep who has to do with a message, and since when: from the beginning of its session."""
        found = heard.spoken
        if found.mail is None:
            return
        mail = self._mails.setdefault(found.mail, _Mail(heard.said.at))
        mail.people |= found.people
        mail.identity = found.identity or mail.identity
        if mail.ours and found.identity:
            found.claims.append(found.identity)
        if found.session:
            mail.session = found.session
            session = self._bundles.get(found.session)
            if session and session.lines:
                mail.since = session.lines[0].said.at
        if found.follows and self._mails.get(found.follows, mail).ours:
            found.claims.append(found.mail)

    def _asked_meanwhile(self, heard: _Heard) -> Iterator[Strand]:
        """Tell what was asked about the people of our message while it was on its way."""
        if not self._subject.message:
            return
        ours = [*self._gone, *(mail for mail in self._mails.values() if mail.ours)]
        known = sum(len(mail.people) for mail in ours)
        news, self._known = known != self._known, known
        for key in list(self._bundles) if news else heard.spoken.bundles:
            bundle = self._bundles[key]
            if key.kind == "operation" and not bundle.claimed and _about(bundle, ours):
                bundle.claimed = "name and time"
                for each in bundle.lines:
                    yield from self._tell(each, bundle.claimed)

    def _end(self, key: Key, at: str) -> None:
        """Let go of a message that has left the queue: its id may come again."""
        self._bundles.pop(key, None)
        mail = self._mails.pop(key, None)
        if mail is not None and mail.ours:
            mail.until = at
            self._gone.append(mail)


def _about(bundle: _Bundle, mails: list[_Mail]) -> bool:
    return any(
        mail.since <= heard.said.at <= mail.until and mail.people & heard.spoken.people
        for heard in bundle.lines
        for mail in mails
    )
