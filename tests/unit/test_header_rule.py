"""What a message says it is from: read by RFC 5322 and 2047, or refused."""

import runpy
from email.headerregistry import HeaderRegistry
from email.utils import getaddresses
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

FILE = Path(__file__).resolve().parents[2] / "images" / "milter" / "header_from.py"
header_from = SimpleNamespace(**runpy.run_path(str(FILE)))  # leaves no byte code in the image
Refused = header_from.Refused

OWN = frozenset({"alice@dom.example", "alice.north@dom.example", "odd+name@dom.example"})
FOREIGN = "mallory@evil.example"


def addresses(*fields: tuple[str, bytes]) -> list[tuple[str, str]]:
    """Return what the fields of a message name."""
    found = header_from.Fields()
    for name, value in fields:
        found.add(name, value)
    return found.addresses()


def passes(*fields: tuple[str, bytes]) -> bool:
    """Say whether Alice may send a message with these fields."""
    try:
        named = addresses(*fields)
    except Refused:
        return False
    return all(header_from.owns(OWN, address) for _, address in named)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"alice@dom.example", ["alice@dom.example"]),
        (b"ALICE@Dom.Example", ["alice@dom.example"]),
        (b" Alice N. North <alice@dom.example>", ["alice@dom.example"]),
        (b'"North, \\"A\\"" <alice@dom.example>', ["alice@dom.example"]),
        (b"=?utf-8?q?Al=C3=AFce?= <alice@dom.example> (x)", ["alice@dom.example"]),
        (b'"al\\ice"@dom.example', ["alice@dom.example"]),
        (b'"Alice <3" <alice@dom.example>', ["alice@dom.example"]),
        (b'"Sales -> Alice" <alice@dom.example>', ["alice@dom.example"]),
        (b"=?utf-8?q?Alice_=3C3?= <alice@dom.example>", ["alice@dom.example"]),
        (b"=?utf-8?b?5YyX?= =?iso-2022-jp*ja?B?GyRCS0wbKEI=?= <alice@dom.example>",
         ["alice@dom.example"]),
        (b"alice@dom.example (Alice @ Example)", ["alice@dom.example"]),
        (b"Alice@dom.example <alice@dom.example>", ["alice@dom.example"]),
        (b"(a (b \\) c))alice (d)@(e) dom.example", ["alice@dom.example"]),
        (b"\n\talice@dom.example", ["alice@dom.example"]),
        (b"Alice\r\n <alice@dom.example>", ["alice@dom.example"]),
        (b"<alice@dom.example>", ["alice@dom.example"]),
        (b" " * 989 + b"a@b", ["a@b"]),
        (b"a@x,b <b@y>, \"c\" <c@z>", ["a@x", "b@y", "c@z"]),
    ],
)  # fmt: skip
def test_a_list_is_read(value: bytes, expected: list[str]) -> None:
    """Names, comments, quotes, folds and case leave the addresses as a directory spells them."""
    named = addresses(("From", value), ("Sender", b"a@x"))
    assert [address for name, address in named if name == "From"] == expected


@pytest.mark.parametrize(
    "value",
    [
        b"", b" ", b"alice", b"<>", b"@dom.example", b"alice@", b"<alice@dom.example",
        b"alice@dom.example>", b"a <b> <c@d>", b"a@b <c@d>", b"<c@d> a@b", b"<<a@b>>",
        b"<@x,@y:alice@dom.example>", b"<@x:alice@dom.example>", b"us: alice@dom.example;", b"g:;",
        b"alice@dom.example,", b",alice@dom.example", b"a@b,,c@d", b'"Alice <alice@dom.example>',
        b"(Alice <alice@dom.example>", b"alice)@dom.example", b"alice@dom.example (\\)",
        b"=?utf-8?q?a?=@dom.example", b"a@=?utf-8?q?b?=", b"<=?utf-8?b?YUBi?=>", b"a@b@c",
        b"alice . north@dom.example", b'alice."north"@dom.example', b"alice@dom.example.",
        b"alice@[127.0.0.1]", b".alice@dom.example", b"a..b@dom.example", b"alice@dom .example",
        b'"<mallory@evil.example>" <alice@dom.example>', b"alice@dom.example (<m@evil.example>)",
        b"alice@dom.example (mallory@evil.example)", b"Alice \xe9 <alice@dom.example>",
        b"a\0b@dom.example", b"alice@dom.example\rx", b"alice@dom.example\n", b"a@b\n \n ",
        b".<alice@dom.example>",
        b'"a b@c"@dom.example', b'"alice+, bob@d, x"@dom.example', b'"alice+ ("@dom.example',
        b"bob@dom.example <alice@dom.example>", b"=?utf-8?q?=3Cb=40d=3E?= <alice@dom.example>",
        b"=?utf-8?q?=3Cb?= =?utf-8?q?=40d=3E?= <alice@dom.example>",
        b"=?utf-7?q?+ADw-b+AEA-d+AD4-?= <alice@dom.example>", b'"=?utf-8?q?=3Cb=40d=3E?=" <a@b>',
        b"a@b (=?utf-8?q?=3Cb=40d=3E?=)", b"=?utf-8?b?YgBi?= <a@b>", b"=?utf-8?Q?x=0D=0Ay?= <a@b>",
        b"=?nonsense?q?x?= <a@b>", b"=?utf-8?q?=FF?= <a@b>", b"=?utf-8?x?x?= <a@b>",
        b"=?utf-8?b?YmI?= <a@b>",
        b"alice\x7f@dom.example", b"Alice; <alice@dom.example>", b'"\\',
    ],
)  # fmt: skip
def test_what_is_not_certain_is_refused(value: bytes) -> None:
    """Malformed, obsolete and ambiguous forms are refused, and the text names the header."""
    for name in header_from.FIELDS.values():
        with pytest.raises(Refused, match=f"Header {name} "):
            addresses(*{"From": b"a@b", name: value}.items())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "From is missing"),
        ([("Sender", b"a@b")], "From is missing"),
        ([("X-From", b"a@b"), ("From", b"a@b"), ("fRom \t", b"a@b")], "From stands there more"),
        ([("From", b"a@b"), ("Sender", b"a@b"), ("SENDER", b"a@b")], "Sender stands there more"),
        ([("From", b"a@b"), ("Sender", b"a@b, c@d")], "Sender names more than one"),
        ([("From", b"a@b, c@d")], "no header Sender"),
        ([("From", b"a@b"), ("Resent-From", b"a@b, c@d"), ("Sender", b"a@b")], "Resent-Sender"),
        ([("From", b"a@b"), ("Subject", b"x\rFrom: c@d")], "Subject holds a control"),
        ([("From", b"a@b"), ("Subject", b"x\0")], "Subject holds a control"),
        ([("From", b" " * 990 + b"a@b")], "From holds a line that is too long"),
        ([("From", b"a\n <" + b"a" * 1000 + b"@b>")], "From holds a line that is too long"),
        ([("From", b"a@b"), *[("Resent-From", b"a@b")] * 64], "Resent-From stands there too often"),
    ],
)
def test_which_fields_stand_there(fields: list[tuple[str, bytes]], text: str) -> None:
    """RFC 5322 §3.6: From once, Sender at most once, and Sender where From names several."""
    with pytest.raises(Refused, match=text):
        addresses(*fields)


@pytest.mark.parametrize(
    ("address", "owned"),
    [
        ("alice@dom.example", True),
        ("alice+news@dom.example", True),
        ("alice+a+b@dom.example", True),
        ("alice+@dom.example", True),
        ("odd+name@dom.example", True),
        ("odd+other@dom.example", False),
        ("odd@dom.example", False),
        ("+alice@dom.example", False),
        ("+@dom.example", False),
        ("alice@x.dom.example", False),
        ("alice@dom.example@evil.example", False),
        ("bob@dom.example", False),
        ("", False),
    ],
)
def test_an_extension_of_an_own_address_is_own(address: str, owned: bool) -> None:  # noqa: FBT001
    """What stands behind a plus belongs to whoever owns what stands before it."""
    assert header_from.owns(OWN, address) is owned


@given(st.lists(st.tuples(st.sampled_from(["From", "sender", "Resent-From", "To"]), st.binary())))
def test_no_header_breaks_it(fields: list[tuple[str, bytes]]) -> None:
    """Any bytes are read or refused; nothing else happens."""
    passes(*fields)


PLAIN = ["alice@dom.example", "<alice@dom.example>", FOREIGN, f"<{FOREIGN}>", "Alice", " ", "\n "]
MARKS = ['"', "\\", "(", ")", "<", ">", "@", ",", ":", ";", ".", "[", "]", "=?utf-8?q?", "?="]
WHOLE = [
    '"Al"',
    '"alice@dom.example"',
    f'"{FOREIGN}"',
    "(x)",
    "(\\))",
    ", ",
    " <alice@dom.example>",
]
SCRAPS = st.one_of(
    st.lists(st.sampled_from(PLAIN + WHOLE), max_size=5),
    st.lists(st.sampled_from(PLAIN + MARKS), max_size=12),
    st.lists(st.sampled_from(PLAIN + MARKS + WHOLE), max_size=8),
).map("".join)


@settings(max_examples=500)
@given(SCRAPS)
@example('"alice@dom.example" <mallory@evil.example>')
@example("(alice@dom.example) mallory@evil.example")
def test_what_passes_is_what_other_readers_see(value: str) -> None:
    """Where a header passes, two other parsers find no address that Alice does not own."""
    if not passes(("From", value.encode()), ("Sender", b"alice@dom.example")):
        return
    unfolded = value.replace("\n", "")
    strict = HeaderRegistry()("From", unfolded).addresses
    plain = getaddresses([unfolded])
    seen = {one.addr_spec for one in strict} | {address for _, address in plain}
    foreign = {one for one in seen if not header_from.owns(OWN, one.replace('"', "").lower())}
    assert foreign == set()
    assert strict


@given(SCRAPS, SCRAPS, st.sampled_from(["{}", "<{}>", '"mallory"{}', "<@alice.example:{}>"]))
def test_a_foreign_address_never_passes_as_the_effective_one(
    before: str, after: str, form: str
) -> None:
    """Whatever stands around it, outside quotes and comments another's address is not owned."""
    foreign = form.format(FOREIGN if "mallory" not in form else "@evil.example")
    if any(mark in before + after for mark in '"(\\'):
        return
    value = f"{before} {foreign} {after}".encode()
    assert not passes(("From", value), ("Sender", b"alice@dom.example"))
