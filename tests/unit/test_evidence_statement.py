"""What a bundle states: verdicts first, what differs, what was left out; and nothing that leaks."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_report_sample import INTERRUPTED, MIXED, PASSED, stored

from labctl.endpoints import Endpoints, Login, Secret
from labctl.errors import LabNotReady
from labctl.events import Event
from labctl.evidence.masking import Mask
from labctl.evidence.snapshot import FOREIGN, Omission, Snapshot, differences, ldif, snapshot
from labctl.evidence.statement import Replayed, bundle
from labctl.evidence.verify import examine
from labctl.lab.provenance import clock
from labctl.protocols.entry import Entry

NOBODY = Endpoints("x", 0, "x.org", "dc=x", "hardened", None, {})
PASSWORD = "mQ3-vT9_xK2sLw8yRb1nZc5p"
ADMIN = Endpoints(
    "x", 0, "x.org", "dc=x", "hardened", None, {}, policy_admin=Login("cn=p", Secret(PASSWORD))
)


def made(
    path: Path,
    *runs: list[Event],
    before: Snapshot | None = None,
    after: Snapshot | None = None,
    endpoints: Endpoints = NOBODY,
    name: str = "alice-leaves",
) -> dict[str, str]:
    """Return the files of the bundle of these runs, which is whole."""
    replayed = [
        Replayed(Path(f"{name}.yaml"), "title: t\n", stored(path / f"{number}.jsonl", events))
        for number, events in enumerate(runs)
    ]
    place = path / "bundle"
    place.mkdir(exist_ok=True)
    kept = bundle(replayed, before or Snapshot(), after or Snapshot(), Mask.of(endpoints), place)
    assert kept is not None
    found = examine(b"".join(kept.packed()))
    assert found.whole, found.problems
    return {each: content.decode() for each, content in found.contents.items()}


def test_the_readme_begins_with_the_verdicts(tmp_path: Path) -> None:
    """Whoever opens it first knows how the runs ended, and why."""
    lines = made(tmp_path, PASSED, MIXED)["README.txt"].splitlines()
    assert lines[2:8] == [
        "Verdict",
        "  ✓ passed: Alice leaves the company",
        "      3 steps, 2 checks, 0.19 s",
        "  ✗ failed: Alice leaves the company",
        "      6 steps (3 passed, 1 failed, 1 error, 1 skipped), 4 checks, 6.41 s",
        "      step 4 failed",
    ]


def test_every_file_is_in_the_readme_and_explained(tmp_path: Path) -> None:
    """No file of the bundle is without a word, and none is named that is not there."""
    taken = Snapshot({"people.ldif": "x\n", "postfix/ldap_a.cf": "x\n", "postfix/main.cf": "x\n"})
    files = made(tmp_path, PASSED, before=taken, after=Snapshot({"people.ldif": "x\n"}))
    readme = files["README.txt"]
    for name in files:
        base = name.removeprefix("before/").removeprefix("after/")
        assert f"\n  {base}: " in readme
    assert "In before/ alone\n  postfix/ldap_a.cf" in readme


@pytest.mark.parametrize(
    ("events", "verdict", "code"), [(PASSED, "passed", 0), (MIXED, "failed", 1)]
)
def test_the_verdicts_are_there_for_programs(
    tmp_path: Path, events: list[Event], verdict: str, code: int
) -> None:
    """As JSON, with the numbers and the exit code."""
    data = json.loads(made(tmp_path, events)["verdicts.json"])
    assert data["schema"] == "labctl/v1"
    (run,) = data["runs"]
    assert (run["verdict"], run["exit_code"], run["run"]) == (verdict, code, "9f3c1a")


def test_a_run_that_broke_off_is_kept_as_such(tmp_path: Path) -> None:
    """Its verdict is that it was interrupted; nothing looks like an end."""
    files = made(tmp_path, INTERRUPTED)
    (run,) = json.loads(files["verdicts.json"])["runs"]
    assert (run["verdict"], run["exit_code"]) == ("interrupted", None)
    assert "! interrupted: Alice leaves the company" in files["README.txt"]
    assert "interrupted" in files["report.html"]


def test_the_transcript_is_kept_byte_for_byte(tmp_path: Path) -> None:
    """Where there is nothing to mask, it is the file that the run left."""
    files = made(tmp_path, MIXED)
    assert files["transcripts/001-alice-leaves.jsonl"] == (tmp_path / "0.jsonl").read_text()
    assert files["scenarios/001-alice-leaves.yaml"] == "title: t\n"


def test_a_scenario_may_have_any_name(tmp_path: Path) -> None:
    """In the archive it is a short and plain one."""
    files = made(tmp_path, PASSED, name="Überlänge " * 30)
    (name,) = [each for each in files if each.startswith("scenarios/")]
    assert name.isascii()
    assert len(name) < 60


def test_nothing_ran_nothing_is_kept(tmp_path: Path) -> None:
    """A bundle about no run would read like a success."""
    empty = Replayed(Path("x.yaml"), "", stored(tmp_path / "t.jsonl", []))
    for nothing in ([empty], []):
        assert bundle(nothing, Snapshot(), Snapshot(), Mask.of(NOBODY), tmp_path) is None


def test_a_password_in_any_file_is_masked_and_told(tmp_path: Path) -> None:
    """Should one turn up where none is expected, it is left out, and the README says where."""
    leaking = Snapshot({"postfix/main.cf": f"x = {PASSWORD}\n"})
    leaking.left_out.append(Omission("y", f"it said {PASSWORD}"))
    files = made(tmp_path, PASSED, before=leaking, endpoints=ADMIN)
    assert not [name for name, text in files.items() if PASSWORD in text]
    assert json.loads(files["verdicts.json"])["masked"] == {"before/postfix/main.cf": 1}
    assert "before/postfix/main.cf: 1 time\n" in files["README.txt"]


def test_what_differs_is_told_and_a_history_does_not_count(tmp_path: Path) -> None:
    """Attributes and configuration count; when an entry was written does not, nor do clocks."""
    before = Snapshot(
        {"people.ldif": "dn: a\nmail: x\nentryCSN: 1\n", "clocks.json": "1", "postfix/x.cf": "1"}
    )
    same = Snapshot({**before.files, "people.ldif": "dn: a\nmail: x\nentryCSN: 2\n"})
    same.files["clocks.json"] = "2"
    before.files["containers.json"] = '{\n  "image": "a",\n  "health": "healthy"\n}\n'
    same.files["containers.json"] = '{\n  "image": "a",\n  "health": "starting"\n}\n'
    assert differences(before, same) == []
    other = Snapshot({"people.ldif": "dn: a\nmail: y\n", "new.txt": ""})
    differing = ["containers.json", "new.txt", "people.ldif", "postfix/x.cf"]
    assert differences(before, other) == differing
    files = made(tmp_path, PASSED, before=before, after=other)
    assert json.loads(files["verdicts.json"])["differs"] == differing
    assert "What differs after it\n  containers.json\n  new.txt\n" in files["README.txt"]


def test_what_was_left_out_is_told_once_with_its_reason(tmp_path: Path) -> None:
    """With when it was missing."""
    paused = Omission("all of openldap", "it is paused")
    before, after = Snapshot(left_out=[paused]), Snapshot(left_out=[paused, Omission("x", "y")])
    readme = made(tmp_path, PASSED, before=before, after=after)["README.txt"]
    assert "  before and after: all of openldap: it is paused\n  after: x: y\n" in readme


def test_a_foreign_stack_says_what_is_not_there() -> None:
    """Without a lab and an account for its directory little is left, with the reasons."""
    taken = snapshot(NOBODY, None)
    assert set(taken.files) == {"endpoints.json", "versions.json"}
    entries, servers = taken.left_out
    assert (entries.what, servers.why) == ("people.ldif", FOREIGN)


def test_a_bundle_does_not_depend_on_the_host(tmp_path: Path) -> None:
    """Two processes, with another time zone and umask, write the same bytes."""
    path = stored(tmp_path / "t.jsonl", PASSED)
    code = (
        "import hashlib; from pathlib import Path; from labctl.endpoints import Endpoints;"
        "from labctl.evidence.masking import Mask; from labctl.evidence.snapshot import Snapshot;"
        "from labctl.evidence.statement import Replayed, bundle;"
        "e = Endpoints('x', 0, 'x.org', 'dc=x', 'hardened', None, {});"
        f"r = Replayed(Path('a.yaml'), 'x', Path({str(path)!r}));"
        f"b = bundle([r], Snapshot(), Snapshot(), Mask.of(e), Path({str(tmp_path)!r}));"
        "print(hashlib.sha256(b''.join(b.packed())).hexdigest())"
    )
    seen = {
        subprocess.run(
            ["bash", "-c", f'umask {mask}; exec "$@"', "-", sys.executable, "-c", code],
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for mask, zone, seed in (("022", "UTC", "1"), ("077", "Asia/Tokyo", "2"))
    }
    assert len(seen) == 1


def test_entries_are_ldif_whatever_they_hold() -> None:
    """What is not plain text is in base64, and no line is folded (RFC 2849)."""
    entry = Entry("uid=é,dc=x", {"cn": ("é" * 60, " x"), "mail": ("a@x.org",), "jpegPhoto": ("?",)})
    lines = ldif([entry], ("mail", "cn")).splitlines()
    assert lines[0].startswith("dn:: ")
    assert lines[1] == "mail: a@x.org"
    assert [line[:5] for line in lines[2:4]] == ["cn:: ", "cn:: "]
    assert len(lines) == 5, "only what was asked for"


class Telling:
    """Containers that answer everything with the same words."""

    def __init__(self, said: Callable[[], str]) -> None:
        self.said = said

    def execute(self, service: str, command: list[str]) -> str:  # noqa: ARG002
        """Answer."""
        return self.said()


def test_a_clock_is_set_beside_ours() -> None:
    """How far it is ahead is told with the time that asking took."""
    ours = iter([100.0, 100.2])
    found = clock(Telling(lambda: "103.1\n"), "postfix", lambda: next(ours))  # type: ignore[arg-type]
    assert found.ahead == pytest.approx(3.0)
    assert found.within == pytest.approx(0.1)


def test_a_clock_that_tells_no_time_is_no_crash() -> None:
    """It is left out, with what it said."""
    with pytest.raises(LabNotReady, match="does not tell the time but 'soon'"):
        clock(Telling(lambda: "soon"), "postfix", time.time)  # type: ignore[arg-type]
