"""Settings: flag, environment, `.env`, default; and secrets that do not show."""

import dataclasses
import json
from pathlib import Path

import pytest

from labctl.endpoints import Endpoints, Secret
from labctl.endpoints.reading import read_file
from labctl.errors import UsageError
from labctl.settings import Settings, checked_name, load_settings

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct-horse-battery"
STACK = {
    "schema": "labctl/v1",
    "lab": "x",
    "slot": 3,
    "domain": "example.org",
    "base_dn": "dc=example,dc=org",
    "policy": "hardened",
    "directory": "replicated",
    "max_lag_seconds": 5,
    "ca_file": "/ca.pem",
    "attributes": {"send_allowed": "may", "status": "state"},
    "ldaps": {"host": "h", "port": 636, "uri": "ldaps://h:636"},
    "submission": {"host": "h", "port": 587},
    "directory_admin": {"dn": "cn=admin", "password": PASSWORD},
    "policy_admin": {"dn": "cn=policy", "password": PASSWORD},
    "service_accounts": {"postfix": {"dn": "cn=postfix", "password": PASSWORD}},
    "accounts": {
        "alice": {"login": "al", "address": "a@x.org", "aliases": ["b@x.org"], "password": PASSWORD}
    },
}


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("LAB_DOMAIN", "example.org", "domain", "example.org"),
        ("LAB_BASE_DN", "dc=example,dc=org", "base_dn", "dc=example,dc=org"),
        ("LAB_POLICY", "baseline", "policy", "baseline"),
        ("LAB_POLICY_ABSENT", "deny", "policy_absent", "deny"),
        ("LAB_NULL_SENDER", "allow", "null_sender", "allow"),
        ("LAB_MILTER", "off", "milter", "off"),
        ("LAB_STATUS_FREE", "1", "status_free", True),
        ("LAB_AUTH_PENALTY", "off", "auth_penalty", "off"),
        ("LAB_LDAP_LOG", "stats,filter", "ldap_log", "stats,filter"),
        ("LAB_RELAYHOST", "[192.0.2.1]:25", "relayhost", "[192.0.2.1]:25"),
        ("LAB_BIND", "192.0.2.1", "bind", "192.0.2.1"),
        ("LAB_SLOT", "62", "slot", 62),
        ("LAB_WAIT_SECONDS", "2.5", "wait_seconds", 2.5),
        ("LAB_READY_SECONDS", "5", "ready_seconds", 5.0),
    ],
)
def test_a_variable_is_read_from_environment_and_dotenv(
    tmp_path: Path, name: str, value: str, field: str, expected: object
) -> None:
    """Each variable has its effect from `.env`, and from the environment over `.env`."""
    assert getattr(load_settings(tmp_path, {name: value}), field) == expected
    (tmp_path / ".env").write_text(f"{name}={value}\n")
    assert getattr(load_settings(tmp_path, {}), field) == expected
    default = getattr(Settings(tmp_path, tmp_path), field)
    assert getattr(load_settings(tmp_path, {name: ""}), field) == default


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAB_DOMAIN", "no domain"),
        ("LAB_DOMAIN", "-"),
        ("LAB_BASE_DN", "ou=users"),
        ("LAB_BASE_DN", "dc=a)(uid=*"),
        ("LAB_ATTR_STATUS", "a b"),
        ("LAB_ATTR_SEND_ALLOWED", "1st"),
        ("LAB_POLICY", "lenient"),
        ("LAB_POLICY_ABSENT", "maybe"),
        ("LAB_NULL_SENDER", "yes"),
        ("LAB_MILTER", "yes"),
        ("LAB_STATUS_FREE", "2"),
        ("LAB_RELAYHOST", "a b"),
        ("LAB_BIND", "localhost"),
        ("LAB_SLOT", "63"),
        ("LAB_SLOT", "-1"),
        ("LAB_SLOT", "²"),
        ("LAB_SUBNETS", "10.0.0.0/30"),
        ("LAB_SUBNETS", "everywhere"),
        ("LAB_WAIT_SECONDS", "0"),
        ("LAB_WAIT_SECONDS", "nan"),
        ("LAB_READY_SECONDS", "soon"),
        ("LAB_COMPOSE_EXTRA", "missing.yaml"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_variable(
    tmp_path: Path, name: str, value: str
) -> None:
    """A bad value is a usage error that begins with the variable and its value."""
    with pytest.raises(UsageError, match=name):
        load_settings(tmp_path, {name: value})


def test_every_variable_is_documented() -> None:
    """`.env.example` has each variable that the settings read, with the default in force."""
    code = (ROOT / "labctl" / "settings.py").read_text()
    example = load_settings(ROOT / "docs", dict(_pairs((ROOT / ".env.example").read_text())))
    plain = load_settings(ROOT / "docs", {})
    assert dataclasses.asdict(example) == dataclasses.asdict(plain)
    documented = {name for name, _ in _pairs((ROOT / ".env.example").read_text())}
    read = {word.strip('"(),') for word in code.split() if word.strip('"(),').startswith("LAB_")}
    read |= {part.split('"')[1] for part in code.split("read.")[1:] if '"LAB_' in part[:60]}
    assert read <= documented


def _pairs(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def test_endpoints_survive_the_way_to_json_and_back() -> None:
    """What `endpoints -o json --secrets` prints, read back, describes the same stack."""
    endpoints = Endpoints.from_dict(STACK)
    assert endpoints.to_dict(secrets=True) == STACK
    assert Endpoints.from_dict(json.loads(json.dumps(endpoints.to_dict(secrets=True)))) == endpoints


def test_no_password_shows_unless_it_is_asked_for() -> None:
    """Neither the JSON without secrets nor any text form of the values holds a password."""
    endpoints = Endpoints.from_dict(STACK)
    shown = json.dumps(endpoints.to_dict(secrets=False)) + repr(endpoints) + str(endpoints)
    secret = Secret(PASSWORD)
    shown += f"{secret} {secret!r} {secret!s}" + repr([secret]) + repr({"x": secret})
    assert PASSWORD not in shown
    assert secret.reveal() == PASSWORD


@pytest.mark.parametrize("key", ["schema", "lab", "domain", "base_dn"])
def test_endpoints_that_lack_a_key_are_refused(key: str) -> None:
    """The error names the key."""
    with pytest.raises(UsageError, match=key):
        Endpoints.from_dict({name: value for name, value in STACK.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [("submission", 5), ("accounts", []), ("accounts", {"a": {}}), ("schema", "v9"),
     ("attributes", {"other": "x"}), ("policy_admin", "me")],
)  # fmt: skip
def test_endpoints_of_a_wrong_kind_are_refused(key: str, value: object) -> None:
    """A value of a wrong kind is a usage error, never a traceback."""
    with pytest.raises(UsageError):
        Endpoints.from_dict({**STACK, key: value})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'"x"'])
def test_a_file_that_is_no_endpoints_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Anything but a JSON object or a TOML document is a usage error that names the file."""
    file = tmp_path / "stack.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"stack\.json"):
        read_file(file, {})


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a" * 33, "a b", "a\n"])
def test_a_name_that_cannot_name_a_lab_is_refused(name: str) -> None:
    """Names become directories and labels, so they are plain words."""
    with pytest.raises(UsageError):
        checked_name(name)
