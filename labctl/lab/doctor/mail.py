"""Looks at what people come with: signing in, mail that does not arrive, mailboxes."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from labctl.endpoints import Account, Login
from labctl.errors import ExpectationFailed, LabctlError, LabNotReady, SignInRefused, UsageError
from labctl.lab.doctor.finding import Finding, warn, well, wrong
from labctl.lab.following import history
from labctl.lab.queue import waiting
from labctl.lab.ready import unheard
from labctl.lab.seed import read_seed
from labctl.lab.spoken import Said, Subject
from labctl.lab.thread import Thread
from labctl.protocols.directory import Directory
from labctl.protocols.imap import ImapConnection
from labctl.protocols.smtp import SmtpConnection
from labctl.protocols.tls import client_context

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

_CLASSES: Final = (
    "mydestination",
    "virtual_alias_domains",
    "virtual_mailbox_domains",
    "relay_domains",
)
_SIGN_IN: Final = ("postfix", "dovecot")  # who log it
_OTHER: Final = "another password than is known here"
_GONE: Final = "there is no such entry"
_RECENT = timedelta(minutes=10)
_LONG = timedelta(seconds=10)  # a lab tries again each second
_REFUSED: Final = re.compile(
    r"SASL \S+ authentication failed: .*, sasl_username=(?P<postfix>[^,]+)$"
    r"|imap-login: .*\(auth failed.*\buser=<(?P<dovecot>[^>]+)>"
)


def domains(lab: "Lab") -> Finding:
    """See that each domain is in one class only (ADDRESS_CLASS_README of Postfix)."""
    text = lab.containers.execute("postfix", ["postconf", "-x", *_CLASSES])
    classes: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" =")
        for domain in re.split(r"[,\s]+", value) if name in _CLASSES else ():  # else it warns
            if domain:
                classes.setdefault(domain.lower(), []).append(name)
    for domain, names in classes.items():
        if len(names) > 1:
            return wrong(
                f"{domain} is in two classes of Postfix's, {' and '.join(names)}",
                f"docker restart {lab.containers.container_name('postfix')}",
            )
    return well(", ".join(f"{domain}: {names[0]}" for domain, names in classes.items()))


def sign_in(lab: "Lab") -> Finding:
    """See people sign in with the passwords that are known here; if not, who refuses, and why."""
    accounts = lab.endpoints().accounts
    for who in accounts.values():
        if cause := directory_refuses(lab, who):
            return wrong(cause, _put_right(lab, who, gone=cause.endswith(_GONE)))
    first = next(iter(accounts.values()), None)
    if first is None:
        return wrong("nobody's password is known here", f"{lab.files.command} up")
    for service, attempt in (("dovecot", _imap), ("postfix", _smtp)):
        began = datetime.now(UTC)
        try:
            attempt(lab, first)
        except LabctlError as error:
            last = _last_line(lab, service, first, began)
            cause = f"the directory takes {first.login}'s password, and {error.what}{last}"
            culprit = service if isinstance(error, LabNotReady) else "dovecot"
            return wrong(cause, f"docker restart {lab.containers.container_name(culprit)}")
    return well(f"{len(accounts)} people in the directory, {first.login} at IMAP and submission")


def _put_right(lab: "Lab", who: Account, *, gone: bool) -> str:
    """Return the command: `up` brings back nobody who was added, and then deleted."""
    seed = read_seed(lab.settings.root / "scenarios" / "seed.ldif", lab.settings)
    if gone and who.login not in {entry.name for entry in seed}:
        return f"{lab.files.command} user remove {who.login}"
    return f"{lab.files.command} up"


def directory_refuses(lab: "Lab", who: Account) -> str:
    """Return why the directory does not take somebody's password; empty if it does."""
    endpoints = lab.endpoints()
    dn = f"uid={who.login},ou=users,{endpoints.base_dn}"
    try:
        Directory.open(endpoints, Login(dn, who.password), emit=unheard).close()
    except SignInRefused:
        return f"the directory refuses {who.login}: {_entry(lab, who.login)}"
    return ""


def _entry(lab: "Lab", login: str) -> str:
    """Return in words what the directory has of somebody."""
    with lab.directory() as opened:
        try:
            entry = opened.person(login)
        except UsageError:
            return _GONE
    what = _OTHER if entry.all("userPassword") else "no password"
    return f"the entry {entry.dn} has {what}"


def _imap(lab: "Lab", who: Account) -> None:
    endpoints = lab.endpoints()
    connection = ImapConnection.open(
        "imaps",
        endpoints.services["imaps"],
        context=client_context(endpoints.ca_file),
        emit=unheard,
    )
    try:
        connection.sign_in(who.login, who.password)
    finally:
        connection.close()


def _smtp(lab: "Lab", who: Account) -> None:
    endpoints = lab.endpoints()
    context = client_context(endpoints.ca_file)
    with SmtpConnection.open(
        "submission", endpoints.services["submission"], context=context, emit=unheard
    ) as connection:
        outcome = connection.sign_in(who.login, who.password)
    if not outcome.reply.ok:
        raise ExpectationFailed(f"submission answers {outcome.reply}")


def _last_line(lab: "Lab", service: str, who: Account, began: datetime) -> str:
    """Return what a server has logged last about somebody since then, as the end of a sentence."""
    thread = Thread(Subject.account(who.login, (who.address,), ""))
    strands = [each for said in history(lab.containers, _SIGN_IN) for each in thread.read(said)]
    ours = [
        each.text
        for each in strands
        if each.service == service and datetime.fromisoformat(each.at) >= began
    ]
    return f"; {service} logged: {ours[-1]}" if ours else ""


def refused(lab: "Lab") -> Finding:
    """See whether somebody was refused lately: by which server, with which words, who it is."""
    since = datetime.now(UTC) - _RECENT
    found = [
        (name, said)
        for said in _since(history(lab.containers, _SIGN_IN), since)
        if (match := _REFUSED.search(said.text))
        and (name := match["postfix"] or match["dovecot"]) != "(unavailable)"
    ]
    if not found:
        return well("none in the last ten minutes")
    name, count = Counter(name for name, _ in found).most_common(1)[0]
    last = next(said for who, said in reversed(found) if who == name)
    entry = _entry(lab, name.partition("@")[0])
    return warn(
        f"{name} was refused {count} times in the last ten minutes, last by {last.service}: "
        f"{_words(last.text)}; {entry.replace(_OTHER, 'a password')}",
        f"{lab.files.command} logs --account {name}",
    )


def _since(lines: Iterable[Said], since: datetime) -> Iterable[Said]:
    return (said for said in lines if datetime.fromisoformat(said.at) >= since)


def _words(text: str) -> str:
    """Return a line of a log without time and host."""
    return re.sub(r"^\w{3} [ \d]\d [\d:]{8} (?:\S+ (?=postfix/))?", "", text)


def queue(lab: "Lab") -> Finding:
    """See whether mail waits, since when, and why."""
    found = waiting(lab.containers)
    if not found:
        return well("empty")
    oldest = found[0]
    age = datetime.now(UTC) - oldest.since
    many = f"{len(found)} messages wait" if len(found) > 1 else "a message waits"
    seen = f"{many}, since {oldest.since:%H:%M:%S} UTC ({oldest.queue_id}): {oldest.why}"
    if oldest.queue == "hold":
        return warn(seen, f"{lab.files.command} queue --release")
    if age < _LONG and not oldest.why.startswith("not"):
        return warn(seen, f"{lab.files.command} queue --flush")
    return wrong(seen, f"{lab.files.command} queue --flush") if age >= _LONG else well(seen)


def mailboxes(lab: "Lab") -> Finding:
    """See Dovecot open every mailbox, and all of its messages in it; everybody known has one."""
    logins = [who.login for who in lab.endpoints().accounts.values()]
    problems = lab.containers.execute("dovecot", ["maildirs", "check", *logins]).splitlines()
    if not problems:
        return well("opened, every message seen")
    doctor = f"{lab.files.command} doctor"
    name, _, what = problems[0].partition("\t")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if what.startswith("missing"):
        return wrong(f"{name}: there is no Maildir{more}", f"{lab.files.command} up")
    if what.startswith("mended: "):
        return warn(f"{name}: Dovecot mended it just now: {what[8:]}{more}", doctor)
    return wrong(f"{name}: {what}{more}", f"{lab.files.command} mailbox reindex {name}")
