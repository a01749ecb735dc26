"""What a run will touch is known before its first step, in the stack's own words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labctl.endpoints import Account, Attributes, Endpoints, Login, People, Secret
from labctl.protocols.directory import Directory, as_ldif
from labctl.protocols.entry import DISABLE, OFFBOARD, Entry
from labctl.protocols.tap import Tap
from labctl.scenario.impact import touches_of
from labctl.scenario.loader import load
from labctl.scenario.model import Step, Touch
from labctl.scenario.plan import planned
from labctl.scenario.steps import TABLE

ROOT = Path(__file__).resolve().parents[2]
ALICE = Account("alice", "alice@x.org", "al@x.org", Secret("p"), ("reports@x.org",))
BOB = Account("bob", "bob@x.org", "bob@x.org", Secret("p"))
NAMES = Attributes("permission", "state", {"FALSE": "revoked", "offboarded": "left"})
PEOPLE = People(login="{address}", dn="mail={address},{base_dn}")
STACK = Endpoints(
    "x", None, "x.org", "o=X", "unknown", None, {}, NAMES, PEOPLE,
    accounts={"alice": ALICE, "bob": BOB},
)  # fmt: skip
ADMIN = Login("cn=admin", Secret("p"))

# Verbs that leave nothing behind, or only where labctl has containers of its own.
HARMLESS = {
    "resend",  # goes to whom the message went before
    "receive",
    "queue",
    "log",
    "authenticate",
    "kick",
    "lag",
    "hold",
    "release",
    "fault",
    "heal",
    "flush",
    "warned",
    "sendmail",
    "unchanged",
    "note",
    "pause",
}


MODIFY = """\
dn: cn=a,BASE
changetype: modify
replace: status
status: offboarded
-
delete: sn
"""


def test_every_verb_says_what_it_touches_or_is_known_to_touch_nothing() -> None:
    """A new verb must do one or the other, or people would agree to less than what happens."""
    says = {verb for verb, kind in TABLE.items() if kind.touches is not Step.touches}
    assert says | HARMLESS == set(TABLE)
    assert not says & HARMLESS


@pytest.mark.parametrize(
    ("verb", "given", "expected"),
    [
        ("send", {"from": "bob", "to": ["alice", "alice:reports", "alice+x", "a@y.org"]},
         [Touch("al@x.org"), Touch("reports@x.org"), Touch("al+x@x.org"), Touch("a@y.org")]),
        ("disable", {"account": "alice"}, [Touch("alice", "permission")]),
        ("offboard", {"account": "alice"}, [Touch("alice", "permission"), Touch("alice", "state")]),
        ("set", {"account": "bob", "status": "absent"}, [Touch("bob", "state")]),
        ("smtp", {"dialogue": [r"-> RCPT TO:<bob@\d>", "<- 250", "-> rcpt to: <a@y.org> NOTIFY=x"]},
         [Touch("bob@x.org"), Touch("a@y.org")]),
        ("directory", {"as": "alice", "entry": "bob", "change": {"status": "x", "sn": "y"}},
         [Touch("bob", "state"), Touch("bob", "sn")]),
        ("directory", {"as": "alice", "entry": "cn=a,BASE", "change": {"sn": "y"}},
         [Touch("cn=a,o=X", "sn")]),
        ("directory", {"as": "alice", "entry": "bob", "sees": ["sn"]}, []),
        ("ldif", {"change": MODIFY}, [Touch("cn=a,o=X", "state"), Touch("cn=a,o=X", "sn")]),
        ("ldif", {"change": "dn: cn=a,BASE\nchangetype: delete"}, []),
        ("receive", {"account": "alice", "message": "m"}, []),
    ],
)  # fmt: skip
def test_each_step_says_what_it_touches(
    verb: str, given: dict[str, Any], expected: list[Touch]
) -> None:
    """Attributes as they are called there, of accounts; addresses that mail goes to."""
    step = TABLE[verb].model_validate(given)
    stack = replace(STACK, directory_admin=ADMIN)
    assert list(step.touches(stack)) == expected


def test_without_an_administrator_a_directory_step_changes_nothing() -> None:
    """It is skipped then, since nothing could be put back."""
    given = {"as": "alice", "entry": "bob", "change": {"status": "x"}}
    assert list(TABLE["directory"].model_validate(given).touches(STACK)) == []


def test_what_is_skipped_touches_nothing(tmp_path: Path) -> None:
    """A scenario that needs containers is not asked about; each touch is told once."""
    text = "title: t\naccounts: [alice]\n{}steps:\n  - disable: {{account: alice}}\n"
    needy, plain = tmp_path / "needy.yaml", tmp_path / "plain.yaml"
    needy.write_text(text.format("needs: {containers: true}\n"))
    plain.write_text(text.format(""))
    assert touches_of([load(needy)], STACK) == []
    assert touches_of([load(plain), load(plain)], STACK) == [Touch("alice", "permission")]


def test_the_catalogue_is_asked_about_case_by_case() -> None:
    """The cases of a table are looked through, too."""
    accounts = dict.fromkeys(("alice", "bob", "carol", "dave", "erin"), BOB)
    stack = replace(STACK, accounts=accounts)
    touches = touches_of([load(ROOT / "scenarios" / "bypass.yaml")], stack)
    assert {touch.whose for touch in touches if touch.attribute} == {"alice", "bob", "dave", "erin"}
    assert Touch("someone@example.net") in touches


def directory(stack: Endpoints) -> Directory:
    """Return a directory that nothing is asked of."""
    return Directory(None, Tap("ldap", lambda _: None), stack)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "dn"),
    [
        ("a@x.org", "mail=a@x.org,o=X"),
        ("a,b@x.org", "mail=a\\,b@x.org,o=X"),
        ('#"a+b"=\\c;<d>@x.org', 'mail=\\#\\"a\\+b\\"\\=\\\\c\\;\\<d\\>@x.org,o=X'),
        (" a@x.org ", "mail=\\ a@x.org\\ ,o=X"),
    ],
)
def test_what_stands_in_a_dn_is_escaped(address: str, dn: str) -> None:
    """RFC 4514 §2.4; the base DN is one already."""
    accounts = {"eve": Account("eve", "eve", address, Secret("p"))}
    assert directory(replace(STACK, accounts=accounts)).dn("eve") == dn


def test_a_change_is_made_in_the_words_of_the_directory() -> None:
    """Names and values are the directory's own; an attribute that it lacks is left out."""
    assert directory(STACK).values_of(OFFBOARD) == {"permission": ["revoked"], "state": ["left"]}
    only = replace(STACK, attributes=Attributes("", "state"))
    assert directory(only).values_of(OFFBOARD) == {"state": ["offboarded"]}
    assert directory(only).values_of(DISABLE) == {}


def told(verb: str, given: dict[str, Any], stack: Endpoints) -> dict[str, str]:
    """Return what a dry run tells of a step."""
    return dict(planned(TABLE[verb].model_validate(given), stack))


def test_a_plan_speaks_in_the_words_of_the_directory() -> None:
    """The DN is the template's, names and values are the directory's own."""
    assert told("offboard", {"account": "alice"}, STACK)["ldif"].splitlines() == [
        "dn: mail=al@x.org,o=X",
        "changetype: modify",
        "replace: permission",
        "permission: revoked",
        "-",
        "replace: state",
        "state: left",
        "-",
    ]
    assert "state: left" in told("ldif", {"change": MODIFY}, STACK)["ldif"]
    given = {"as": "alice", "entry": "bob", "change": {"status": "offboarded"}}
    assert "state: left" in told("directory", given, STACK)["ldif"]


def test_a_plan_says_what_will_be_looked_for_and_what_is_skipped() -> None:
    """A DN that a filter will find is not known before; an attribute that lacks never is."""
    stack = replace(STACK, people=People(base="ou=p,{base_dn}", filter="(mail={address})"))
    assert "(mail=al@x.org) below ou=p,o=X" in told("disable", {"account": "alice"}, stack)["ldif"]
    only = replace(STACK, attributes=Attributes("", "state"))
    lacking = "the stack has no attribute for send_allowed"
    given = {"account": "alice", "send_allowed": "TRUE", "status": "x"}
    assert told("set", given, only)["skipped"] == lacking
    assert told("disable", {"account": "alice"}, only)["skipped"] == lacking


def test_attributes_are_found_whatever_their_case() -> None:
    """RFC 4512 §2.5: else a value that is there would be taken for absent, and put back so."""
    entry = Entry("cn=x", {"mailPermission": ("granted", "again")})
    assert entry.all("MAILPERMISSION") == ("granted", "again")
    assert entry.first("mailpermission") == "granted"
    assert entry.all("other") == ()


def test_what_puts_an_entry_back_is_ldif() -> None:
    """RFC 2849: values that are no plain text in base64, no values to remove the attribute."""
    text = as_ldif("cn=ä,o=X", {"a": ("1", "2"), "b": (), "c": (" x",)})
    assert text.splitlines() == [
        "dn:: Y249w6Qsbz1Y",
        "changetype: modify",
        "replace: a",
        "a: 1",
        "a: 2",
        "-",
        "replace: b",
        "-",
        "replace: c",
        "c:: IHg=",
        "-",
    ]
