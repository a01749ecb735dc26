"""From an endpoints file, JSON or TOML, to `Endpoints`, or to all of its errors at once.

Each error is `path: key: what is wrong, what to do`.
"""

import json
import ssl
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from labctl.endpoints import (
    SERVICES,
    Account,
    Attributes,
    Endpoint,
    Endpoints,
    Login,
    People,
    Secret,
    Tls,
    filled,
)
from labctl.endpoints.complaints import complaints
from labctl.endpoints.form import (
    Credential,
    DirectoryLogin,
    Layout,
    PolicyAttributes,
    Service,
    StackFile,
)
from labctl.errors import InvalidEndpoints

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_TLS: Mapping[str, Tls] = {"none": "none", "starttls": "starttls", "implicit": "tls"}


def read_file(path: Path, environ: Mapping[str, str]) -> Endpoints:
    """Read an endpoints file; one that begins with a brace is JSON, any other TOML.

    Passwords come from `environ`, from files (relative to this one), or stand in it. Raises
    InvalidEndpoints when it, or a file that it names, cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
        json_like = text.lstrip().startswith("{")
        data = json.loads(text) if json_like else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidEndpoints(
            [f"{path}: is no endpoints file: {reason}, see docs/any-stack.md"]
        ) from error
    return _Reading(str(path), path.parent, environ, path).endpoints(data)


def read(
    data: Mapping[str, Any], where: str, folder: Path, environ: Mapping[str, str]
) -> Endpoints:
    """Return the endpoints that `data` describes; `where` begins each error, and file names are
    relative to `folder`.
    """
    return _Reading(where, folder, environ).endpoints(data)


@dataclass(slots=True)
class _Reading:
    """One file, and what is wrong with it."""

    where: str
    folder: Path
    environ: Mapping[str, str]
    file: Path | None = None
    problems: list[str] = field(default_factory=list)

    def endpoints(self, data: Mapping[str, Any]) -> Endpoints:
        try:
            form = StackFile.model_validate(data)
        except ValidationError as error:
            self.problems += (f"{self.where}: {text}" for text in complaints(error))
            raise InvalidEndpoints(self.problems) from error
        found = self._made(form)
        if self.problems:
            raise InvalidEndpoints(self.problems)
        return found

    def _problem(self, key: str, text: str) -> None:
        self.problems.append(f"{self.where}: {key}: {text}")

    def _made(self, form: StackFile) -> Endpoints:
        self._refuse_shared_passwords(form)
        people = _people(form.people)
        return Endpoints(
            lab=form.lab,
            slot=form.slot,
            domain=form.domain,
            base_dn=form.base_dn,
            policy=form.policy,
            directory=form.directory,
            max_lag_seconds=form.max_lag_seconds,
            ca_file=self._ca_file(form.ca_file),
            services=_services(form),
            attributes=_attributes(form.attributes),
            people=people,
            directory_admin=self._login("directory_admin", form.directory_admin),
            policy_admin=self._login("policy_admin", form.policy_admin),
            service_accounts={
                name: login
                for name, given in form.service_accounts.items()
                if (login := self._login(f"service_accounts.{name}", given))
            },
            accounts={name: self._account(form, people, name) for name in form.accounts},
            file=self.file,
        )

    def _ca_file(self, given: str | None) -> Path | None:
        if given is None:
            return None
        path = self.folder / Path(given).expanduser()
        try:
            if self.file:
                ssl.create_default_context(cafile=str(path))
        except OSError as error:  # of which ssl.SSLError is one
            reason = error.strerror or str(error)
            self._problem("ca_file", f"{path}: {reason}, name a PEM file or leave it out")
        return path

    def _account(self, form: StackFile, people: People, name: str) -> Account:
        given = form.accounts[name]
        words = {"name": name, "domain": form.domain}
        words["address"] = given.address or filled(people.address, words)
        login = given.login or filled(people.login, words)
        password = self._secret(f"accounts.{name}", given)
        return Account(name, login, words["address"], password, given.aliases)

    def _login(self, key: str, given: DirectoryLogin | None) -> Login | None:
        return Login(given.dn, self._secret(key, given)) if given else None

    def _secret(self, key: str, given: Credential) -> Secret:
        if given.password_env is not None:
            return Secret(self._from_environment(f"{key}.password_env", given.password_env))
        if given.password_file is not None:
            path = self.folder / Path(given.password_file).expanduser()
            return Secret(self._from_file(f"{key}.password_file", path))
        return Secret(given.password or "")

    def _from_environment(self, key: str, variable: str) -> str:
        value = self.environ.get(variable, "")
        if not value:
            self._problem(key, f"the variable {variable} is not set, set it to the password")
        return value

    def _from_file(self, key: str, path: Path) -> str:
        try:
            mode = path.stat().st_mode
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            self._problem(key, f"{path}: {reason}, name a file that holds the password")
            return ""
        if mode & _OTHERS:
            text = f"{path}: others may read it (mode {mode & 0o7777:04o}), run `chmod 600 {path}`"
            self._problem(key, text)
        if not value or "\n" in value:
            self._problem(key, f"{path}: is not one line, write the password alone into it")
        return value

    def _refuse_shared_passwords(self, form: StackFile) -> None:
        """Refuse a file in which passwords stand and that others may read."""
        mode = self.file.stat().st_mode if self.file else 0
        written = next(_literal(form), None)
        if stat.S_ISREG(mode) and mode & _OTHERS and written:
            text = f"others may read this file (mode {mode & 0o7777:04o})"
            self._problem(written, f"{text}, run `chmod 600 {self.where}`")


def _literal(form: StackFile) -> Iterator[str]:
    """Yield the keys of the passwords that stand in the file itself."""
    held: dict[str, Credential | None] = {
        "directory_admin": form.directory_admin,
        "policy_admin": form.policy_admin,
        **{f"service_accounts.{name}": given for name, given in form.service_accounts.items()},
        **{f"accounts.{name}": given for name, given in form.accounts.items()},
    }
    for key, given in held.items():
        if given is not None and given.password is not None:
            yield f"{key}.password"


def _services(form: StackFile) -> dict[str, Endpoint]:
    given: dict[str, Service | None] = {name: getattr(form, name) for name in SERVICES}
    return {
        name: Endpoint(service.host, service.port, _TLS[service.tls] if service.tls else usual)
        for name, usual in SERVICES.items()
        if (service := given[name])
    }


def _people(given: Layout) -> People:
    usual = People()
    return People(
        login=given.login or usual.login,
        address=given.address or usual.address,
        dn="" if given.filter else given.dn or usual.dn,
        base=given.base or usual.base,
        filter=given.filter or usual.filter,
    )


def _attributes(given: PolicyAttributes | None) -> Attributes:
    if given is None:
        return Attributes()
    send, status = given.send_allowed, given.status
    words = {"TRUE": send.allowed, "FALSE": send.blocked} if send else {}
    if status:
        words |= {name: getattr(status, name) for name in ("active", "disabled", "offboarded")}
    return Attributes(
        send.name if send else "",
        status.name if status else "",
        {ours: theirs for ours, theirs in words.items() if ours != theirs},
    )
