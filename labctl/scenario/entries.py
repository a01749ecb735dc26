"""How a scenario names who binds to the directory, entries, attributes; and putting them back."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from labctl.endpoints import Endpoints, Login, Secret
from labctl.protocols.directory import Directory, Entry
from labctl.scenario.names import PROGRAMS, STRANGER
from labctl.scenario.session import Session, Skipped, Undo


def login_of(session: Session, who: str) -> Login:
    """Return the DN and password of an account, a program, or of a stranger, who has neither."""
    endpoints = session.endpoints
    if who == STRANGER:
        return Login("", Secret(""))
    if who not in PROGRAMS:
        return Login(f"uid={who},ou=users,{endpoints.base_dn}", session.account(who).password)
    login = {**endpoints.service_accounts, "policy-admin": endpoints.policy_admin}.get(who)
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


@dataclass(frozen=True, slots=True)
class _Before:
    """An entry as it was (None: it was not there), and the attributes to put back (None: all)."""

    dn: str
    entry: Entry | None
    names: tuple[str, ...] | None

    def restore(self, admin: Directory) -> None:
        """Make the entry what it was; does nothing where it still is."""
        now = admin.read(self.dn)
        if self.entry is None:
            if now is not None:
                admin.delete(self.dn)
        elif now is None:
            admin.add(self.dn, self.entry.values)
        elif differing := self._differing(self.entry, now):
            admin.replace(self.dn, differing)

    def _differing(self, before: Entry, now: Entry) -> Mapping[str, tuple[str, ...]]:
        names = before.values if self.names is None else self.names
        return {
            name: before.values.get(name, ())
            for name in names
            if set(before.values.get(name, ())) != set(now.values.get(name, ()))
        }


def put_back_later(session: Session, verb: str, dn: str, names: tuple[str, ...] | None) -> Undo:
    """Let the end of the run make an entry what the directory's administrator sees now.

    Raises Skipped where the endpoints name no administrator: then nothing could be put back.
    """
    endpoints = session.endpoints
    if endpoints.directory_admin is None:
        raise Skipped("needs directory_admin among the endpoints, to put things back")
    with Directory.open(endpoints, endpoints.directory_admin, emit=lambda _: None) as admin:
        before = _Before(dn, admin.read(dn), names)
    action = partial(_restore, session, before)
    undo = Undo(session.number, verb, f"{dn} as before", action)
    session.undos.append(undo)
    return undo


def _restore(session: Session, before: _Before) -> None:
    endpoints = session.endpoints
    with Directory.open(endpoints, endpoints.directory_admin, emit=session.emit) as admin:
        before.restore(admin)
