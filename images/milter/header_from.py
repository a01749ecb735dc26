"""Who a message says it is from: its From, Sender, Resent-From and Resent-Sender fields.

RFC 5322 without most of its obsolete forms, and RFC 2047. What cannot be read with certainty is
refused, since a mail reader might read it another way. No library but the standard one.
"""

import binascii
import re

FIELDS = {
    "from": "From",
    "sender": "Sender",
    "resent-from": "Resent-From",
    "resent-sender": "Resent-Sender",
}
MAX_LINE = 998  # RFC 5322 §2.1.1; a longer one is broken on its way, an address with it
MAX_FIELDS = 64  # of one message: nobody resends a letter that often
_ONCE = {"From", "Sender"}  # RFC 5322 §3.6; each resending brings its own Resent- fields
_SINGLE = {"Sender", "Resent-Sender"}  # hold one address, not a list
_EXTENSION = "+"  # Postfix: recipient_delimiter

_FOLD = re.compile(r"\r?\n(?=[ \t]+[^ \t\r\n])")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What a careless reader takes for the address, in a comment and anywhere but in its place.
_ADDRESS_LIKE = re.compile(r"[^\s()]@[^\s()]")
_ANGLE = re.compile(r"[<>]")
# In a local part: what would have to be quoted because it means something elsewhere.
_MEANS_ELSEWHERE = re.compile(r"[\s@<>(),;:\"\\\[\]]")
_ENCODED = re.compile(r"=\?([^?\s*]+)(?:\*[^?\s]*)?\?([bq])\?([^?\s]*)\?=", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)')
_ESCAPED = re.compile(r"\\(.)")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_TOKEN = re.compile(
    rf"""(?P<gap>[ \t]+)
    | (?P<atom>{_ATEXT}(?:\.{_ATEXT})*)
    | (?P<quoted>"(?:[^"\\]|\\.)*")
    | (?P<special>[<>@,.])""",
    re.VERBOSE,
)
# A mailbox as the kinds of its tokens: a name's words, then the address in angle brackets; or the
# address alone. A route, a group, an address without a domain and a domain literal look otherwise.
_MAILBOX = re.compile(r"(?:(?:[aq][aq.]*)?<)?([aq]@a)(>?)")


class Refused(Exception):
    """The message cannot be accepted; the text names the field."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"Header {field[:40]} {reason}")


class Fields:
    """The fields of one message that matter, as they come in."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []
        self._refused: Refused | None = None

    def add(self, name: str, value: bytes) -> None:
        """Take a field: its name as written, its value with or without folds."""
        known = FIELDS.get(name.strip(" \t").lower())
        if self._refused:
            return
        try:
            if known is None:
                _see_no_hidden_line(name, value)
            else:
                _see_no_long_line(known, value)
                self._found.append((known, _unfolded(known, value)))
                _see_not_too_many(known, len(self._found))
        except Refused as refused:
            self._refused = refused

    def addresses(self) -> list[tuple[str, str]]:
        """Return each address with its field, in lower case, as a directory would spell it.

        Raises Refused where a field is missing, stands there twice or cannot be read.
        """
        if self._refused:
            raise self._refused
        names = [name for name, _ in self._found]
        if "From" not in names:
            raise Refused("From", "is missing")
        for name in names:
            if name in _ONCE and names.count(name) > 1:
                raise Refused(name, "stands there more than once")
        lists = [(name, mailboxes(name, value)) for name, value in self._found]
        _see_one_sender(lists)
        return [(name, address) for name, found in lists for address in found]


def owns(own: frozenset[str], address: str) -> bool:
    """Say whether an address is among the (lower-case) ones somebody owns, or extends one."""
    local, _, domain = address.rpartition("@")
    plain = local.partition(_EXTENSION)[0]
    return address in own or (plain != "" and f"{plain}@{domain}" in own)


def mailboxes(field: str, value: str) -> list[str]:
    """Return the addresses of a mailbox-list (RFC 5322 §3.4); raises Refused if it is none."""
    _see_no_second_address(field, value)
    parts: list[list[tuple[str, str]]] = [[]]
    for kind, text in _tokens(field, value):
        if kind == ",":
            parts.append([])
        else:
            parts[-1].append((kind, text))
    return [_address(field, part) for part in parts]


def _address(field: str, tokens: list[tuple[str, str]]) -> str:
    shape = "".join(kind for kind, _ in tokens)
    texts = [text.lower() for _, text in tokens]
    if shape == "a@a<a@a>" and texts[:3] == texts[4:7]:  # an address as its own name
        shape, tokens = "a@a", tokens[:3]
    found = _MAILBOX.fullmatch(shape)
    if found is None or ("<" in shape) != (found[2] == ">"):
        raise _unreadable(field)
    (kind, local), _, (_, domain) = tokens[found.start(1) : found.end(1)]
    if kind == "q":
        local = _ESCAPED.sub(r"\1", local[1:-1])
    encoded = "=?" in local + domain  # RFC 2047 §5: no encoded word within an address
    if encoded or _MEANS_ELSEWHERE.search(local):
        raise _unreadable(field)
    return f"{local}@{domain}".lower()


def _tokens(field: str, value: str) -> list[tuple[str, str]]:
    """Return kind and text of each token: a atom, q quoted string, or a special; no comments."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(value):
        if value[position] == "(":
            position = _after_comment(field, value, position)
            continue
        token = _TOKEN.match(value, position)
        if token is None:
            raise _unreadable(field)
        position = token.end()
        if token.lastgroup != "gap":
            kind = token[0] if token.lastgroup == "special" else str(token.lastgroup)[0]
            found.append((kind, token[0]))
    return found


def _after_comment(field: str, value: str, start: int) -> int:
    depth, position = 0, start
    while position < len(value):
        letter = value[position]
        depth += (letter == "(") - (letter == ")")
        position += 2 if letter == "\\" else 1
        if depth == 0:
            if _ADDRESS_LIKE.search(_ESCAPED.sub(r"\1", value[start:position])):
                raise _unreadable(field)
            return position
    raise _unreadable(field)


def _see_no_second_address(field: str, value: str) -> None:
    """See that no name or comment, decoded, shows an address in angle brackets or another line."""
    decoded = "".join(_decoded(field, word) for word in _ENCODED.finditer(value))
    if "=?" in _ENCODED.sub("", value) or _CONTROL.search(decoded):
        raise _unreadable(field)
    said = decoded + "".join(_QUOTED.findall(value))
    if "@" in said and _ANGLE.search(said):
        raise _unreadable(field)


def _decoded(field: str, word: re.Match[str]) -> str:
    charset, encoding, text = word.groups()
    try:
        if encoding in "bB":
            return binascii.a2b_base64(text).decode(charset)
        return binascii.a2b_qp(text, header=True).decode(charset)
    except (LookupError, ValueError):  # binascii.Error and UnicodeDecodeError among them
        raise _unreadable(field) from None


def _see_not_too_many(name: str, count: int) -> None:
    if count > MAX_FIELDS:
        raise Refused(name, "stands there too often")


def _see_one_sender(lists: list[tuple[str, list[str]]]) -> None:
    names = [name for name, _ in lists]
    for name, found in lists:
        if len(found) > 1 and name in _SINGLE:
            raise Refused(name, "names more than one address")
        sender = name.replace("From", "Sender")
        if len(found) > 1 and sender not in names:  # RFC 5322 §3.6.2
            raise Refused(name, f"names several addresses, and no header {sender} one of them")


def _unfolded(field: str, value: bytes) -> str:
    try:
        text = _FOLD.sub("", value.decode("ascii"))
    except UnicodeDecodeError:
        raise Refused(field, "holds letters that are not ASCII and not encoded") from None
    if _CONTROL.search(text):
        raise Refused(field, "holds a control character")
    return text


def _see_no_long_line(name: str, value: bytes) -> None:
    if any(len(line) > MAX_LINE for line in b": ".join((name.encode(), value)).split(b"\n")):
        raise Refused(name, "holds a line that is too long")


def _see_no_hidden_line(name: str, value: bytes) -> None:
    """See that no other field holds what some readers take for the end of a line."""
    if b"\r" in value.replace(b"\r\n", b"\n") or b"\0" in value:
        raise Refused(name, "holds a control character")


def _unreadable(field: str) -> Refused:
    return Refused(field, "cannot be read with certainty")
