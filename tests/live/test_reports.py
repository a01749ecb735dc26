"""Reports and evidence of runs on a real lab: whole however a run ends, and without passwords."""

import gzip
import io
import json
import re
import signal
import subprocess
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import LiveLab, docker_do
from junitparser import JUnitXml

ENDINGS = (".txt", ".jsonl", ".xml", ".html")
HASH = re.compile(rb"\{(?:ARGON2|SSHA|SHA|CRYPT|MD5|PBKDF2)[^}]*\}[^\s\"]", re.IGNORECASE)


def keeping(place: Path) -> list[str]:
    """Return the options that keep every kind of report, and the evidence, there."""
    reports = [part for ending in ENDINGS for part in ("--report", str(place / f"r{ending}"))]
    return [*reports, "--evidence", str(place / "e.tgz")]


def members(file: Path) -> dict[str, bytes]:
    """Return what a bundle holds, by the names below its one directory."""
    with tarfile.open(file) as tar:
        return {
            member.name.partition("/")[2]: (tar.extractfile(member) or io.BytesIO()).read()
            for member in tar
        }


def passwords(lab: LiveLab) -> dict[str, str]:
    """Return every password of the lab by the name that signs in with it."""
    data = lab.json("endpoints", "--secrets")
    admins = [data["directory_admin"], data["policy_admin"], *data["service_accounts"].values()]
    people = {each["login"]: each["password"] for each in data["accounts"].values()}
    return {each["dn"]: each["password"] for each in admins} | people


def traces(login: str, password: str) -> Iterator[bytes]:
    """Yield what would betray a password: itself, and any base64 of it, wherever it may begin."""
    yield password.encode()
    for text in (f"\0{login}\0{password}", f"{login}\0{login}\0{password}"):
        yield b64encode(text.encode()).rstrip(b"=")
    for shift in range(3):
        coded = b64encode(bytes(shift) + password.encode() + bytes(3))
        yield coded[4 if shift else 0 : len(coded) - 8]


def leaks(lab: LiveLab, contents: dict[str, bytes]) -> list[str]:
    """Return the names of those contents in which a password, or the hash of one, is found."""
    known = [trace for pair in passwords(lab).items() for trace in traces(*pair)]
    assert len(known) > 30
    return [
        name
        for name, content in contents.items()
        if HASH.search(content) or any(trace in content for trace in known)
    ]


@pytest.fixture(scope="module")
def kept(lab: LiveLab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reports and the evidence of three scenarios are, one of which shows passwords."""
    place = tmp_path_factory.mktemp("kept")
    lab.run("scenario", "offboarding", "anti-spoofing", "directory-rights", *keeping(place))
    return place


def test_every_report_is_of_the_same_runs(kept: Path) -> None:
    """Each form holds all three, in their order."""
    events = [json.loads(line) for line in (kept / "r.jsonl").read_text().splitlines()]
    runs = [event for event in events if event["event"] == "run-started"]
    assert [run["scenario"] for run in runs] == ["offboarding", "anti-spoofing", "directory-rights"]
    assert all(run["why"] for run in runs)
    report = JUnitXml.fromfile(str(kept / "r.xml"))
    assert [suite.name for suite in report] == [run["scenario"] for run in runs]
    assert (report.failures, report.errors) == (0, 0)
    for form in (".txt", ".html"):
        text = (kept / f"r{form}").read_text()
        places = [text.index(run["run"]) for run in runs]
        assert places == sorted(places)


def test_the_evidence_holds_what_an_auditor_asks_for(lab: LiveLab, kept: Path) -> None:
    """Transcripts, entries, configuration, identities, versions and clocks, before and after."""
    found = members(kept / "e.tgz")
    assert found["README.txt"].decode().splitlines()[2:4] == [
        "Verdict",
        "  ✓ passed: Alice leaves the company",
    ]
    data = json.loads(found["verdicts.json"])
    assert [run["verdict"] for run in data["runs"]] == ["passed"] * 3
    assert (data["left_out"], data["differs"], data["masked"]) == ([], [], {})
    entries = found["before/people.ldif"].decode()
    assert {f"uid: {name}" for name in lab.json("endpoints", "--secrets")["accounts"]} <= set(
        entries.splitlines()
    )
    assert "\ntnMailSendAllowed: TRUE\n" in entries
    assert found["after/postfix/postconf-n.txt"].decode() == lab.must("postfix", "postconf", "-n")
    maps = [name for name in found if name.startswith("before/postfix/ldap_")]
    assert len(maps) == len(lab.must("postfix", "sh", "-c", "ls /etc/postfix/ldap_*.cf").split())
    assert all(b"\nbind_pw = ***\n" in found[name] for name in maps)
    assert b"olcAccess: {0}" in found["after/openldap/config.ldif"]
    for service, each in json.loads(found["after/containers.json"])["services"].items():
        name = lab.container(service)
        assert each["image_id"] == docker_do("inspect", "-f", "{{.Image}}", name).strip()
        assert each["container_id"] == docker_do("inspect", "-f", "{{.Id}}", name).strip()


def test_the_evidence_tells_versions_as_the_servers_do(lab: LiveLab, kept: Path) -> None:
    """Each begins with what the server itself says; the clocks are those of one host."""
    found = members(kept / "e.tgz")
    versions = json.loads(found["before/versions.json"])["versions"]
    said = {
        "postfix": lab.must("postfix", "postconf", "-h", "mail_version"),
        "dovecot": lab.must("dovecot", "dovecot", "--version").split()[0],
        "labctl": lab.run("--version").split()[1],
        "docker": docker_do("version", "-f", "{{.Server.Version}}"),
    }
    for name, version in said.items():
        assert version.strip() in versions[name]
    assert {"slapd", "milter", "kernel", "docker's kernel", "labctl's commit"} <= set(versions)
    clocks = json.loads(found["after/clocks.json"])["clocks"]
    assert set(clocks) == {"openldap", "postfix", "dovecot", "milter"}
    assert all(abs(each["ahead"]) <= each["within"] + 0.01 for each in clocks.values())


def test_no_password_of_the_lab_is_in_anything_that_was_kept(lab: LiveLab, kept: Path) -> None:
    """Neither plainly nor in base64 nor as a hash: not in any member, not in any report."""
    contents = {path.name: path.read_bytes() for path in kept.iterdir()}
    contents["tar"] = gzip.decompress(contents.pop("e.tgz"))
    assert leaks(lab, {**contents, **members(kept / "e.tgz")}) == []


def test_the_search_for_passwords_would_find_one(lab: LiveLab) -> None:
    """The maps as they stand in the container hold one, and so does what AUTH PLAIN sends."""
    file = lab.must("postfix", "cat", "/etc/postfix/ldap_login_may_send.cf").encode()
    plain = f"\0alice\0{passwords(lab)['alice']}".encode()
    found = {
        "map": file,
        "PLAIN": b"AUTH PLAIN " + b64encode(plain),
        "longer": b64encode(b"12" + plain + b"3"),
        "hash": b"userPassword: {ARGON2}$argon2id$v=19",
        "nothing": b"nothing",
    }
    assert leaks(lab, found) == ["map", "PLAIN", "longer", "hash"]


def test_the_evidence_is_verified_with_labctl_and_without(
    lab: LiveLab, kept: Path, tmp_path: Path
) -> None:
    """By the command, and by the commands that the README shows."""
    file = kept / "e.tgz"
    assert lab.json("evidence", "verify", str(file))["whole"]
    readme = members(file)["README.txt"].decode()
    shown = re.search(r"Without labctl:  (.*)\n +(sha256sum.*)\n +(find.*)# (\d+):", readme)
    assert shown
    script = " && ".join(shown.groups()[:3]).replace("FILE.tgz", str(file))
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == shown[4]


def test_tampered_evidence_is_told(lab: LiveLab, kept: Path, tmp_path: Path) -> None:
    """A verdict that was turned in the transcript, the manifest left as it was, is noticed."""
    whole = gzip.decompress((kept / "e.tgz").read_bytes())
    place = tmp_path / "e.tgz"
    turned = whole.replace(b'"verdict": "passed"', b'"verdict": "failed"', 1)
    place.write_bytes(gzip.compress(turned))
    done = lab.ran("evidence", "verify", str(place))
    assert done.code == 1
    assert "transcripts/001-offboarding.jsonl: changed" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_reported_and_kept(
    lab: LiveLab, tmp_path: Path, number: signal.Signals
) -> None:
    """Exit code 130; every report says that it was interrupted, the evidence is whole, and what was
    changed is put back before it is looked at.
    """
    process = lab.start("scenario", "status-values", "-o", "jsonl", *keeping(tmp_path))
    assert process.stdout
    for line in process.stdout:
        if json.loads(line)["event"] == "change":
            process.send_signal(number)
            break
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    events = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert (events[-1]["event"], events[-1]["exit_code"]) == ("run-ended", 130)
    assert "\ninterrupted: " in (tmp_path / "r.txt").read_text()
    assert JUnitXml.fromfile(str(tmp_path / "r.xml")).errors >= 1
    assert "interrupted: What each pair of values means" in (tmp_path / "r.html").read_text()
    assert lab.json("evidence", "verify", str(tmp_path / "e.tgz"))["whole"]
    data = json.loads(members(tmp_path / "e.tgz")["verdicts.json"])
    assert data["runs"][0]["verdict"] == "interrupted"
    assert data["differs"] == [], "the directory is as before"
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"r{ending}" for ending in ENDINGS),
        "e.tgz",
    }


def test_a_run_that_failed_is_reported_and_kept(lab: LiveLab, tmp_path: Path) -> None:
    """The exit code is the run's, and the reason is in each report."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        "title: Dave may send\naccounts: [dave, bob]\nsteps:\n  - send: {from: dave, to: bob}\n"
    )
    lab.run("scenario", str(wrong), *keeping(tmp_path), code=1)
    reason = "expected 250 at EOM"
    for ending in ENDINGS:
        assert reason in (tmp_path / f"r{ending}").read_text()
    found = members(tmp_path / "e.tgz")
    assert json.loads(found["verdicts.json"])["runs"][0]["verdict"] == "failed"
    assert found["scenarios/001-wrong.yaml"] == wrong.read_bytes()


def test_where_the_stack_is_foreign_the_evidence_says_what_is_missing(
    lab: LiveLab, tmp_path: Path
) -> None:
    """Entries are read with the policy-admin of the endpoints file; servers are left out."""
    stack = tmp_path / "stack.json"
    stack.touch(0o600)
    stack.write_text(lab.run("endpoints", "-o", "json", "--secrets"))
    place = tmp_path / "e.tgz"
    options = ("--endpoints", str(stack), "--yes", "--evidence", str(place))
    lab.run("scenario", "send-disabled", *options)
    found = members(place)
    assert "before/people.ldif" in found
    assert not [name for name in found if "postfix" in name]
    (left_out,) = json.loads(found["verdicts.json"])["left_out"]
    assert left_out["what"] == "before and after: configuration, images, server versions, clocks"
    assert left_out["why"] in " ".join(found["README.txt"].decode().split())
    assert leaks(lab, found) == []
    assert lab.json("evidence", "verify", str(place))["whole"]


def test_a_server_that_cannot_be_looked_into_is_left_out_with_the_reason(
    scratch: LiveLab, tmp_path: Path
) -> None:
    """The run goes on, and the evidence is written, with one of them ended and another one gone."""
    docker_do("kill", scratch.container("milter"))
    docker_do("rm", "-f", scratch.container("dovecot"))
    place = tmp_path / "e.tgz"
    scratch.ran("scenario", "status-values", "--evidence", str(place), LAB_WAIT_SECONDS="2")
    data: dict[str, Any] = json.loads(members(place)["verdicts.json"])
    why = {each["what"]: each["why"] for each in data["left_out"]}
    assert why["before and after: all of milter"] == "it is exited"
    assert why["before and after: all of dovecot"] == "it is not there"
    assert "before/postfix/main.cf" in members(place)


def test_nothing_runs_where_something_cannot_be_written(lab: LiveLab, tmp_path: Path) -> None:
    """Told before anything is done, with no transcript and nothing left beside."""
    before = lab.json("user", "show", "alice")
    good = tmp_path / "r.html"
    bad = tmp_path / "nowhere" / "r.xml"
    done = lab.ran("scenario", "offboarding", "--report", str(good), "--report", str(bad))
    assert done.code == 2
    assert str(bad) in done.err
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []
    assert lab.json("user", "show", "alice") == before
