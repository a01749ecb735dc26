"""The directory's entries in a backup: LDIF (RFC 2849) as slapcat writes and slapadd reads it."""

import base64
import binascii
import re

from labctl.lab.backup.form import DIRECTORY, Unfit

# Neither `include:`, which is slapadd's own, nor `attribute:<`: both read files.
_LINE = re.compile(rb"(?P<name>[A-Za-z][A-Za-z0-9.;-]*):(?P<encoded>:?) ?(?P<value>[^<].*|)")


def count_people(ldif: bytes, base_dn: str) -> int:
    """Return how many entries are below `ou=users`.

    Raises Unfit for what slapcat would not have written: entries that are not below the base, and
    lines that have slapadd read a file.
    """
    people = 0
    lines = ldif.replace(b"\r\n", b"\n").replace(b"\n ", b"").split(b"\n")
    fresh = True
    for number, line in enumerate(lines, 1):
        if not line:
            fresh = True
            continue
        match = _LINE.fullmatch(line)
        if match is None or match["name"].lower() in {b"include", b"changetype"}:
            raise Unfit(f"{DIRECTORY}: line {number}, folds not counted, is no value of an entry")
        if (match["name"].lower() == b"dn") is not fresh:
            raise Unfit(f"{DIRECTORY}: line {number}: an entry begins with its DN")
        if fresh:
            people += _is_person(_value(match, number), base_dn, number)
        fresh = False
    return people


def _value(match: re.Match[bytes], number: int) -> str:
    try:
        raw = base64.b64decode(match["value"], validate=True)
        return (raw if match["encoded"] else match["value"]).decode()
    except (binascii.Error, UnicodeDecodeError):
        if not match["encoded"]:
            return match["value"].decode("utf-8", "backslashreplace")
        raise Unfit(f"{DIRECTORY}: line {number}: the DN cannot be read") from None


def _is_person(dn: str, base_dn: str, number: int) -> bool:
    lower = dn.lower()
    if lower != base_dn.lower() and not lower.endswith(f",{base_dn.lower()}"):
        raise Unfit(f"{DIRECTORY}: line {number}: {dn!r} is not below {base_dn}")
    return lower.endswith(f",ou=users,{base_dn.lower()}")
