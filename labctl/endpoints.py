"""A mail stack as seen from outside: endpoints, accounts, and the passwords that open them.

`Endpoints` is what `labctl endpoints -o json` prints and `--endpoints FILE` reads; with `Secret`,
`Endpoint` and `Account` it is all that a scenario knows of a stack.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from labctl.errors import UsageError

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


@dataclass(frozen=True, slots=True)
class Attributes:
    """The names that the two policy attributes have in this directory."""

    send_allowed: str = "tnMailSendAllowed"
    status: str = "tnAccountStatus"


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
    directory_admin: Login | None = None
    policy_admin: Login | None = None
    service_accounts: Mapping[str, Login] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)

    def service(self, name: str) -> Endpoint:
        """Return where a service is reached; raises UsageError if the stack has none."""
        try:
            return self.services[name]
        except KeyError:
            raise UsageError(f"the stack has no service {name!r}") from None

    def account(self, name: str) -> Account:
        """Return an account; raises UsageError if it is not known here."""
        try:
            return self.accounts[name]
        except KeyError:
            raise UsageError(f"the stack has no account {name!r}") from None

    def to_dict(self, *, secrets: bool) -> dict[str, Any]:
        """Return the JSON object of the documented interface."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "lab": self.lab,
            "slot": self.slot,
            "domain": self.domain,
            "base_dn": self.base_dn,
            "policy": self.policy,
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
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the endpoints that `data` describes.

        Raises UsageError naming the key that is missing or has a wrong value.
        """
        try:
            return cls._read(data)
        except KeyError as error:
            raise UsageError(
                f"the endpoints lack the key {error.args[0]!r}",
                "Compare with `labctl endpoints -o json --secrets`.",
            ) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"the endpoints have a value of a wrong kind: {error}",
                "Compare with `labctl endpoints -o json --secrets`.",
            ) from error

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> Self:
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema is {data['schema']!r}, not {SCHEMA!r}")

        def dn_login(entry: Mapping[str, str] | None) -> Login | None:
            return Login(entry["dn"], Secret(entry["password"])) if entry else None

        services = {
            name: Endpoint(str(data[name]["host"]), int(data[name]["port"]), tls)
            for name, tls in SERVICES.items()
            if name in data
        }
        accounts = {
            name: Account(
                name,
                entry["login"],
                entry["address"],
                Secret(entry["password"]),
                tuple(entry.get("aliases", ())),
            )
            for name, entry in data.get("accounts", {}).items()
        }
        service_accounts = {
            name: Login(entry["dn"], Secret(entry["password"]))
            for name, entry in data.get("service_accounts", {}).items()
        }
        names = data.get("attributes") or {}
        return cls(
            lab=str(data["lab"]),
            slot=data.get("slot"),
            domain=str(data["domain"]),
            base_dn=str(data["base_dn"]),
            policy=str(data.get("policy", "unknown")),
            ca_file=Path(data["ca_file"]) if data.get("ca_file") else None,
            services=services,
            attributes=Attributes(**names),
            directory_admin=dn_login(data.get("directory_admin")),
            policy_admin=dn_login(data.get("policy_admin")),
            service_accounts=service_accounts,
            accounts=accounts,
        )

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read an endpoints file; raises UsageError when it is none."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path} is no endpoints file: {error}",
                "Write one with `labctl endpoints -o json --secrets`.",
            ) from error
        if not isinstance(data, dict):
            raise UsageError(f"{path} is no endpoints file: it is not a JSON object")
        return cls.from_dict(data)
