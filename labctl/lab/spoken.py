"""Lines of the servers' logs: what each is about, and whether it names an account or a message.

What a client said is read only where Postfix puts it, quoted as on the wire (RFC 5321 §4.1.2). What
cannot be read belongs to nobody.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from labctl.lab.maillog import Line
from labctl.lab.replicas import PROVIDER, REPLICAS


class Said(NamedTuple):
    """A line of a service's log: when it came (RFC 3339, UTC, always as wide), whose, and what."""

    at: str
    service: str
    text: str


class Key(NamedTuple):
    """What a bundle of lines is known by: its kind (session, message, operation) and its name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Subject:
    """An account, by its login, addresses and DN, or a message, by its Message-ID or queue id."""

    names: frozenset[str] = frozenset()
    dn: str | None = None
    message: str | None = None

    @classmethod
    def account(cls, login: str, addresses: Iterable[str], dn: str) -> "Subject":
        """Return an account; one that is no more than an address has neither login nor DN."""
        return cls(
            frozenset(name.lower() for name in (login, *addresses) if name), dn.lower() or None
        )

    @classmethod
    def mail(cls, message: str) -> "Subject":
        """Return a message: a queue id, or a Message-ID with or without its angle brackets."""
        bare = "@" in message and not message.startswith("<")
        return cls(message=f"<{message}>" if bare else message)


@dataclass(slots=True)
class Spoken:
    """A line as far as it was understood.

    It stands in `bundles`, claims some of them for the subject, begins one anew or ends one. `mail`
    is the message that it tells of, which came in a session, follows another message, or is known
    elsewhere by its `identity`, a Message-ID; `people` are the logins and addresses that it names.
    `asks`: it is one of the directory's or the milter's; `binds` is the DN that the directory's
    `connection` is bound as from here on, empty for nobody.
    """

    program: str
    text: str
    about: str = ""
    named: bool = False
    bundles: list[Key] = field(default_factory=list)
    claims: list[Key] = field(default_factory=list)
    begins: Key | None = None
    ends: Key | None = None
    mail: Key | None = None
    session: Key | None = None
    follows: Key | None = None
    identity: Key | None = None
    people: set[str] = field(default_factory=set)
    asks: bool = False
    connection: str = ""
    binds: str | None = None


def spoken(said: Said, subject: Subject) -> Spoken | None:
    """Return what a line says, seen from the subject; None if it cannot be read."""
    return _SERVICES[said.service](said, subject)


# ---- Postfix

_QUEUE_ID = re.compile(r"(?P<id>[0-9A-F]{6,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}): ")
_ADDRESS = r'(?:"(?:\\.|[^"\\])*"|[^"\\<>\s])*'  # no quote or backslash outside a quoted string
_SENDER = re.compile(rf"from=<({_ADDRESS})>, size=")
_RECIPIENT = re.compile(rf"to=<({_ADDRESS})>,(?: orig_to=<({_ADDRESS})>,)? relay=")
_ANSWERED = re.compile(
    rf"(?:milter-)?reject.*; from=<({_ADDRESS})>(?: to=<({_ADDRESS})>)? proto=\S+ helo=<[^<>\s]*>"
)
_CLIENT = re.compile(r"client=[^,]+(?:, sasl_method=[^,]*, sasl_username=(?P<login>[^,]+))?")
_NO_LOGIN = re.compile(r"warning: \S+: SASL \S+ authentication failed: .*, sasl_username=([^,]+)")
_NOTICE = re.compile(r"\S+ (?:non-delivery|delay|delivery status) notification: (?P<id>\w+)")
_MESSAGE_ID = "message-id="


def _postfix(said: Said, subject: Subject) -> Spoken | None:
    line = Line.of(f"{said.at} {said.text}")
    if line is None:
        return None
    service = f"{line.service}/" if line.service else ""
    found = Spoken(f"{service}{line.program}[{line.process}]", line.message)
    queued = _QUEUE_ID.match(line.message)
    rest = line.message[queued.end() :] if queued else line.message
    if line.program == "smtpd":
        _smtpd(found, Key("session", f"smtpd {line.process}"), rest, subject, queued=bool(queued))
    if queued:
        found.about = queued["id"]
        found.mail = Key("message", queued["id"])
        found.bundles.append(found.mail)
        _queued(found, found.mail, rest, subject)
    return found


def _smtpd(found: Spoken, session: Key, rest: str, subject: Subject, *, queued: bool) -> None:
    if not queued:
        found.bundles.append(session)
    if rest.startswith("connect from "):
        found.begins = session
    elif client := _CLIENT.fullmatch(rest):
        found.session = session
        if client["login"]:
            found.people.add(client["login"].lower())
        _claim(found, [session], client["login"], subject)
    elif failed := _NO_LOGIN.fullmatch(rest):
        _claim(found, [session], failed[1], subject)
    elif answered := _ANSWERED.search(rest.removeprefix("NOQUEUE: ")):
        found.named = not subject.names.isdisjoint(map(_plain, answered.groups("")))


def _queued(found: Spoken, mail: Key, rest: str, subject: Subject) -> None:
    match = _SENDER.match(rest) or _RECIPIENT.match(rest)
    if match:
        addresses = {_plain(each) for each in match.groups("")} - {""}
        found.people |= addresses
        found.named = not subject.names.isdisjoint(addresses)
    elif rest.startswith(_MESSAGE_ID):
        found.identity = Key("message", rest.removeprefix(_MESSAGE_ID))
        found.named = found.identity.name == subject.message
    elif notice := _NOTICE.fullmatch(rest):
        found.follows, found.mail = mail, Key("message", notice["id"])
    elif rest == "removed":
        found.ends = mail
    if subject.message == mail.name:
        found.named = True
    if found.named:
        found.claims.append(mail)


def _claim(found: Spoken, keys: Iterable[Key], name: str | None, subject: Subject) -> None:
    if name and name.lower() in subject.names:
        found.named = True
        found.claims += keys


def _plain(address: str) -> str:
    """Return an address as the directory has it: in lower case, without an extension."""
    local, at, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0]}{at}{domain}"


# ---- Dovecot, the milter

_DATED = re.compile(r"\w{3} [ \d]\d [\d:]{8} ")
_SPEAKER = re.compile(r"(?P<program>[\w-]+(?:\([^()]*\))?)(?:<\d+><[^<>]*>)?: ")
_GATE = re.compile(r"sasl-gate: \w+: smtpd\[(?P<process>\d+)\]: user=<(?P<login>[^>]*)> .*")
_OF = re.compile(r"[\w-]+\((?P<user>[^,()<>]+)\)")
_USER = re.compile(r"\b(?:user=<(?P<user>[^>]*)>|(?:ldap|conn \w+)\((?P<asked>[^,()]+),)")
_SESSION = re.compile(r"(?:\bsession=<|^[\w-]+\([^)]*\)<\d+><|,<)(?P<id>[A-Za-z0-9+/=:]{6,})>")
_MSGID = re.compile(r": msgid=(?P<id><[^>]*>|\S*?): ")


def _dovecot(said: Said, subject: Subject) -> Spoken:
    dated = _DATED.match(said.text)
    text = said.text[dated.end() :] if dated else said.text
    speaker = _SPEAKER.match(text)
    program = speaker["program"] if speaker else "dovecot"
    found = Spoken(program, text[speaker.end() :] if speaker else text)
    if gate := _GATE.fullmatch(text):
        session = Key("session", f"smtpd {gate['process']}")
        found.bundles.append(session)
        _claim(found, found.bundles, gate["login"], subject)
        return found
    user = _OF.match(text) or _USER.search(text)
    name = next(filter(None, user.groups()), "") if user else ""
    if session_id := _SESSION.search(text):
        found.about = session_id["id"]
        found.bundles.append(Key("session", f"dovecot {found.about}"))
    _claim(found, found.bundles, name, subject)
    message = _MSGID.search(text)
    if message:
        found.bundles.append(Key("message", message["id"]))
        found.named |= message["id"] == subject.message
    return found


_LOGIN = re.compile(r"milter: (?:'(?P<one>[^']*)'|\"(?P<two>[^\"]*)\"): ")


def _milter(said: Said, subject: Subject) -> Spoken:
    login = _LOGIN.match(said.text)
    name = (login["one"] or login["two"] or "").lower() if login else ""
    operation = Key("operation", f"milter {said.at}")
    text = said.text.removeprefix("milter: ")
    return Spoken(
        "milter", text, named=name in subject.names, bundles=[operation], people={name}, asks=True
    )


# ---- slapd

_MISSED = re.compile(r"slapd: (\d+ lines were missed)")  # see log-operations; anybody's
_OPERATION = re.compile(r"slapd\[\d+\]: (?P<about>(?P<connection>conn=\d+) op=\d+) (?P<what>.*)")
_DN = re.compile(r' (?:dn|base|id)="([^"]*)"')
_BINDS = re.compile(r'BIND (?:anonymous|dn="(?P<dn>[^"]*)" mech=)|UNBIND')
_PERSON = re.compile(r"uid=([^,]+),")
_FILTER = re.compile(r' filter="(?P<filter>.*)"')
_VALUE = re.compile(r"=([^()*]+)\)")


def _openldap(said: Said, subject: Subject) -> Spoken | None:
    if missed := _MISSED.fullmatch(said.text):
        return Spoken("slapd", missed[1], named=True)
    match = _OPERATION.fullmatch(said.text)
    if match is None:
        return None
    dns = [dn.lower() for dn in _DN.findall(match["what"])]
    binds = _BINDS.match(match["what"])
    asked = _FILTER.search(match["what"])
    people = {_plain(value) for value in _VALUE.findall(asked["filter"])} if asked else set()
    people |= {person[1] for person in map(_PERSON.match, dns) if person}
    operation = Key("operation", f"{said.service} {match['about']}")
    found = Spoken("slapd", match["what"], match["about"], bundles=[operation], people=people)
    found.asks, found.connection = True, f"{said.service} {match['connection']}"
    found.binds = (binds["dn"] or "") if binds else None
    found.named = subject.dn in dns or not subject.names.isdisjoint(people)
    if found.named:
        found.claims.append(operation)
    return found


_SERVICES: Final[Mapping[str, Callable[[Said, Subject], Spoken | None]]] = {
    "postfix": _postfix,
    "dovecot": _dovecot,
    "milter": _milter,
    **dict.fromkeys((PROVIDER, *REPLICAS), _openldap),
}
