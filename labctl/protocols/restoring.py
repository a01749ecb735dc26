"""Taking a change in the directory back, by the entry as it was before."""

from collections.abc import Iterable
from typing import Protocol

from labctl.protocols.dn import pairs, parts
from labctl.protocols.ldif import Add, Delete, Modification, Modify, Record, Rename, Values


class Changeable(Protocol):
    """A directory, as far as it is needed here."""

    def raw(self, dn: str) -> Values | None:
        """Return an entry's attributes, or None if it is not there."""

    def perform(self, record: Record) -> None:
        """Make a change."""


def restore(directory: Changeable, record: Record, before: Values | None) -> None:
    """Make the entry what it was before the change; does nothing where it still is.

    `before` is the entry that `record.dn` named then, None if it named none.
    """
    if isinstance(record, Rename) and before is not None and _renamed(directory, record):
        directory.perform(_back(record))
    now = directory.raw(record.dn)
    if before is None:
        if now is not None:
            directory.perform(Delete(record.dn))
    elif now is None:
        directory.perform(Add(record.dn, before))
    elif differing := _differing(_touched(record, before), before, now):
        directory.perform(Modify(record.dn, differing))


def _renamed(directory: Changeable, record: Rename) -> bool:
    if record.new_dn == record.dn:
        return False
    if record.new_dn.lower() == record.dn.lower():  # another spelling of the same name
        return directory.raw(record.dn) is not None
    return directory.raw(record.dn) is None and directory.raw(record.new_dn) is not None


def _back(record: Rename) -> Rename:
    rdn, *above = parts(record.dn)
    superior = None if record.new_superior is None else ",".join(above)
    return Rename(record.new_dn, rdn, delete_old=True, new_superior=superior)


def _touched(record: Record, before: Values) -> Iterable[str]:
    """Return the attributes that a change may have altered."""
    match record:
        case Modify():
            return {change.attribute for change in record.modifications}
        case Rename():
            names = (*pairs(parts(record.dn)[0]), *pairs(record.new_rdn))
            return {name for name, _ in names}
    return before


def _differing(names: Iterable[str], before: Values, now: Values) -> tuple[Modification, ...]:
    """Return what gives these attributes the values they had, as far as they have others."""
    had = {name.lower(): values for name, values in before.items()}
    has = {name.lower(): values for name, values in now.items()}
    return tuple(
        Modification("replace", name, had.get(name.lower(), ()))
        for name in sorted(names)
        if set(had.get(name.lower(), ())) != set(has.get(name.lower(), ()))
    )
