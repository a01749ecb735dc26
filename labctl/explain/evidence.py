"""What the directory answers to the filters of Postfix's LDAP tables, read as Postfix reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from labctl.endpoints import Endpoints
from labctl.errors import LabctlError, LabNotReady
from labctl.explain.model import Prediction
from labctl.explain.tables import LdapSource
from labctl.protocols.directory import Directory
from labctl.protocols.entry import Entry

Scope = Literal["BASE", "LEVEL", "SUBTREE"]
_SCOPES: Mapping[str, Scope] = {"base": "BASE", "one": "LEVEL", "sub": "SUBTREE"}
_ADDRESSES = ("uid", "mail", "mailLocalAddress")


@dataclass(frozen=True, slots=True)
class Found:
    """A filter with its values filled in, empty where none is searched with, and the entries it
    finds; `note` says what kept the directory from answering.
    """

    query: str
    entries: tuple[Entry, ...] = ()
    note: str = ""


Evidence = Mapping[tuple[str, str], Found]
"""By table and key."""


def gather(
    endpoints: Endpoints, prediction: Prediction, sources: Mapping[str, LdapSource], login: str
) -> tuple[Entry | None, Evidence]:
    """Return the entry of `login`, and what each lookup in an LDAP table finds.

    A directory that does not answer is no error here: that is what is to be explained.
    """
    lookups = {(each.table, each.key) for line in prediction.lines for each in line.lookups}
    asked = {question: sources[question[0]] for question in lookups if question[0] in sources}
    try:
        account = endpoints.service_accounts.get("postfix")
        with Directory.open(endpoints, account, emit=lambda _: None) as directory:
            person = directory.read(directory.dn(login))
            return person, {
                (table, key): _search(directory, source, key)
                for (table, key), source in asked.items()
            }
    except LabNotReady as error:
        return None, {
            (table, key): Found(source.filled(key), note=error.what)
            for (table, key), source in asked.items()
        }


def _search(directory: Directory, source: LdapSource, key: str) -> Found:
    if not source.covers(key):
        return Found("", note=f"not searched, domain = {', '.join(source.domains)}")
    query = source.filled(key)
    try:
        entries = directory.search(source.base, query, _SCOPES[source.scope])
    except LabNotReady:
        raise
    except LabctlError as error:
        return Found(query, note=error.what)
    return Found(query, tuple(entries))


def shown(endpoints: Endpoints, entry: Entry) -> dict[str, list[str]]:
    """Return the attributes that matter here; an absent policy attribute is an empty list."""
    policy = (endpoints.attributes.send_allowed, endpoints.attributes.status)
    return {name: list(entry.values.get(name, ())) for name in (*_ADDRESSES, *policy)}
