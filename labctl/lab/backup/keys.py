"""The secrets in a backup: passwords of the services, people with theirs, and the lab's CA."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from labctl.lab.backup.form import SECRETS, Unfit, an_object
from labctl.lab.people import Person, read_people, write_people
from labctl.lab.state import LabFiles, write_private

PASSWORDS = ("directory-admin", "policy-admin", "postfix", "dovecot")
_PASSWORD = re.compile(r"[!-~]{1,512}")
_LOGIN = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Keys:
    """What only the lab itself knows; the CA and its key as PEM."""

    passwords: Mapping[str, str]
    people: Mapping[str, Person]
    ca: str
    ca_key: str

    @classmethod
    def of(cls, files: LabFiles) -> "Keys":
        """Return those of a lab."""
        return cls(
            {name: (files.secrets / f"{name}.password").read_text().strip() for name in PASSWORDS},
            read_people(files.accounts),
            files.ca.read_text(encoding="ascii"),
            (files.secrets / "ca.key").read_text(encoding="ascii"),
        )

    def to_json(self) -> bytes:
        """Return them as they stand in the backup."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @classmethod
    def read(cls, text: bytes) -> "Keys":
        """Read them; raises Unfit if they are none that a lab could have."""
        data = an_object(text)
        try:
            people = {
                name: Person(**{**row, "aliases": tuple(row["aliases"])})
                for name, row in data.pop("people").items()
            }
            found = cls(**data, people=people)
            found._check()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unfit(f"{SECRETS} does not say what it has to") from error
        return found

    def _check(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        ca = x509.load_pem_x509_certificate(self.ca.encode("ascii"))
        key = load_pem_private_key(self.ca_key.encode("ascii"), None)
        fit = (
            set(self.passwords) == set(PASSWORDS)
            and all(_PASSWORD.fullmatch(each) for each in self.passwords.values())
            and all(_is_person(name, person) for name, person in self.people.items())
            and ca.public_key() == key.public_key()
        )
        if not fit:
            raise ValueError(SECRETS)

    def write(self, files: LabFiles) -> None:
        """Give them to a lab."""
        for name, password in self.passwords.items():
            write_private(files.secrets / f"{name}.password", password)
        write_people(files.accounts, self.people)
        write_private(files.ca, self.ca)
        write_private(files.secrets / "ca.key", self.ca_key)


def _is_person(name: str, person: Person) -> bool:
    texts = (person.address, person.password, person.password_hash, *person.aliases)
    return (
        person.login == name
        and bool(_LOGIN.fullmatch(name))
        and type(person.uid_number) is int
        and type(person.pending) is bool
        and all(isinstance(t, str) and t.isprintable() and len(t) <= _LONGEST for t in texts)
    )
