"""Endpoints files: JSON or TOML, passwords from three places, and every error at its key."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labctl.cli.output import keep_private
from labctl.endpoints import Attributes, Endpoint, Endpoints, People, filled
from labctl.endpoints.reading import read_file
from labctl.errors import InvalidEndpoints

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "any-stack.md"
MINIMAL = {"schema": "labctl/v1", "lab": "x", "domain": "x.org", "base_dn": "o=X"}
SECRET = "correct-horse-battery"


def written(folder: Path, data: Mapping[str, Any], mode: int = 0o600) -> Path:
    """Write an endpoints file."""
    file = folder / "stack.json"
    file.write_text(json.dumps({**MINIMAL, **data}))
    file.chmod(mode)
    return file


def problems(file: Path, **environ: str) -> list[str]:
    """Return what is wrong with a file, without its path, which each error begins with."""
    with pytest.raises(InvalidEndpoints) as raised:
        read_file(file, environ)
    assert raised.value.exit_code == 2
    assert all(problem.startswith(f"{file}: ") for problem in raised.value.problems)
    return [problem.removeprefix(f"{file}: ") for problem in raised.value.problems]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The complete file of the documentation, with what it refers to beside it."""
    [text] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "acme-ca.pem").symlink_to(_certificate(tmp_path))
    for name in ("provisioning", "bob"):
        password = tmp_path / f"{name}.password"
        password.touch(0o600)
        password.write_text(f"{name}-{SECRET}\n")
    file = tmp_path / "stack.toml"
    file.write_text(text)
    return file


def _certificate(folder: Path) -> Path:
    from dialogue import certificates

    made = folder / "made"
    made.mkdir()
    return certificates(made)


def test_the_example_of_the_documentation_is_a_whole_endpoints_file(example: Path) -> None:
    """It can be read, and means what its comments say."""
    stack = read_file(example, {"ALICE_PASSWORD": f"alice-{SECRET}"})
    assert (stack.lab, stack.policy, stack.file) == ("acme", "hardened", example)
    assert stack.ca_file == example.parent / "acme-ca.pem"
    assert stack.services["ldap"] == Endpoint("ldap.example.org", 389, "starttls")
    assert {name: each.tls for name, each in stack.services.items()} == {
        "ldap": "starttls", "smtp": "starttls", "submission": "starttls", "submissions": "tls",
        "imap": "starttls", "imaps": "tls",
    }  # fmt: skip
    names = stack.attributes
    assert (names.send_allowed, names.status) == ("mailPermission", "employmentState")
    words = ("TRUE", "FALSE", "active", "disabled", "offboarded")
    theirs = ["granted", "revoked", "current", "suspended", "left"]
    assert [names.there(word) for word in words] == theirs
    alice, bob = stack.accounts["alice"], stack.accounts["bob"]
    assert (alice.login, alice.address) == ("alice@example.org", "alice@example.org")
    assert (bob.login, bob.address) == ("bob.west@example.org", "bob.west@example.org")
    assert alice.password.reveal() == f"alice-{SECRET}"
    assert bob.password.reveal() == f"bob-{SECRET}"
    assert stack.policy_admin
    assert stack.policy_admin.password.reveal() == f"provisioning-{SECRET}"


def test_the_documentation_has_every_key(example: Path) -> None:
    """Each key that a file may hold is in the example or in the table of the page."""
    from labctl.endpoints.form import StackFile

    page = PAGE.read_text()
    for name, field in StackFile.model_fields.items():
        assert f"`{field.alias or name}" in page, name
    shown = tomllib.loads(example.read_text())
    assert shown["people"].keys() >= {"login", "address", "base", "filter"}


def test_json_and_toml_are_read_alike(example: Path, tmp_path: Path) -> None:
    """The same keys in either: what begins with a brace is JSON, whatever the file is called."""
    twin = tmp_path / "stack.txt"
    twin.write_text("\n " + json.dumps(tomllib.loads(example.read_text())))
    environ = {"ALICE_PASSWORD": "x"}
    one, other = read_file(example, environ), read_file(twin, environ)
    assert one.to_dict(secrets=True) == other.to_dict(secrets=True)
    assert (one.people, one.attributes) == (other.people, other.attributes)


@pytest.mark.parametrize(
    ("tls", "expected"),
    [("none", "none"), ("starttls", "starttls"), ("implicit", "tls"), (None, "starttls")],
)
def test_each_endpoint_has_its_tls_mode(tmp_path: Path, tls: str | None, expected: str) -> None:
    """As the file says it, or what is usual for the service."""
    service = {"host": "h", "port": 1143} | ({"tls": tls} if tls else {})
    assert read_file(written(tmp_path, {"imap": service}), {}).services["imap"].tls == expected


def test_without_people_and_attributes_it_is_laid_out_as_the_lab(tmp_path: Path) -> None:
    """What labctl wrote before there were other stacks means what it meant."""
    stack = read_file(written(tmp_path, {}), {})
    assert (stack.people, stack.attributes) == (People(), Attributes())
    assert filled(stack.people.dn, stack.words("alice")) == "uid=alice,ou=users,o=X"


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"lab": ""}, ["lab: '' is not one line of text, write one"]),
    (
        {"policy": "hard"},
        ["policy: 'hard' cannot be used, choose 'baseline', 'hardened' or 'unknown'"],
    ),
    ({"domain": "a@b"}, ["domain: 'a@b' is no domain, write one such as example.org"]),
    ({"atributes": {}}, ["atributes: means nothing here, did you mean 'attributes'?"]),
    (
        {"imap": {"host": "h", "port": "143", "tls": "ssl"}},
        [
            "imap.port: is no whole number, write one without quotes",
            "imap.tls: 'ssl' cannot be used, choose 'none', 'starttls' or 'implicit'",
        ],
    ),
    ({"imap": 5}, ["imap: is no table, give it keys of its own"]),
    ({"imap": {"port": 1}}, ["imap.host: is missing, give it a value (docs/any-stack.md)"]),
    (
        {"people": {"dn": "uid={user}"}},
        [
            "people.dn: {user} means nothing here, "
            "use {name}, {login}, {address}, {domain}, {base_dn}"
        ],
    ),
    (
        {"people": {"dn": "{name}"}},
        ["people.dn: '{name}' is no DN, write one such as uid={name},{base_dn}"],
    ),
    (
        {"people": {"filter": "mail={address}"}},
        [
            "people.filter: 'mail={address}' is no filter (RFC 4515), "
            "write one such as (mail={address})"
        ],
    ),
    *(
        (
            {"people": {"filter": query}},
            [f"people.filter: {query!r} is no filter (RFC 4515), its brackets do not match"],
        )
        for query in ("(&(a=b)(c={name})", "(c={name}))", "(a=b)(c={name})", "(a=b))((c={name})")
    ),
    (
        {"people": {"dn": "uid={name}", "filter": "(uid={name})"}},
        ["people: dn stands beside filter or base, give one way to find an entry"],
    ),
    ({"people": {"base": "o=X"}}, ["people: base stands without filter, give both or neither"]),
    (
        {"people": {"login": "{login}"}},
        ["people.login: {login} means nothing here, use {name}, {address}, {domain}"],
    ),
    ({"attributes": {}}, ["attributes: there is none, name send_allowed, status or both"]),
    (
        {"attributes": {"send_allowed": "a b"}},
        [
            "attributes.send_allowed.name: 'a b' is no attribute's name, "
            "write it as the directory's schema does"
        ],
    ),
    (
        {"attributes": {"send_allowed": {"name": "x", "allowed": "no", "blocked": "NO"}}},
        [
            "attributes.send_allowed: allowed and blocked are the same value, "
            "give each its own"
        ],
    ),
    (
        {"attributes": {"status": {"name": "x", "disabled": "active"}}},
        ["attributes.status: active is also the value of another state, give it its own"],
    ),
    (
        {"attributes": {"send_allowed": "x", "status": "X"}},
        ["attributes: send_allowed and status are the same one, leave one of them out"],
    ),
    (
        {"accounts": {"alice": {}}},
        ["accounts.alice: no password, give one of password_env, password_file and password"],
    ),
    (
        {"accounts": {"alice": {"password": "a", "password_env": "A"}}},
        [
            "accounts.alice: several passwords, "
            "give one of password_env, password_file and password"
        ],
    ),
    (
        {"accounts": {"alice": {"password_env": "A B"}}},
        ["accounts.alice.password_env: 'A B' is no variable's name, write one such as ALICE_PW"],
    ),
    (
        {"accounts": {"alice": {"password_env": "NOT_SET"}}},
        [
            "accounts.alice.password_env: the variable NOT_SET is not set, "
            "set it to the password"
        ],
    ),
    (
        {"accounts": {"Alice": {"password": "a"}}},
        [
            "accounts.Alice: 'Alice' cannot name an account, "
            "use lower-case letters, digits, dots, hyphens"
        ],
    ),
    (
        {"accounts": {"alice": {"password": "a", "address": "alice", "aliases": ["b"]}}},
        [
            "accounts.alice.address: 'alice' is no address, write one such as alice@example.org",
            "accounts.alice.aliases.0: 'b' is no address, write one such as alice@example.org",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), WRONG, ids=[said[0][:40] for _, said in WRONG])
def test_what_is_wrong_is_told_at_its_key_with_what_to_do(
    tmp_path: Path, data: dict[str, Any], expected: list[str]
) -> None:
    """Every error of the file, each `path: key: what, what to do`."""
    assert problems(written(tmp_path, data)) == expected


@pytest.mark.parametrize("given", ["", SECRET + "\nx", 5, [SECRET]])
def test_no_error_repeats_a_password(tmp_path: Path, given: object) -> None:
    """A password that cannot be used is named by its key alone."""
    [said] = problems(written(tmp_path, {"accounts": {"alice": {"password": given}}}))
    assert said.startswith("accounts.alice.password: ")
    assert SECRET not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "schema: is missing"),
        ("{", "is no endpoints file: Expecting property name"),
        ("a = ", "is no endpoints file: Invalid value (at end of document)"),
        ("# Title\n\nText\n", "is no endpoints file: Expected '=' after a key"),
    ],
)
def test_what_is_neither_json_nor_toml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The parser's own words say where."""
    file = tmp_path / "stack"
    file.write_text(text)
    assert problems(file)[0].startswith(said)


def test_a_file_of_passwords_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """It says its mode and how to put that right; one that only names where they are is fine."""
    accounts = {"alice": {"password_env": "ALICE"}, "bob": {"password": SECRET}}
    file = written(tmp_path, {"accounts": accounts}, mode=0o640)
    assert problems(file, ALICE="x") == [
        "accounts.bob.password: others may read this file (mode 0640), "
        f"run `chmod 600 {file}`"
    ]  # fmt: skip
    file.chmod(0o600)
    assert read_file(file, {"ALICE": "x"}).accounts["bob"].password.reveal() == SECRET
    file = written(tmp_path, {"accounts": {"alice": {"password_env": "ALICE"}}}, mode=0o644)
    assert read_file(file, {"ALICE": "x"}).accounts["alice"].password.reveal() == "x"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that puts it right."""
    password = tmp_path / "alice.password"
    password.write_text(SECRET)
    password.chmod(mode)
    file = written(tmp_path, {"accounts": {"alice": {"password_file": "alice.password"}}})
    [said] = problems(file)
    assert said == (
        f"accounts.alice.password_file: {password}: others may read it (mode {mode:04o}), "
        f"run `chmod 600 {password}`"
    )
    password.chmod(0o600)
    assert read_file(file, {}).accounts["alice"].password.reveal() == SECRET


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory, name a file that holds the password"),
        (b"", "is not one line, write the password alone into it"),
        (b"a\nb\n", "is not one line, write the password alone into it"),
        (b"\xff\xfe", "it is not text, name a file that holds the password"),
    ],
)
def test_a_password_file_that_holds_no_password_is_refused(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    """Missing, empty, of several lines, or not text at all."""
    if content is not None:
        (tmp_path / "p").touch(0o600)
        (tmp_path / "p").write_bytes(content)
    file = written(tmp_path, {"policy_admin": {"dn": "cn=x", "password_file": "p"}})
    assert problems(file) == [f"policy_admin.password_file: {tmp_path / 'p'}: {said}"]


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    """Also those that show only when the file itself is in order."""
    accounts = {"alice": {"password_env": "NOT_SET"}, "bob": {"password_file": "none"}}
    said = problems(written(tmp_path, {"accounts": accounts, "ca_file": "none.pem"}))
    assert [text.split(":")[0] for text in said] == [
        "ca_file",
        "accounts.alice.password_env",
        "accounts.bob.password_file",
    ]


def test_a_ca_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """What is no certificate is told before any connection is tried."""
    (tmp_path / "ca.pem").write_text("nothing")
    assert problems(written(tmp_path, {"ca_file": "ca.pem"}))[0].startswith("ca_file: ")


def test_what_people_and_values_are_called_elsewhere() -> None:
    """Words are translated there and back; what has no other name stays as it is."""
    words = {"TRUE": "yes", "FALSE": "no", "disabled": "x", "offboarded": "x"}
    names = Attributes("may", "", words)
    assert [names.there(word) for word in ("FALSE", "offboarded", "retired")] == [
        "no",
        "x",
        "retired",
    ]
    assert [names.here(value) for value in ("NO", "x", "retired", None)] == [
        "FALSE",
        "disabled",
        "retired",
        None,
    ]


def test_a_person_whom_only_the_directory_knows_follows_the_form() -> None:
    """The words of a template mean the account's own values, or what `people` makes of them."""
    people = People(login="{address}", address="{name}@mail.{domain}")
    stack = Endpoints("x", None, "x.org", "o=X", "unknown", None, {}, people=people)
    assert stack.words("zoe") == {
        "name": "zoe",
        "domain": "x.org",
        "base_dn": "o=X",
        "address": "zoe@mail.x.org",
        "login": "zoe@mail.x.org",
    }


def test_a_file_that_passwords_are_written_to_becomes_private(tmp_path: Path) -> None:
    """`labctl endpoints --secrets > file` leaves a file that `--endpoints file` takes."""
    file = tmp_path / "stack.json"
    file.touch(0o644)
    file.chmod(0o644)
    with file.open("w") as stream:
        keep_private(stream)
    assert file.stat().st_mode & 0o777 == 0o600
