"""Adding and removing a person: directory, Maildir and password together, or none of them.

Who is added is noted first, as pending, with his password: where that command is killed, the next
about him, or `up`, takes it up. Who is removed is forgotten first.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from labctl.endpoints import PROGRAMS, STRANGER
from labctl.errors import LabctlError, UsageError
from labctl.lab.people import Person, new_password, password_hash, read_people, write_people

if TYPE_CHECKING:
    from labctl.lab.lab import Lab
    from labctl.protocols.directory import Directory

_LOGIN = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_WHO = {STRANGER: "who gives no name to the directory"}
OUTSIDE = "outside"  # has the mail for other domains
FIRST_UID = 3000  # below are the seed's people


def add_person(lab: "Lab", name: str, aliases: Sequence[str]) -> Person:
    """Add somebody who may send; raises UsageError for a name or address that cannot be used,
    ExpectationFailed when the directory refuses the entry.
    """
    if not _LOGIN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an account",
            "Use up to 32 lower-case letters, digits, dots, hyphens; a letter first.",
        )
    if name in PROGRAMS:
        raise UsageError(
            f"{name!r} cannot be an account: scenarios call {_WHO.get(name, 'a program')} so",
            "Choose another name.",
        )
    for alias in aliases:
        if not _ADDRESS.fullmatch(alias) or not alias.endswith(f"@{lab.settings.domain}"):
            raise UsageError(f"{alias!r} is no address at {lab.settings.domain}")
    with lab.files.locked(f"labctl user add {name}"), lab.directory() as directory:
        if _has(directory, name):
            raise UsageError(
                f"there is already an account {name!r}",
                f"See `labctl user list`; `labctl user remove {name}` removes it.",
            )
        known = read_people(lab.files.accounts)
        person = _new(lab, name, aliases, known)
        try:
            write_people(lab.files.accounts, {**known, name: replace(person, pending=True)})
            lab.remove_maildirs(name)  # of one who was here before
            lab.make_maildirs({name: person})
            _add(directory, person, lab)
        except LabctlError:
            _forget(lab, name)
            with suppress(LabctlError):
                lab.remove_maildirs(name)
            raise
        write_people(lab.files.accounts, {**known, name: person})
    return person


def remove_person(lab: "Lab", name: str) -> None:
    """Remove somebody; raises UsageError if the directory has nobody of that name, and for
    `outside`, without whom mail for other domains would bounce.
    """
    if name == OUTSIDE:
        raise UsageError(
            f"{OUTSIDE} stays: Postfix delivers to it what is addressed to other domains",
            f"`labctl inbox {OUTSIDE}` shows that mail, `labctl reset` removes it.",
        )
    with lab.files.locked(f"labctl user remove {name}"), lab.directory() as directory:
        known = _forget(lab, name)
        if _has(directory, name) or not known:
            directory.delete(directory.person(name).dn)
        lab.remove_maildirs(name)


def _has(directory: "Directory", name: str) -> bool:
    return directory.read(directory.dn(name)) is not None


def _add(directory: "Directory", person: Person, lab: "Lab") -> None:
    from labctl.lab.seed import entry_of

    entry = entry_of(person, lab.settings)
    directory.add(entry.dn, {**entry.values, "userPassword": (person.password_hash,)})


def _forget(lab: "Lab", name: str) -> bool:
    """Forget somebody's password; says whether it was known."""
    known = read_people(lab.files.accounts)
    write_people(lab.files.accounts, {key: who for key, who in known.items() if key != name})
    return name in known


def _new(lab: "Lab", name: str, aliases: Sequence[str], known: dict[str, Person]) -> Person:
    password = new_password()
    return Person(
        login=name,
        address=f"{name}@{lab.settings.domain}",
        aliases=tuple(aliases),
        uid_number=max([FIRST_UID - 1, *(who.uid_number for who in known.values())]) + 1,
        password=password,
        password_hash=password_hash(password),
    )
