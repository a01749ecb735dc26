"""What an endpoints file may hold, key by key; docs/any-stack.md says what each one means.

Every error's text says what is wrong and, after a comma, what to do.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from labctl.endpoints import words_in


class Strict(BaseModel):
    """Base of all parts: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _fitting(pattern: str, otherwise: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} {otherwise}")
        return value

    return AfterValidator(check)


def _template(*known: str) -> AfterValidator:
    def check(value: str) -> str:
        for word in words_in(value):
            if word not in known:
                words = ", ".join(f"{{{each}}}" for each in known)
                raise ValueError(f"{{{word}}} means nothing here, use {words}")
        return value

    return AfterValidator(check)


_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
_ATTRIBUTE = r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+"  # RFC 4512 §1.4: descr, numericoid

Text = Annotated[str, _fitting(r"[^\r\n]+", "is not one line of text, write one")]
Domain = Annotated[str, _fitting(r"[^\s@]+", "is no domain, write one such as example.org")]
Address = Annotated[
    str, _fitting(r"[^\s@<>]+@[^\s@<>]+", "is no address, write one such as alice@example.org")
]
Name = Annotated[
    str, _fitting(_NAME, "cannot name an account, use lower-case letters, digits, dots, hyphens")
]
Attribute = Annotated[
    str, _fitting(_ATTRIBUTE, "is no attribute's name, write it as the directory's schema does")
]
Variable = Annotated[
    str, _fitting(r"[A-Za-z_][A-Za-z0-9_]*", "is no variable's name, write one such as ALICE_PW")
]


def _one_line(password: str) -> str:
    if not password or set(password) & set("\r\n"):
        raise ValueError("is not one line of text, write one")
    return password


def _closed(query: str) -> str:
    depth, ends = 0, []  # an escaped bracket is written otherwise: RFC 4515 §3
    for place, character in enumerate(query):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            ends.append(place)
    if ends != [len(query) - 1]:
        raise ValueError(f"{query!r} is no filter (RFC 4515), its brackets do not match")
    return query


Password = Annotated[str, AfterValidator(_one_line)]  # its errors do not repeat it
Lookup = Annotated[Text, _template("name", "login", "address", "domain", "base_dn")]
Dn = Annotated[Lookup, _fitting(r".+=.+", "is no DN, write one such as uid={name},{base_dn}")]
Filter = Annotated[
    Lookup,
    _fitting(r"\(.+\)", "is no filter (RFC 4515), write one such as (mail={address})"),
    AfterValidator(_closed),
]


class Service(Strict):
    """Where a service is reached. `uri` says the same, for those who read the file otherwise."""

    host: Text
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: Literal["none", "starttls", "implicit"] | None = None
    uri: str | None = None


class Credential(Strict):
    """A password, in one of three places."""

    password: Password | None = None
    password_env: Variable | None = None
    password_file: Text | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = (self.password, self.password_env, self.password_file)
        if sum(place is not None for place in given) != 1:
            said = "no password" if given == (None, None, None) else "several passwords"
            raise ValueError(f"{said}, give one of password_env, password_file and password")
        return self


class DirectoryLogin(Credential):
    """Who binds to the directory."""

    dn: Text


class Person(Credential):
    """An account; what is left out of login and address follows `people`."""

    login: Text | None = None
    address: Address | None = None
    aliases: tuple[Address, ...] = Field(default=(), strict=False)


class SendAllowed(Strict):
    """The attribute that says whether an account may send, and its two values."""

    name: Attribute
    allowed: Text = "TRUE"
    blocked: Text = "FALSE"

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.allowed.casefold() == self.blocked.casefold():
            raise ValueError("allowed and blocked are the same value, give each its own")
        return self


class Status(Strict):
    """The attribute that says where in its life an account is, and its values."""

    name: Attribute
    active: Text = "active"
    disabled: Text = "disabled"
    offboarded: Text = "offboarded"

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.active.casefold() in {self.disabled.casefold(), self.offboarded.casefold()}:
            raise ValueError("active is also the value of another state, give it its own")
        return self


_named = BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)


class PolicyAttributes(Strict):
    """The policy attributes that the directory has."""

    send_allowed: Annotated[SendAllowed, _named] | None = None
    status: Annotated[Status, _named] | None = None

    @model_validator(mode="after")
    def _any(self) -> Self:
        names = [each.name.lower() for each in (self.send_allowed, self.status) if each]
        if not names:
            raise ValueError("there is none, name send_allowed, status or both")
        if len(set(names)) != len(names):
            raise ValueError("send_allowed and status are the same one, leave one of them out")
        return self


class Layout(Strict):
    """How people sign in, and how their entries are found."""

    login: Annotated[Text, _template("name", "address", "domain")] | None = None
    address: Annotated[Text, _template("name", "domain")] | None = None
    dn: Dn | None = None
    base: Annotated[Text, _template("domain", "base_dn")] | None = None
    filter: Filter | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.dn and (self.filter or self.base):
            raise ValueError("dn stands beside filter or base, give one way to find an entry")
        if self.base and not self.filter:
            raise ValueError("base stands without filter, give both or neither")
        return self


class StackFile(Strict):
    """The whole file."""

    schema_: Literal["labctl/v1"] = Field(alias="schema")
    lab: Text
    domain: Domain
    base_dn: Text
    slot: int | None = None
    policy: Literal["baseline", "hardened", "unknown"] = "unknown"
    directory: Literal["single", "replicated"] = "single"
    max_lag_seconds: int | None = None
    ca_file: Text | None = None
    attributes: PolicyAttributes | None = None
    people: Layout = Layout()
    ldap: Service | None = None
    ldaps: Service | None = None
    smtp: Service | None = None
    submission: Service | None = None
    submissions: Service | None = None
    imap: Service | None = None
    imaps: Service | None = None
    directory_admin: DirectoryLogin | None = None
    policy_admin: DirectoryLogin | None = None
    service_accounts: Mapping[str, DirectoryLogin] = {}
    accounts: Mapping[Name, Person] = {}
