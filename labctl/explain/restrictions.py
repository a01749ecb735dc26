"""The restrictions that explain knows, each as smtpd_check.c asks it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from labctl.errors import UsageError
from labctl.explain.access import SERVER_ERROR, meaning, refused
from labctl.explain.addresses import AddressClass, access_keys, class_of, completed
from labctl.explain.configuration import Configuration
from labctl.explain.model import Said, Transaction, Verdict
from labctl.explain.recipients import find, unlisted_recipient
from labctl.explain.tables import LookupFailedError, Recorder, is_pattern
from labctl.protocols.smtp import Reply


@dataclass(frozen=True, slots=True)
class Restriction:
    """One item of a list, with the table that it names if it takes one; one that `warns` stands
    behind `warn_if_reject`.
    """

    name: str
    table: str = ""
    warns: bool = False

    def __str__(self) -> str:
        return f"{_WARN if self.warns else ''} {self.name} {self.table}".strip()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a restriction is asked about, and where its lookups go; `what` is smtpd's word for
    the thing that the list judges.
    """

    configuration: Configuration
    transaction: Transaction
    recorder: Recorder
    what: str

    @property
    def sasl(self) -> bool:
        """Say whether the service offers AUTH at all."""
        return self.configuration.yes("smtpd_sasl_auth_enable")

    @property
    def login(self) -> str | None:
        """Who signed in."""
        return self.transaction.login if self.sasl else None


def parse_restrictions(parameter: str, items: Sequence[str]) -> tuple[Restriction, ...]:
    """Read a list; raises UsageError naming the first restriction that explain does not know."""
    return tuple(_restrictions(parameter, iter(items)))


def _restrictions(parameter: str, items: Iterator[str]) -> Iterator[Restriction]:
    warns = False
    for item in items:
        name = item.lower()
        if name == _WARN:  # at a list's end it is for nothing
            warns = True
            continue
        if name in _WITH_TABLE:
            yield Restriction(name, next(items, ""), warns)
        elif name in _KNOWN:
            yield Restriction(name, warns=warns)
        else:
            raise UsageError(
                f"explain does not know the restriction {item!r} in {parameter}",
                f"It knows {', '.join(sorted((*_KNOWN, *_WITH_TABLE, _WARN)))}.",
            )
        warns = False


def ask(restriction: Restriction, asked: Asked) -> Said:
    """Return what a restriction says. A table that cannot be asked refuses for now, which is never
    only warned of, but for an access table, whose failure is a reply as any other.
    """
    try:
        said = _said(restriction, asked)
    except LookupFailedError as error:
        reply = Reply(451, "4.3.0", "Temporary lookup failure")
        return Said(Verdict.REFUSES, str(error), reply)
    if restriction.warns and said.verdict is Verdict.REFUSES:
        return replace(said, verdict=Verdict.WARNS)
    return said


def _said(restriction: Restriction, asked: Asked) -> Said:
    if restriction.table:
        return _WITH_TABLE[restriction.name](asked, restriction.table)
    return _KNOWN[restriction.name](asked)


def _access(asked: Asked, table: str, key: str, what: str) -> Said | None:
    try:
        value = asked.recorder.ask(table, key)
    except LookupFailedError:
        value = SERVER_ERROR
    return None if value is None else meaning(asked.configuration, value, what)


def _check_sasl_access(asked: Asked, table: str) -> Said:
    if not asked.login:
        return Said(Verdict.SILENT, "nobody signed in")
    return _access(asked, table, asked.login, "SASL login name") or _no_match()


def _check_sender_access(asked: Asked, table: str) -> Said:
    sender = asked.transaction.sender
    if not sender:
        null = asked.configuration.value("smtpd_null_access_lookup_key")
        return _access(asked, table, null, "Sender address") or _no_match()
    return _check_address_access(asked, table, sender, "Sender address")


def _check_recipient_access(asked: Asked, table: str) -> Said:
    return _check_address_access(asked, table, asked.transaction.recipient, "Recipient address")


def _check_address_access(asked: Asked, table: str, address: str, what: str) -> Said:
    whole = completed(asked.configuration, address)
    for key, partial in access_keys(asked.configuration, whole):
        if partial and is_pattern(table):
            continue
        said = _access(asked, table, key, what)
        if said is not None:
            return said
    return _no_match()


def _no_match() -> Said:
    return Said(Verdict.SILENT, "no match")


def _permit_sasl_authenticated(asked: Asked) -> Said:
    if asked.login:
        return Said(Verdict.PERMITS, f"{asked.login} signed in")
    return Said(Verdict.SILENT, "nobody signed in")


def _reject(asked: Asked) -> Said:
    return refused(asked.configuration.number("reject_code"), "", asked.what, "without exception")


def _reject_unauth_destination(asked: Asked) -> Said:
    address = completed(asked.configuration, asked.transaction.recipient)
    found = class_of(asked.configuration, address)
    if found is not AddressClass.DEFAULT:
        return Said(Verdict.SILENT, f"{found} domain")
    code = asked.configuration.number("relay_domains_reject_code")
    return Said(Verdict.REFUSES, "no domain of ours", Reply(code, "5.7.1", "Relay access denied"))


def _reject_unauth_pipelining(_: Asked) -> Said:
    return Said(Verdict.SILENT, "taken for granted: the client waits for each reply")


def _reject_sender_login_mismatch(asked: Asked) -> Said:
    sender = asked.transaction.sender
    if not asked.sasl:
        return Said(Verdict.SILENT, "ignored: the service offers no AUTH")
    if not sender:
        return Said(Verdict.SILENT, "ignored: the null sender")
    address = completed(asked.configuration, sender)
    owners = find(asked.configuration, asked.recorder, "smtpd_sender_login_maps", address)
    if asked.login is None:
        return _not_signed_in(owners)
    names = (owners or "").replace(",", " ").lower().split()
    if asked.login.lower() in names:
        return Said(Verdict.SILENT, f"owned by {owners}")
    worded = f"Sender address rejected: not owned by user {asked.login}"
    why = f"owned by {owners or 'nobody'}"
    return Said(Verdict.REFUSES, why, Reply(553, "5.7.1", worded))


def _not_signed_in(owners: str | None) -> Said:
    if owners is None:
        return Said(Verdict.SILENT, "owned by nobody")
    reply = Reply(553, "5.7.1", "Sender address rejected: not logged in")
    return Said(Verdict.REFUSES, f"owned by {owners}", reply)


def _reject_unlisted_recipient(asked: Asked) -> Said:
    return unlisted_recipient(asked.configuration, asked.recorder, asked.transaction.recipient)


_WARN = "warn_if_reject"
_WITH_TABLE: Mapping[str, Callable[[Asked, str], Said]] = {
    "check_sasl_access": _check_sasl_access,
    "check_sender_access": _check_sender_access,
    "check_recipient_access": _check_recipient_access,
}
UNLISTED = Restriction("reject_unlisted_recipient")
_KNOWN: Mapping[str, Callable[[Asked], Said]] = {
    "permit_sasl_authenticated": _permit_sasl_authenticated,
    "permit": lambda _: Said(Verdict.PERMITS, "without exception"),
    "reject": _reject,
    "reject_unauth_destination": _reject_unauth_destination,
    "reject_unauth_pipelining": _reject_unauth_pipelining,
    "reject_sender_login_mismatch": _reject_sender_login_mismatch,
    UNLISTED.name: _reject_unlisted_recipient,
}
