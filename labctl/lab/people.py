"""The people of a lab as this host knows them: names, addresses, passwords and their hashes."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labctl.endpoints import Account, Secret
from labctl.errors import HostProblem
from labctl.lab.state import write_private


@dataclass(frozen=True, slots=True)
class Person:
    """One of them; `password_hash` is what the directory holds as userPassword. Whose addition has
    not ended is `pending`.
    """

    login: str
    address: str
    aliases: tuple[str, ...]
    uid_number: int
    password: str
    password_hash: str
    pending: bool = False

    def account(self) -> Account:
        """Return what a scenario needs to know."""
        return Account(self.login, self.login, self.address, Secret(self.password), self.aliases)


def new_password() -> str:
    """Return 144 random bits, in characters that need no quoting anywhere."""
    return secrets.token_urlsafe(18)


def password_hash(password: str) -> str:
    """Return `{ARGON2}` with an Argon2id hash (RFC 9106), as slapd's argon2 module checks it.

    The memory is 4 MiB and one pass: the passwords are random, and a lab signs in often.
    """
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    kdf = Argon2id(salt=os.urandom(16), length=32, iterations=1, lanes=1, memory_cost=4096)
    return "{ARGON2}" + kdf.derive_phc_encoded(password.encode())


def read_people(path: Path) -> dict[str, Person]:
    """Return the people by name; none before the lab first came up. Raises HostProblem where the
    file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {name: _person(row) for name, row in rows.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HostProblem(
            f"{path}, who is in the lab and with which password, cannot be read: {error}",
            f"`rm {path} && labctl -n {path.parent.parent.name} up` gives everybody of the seed a "
            "new password.",
        ) from error


def _person(row: Mapping[str, Any]) -> Person:
    return Person(**{**row, "aliases": tuple(row["aliases"])})


def write_people(path: Path, people: Mapping[str, Person]) -> None:
    """Keep the people, readable by their owner alone."""
    rows = {name: asdict(person) for name, person in people.items()}
    write_private(path, json.dumps(rows, indent=1) + "\n")
