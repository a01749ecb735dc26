"""What the directory says: the addresses that a login owns, asked anew for each message.

The C part of python-ldap alone: its Python part brings an ASN.1 library of 15 MB for controls
that nobody uses here.
"""

import os
from _thread import allocate_lock

import _ldap

SECONDS = 4
CA = "/run/milter/ca.pem"
ADDRESSES = ("mail", "mailLocalAddress")
_OPTIONS = (
    (_ldap.OPT_PROTOCOL_VERSION, 3),
    (_ldap.OPT_REFERRALS, 0),
    (_ldap.OPT_NETWORK_TIMEOUT, SECONDS),
    (_ldap.OPT_TIMEOUT, SECONDS),
    (_ldap.OPT_X_TLS_CACERTFILE, CA),
    (_ldap.OPT_X_TLS_REQUIRE_CERT, _ldap.OPT_X_TLS_DEMAND),
    (_ldap.OPT_X_TLS_NEWCTX, 0),  # last: makes the ones before hold
)
_SPECIAL = str.maketrans({letter: f"\\{ord(letter):02x}" for letter in "\\*()\0"})  # RFC 4515 §3


class Away(Exception):
    """The directory cannot be asked, or does not show the account."""


class Directory:
    """The directory, by one connection that is made when it is needed and made anew when lost."""

    def __init__(self, hosts: str, base: str, password: str) -> None:
        """Ask these hosts, each where the ones before it take no connection."""
        self._uri = " ".join(f"ldap://{host}:389" for host in hosts.split())
        self._base = f"ou=users,{base}"
        self._login = (f"cn=postfix,ou=services,{base}", password)
        self._connection = None
        self._lock = allocate_lock()

    def addresses_of(self, login: str) -> frozenset[str]:
        """Return the addresses of the person who signs in so, in lower case.

        Raises Away unless the directory shows exactly one such account.
        """
        entries = self._answers(f"(uid={login.translate(_SPECIAL)})")
        if len(entries) != 1:
            raise Away(f"{self._uri} shows {len(entries)} accounts of the login {login!r}")
        return frozenset(_values(entries[0][1]))

    def is_somebodys(self, address: str) -> bool:
        """Say whether anybody owns exactly this address. Raises Away if it cannot be asked."""
        value = address.translate(_SPECIAL)
        return bool(self._answers(f"(|(mail={value})(mailLocalAddress={value}))"))

    def _answers(self, condition: str) -> list:
        with self._lock:
            try:
                return self._asked(f"(&(objectClass=posixAccount){condition})")
            except _ldap.LDAPError as error:
                self._connection = None
                raise Away(f"{self._uri}: {error!r}") from error

    def _asked(self, query: str) -> list:
        if self._connection is not None:
            try:
                return self._search(query)
            except _ldap.SERVER_DOWN:  # restarted meanwhile
                self._connection = None
        self._connection = self._connect()
        return self._search(query)

    def _connect(self):
        connection = _ldap.initialize(self._uri)
        for option, value in _OPTIONS:
            connection.set_option(option, value)
        connection.start_tls_s()
        connection.result4(connection.simple_bind(*self._login), 1, SECONDS)
        return connection

    def _search(self, query: str) -> list:
        asked = self._connection.search_ext(
            self._base, _ldap.SCOPE_ONELEVEL, query, list(ADDRESSES), 0, None, None, SECONDS, 2
        )
        entries = self._connection.result4(asked, 1, SECONDS)[1]
        return [entry for entry in entries if entry[0] is not None]  # None: a referral


def _values(attributes: dict[str, list[bytes]]) -> list[str]:
    wanted = {name.lower() for name in ADDRESSES}
    found = [value for name in attributes if name.lower() in wanted for value in attributes[name]]
    return [value.decode("ascii").lower() for value in found if value.isascii()]


def from_environment(password: str) -> Directory:
    """Return the directory that the image's settings name."""
    return Directory(os.environ["LAB_LDAP_HOST"], os.environ["LAB_BASE_DN"], password)
