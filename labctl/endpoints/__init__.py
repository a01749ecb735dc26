"""A mail stack as seen from outside: endpoints, accounts, and the passwords that open them.

`Endpoints` is what `labctl endpoints -o json` prints and `--endpoints FILE` reads; with `Secret`,
`Endpoint` and `Account` it is all that a scenario knows of a stack. How a file is read, with all
that a stack of another make needs to be told, stands in `labctl.endpoints.reading`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from labctl.errors import NoSuchService, UsageError

SCHEMA = "labctl/v1"
Tls = Literal["none", "starttls", "tls"]


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A password: it shows as `***` everywhere but in `reveal()`."""

    value: str

    def reveal(self) -> str:
        """Return the password itself."""
        return self.value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is reached: host, port and how TLS begins."""

    host: str
    port: int
    tls: Tls

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """A name (a DN in the directory) and its password."""

    name: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Account:
    """A person of the directory, as far as a scenario needs to know: how he signs in, his
    primary address, and the secondary addresses he owns.
    """

    name: str
    login: str
    address: str
    password: Secret
    aliases: tuple[str, ...] = ()


STRANGER = "stranger"
PROGRAMS = ("postfix", "dovecot", "policy-admin", "directory-admin", STRANGER)
"""Who may bind to the directory beside the accounts, which have other names."""

Kind = Literal["send_allowed", "status"]
KINDS: tuple[Kind, ...] = ("send_allowed", "status")


@dataclass(frozen=True, slots=True)
class Attributes:
    """The names that the two policy attributes have in this directory ("": it has no such), and in
    `words` what the contract's values are called there, as far as they are called otherwise.
    """

    send_allowed: str = "tnMailSendAllowed"
    status: str = "tnAccountStatus"
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of those that there are."""
        return tuple(filter(None, (self.send_allowed, self.status)))

    def name(self, kind: Kind) -> str:
        """Return what an attribute of the contract is called there, or nothing."""
        return self.send_allowed if kind == "send_allowed" else self.status

    def there(self, value: str) -> str:
        """Return what a value of the contract is called there."""
        return self.words.get(value, value)

    def here(self, value: str | None) -> str | None:
        """Return what the contract calls a value of that directory."""
        for ours, theirs in self.words.items():
            if value is not None and value.casefold() == theirs.casefold():
                return ours
        return value


_WORD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class People:
    """How people sign in, and where their entries are: at a DN, or else found by a filter.

    Each text is a template: `{name}` is what scenarios call the account, `{login}`, `{address}`,
    `{domain}` and `{base_dn}` what they say.
    """

    login: str = "{name}"
    address: str = "{name}@{domain}"
    dn: str = "uid={name},ou=users,{base_dn}"
    base: str = "{base_dn}"
    filter: str = ""


def words_in(template: str) -> list[str]:
    """Return the words in braces that a template holds."""
    return _WORD.findall(template)


def filled(template: str, words: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """Return a template with its words filled in, each of them escaped but the base DN, which is
    one already.
    """

    def fill(match: re.Match[str]) -> str:
        value = words[match[1]]
        return value if match[1] == "base_dn" else escape(value)

    return _WORD.sub(fill, template)


# The services of `endpoints -o json` and how TLS begins on each.
SERVICES: Mapping[str, Tls] = {
    "ldap": "starttls",
    "ldaps": "tls",
    "smtp": "starttls",
    "submission": "starttls",
    "submissions": "tls",
    "imap": "starttls",
    "imaps": "tls",
}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """A mail stack as seen from outside: all that a scenario needs to run against it."""

    lab: str
    slot: int | None
    domain: str
    base_dn: str
    policy: str
    ca_file: Path | None
    services: Mapping[str, Endpoint]
    attributes: Attributes = Attributes()
    people: People = People()
    directory_admin: Login | None = None
    policy_admin: Login | None = None
    service_accounts: Mapping[str, Login] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    file: Path | None = None  # that describes it, if it is no lab of this host
    directory: str = "single"
    max_lag_seconds: int | None = None

    def words(self, name: str) -> dict[str, str]:
        """Return what the words of a template mean for the account called `name`, which may be one
        that only the directory knows.
        """
        words = {"name": name, "domain": self.domain, "base_dn": self.base_dn}
        if account := self.accounts.get(name):
            return {**words, "address": account.address, "login": account.login}
        words["address"] = filled(self.people.address, words)
        return {**words, "login": filled(self.people.login, words)}

    def service(self, name: str) -> Endpoint:
        """Return where a service is reached; raises NoSuchService if the stack has none."""
        try:
            return self.services[name]
        except KeyError:
            raise NoSuchService(f"the stack has no service {name!r}") from None

    def account(self, name: str) -> Account:
        """Return an account; raises UsageError if it is not known here."""
        try:
            return self.accounts[name]
        except KeyError:
            raise UsageError(f"the stack has no account {name!r}") from None

    def to_dict(self, *, secrets: bool) -> dict[str, Any]:
        """Return the JSON object of the documented interface, which describes a lab."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "lab": self.lab,
            "slot": self.slot,
            "domain": self.domain,
            "base_dn": self.base_dn,
            "policy": self.policy,
            "directory": self.directory,
            "max_lag_seconds": self.max_lag_seconds,
            "ca_file": str(self.ca_file) if self.ca_file else None,
            "attributes": {
                "send_allowed": self.attributes.send_allowed,
                "status": self.attributes.status,
            },
        }
        for name, endpoint in self.services.items():
            data[name] = {"host": endpoint.host, "port": endpoint.port}
            if name in {"ldap", "ldaps"}:
                data[name]["uri"] = f"{name}://{endpoint.host}:{endpoint.port}"
        if secrets:
            data |= self._secrets()
        return data

    def _secrets(self) -> dict[str, Any]:
        def dn_login(login: Login | None) -> dict[str, str] | None:
            return {"dn": login.name, "password": login.password.reveal()} if login else None

        return {
            "directory_admin": dn_login(self.directory_admin),
            "policy_admin": dn_login(self.policy_admin),
            "service_accounts": {k: dn_login(v) for k, v in self.service_accounts.items()},
            "accounts": {
                name: {
                    "login": account.login,
                    "address": account.address,
                    "aliases": list(account.aliases),
                    "password": account.password.reveal(),
                }
                for name, account in self.accounts.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Endpoints":
        """Return the endpoints that `to_dict` made `data` from, or that somebody wrote that way.

        Raises InvalidEndpoints naming every key that is missing or has a wrong value.
        """
        from labctl.endpoints.reading import read

        return read(data, "the endpoints", Path.cwd(), {})
