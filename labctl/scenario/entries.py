"""How a scenario names who binds to the directory, entries, attributes; and putting them back."""

import re
from functools import partial
from typing import Literal

from labctl.endpoints import Endpoints, Login, Secret
from labctl.errors import ExpectationFailed
from labctl.protocols.directory import Directory
from labctl.protocols.ldif import Modify, Record, Values
from labctl.protocols.restoring import restore
from labctl.scenario.names import PROGRAMS, STRANGER
from labctl.scenario.session import Session, Skipped, Undo

NO_RIGHTS = "insufficientAccessRights"  # RFC 4511 §4.1.9
Answer = Literal["allowed", "refused"]


def login_of(session: Session, who: str) -> Login:
    """Return the DN and password of an account, a program, or of a stranger, who has neither."""
    endpoints = session.endpoints
    if who == STRANGER:
        return Login("", Secret(""))
    if who not in PROGRAMS:
        return Login(f"uid={who},ou=users,{endpoints.base_dn}", session.account(who).password)
    admins = {
        "policy-admin": endpoints.policy_admin,
        "directory-admin": endpoints.directory_admin,
    }
    login = {**endpoints.service_accounts, **admins}.get(who)
    if login is None:
        raise Skipped(f"the endpoints have no account {who!r}")
    return login


def dn_of(endpoints: Endpoints, entry: str) -> str:
    """Return the DN of an account, or the DN as it stands, its last word BASE filled in."""
    base = endpoints.base_dn
    if "=" not in entry and entry != "BASE":
        return f"uid={entry},ou=users,{base}"
    return f"{entry.removesuffix('BASE')}{base}" if entry.endswith("BASE") else entry


def attribute_of(endpoints: Endpoints, name: str) -> str:
    """Return what an attribute is called there: `send_allowed`, `status`, or the name itself."""
    own = endpoints.attributes
    return {"send_allowed": own.send_allowed, "status": own.status}.get(name, name)


def put_back_later(session: Session, verb: str, record: Record) -> Undo:
    """Let the end of the run take back a change that is about to be made: the entry becomes what
    the directory's administrator, or where only the policy changes the policy-admin, sees now.

    Raises Skipped where the endpoints name nobody who could.
    """
    endpoints = session.endpoints
    admin = endpoints.directory_admin or (
        endpoints.policy_admin if _only_the_policy(endpoints, record) else None
    )
    if admin is None:
        raise Skipped("needs directory_admin among the endpoints, to put things back")
    with Directory.open(endpoints, admin, emit=lambda _: None) as directory:
        before = directory.raw(record.dn)
    action = partial(_restore, session, admin, record, before)
    undo = Undo(session.number, verb, f"{record.dn} as before", action)
    session.undos.append(undo)
    return undo


def _only_the_policy(endpoints: Endpoints, record: Record) -> bool:
    own = endpoints.attributes
    policy = {own.send_allowed.lower(), own.status.lower()}
    return (
        isinstance(record, Modify)
        and {each.attribute.lower() for each in record.modifications} <= policy
    )


def _restore(session: Session, admin: Login, record: Record, before: Values | None) -> None:
    with Directory.open(session.endpoints, admin, emit=session.emit) as directory:
        restore(directory, record, before)


def reason_of(refusal: ExpectationFailed) -> str:
    """Return why the directory refuses, without what."""
    return refusal.what.rpartition(" is refused: ")[2]


def check_answer(session: Session, who: str, expect: Answer, why: str, refusal: str | None) -> None:
    """Hold the directory's answer (None: no refusal) against the expected one; a refusal must fit
    the pattern `why`.
    """
    refused = refusal is not None and re.search(why, refusal) is not None
    session.check(
        who,
        expected=f"{expect} {why}".strip(),
        seen="allowed" if refusal is None else f"refused: {refusal}",
        ok=refusal is None if expect == "allowed" else refused,
    )
