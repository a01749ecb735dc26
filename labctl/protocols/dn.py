r"""Distinguished names as text (RFC 4514): their parts, and what an entry's own name holds.

`\` before a character, or before two hexadecimal digits, takes away its meaning.
"""

import re

_PART = re.compile(r"((?:[^,\\]|\\.)*)(?:,|\Z)", re.DOTALL)
_PAIR = re.compile(r"\s*([A-Za-z0-9.-]+)\s*=((?:[^+\\]|\\.)*)(?:\+|\Z)", re.DOTALL)
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2})|\\(.)", re.DOTALL)


def parts(dn: str) -> list[str]:
    """Return the names that a DN consists of, the entry's own first."""
    return [match[1].strip() for match in _PART.finditer(dn) if match[0]] or [""]


def parent(dn: str) -> str:
    """Return the DN of the entry above."""
    return ",".join(parts(dn)[1:])


def pairs(rdn: str) -> list[tuple[str, bytes]]:
    """Return the attributes and values in one name; raises ValueError if it is none."""
    found, at = [], 0
    while match := _PAIR.match(rdn, at):
        found.append((match[1], _unescaped(match[2].strip())))
        at = match.end()
        if at == len(rdn):
            break
    if not found or at != len(rdn):
        raise ValueError(f"{rdn!r} is no name of an entry: `attribute=value`")
    return found


def _unescaped(text: str) -> bytes:
    result, at = b"", 0
    for match in _ESCAPE.finditer(text):
        result += text[at : match.start()].encode()
        result += bytes.fromhex(match[1]) if match[1] else match[2].encode()
        at = match.end()
    return result + text[at:].encode()
