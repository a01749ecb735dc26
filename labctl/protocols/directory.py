"""LDAP: the directory as one service account sees it, read and changed entry by entry."""

import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, Self

import ldap3
from ldap3.core import exceptions as ldap
from ldap3.protocol.rfc2849 import operation_to_ldif
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import escape_rdn

from labctl.endpoints import Endpoints, Login, People, filled
from labctl.errors import ExpectationFailed, LabctlError, LabNotReady, SignInRefused, UsageError
from labctl.events import Change, Emit
from labctl.protocols import ldif
from labctl.protocols.entry import Entry, Policy, PolicyChange, Values, Via, policy_record
from labctl.protocols.tap import Tap
from labctl.protocols.tls import client_context

TIMEOUT = 10  # seconds, to connect and for each answer

PEOPLE = "(objectClass=tnPolicyAccount)"
ANYTHING = "(objectClass=*)"  # whatever entry it is
_REPLACE = 2  # RFC 4511 §4.6


def dn_by_template(endpoints: Endpoints, name: str) -> str:
    """Return the DN that the endpoints' template gives a person, escaped (RFC 4514 §2.4)."""
    return filled(endpoints.people.dn, endpoints.words(name), _escaped_rdn)


def sought(endpoints: Endpoints, name: str) -> tuple[str, str]:
    """Return the filter that finds a person, escaped (RFC 4515 §3), and the DN to look below."""
    people, words = endpoints.people, endpoints.words(name)
    return filled(people.filter, words, escape_filter_chars), filled(people.base, words)


class Directory:
    """A bound LDAP session. People are called as in the endpoints' accounts, never by a DN."""

    def __init__(self, connection: ldap3.Connection, tap: Tap, endpoints: Endpoints) -> None:
        self._connection = connection
        self._tap = tap
        self.endpoints = endpoints
        self.base_dn = endpoints.base_dn
        self.attributes = endpoints.attributes
        self.answered = 0.0  # when it answered the last change, by time.monotonic()

    @classmethod
    def open(
        cls,
        endpoints: Endpoints,
        login: Login | None,
        *,
        emit: Emit,
        via: Via | None = None,
        seconds: int = TIMEOUT,
    ) -> Self:
        """Bind over TLS, certificate verified. `via` chooses the way (None: LDAPS where there is
        one); a login without a name binds as nobody (RFC 4513 §5.1.1); `seconds` is how long each
        answer may take.

        Raises LabNotReady when the directory does not answer, SignInRefused when it refuses the
        name or password, UsageError when the endpoints name no directory or no such account.
        """
        service = "ldaps" if via in {None, "ldaps"} and "ldaps" in endpoints.services else "ldap"
        endpoint = endpoints.services.get(service)
        if endpoint is None or login is None:
            raise UsageError(
                "the endpoints name no directory and account to change it with",
                "Add ldap or ldaps, and policy_admin, to the endpoints file.",
            )
        tap = Tap(service, emit)
        client_context(endpoints.ca_file)  # says what is wrong with the file; ldap3 just ends
        tls = ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            version=ssl.PROTOCOL_TLS_CLIENT,
            ca_certs_file=str(endpoints.ca_file) if endpoints.ca_file else None,
        )
        server = ldap3.Server(
            endpoint.host,
            port=endpoint.port,
            use_ssl=endpoint.tls == "tls",
            tls=tls,
            get_info=ldap3.NONE,
            connect_timeout=seconds,
        )
        connection = ldap3.Connection(
            server,
            user=login.name or None,
            password=login.password.reveal() or None,
            raise_exceptions=True,
            receive_timeout=seconds,
            return_empty_attributes=False,  # what is not there is not seen
        )
        tap.note(f"binding to {service}://{endpoint} as {login.name or 'nobody'}")
        try:
            connection.open()
            if endpoint.tls == "starttls" and via != "clear":
                connection.start_tls()
            connection.bind()
        except (ldap.LDAPException, OSError) as error:
            if connection.socket is not None:  # ldap3 leaves it open
                connection.socket.close()
            raise _translated(error, f"the directory at {endpoint}") from error
        tap.note("bound")
        return cls(connection, tap, endpoints)

    def emit_to(self, emit: Emit) -> None:
        """Let the tap's events go to `emit` from now on."""
        self._tap.emit = emit

    def dn(self, name: str) -> str:
        """Return the DN of the person called `name`, escaped (RFC 4514 §2.4); where the endpoints
        have a filter in place of a DN it is looked for, as `person` does.
        """
        if self.endpoints.people.filter:
            return self.person(name).dn
        return dn_by_template(self.endpoints, name)

    def people(self) -> list[Entry]:
        """Return all people of a lab, in the order of their names."""
        found = self._search(f"ou=users,{self.base_dn}", PEOPLE, "LEVEL")
        return sorted(found, key=lambda entry: entry.first("uid") or "")

    def person(self, name: str) -> Entry:
        """Return the entry of `name`; raises UsageError if the directory has none, or if several
        fit the endpoints' filter.
        """
        if self.endpoints.people.filter:
            query, base = sought(self.endpoints, name)
            found, where = self._search(base, query, "SUBTREE"), f"{query} below {base}"
        else:
            where = self.dn(name)
            found = [entry] if (entry := self.read(where)) else []
        if len(found) == 1:
            return found[0]
        if found:
            dns = "; ".join(entry.dn for entry in found)
            raise UsageError(
                f"the directory has {len(found)} entries that may be {name!r}: {dns}",
                f"Make people.filter narrower; it asked for {where}.",
            )
        raise UsageError(
            f"the directory has no account {name!r}: nothing is found at {where}",
            "`labctl user list` shows them; with --endpoints, look at `people` in that file.",
        )

    def policy(self, entry: Entry) -> Policy:
        """Return the policy attributes of an entry, in the contract's words."""
        names = self.attributes
        return Policy(
            names.here(entry.first(names.send_allowed)), names.here(entry.first(names.status))
        )

    def set_policy(self, dn: str, change: PolicyChange) -> None:
        """Change policy attributes; raises ExpectationFailed when the directory refuses it,
        UsageError when it has none of these attributes.
        """
        record = policy_record(dn, self.attributes, change)
        if not record.modifications:
            raise UsageError(f"the directory has no attribute for {' and '.join(change)}")
        self.perform(record)

    def values_of(self, change: PolicyChange) -> dict[str, list[str]]:
        """Return a change as attributes and values of this directory, as far as it has them."""
        record = policy_record("", self.attributes, change)
        return {
            each.attribute: [value.decode() for value in each.values]
            for each in record.modifications
        }

    def read(self, dn: str) -> Entry | None:
        """Return the entry with this DN, or None."""
        found = self._search(dn, ANYTHING, "BASE")
        return found[0] if found else None

    def search(
        self, base: str, query: str, scope: Literal["BASE", "LEVEL", "SUBTREE"]
    ) -> list[Entry]:
        """Return what a filter (RFC 4515) finds; raises ExpectationFailed if it is refused."""
        return self._search(base, query, scope)

    def people_with(self, attributes: Sequence[str]) -> list[Entry]:
        """Return all people of a lab, or the accounts that we know of a directory laid out
        otherwise, with these attributes and no others, operational ones among them.
        """
        if self.endpoints.people == People():
            found = self._search(f"ou=users,{self.base_dn}", PEOPLE, "LEVEL", attributes)
        else:
            dns = [self.dn(name) for name in self.endpoints.accounts]
            found = [one for dn in dns for one in self._search(dn, ANYTHING, "BASE", attributes)]
        return sorted(found, key=lambda entry: entry.dn)

    def replace(self, dn: str, values: Values) -> None:
        """Give each attribute exactly these values; an empty sequence removes it.

        Raises ExpectationFailed when the directory refuses the change.
        """
        changes = {name: [(ldap3.MODIFY_REPLACE, list(given))] for name, given in values.items()}
        self._change("modify", dn, changes)

    def add(self, dn: str, values: Values) -> None:
        """Add an entry; raises ExpectationFailed when the directory refuses it."""
        self._change("add", dn, *_classes_and_rest(values))

    def delete(self, dn: str) -> None:
        """Delete an entry; raises ExpectationFailed when the directory refuses it."""
        self._change("delete", dn)

    def raw(self, dn: str) -> ldif.Values | None:
        """Return the values of the entry with this DN as bytes, or None."""
        rows = self._rows(dn, ANYTHING, "BASE")
        return {k: tuple(v) for k, v in rows[0]["raw_attributes"].items()} if rows else None

    def perform(self, record: ldif.Record) -> None:
        """Make a change; raises ExpectationFailed when the directory refuses it."""
        verb, *arguments = _operation(record)
        self._change(verb, record.dn, *arguments)

    def _change(self, verb: str, dn: str, *arguments: object) -> None:
        connection = self._connection
        begun = time.monotonic()
        try:
            getattr(connection, verb)(dn, *arguments)
        except ldap.LDAPException as error:
            raise _translated(error, f"{verb} {dn}") from error
        self.answered = time.monotonic()
        seconds = self.answered - begun
        lines = operation_to_ldif(connection.request["type"], connection.request)
        self._tap.emit(Change(_without_passwords(lines), seconds))

    def _search(
        self,
        base: str,
        query: str,
        scope: Literal["BASE", "LEVEL", "SUBTREE"],
        attributes: Sequence[str] = (),
    ) -> list[Entry]:
        return [
            Entry(row["dn"], {name: _texts(raw) for name, raw in row["raw_attributes"].items()})
            for row in self._rows(base, query, scope, attributes)
        ]

    def _rows(
        self,
        base: str,
        query: str,
        scope: Literal["BASE", "LEVEL", "SUBTREE"],
        attributes: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        connection = self._connection
        asked = ["*", *self.attributes.names]  # an operational attribute comes only when named
        try:
            connection.search(base, query, scope, attributes=list(attributes or asked))
        except ldap.LDAPNoSuchObjectResult:
            return []
        except ldap.LDAPException as error:
            raise _translated(error, f"search {query} below {base}") from error
        return [row for row in connection.response or () if row["type"] == "searchResEntry"]

    def close(self) -> None:
        """Unbind."""
        with suppress(ldap.LDAPException, OSError):
            self._connection.unbind()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def written(record: ldif.Record) -> str:
    """Return the LDIF of a change that is not made, as the transcript has it when it is made."""
    nowhere = ldap3.Server("nowhere", get_info=ldap3.NONE)  # a file is written, nobody is asked
    connection = ldap3.Connection(nowhere, client_strategy=ldap3.LDIF, check_names=False)
    connection.open()
    verb, *arguments = _operation(record)
    getattr(connection, verb)(record.dn, *arguments)
    lines = str(connection.response).splitlines()
    return _without_passwords([line for line in lines if line != "version: 1"])


def _operation(record: ldif.Record) -> tuple[Any, ...]:
    """Return how ldap3 calls a change, and what it wants to know besides the DN."""
    match record:
        case ldif.Add(values=values):
            return ("add", *_classes_and_rest(values))
        case ldif.Delete():
            return ("delete",)
        case ldif.Modify(modifications=modifications):
            return "modify", _by_attribute(modifications)
        case ldif.Rename(_, rdn, delete_old, superior):
            return "modify_dn", rdn, delete_old, superior


def _classes_and_rest(values: Values) -> tuple[list[str | bytes], dict[str, list[str | bytes]]]:
    rest = {name: list(given) for name, given in values.items() if name != "objectClass"}
    return list(values.get("objectClass", ())), rest


def _by_attribute(modifications: Sequence[ldif.Modification]) -> dict[str, list[Any]]:
    """Return modifications as ldap3 takes them: those of an attribute stay in their order."""
    changes: dict[str, list[Any]] = {}
    for each in modifications:
        operation = _OPERATIONS[each.operation]
        changes.setdefault(each.attribute, []).append((operation, list(each.values)))
    return changes


_OPERATIONS = {
    "add": ldap3.MODIFY_ADD,
    "delete": ldap3.MODIFY_DELETE,
    "replace": ldap3.MODIFY_REPLACE,
}


def as_ldif(dn: str, values: Values) -> str:
    """Return the change that gives each attribute exactly these values, as LDIF (RFC 2849)."""
    changes = [
        {"operation": _REPLACE, "attribute": {"type": name, "value": list(given)}}
        for name, given in values.items()
    ]
    request = {"entry": dn, "controls": None, "changes": changes}
    return "\n".join(operation_to_ldif("modifyRequest", request))


def _escaped_rdn(value: str) -> str:
    return escape_rdn(value).replace("\\\0", "\\00") if value else ""


def _texts(raw: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "backslashreplace") for value in raw)


def _without_passwords(lines: Sequence[str]) -> str:
    """Return the lines of an LDIF record, what stands in a password, folded or not, as `***`."""
    shown: list[str] = []
    secret = False
    for line in lines:
        secret = line.lower().startswith("userpassword:") or (secret and line.startswith(" "))
        if not secret:
            shown.append(line)
        elif not line.startswith(" "):
            shown.append("userPassword: ***")
    return "\n".join(shown).strip()


# What ldap3 finds wrong with a DN (RFC 4514) or a filter (RFC 4515) by itself.
_NOT_EVEN_ASKED = (
    ldap.LDAPInvalidDnError,
    ldap.LDAPInvalidFilterError,
    ldap.LDAPInvalidValueError,
)


def _translated(error: Exception, doing: str) -> LabctlError:
    text = " ".join(str(error).split())
    if isinstance(error, _NOT_EVEN_ASKED):
        return UsageError(
            f"{doing} cannot be asked for: {text}", "With --endpoints, mend `people` in that file."
        )
    if isinstance(error, ldap.LDAPInvalidCredentialsResult):
        return SignInRefused(f"{doing} refuses the name or the password")
    if isinstance(error, ldap.LDAPOperationResult):
        why = f" ({error.message})" if error.message else ""
        return ExpectationFailed(f"{doing} is refused: {error.description}{why}")
    return LabNotReady(
        f"{doing} does not answer: {text}",
        "Look at `labctl status`; with --endpoints, at host, port, tls and ca_file in that file.",
    )
