"""How a scenario names who binds to the directory, entries, attributes; and putting them back."""

from collections.abc import Iterable
from functools import partial
from typing import Literal

from labctl.endpoints import KINDS, PROGRAMS, STRANGER, Endpoints, Login, Secret
from labctl.errors import ExpectationFailed
from labctl.protocols.ldif import Modify, Record, Values
from labctl.scenario.model import Touch
from labctl.scenario.patterns import found
from labctl.scenario.session import Session, Skipped, Undo

NO_RIGHTS = "insufficientAccessRights"  # RFC 4511 §4.1.9
Answer = Literal["allowed", "refused"]


def login_of(session: Session, who: str) -> Login:
    """Return the DN and password of an account, a program, or of a stranger, who has neither."""
    endpoints = session.endpoints
    if who == STRANGER:
        return Login("", Secret(""))
    if who not in PROGRAMS:
        return Login(dn_of(session, who), session.account(who).password)
    admins = {
        "policy-admin": endpoints.policy_admin,
        "directory-admin": endpoints.directory_admin,
    }
    login = {**endpoints.service_accounts, **admins}.get(who)
    if login is None:
        raise Skipped(f"the endpoints have no account {who!r}")
    return login


def is_account(entry: str) -> bool:
    """Say whether an entry is named as an account is, and not by its DN."""
    return "=" not in entry and entry != "BASE"


def dn_of(session: Session, entry: str) -> str:
    """Return the DN of an account, looked for where that takes a filter, or the whole of a DN."""
    if is_account(entry) and session.endpoints.people.filter:
        return session.directory().dn(entry)
    return planned_dn(session.endpoints, entry)


def planned_dn(endpoints: Endpoints, entry: str) -> str:
    """Return the DN of an account, or what will be looked for, or the whole of a DN."""
    if not is_account(entry):
        return whole(endpoints, entry)
    from labctl.protocols.directory import dn_by_template, sought

    if endpoints.people.filter:
        return " below ".join(sought(endpoints, entry))
    return dn_by_template(endpoints, entry)


def whole(endpoints: Endpoints, dn: str) -> str:
    """Return a DN with its last word BASE, if that it is, filled in."""
    return f"{dn.removesuffix('BASE')}{endpoints.base_dn}" if dn.endswith("BASE") else dn


def attribute_of(endpoints: Endpoints, name: str) -> str:
    """Return what an attribute is called there: `send_allowed`, `status`, or the name itself.

    Raises Skipped where the directory has no such policy attribute.
    """
    own = endpoints.attributes
    found = {"send_allowed": own.send_allowed, "status": own.status}.get(name, name)
    if not found:
        raise Skipped(f"the stack has no attribute for {name}")
    return found


def values_there(
    endpoints: Endpoints, name: str, values: Iterable[str | bytes]
) -> tuple[bytes, ...]:
    """Return the values of an attribute as the directory calls them, if it is of the policy."""
    given = (value.encode() if isinstance(value, str) else value for value in values)
    if name not in KINDS:
        return tuple(given)
    return tuple(
        endpoints.attributes.there(value.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )
        for value in given
    )


def touched(endpoints: Endpoints, whose: str, record: Record | None) -> Iterable[Touch]:
    """Return what a change does to an entry of a foreign stack, where it is made there at all."""
    if not isinstance(record, Modify) or _who_restores(endpoints, record) is None:
        return ()
    names = dict.fromkeys(each.attribute for each in record.modifications)
    return [Touch(whose, name) for name in names]


def put_back_later(session: Session, verb: str, record: Record) -> Undo:
    """Let the end of the run take back a change that is about to be made: the entry becomes what
    the directory's administrator, or where only the policy changes the policy-admin, sees now.

    Raises Skipped where the endpoints name nobody who could, and where an entry of a foreign stack
    would come, go or be renamed: what the directory itself keeps of it could not be put back.
    """
    if session.containers is None and not isinstance(record, Modify):
        raise Skipped("entries are added, renamed and deleted in a lab only")
    admin = _who_restores(session.endpoints, record)
    if admin is None:
        raise Skipped("needs directory_admin among the endpoints, to put things back")
    from labctl.protocols.directory import Directory

    with Directory.open(session.endpoints, admin, emit=lambda _: None) as directory:
        before = directory.raw(record.dn)
    if session.journal is not None and isinstance(record, Modify) and before is not None:
        had = {name.lower(): values for name, values in before.items()}
        names = (each.attribute for each in record.modifications)
        session.journal.note(record.dn, {name: had.get(name.lower(), ()) for name in names})
    action = partial(_restore, session, admin, record, before)
    undo = Undo(session.number, verb, f"{record.dn} as before", action)
    session.undos.append(undo)
    return undo


def _who_restores(endpoints: Endpoints, record: Record) -> Login | None:
    if endpoints.directory_admin or not _only_the_policy(endpoints, record):
        return endpoints.directory_admin
    return endpoints.policy_admin


def _only_the_policy(endpoints: Endpoints, record: Record) -> bool:
    own = endpoints.attributes
    policy = {own.send_allowed.lower(), own.status.lower()}
    return (
        isinstance(record, Modify)
        and {each.attribute.lower() for each in record.modifications} <= policy
    )


def _restore(session: Session, admin: Login, record: Record, before: Values | None) -> None:
    from labctl.protocols.directory import Directory
    from labctl.protocols.restoring import restore

    with Directory.open(session.endpoints, admin, emit=session.emit) as directory:
        restore(directory, record, before)


def reason_of(refusal: ExpectationFailed) -> str:
    """Return why the directory refuses, without what."""
    return refusal.what.rpartition(" is refused: ")[2]


def check_answer(session: Session, who: str, expect: Answer, why: str, refusal: str | None) -> None:
    """Hold the directory's answer (None: no refusal) against the expected one; a refusal must fit
    the pattern `why`.
    """
    refused = refusal is not None and found(why, refusal) is not None
    session.check(
        who,
        expected=f"{expect} {why}".strip(),
        seen="allowed" if refusal is None else f"refused: {refusal}",
        ok=refusal is None if expect == "allowed" else refused,
    )
