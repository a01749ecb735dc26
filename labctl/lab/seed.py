"""Bringing the directory to what the seed says: adding, putting right, and (on reset) removing."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldif import LDIFParser

from labctl.errors import HostProblem
from labctl.lab.people import Person, new_password, password_hash
from labctl.protocols.directory import Directory
from labctl.protocols.entry import Entry
from labctl.settings import Settings

DEFAULTS = ("truenorth.local", "dc=truenorth,dc=local", "tnMailSendAllowed", "tnAccountStatus")


@dataclass(frozen=True, slots=True)
class SeedEntry:
    """A person as the seed has him, or whoever added him; one who is not `required` is left away
    where somebody has deleted him.
    """

    name: str
    dn: str
    values: Mapping[str, tuple[str, ...]]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Converged:
    """How many entries were added, put right and removed."""

    added: int = 0
    corrected: int = 0
    removed: int = 0

    def __str__(self) -> str:
        return f"{self.added} added, {self.corrected} corrected, {self.removed} removed"


def read_seed(path: Path, settings: Settings) -> list[SeedEntry]:
    """Read the seed (LDIF, RFC 2849), with this lab's domain, base and attribute names in place
    of the default ones.

    Raises HostProblem when the file cannot be used.
    """
    names = settings.attributes
    wanted = (settings.domain, settings.base_dn, names.send_allowed, names.status)
    try:
        text = path.read_text(encoding="utf-8")
        for default, own in zip(DEFAULTS, wanted, strict=True):
            text = text.replace(default, own)
        parsed = list(LDIFParser(io.BytesIO(text.encode())).parse())
        return [_entry(str(dn), values) for dn, values in parsed]
    except (OSError, ValueError) as error:
        raise HostProblem(f"the seed {path} cannot be used: {error}") from error


_POLICY_CLASS = "tnPolicyAccount"
_REQUIRED = ("uid", "mail", "uidNumber")


def _entry(dn: str, values: Mapping[str, Sequence[str]]) -> SeedEntry:
    missing = [name for name in _REQUIRED if name not in values]
    if missing:
        raise ValueError(f"{dn} lacks {', '.join(missing)}")
    return SeedEntry(values["uid"][0], dn, {name: tuple(given) for name, given in values.items()})


def entry_of(person: Person, settings: Settings) -> SeedEntry:
    """Return the entry of somebody who was added, and may send."""
    uid, names = str(person.uid_number), settings.attributes
    values = {
        "objectClass": ("inetOrgPerson", "posixAccount", "inetLocalMailRecipient", _POLICY_CLASS),
        "uid": (person.login,),
        "cn": (person.login,),
        "sn": (person.login,),
        "mail": (person.address,),
        "mailLocalAddress": person.aliases,
        "uidNumber": (uid,),
        "gidNumber": (uid,),
        "homeDirectory": (f"/home/{person.login}",),
        names.send_allowed: ("TRUE",),
        names.status: ("active",),
    }
    dn = f"uid={person.login},ou=users,{settings.base_dn}"
    given = {name: value for name, value in values.items() if value}
    return SeedEntry(person.login, dn, given, required=person.pending)


def people_of(seed: Iterable[SeedEntry], known: Mapping[str, Person]) -> dict[str, Person]:
    """Return the people that this host is to know: those known, and those new in the seed, who
    get a password now.
    """
    people = dict(known)
    for entry in seed:
        earlier = known.get(entry.name)
        password = earlier.password if earlier else new_password()
        people[entry.name] = Person(
            login=entry.name,
            address=entry.values["mail"][0],
            aliases=entry.values.get("mailLocalAddress", ()),
            uid_number=int(entry.values["uidNumber"][0]),
            password=password,
            password_hash=earlier.password_hash if earlier else password_hash(password),
        )
    return people


def converge(
    directory: Directory,
    seed: Sequence[SeedEntry],
    people: Mapping[str, Person],
    *,
    reset: bool,
) -> Converged:
    """Make the directory's people what the seed says, and those who were added after it, of whom
    only those come whose addition was cut short.

    An `up` leaves policy attributes and people it does not know as they are, since those may be
    somebody's work; a `reset` puts these back, too, and removes whoever is not in the seed.
    """
    present = {entry.first("uid"): entry for entry in _present(directory, seed, reset=reset)}
    kept = set() if reset else {directory.attributes.send_allowed, directory.attributes.status}
    added = corrected = removed = 0
    for wanted in seed:
        values = {**wanted.values, "userPassword": (people[wanted.name].password_hash,)}
        entry = present.pop(wanted.name, None)
        if entry is None:
            if wanted.required:
                directory.add(wanted.dn, values)
                added += 1
        elif differing := _differing(entry, values, kept, reset=reset):
            directory.replace(entry.dn, differing)
            corrected += 1
    for name, entry in present.items():
        if reset and name:
            directory.delete(entry.dn)
            removed += 1
    return Converged(added, corrected, removed)


def _present(directory: Directory, seed: Sequence[SeedEntry], *, reset: bool) -> list[Entry]:
    """Return who is there: all people for a `reset`, those of the seed for an `up`, which leaves
    the others alone, and there may be a million of them.
    """
    if reset:
        return directory.people()
    return [entry for each in seed if (entry := directory.read(each.dn)) is not None]


def _differing(
    entry: Entry, wanted: Mapping[str, tuple[str, ...]], kept: set[str], *, reset: bool
) -> dict[str, tuple[str, ...]]:
    names = set(wanted) | (set(entry.values) if reset else set())
    return {
        name: wanted.get(name, ())
        for name in sorted(names - kept)
        if set(entry.values.get(name, ())) != set(wanted.get(name, ()))
    }
