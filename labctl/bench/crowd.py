"""Many accounts, made up: their LDIF, written line by line, and some of them to sign in as."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from labctl.endpoints import Account, Secret
from labctl.lab.people import new_password, password_hash
from labctl.settings import Settings

_FIRST_UID = 100_000
_MAY_NOT = 10  # one in so many may not send
_TOLD = 10_000  # entries, from one word about the progress to the next


@dataclass(frozen=True, slots=True)
class Crowd:
    """Accounts numbered from 0, who all have one password; one in ten may not send."""

    settings: Settings
    password: str
    hash: str

    @classmethod
    def of(cls, settings: Settings) -> "Crowd":
        """Return a crowd with a password of its own."""
        password = new_password()
        return cls(settings, password, password_hash(password))

    def account(self, number: int) -> Account:
        """Return one of them."""
        login = f"u{number:07d}"
        address = f"{login}@{self.settings.domain}"
        return Account(login, login, address, Secret(self.password))

    def senders(self, count: int, among: int) -> list[Account]:
        """Return so many who may send, from all over the first `among`."""
        able = [number for number in range(among) if number % _MAY_NOT]
        return [self.account(able[place * len(able) // count]) for place in range(count)]

    def recipients(self, count: int, among: int) -> list[Account]:
        """Return so many from all over the first `among`, each by an address of its own: Postfix
        remembers a hundred that it resolved (smtpd_resolve.c), and few accounts would profit.
        """
        step = max(among // count, 1)
        accounts = [self.account(place * step % among) for place in range(count)]
        return [
            replace(each, address=each.address.replace("@", f"+{place}@"))
            for place, each in enumerate(accounts)
        ]

    def write(self, path: Path, first: int, end: int, count: Callable[[int, int], None]) -> None:
        """Write the LDIF of those from `first` up to `end`, without that one."""
        with path.open("w", encoding="ascii") as file:
            for number in range(first, end):
                if number % _TOLD == 0:
                    count(number - first, end - first)
                file.writelines(self._lines(number))

    def _lines(self, number: int) -> Iterator[str]:
        names, who = self.settings.attributes, self.account(number)
        allowed = number % _MAY_NOT != 0
        yield f"dn: uid={who.login},ou=users,{self.settings.base_dn}\n"
        for name in ("inetOrgPerson", "posixAccount", "inetLocalMailRecipient", "tnPolicyAccount"):
            yield f"objectClass: {name}\n"
        yield f"uid: {who.login}\ncn: {who.login}\nsn: {who.login}\nmail: {who.address}\n"
        yield f"uidNumber: {_FIRST_UID + number}\ngidNumber: {_FIRST_UID + number}\n"
        yield f"homeDirectory: /home/{who.login}\nuserPassword: {self.hash}\n"
        yield f"{names.send_allowed}: {'TRUE' if allowed else 'FALSE'}\n{names.status}: active\n\n"
