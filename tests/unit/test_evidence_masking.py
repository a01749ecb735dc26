"""No password goes into a bundle: neither behind its name nor anywhere else, in any coding."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_sample import STARTED, said

from labctl.endpoints import Account, Endpoints, Login, Secret
from labctl.events import to_dict
from labctl.evidence.masking import Mask, without_passwords
from labctl.report.jsonl import parse

PASSWORD = "mQ3-vT9_xK2sLw8yRb1nZc5p"


def stack(*passwords: str) -> Endpoints:
    """Return endpoints that know these passwords, one in each of the places there are."""
    padded = [*passwords, *[""] * 4][:4]
    admin, policy, service, person = map(Secret, padded)
    return Endpoints(
        "x",
        0,
        "x.org",
        "dc=x",
        "hardened",
        None,
        {},
        directory_admin=Login("cn=admin,dc=x", admin),
        policy_admin=Login("cn=policy,dc=x", policy),
        service_accounts={"postfix": Login("cn=postfix,dc=x", service)},
        accounts={"alice": Account("alice", "alice", "alice@x.org", person)},
    )


MASK = Mask.of(stack(PASSWORD))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("bind_pw = s3cret\nscope = one\n", "bind_pw = ***\nscope = one\n"),
        ("bind_pw=s3cret", "bind_pw= ***"),
        ("bind_pw =\n  s3cret\n\tmore\nscope = one", "bind_pw = ***\nscope = one"),
        ("dnpass = s3cret # his", "dnpass = ***"),
        ("  password = s3cret\n", "  password = ***\n"),
        ("smtp_sasl_password=s3cret", "smtp_sasl_password= ***"),
        ("olcRootPW: {ARGON2}x\n", "olcRootPW: ***\n"),
        ("olcRootPW:: e0FSR09O\n Mn0k\ncn: x\n", "olcRootPW: ***\ncn: x\n"),
        ("userPassword: {SSHA}x\nuserPassword: y\n", "userPassword: ***\nuserPassword: ***\n"),
        ("pwdHistory: 2026#x#y#{SSHA}z\n", "pwdHistory: ***\n"),
    ],
)
def test_what_is_named_like_a_password_is_left_out(text: str, masked: str) -> None:
    """In maps, in Dovecot's files and in LDIF, on one line and on several."""
    assert without_passwords(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "pass_filter = (uid=%u)\npass_attrs = uid=user\n",
        "olcPasswordHash: {ARGON2}\n",
        "olcAccess: {1}to attrs=userPassword by * none\n",
        "smtp_sasl_password_maps = hash:/etc/postfix/sasl\n",
        "pwdMaxAge: 0\n",
    ],
)
def test_what_only_speaks_of_passwords_stays(text: str) -> None:
    """Filters, rights and names of files are what an auditor reads."""
    assert without_passwords(text) == text


def coded(text: str) -> str:
    """Return a text in base64."""
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        coded(PASSWORD),
        coded(f"\0alice\0{PASSWORD}"),
        coded(f"alice\0alice\0{PASSWORD}"),
        coded(f"x{PASSWORD}"),
        coded(f"xy{PASSWORD} and more"),
    ],
)
def test_a_password_is_found_wherever_it_turns_up(text: str) -> None:
    """Plainly, as AUTH LOGIN and AUTH PLAIN send it, and in the midst of anything in base64."""
    masked, times = MASK.apply(f"250 {text} ok")
    assert times == 1
    assert PASSWORD not in masked
    assert text not in masked
    assert masked.startswith("250 ")
    assert masked.endswith(" ok")


@given(st.binary(max_size=7), st.binary(max_size=7), st.text(min_size=12, max_size=30))
def test_no_neighbour_hides_a_password_in_base64(before: bytes, after: bytes, secret: str) -> None:
    """What is left of the coded text holds no long part of the password."""
    text = b64encode(before + secret.encode() + after).decode()
    masked, times = Mask.of(stack(secret)).apply(text)
    assert times >= 1
    rest = masked.replace("***", "")
    assert len(rest) * 6 // 8 <= len(before) + len(after) + 5, "but for its first and last letters"


def test_every_account_of_the_stack_is_known() -> None:
    """The administrators, the services and the people."""
    words = ("first-password", "second-password", "third-password", "fourth-password")
    assert Mask.of(stack(*words)).apply(" ".join(words)) == ("*** *** *** ***", 4)


def test_where_no_password_is_known_nothing_is_masked() -> None:
    """Neither without accounts nor where a password is empty."""
    assert Mask.of(stack()).apply("anything") == ("anything", 0)


@pytest.mark.parametrize("password", [PASSWORD, "passed", "wire", '"', "event", "->", "a"])
def test_a_masked_transcript_is_a_transcript(password: str) -> None:
    """Whatever the password is: also one of our own words, or a character that JSON escapes."""
    line = said("<-", f"250 {password} passed")
    text = "".join(json.dumps(to_dict(event)) + "\n" for event in (STARTED, line))
    masked, times = Mask.of(stack(password)).apply_to_transcript(text)
    assert times >= 1
    _, event = parse(masked.encode().splitlines(keepends=True), "x")
    assert event.line.startswith("250 *** ") or password == "a"  # type: ignore[union-attr]
    assert password not in event.line  # type: ignore[union-attr]


def test_lines_without_a_password_stay_as_they_are() -> None:
    """Byte for byte; and what a crash left of a line is masked, too."""
    text = '{"event":   "x"}\n{"line": "' + PASSWORD
    assert MASK.apply_to_transcript(text) == ('{"event":   "x"}\n{"line": "***', 1)
