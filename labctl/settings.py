"""What is configured, read once: `.env` and the environment into one frozen `Settings`."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labctl.endpoints import Attributes
from labctl.errors import UsageError

MAX_SLOT = 62  # (2 + 62) * 1000 + 993 is the highest port below 65,536
COMMON_SLOTS = range(30, 59)  # with ports from 32,768 to 60,999 (ip_local_port_range, `ip(7)`)
DEFAULT_SUBNETS = ipaddress.IPv4Network("10.213.0.0/16")
MIN_LAG, MAX_LAG = 3, 3600  # seconds; a provider changes something once a second
_POOL_PREFIX = 22  # 64 subnets of 16 addresses

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")  # RFC 4512 §1.4, keystring
_BASE_DN = re.compile(r"dc=[a-z0-9-]+(?:,dc=[a-z0-9-]+)*")
_LOG_LEVELS = re.compile(r"[A-Za-z0-9]+(?:,[A-Za-z0-9]+)*")  # slapd(8), -d
_RELAYHOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[A-Za-z0-9.:-]+\])(?::[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `.env.example` documents; times in seconds."""

    root: Path
    state: Path
    domain: str = "truenorth.local"
    base_dn: str = "dc=truenorth,dc=local"
    attributes: Attributes = field(default_factory=Attributes)
    policy: str = "hardened"
    policy_absent: str = "permit"
    null_sender: str = "deny"
    milter: str = "on"
    status_free: bool = False
    auth_penalty: str = "on"
    ldap_log: str = "none"
    directory: str = "single"
    max_lag: int | None = None
    relayhost: str = ""
    bind: str = "127.0.0.1"
    slot: int | None = None
    subnets: ipaddress.IPv4Network = DEFAULT_SUBNETS
    compose_extra: Path | None = None
    ready_seconds: float = 60.0
    wait_seconds: float = 10.0


def checked_name(name: str) -> str:
    """Return `name` if it can name a lab; raises UsageError otherwise."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a lab",
            "Use up to 32 lower-case letters, digits and inner hyphens.",
        )
    return name


def load_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """Read `.env` below `root`, then the environment over it.

    Raises UsageError naming the variable whose value cannot be used.
    """
    values = {**dotenv(root), **environ}
    read = _Reader(values)
    return Settings(
        root=root,
        state=root / values.get("LAB_STATE_DIR", ".lab"),
        domain=read.matching("LAB_DOMAIN", "truenorth.local", _DOMAIN),
        base_dn=read.matching("LAB_BASE_DN", "dc=truenorth,dc=local", _BASE_DN),
        attributes=Attributes(
            read.matching("LAB_ATTR_SEND_ALLOWED", "tnMailSendAllowed", _ATTRIBUTE),
            read.matching("LAB_ATTR_STATUS", "tnAccountStatus", _ATTRIBUTE),
        ),
        policy=read.choice("LAB_POLICY", "hardened", "baseline"),
        policy_absent=read.choice("LAB_POLICY_ABSENT", "permit", "deny"),
        null_sender=read.choice("LAB_NULL_SENDER", "deny", "allow"),
        milter=read.choice("LAB_MILTER", "on", "off"),
        status_free=read.choice("LAB_STATUS_FREE", "0", "1") == "1",
        auth_penalty=read.choice("LAB_AUTH_PENALTY", "on", "off"),
        ldap_log=read.matching("LAB_LDAP_LOG", "none", _LOG_LEVELS),
        directory=read.choice("LAB_DIRECTORY", "single", "replicated"),
        max_lag=read.lag("LAB_MAX_LAG_SECONDS"),
        relayhost=read.matching("LAB_RELAYHOST", "", _RELAYHOST),
        bind=read.address("LAB_BIND", "127.0.0.1"),
        slot=read.slot("LAB_SLOT"),
        subnets=read.network("LAB_SUBNETS", str(DEFAULT_SUBNETS)),
        compose_extra=read.file("LAB_COMPOSE_EXTRA", root),
        ready_seconds=read.seconds("LAB_READY_SECONDS", 60.0),
        wait_seconds=read.seconds("LAB_WAIT_SECONDS", 10.0),
    )


def dotenv(root: Path) -> dict[str, str]:
    """Return the variables of `.env` below `root`; raises UsageError if it cannot be read."""
    path = root / ".env"
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path, interpolate=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class _Reader:
    """One method a kind of value; each raises UsageError naming the variable."""

    values: Mapping[str, str]

    def matching(self, name: str, default: str, pattern: re.Pattern[str]) -> str:
        value = self.values.get(name, "") or default
        if value and not pattern.fullmatch(value):
            raise _unusable(name, value, "see .env.example for its form")
        return value

    def choice(self, name: str, default: str, *others: str) -> str:
        value = self.values.get(name, "") or default
        if value not in {default, *others}:
            raise _unusable(name, value, f"use one of {', '.join((default, *others))}")
        return value

    def seconds(self, name: str, default: float) -> float:
        value = self.values.get(name, "") or str(default)
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            raise _unusable(name, value, "use a number of seconds above 0")
        return seconds

    def slot(self, name: str) -> int | None:
        value = self.values.get(name, "")
        if not value:
            return None
        if not (value.isascii() and value.isdigit() and int(value) <= MAX_SLOT):
            raise _unusable(name, value, f"use a whole number from 0 to {MAX_SLOT}")
        return int(value)

    def lag(self, name: str) -> int | None:
        value = self.values.get(name, "")
        if not value:
            return None
        if not (value.isascii() and value.isdigit() and MIN_LAG <= int(value) <= MAX_LAG):
            raise _unusable(name, value, f"use whole seconds from {MIN_LAG} to {MAX_LAG}, or none")
        return int(value)

    def file(self, name: str, root: Path) -> Path | None:
        value = self.values.get(name, "")
        if value and not (root / value).is_file():
            raise _unusable(name, value, "there is no such file")
        return root / value if value else None

    def address(self, name: str, default: str) -> str:
        value = self.values.get(name, "") or default
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError:
            raise _unusable(name, value, "use an IPv4 address of this host") from None

    def network(self, name: str, default: str) -> ipaddress.IPv4Network:
        value = self.values.get(name, "") or default
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError:
            raise _unusable(name, value, f"use a network such as {default}") from None
        if network.prefixlen > _POOL_PREFIX:
            raise _unusable(name, value, f"it must hold {MAX_SLOT + 1} subnets: /22 or larger")
        return network


def _unusable(name: str, value: str, advice: str) -> UsageError:
    return UsageError(f"{name}={value!r} cannot be used: {advice}", "Set it in .env or unset it.")
