"""Addresses as smtpd looks them up: completed, without their extension, part by part."""

import re
from collections.abc import Iterator
from enum import StrEnum

from labctl.errors import UsageError
from labctl.explain.configuration import Configuration

_PLAIN = re.compile(r"[A-Za-z0-9.#$&'*+/=?^_`{|}~-]+(@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)?")
_NEVER_SPLIT = {"postmaster", "mailer-daemon", "double-bounce"}  # split_addr.c

Key = tuple[str, bool]
"""What is looked up, and whether it is a part: tables of patterns are not asked for parts."""


class AddressClass(StrEnum):
    """Postfix's address classes (ADDRESS_CLASS_README)."""

    LOCAL = "local"
    ALIAS = "virtual alias"
    MAILBOX = "virtual mailbox"
    RELAY = "relay"
    DEFAULT = "default"


def checked(address: str) -> str:
    """Return an address whose rewriting explain knows; raises UsageError for other forms."""
    if address and not _PLAIN.fullmatch(address):
        raise UsageError(
            f"explain does not predict what becomes of <{address}>",
            "Use a plain local part, with or without a domain; `labctl send` sends any form.",
        )
    return address


def completed(configuration: Configuration, address: str) -> str:
    """Return an address with the domain that a bare one gets (append_at_myorigin)."""
    if not address or "@" in address:
        return address
    return f"{address}@{configuration.value('myorigin')}"


def without_extension(configuration: Configuration, address: str) -> str | None:
    """Return the address without its extension, or None if it has none."""
    local, _, domain = address.rpartition("@")
    if local.lower() in _NEVER_SPLIT:
        return None
    for delimiter in configuration.value("recipient_delimiter"):
        base, found, _ = local.partition(delimiter)
        if found and base:
            return f"{base}@{domain}"
    return None


def access_keys(configuration: Configuration, address: str) -> Iterator[Key]:
    """Yield what an access table is asked for about an address, in order (access(5))."""
    bare = without_extension(configuration, address)
    domain = address.rpartition("@")[2]
    yield address, False
    if bare:
        yield bare, True
    parents = "smtpd_access_maps" in configuration.items("parent_domain_matches_subdomains")
    yield domain, True
    for dot in re.finditer(r"(?<=.)\.", domain):
        yield domain[dot.end() if parents else dot.start() :], True
    yield address.rpartition("@")[0] + "@", True
    if bare:
        yield bare.rpartition("@")[0] + "@", True


def owner_keys(configuration: Configuration, address: str) -> Iterator[Key]:
    """Yield what address tables are asked for, in order (mail_addr_find(3))."""
    bare = without_extension(configuration, address)
    local, _, domain = address.rpartition("@")
    yield address, False
    if bare:
        yield bare, True
    if domain.lower() == configuration.value("myorigin").lower() or _listed(
        configuration, "mydestination", domain
    ):
        yield local, True
        if bare:
            yield bare.rpartition("@")[0], True
    yield f"@{domain}", True


def class_of(configuration: Configuration, address: str) -> AddressClass:
    """Return the class of an address by the domain lists."""
    domain = address.rpartition("@")[2]
    for parameter, found in (
        ("mydestination", AddressClass.LOCAL),
        ("virtual_alias_domains", AddressClass.ALIAS),
        ("virtual_mailbox_domains", AddressClass.MAILBOX),
        ("relay_domains", AddressClass.RELAY),
    ):
        if _listed(configuration, parameter, domain):
            return found
    return AddressClass.DEFAULT


def _listed(configuration: Configuration, parameter: str, domain: str) -> bool:
    names = configuration.items(parameter)
    for name in names:
        if ":" in name or "/" in name or name.startswith("!"):
            raise UsageError(
                f"explain does not know {name!r} in {parameter}", "It reads plain domains there."
            )
    wanted = domain.lower()
    parents = parameter in configuration.items("parent_domain_matches_subdomains")
    return any(
        wanted == name.lower() or (parents and wanted.endswith(f".{name.lower()}"))
        for name in names
    )
