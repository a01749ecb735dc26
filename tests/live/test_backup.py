"""A lab that was restored is the lab that was kept: every entry, every message, the queue."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LiveLab, docker_do, environment

from labctl.protocols.poll import poll

SLAPCAT = (
    *("setpriv", "--reuid=openldap", "--regid=openldap", "--clear-groups"),
    *("bash", "-c", "slapcat -n 1 -F /run/slapd/slapd.d -o ldif-wrap=no"),
)
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "grace")
FIELDS = "mailbox uid flags guid date.received size.physical text"


def entries(lab: LiveLab) -> dict[str, list[str]]:
    """Return every entry with all attributes, operational ones too, by DN; those of the services'
    accounts, which each start of slapd makes anew, by what is not.
    """
    found = {}
    for record in lab.must("openldap", *SLAPCAT).strip().split("\n\n"):
        dn, *lines = record.splitlines()
        if ",ou=services," in dn:
            anew = ("userPassword", "entry", "createTimestamp", "modify", "creators", "modifiers")
            lines = [line for line in lines if not line.startswith(anew)]
        found[dn] = sorted(lines)
    return found


def messages(lab: LiveLab) -> dict[str, str]:
    """Return all that IMAP would tell of everybody's mail, by person."""
    said = {}
    for name in PEOPLE:
        status = ("doveadm", "-f", "tab", "mailbox", "status", "-u", name)
        said[name] = lab.must("dovecot", *status, "messages uidnext uidvalidity unseen", "*")
        fetch = ("doveadm", "-f", "pager", "fetch", "-u", name, FIELDS, "all")
        # Recent is a session's, and there is none.
        said[name] += lab.must("dovecot", *fetch).replace(" \\Recent", "").replace("\\Recent ", "")
    return said


def queued(lab: LiveLab) -> list[tuple[str, str, str, int, str]]:
    """Return the queue by what is in it; a queue id holds a file's inode, and is another one."""
    found = []
    for row in map(json.loads, lab.must("postfix", "postqueue", "-j").splitlines()):
        text = lab.must("postfix", "postcat", "-hbq", row["queue_id"])
        to = ",".join(each["address"] for each in row["recipients"])
        found.append((row["queue_name"], row["sender"], to, row["arrival_time"], text))
    return sorted(found)


def fill(lab: LiveLab) -> None:
    """Do to a lab what people do: a person more, policies, folders, flags, mail on hold."""
    lab.run("user", "add", "grace", "--alias", "g.hopper@truenorth.local")
    lab.run("user", "offboard", "carol")
    lab.run("user", "disable", "erin")
    for number in range(3):
        lab.run("send", "--from", "alice", "--to", "bob", "--to", "grace", "--subject", f"{number}")
    poll(lambda: len(lab.json("inbox", "grace")["messages"]) >= 3, what="mail", seconds=20)
    poll(lambda: len(lab.json("inbox", "bob")["messages"]) >= 3, what="mail", seconds=20)
    for command in (
        ("mailbox", "create", "-u", "bob", "Projects/Größe"),
        ("copy", "-u", "bob", "Projects/Größe", "mailbox", "INBOX", "uid", "2"),
        ("flags", "add", "-u", "bob", "\\Seen \\Flagged $Label1 private", "uid", "1"),
        ("expunge", "-u", "bob", "mailbox", "INBOX", "uid", "2"),
    ):
        lab.must("dovecot", "doveadm", *command)
    change = "cd /etc/postfix; postconf -e virtual_transport=lmtp:inet:127.0.0.1:1"
    lab.must("postfix", "bash", "-c", f"{change}; touch -d '5 seconds ago' *.cf; postfix reload")
    lab.must("postfix", "fingerprint")
    for number in range(2):
        lab.run("send", "--from", "dave", "--to", "bob", "--subject", "x", code=1)
        lab.run("send", "--from", "alice", "--to", "bob", "--subject", f"Held {number}")
    lab.must("postfix", "postsuper", "-h", "ALL")
    messages(lab)  # a mailbox that nobody opened yet gets its UIDVALIDITY then


@pytest.fixture
def twin(state: Path) -> Iterator[LiveLab]:
    """A lab of another name and slot that is not there yet, and its files somewhere else."""
    home = {"LAB_STATE_DIR": str(state / "another-host")}
    lab = LiveLab("twin", {**environment(state, 13), **home})
    yield lab
    if not absent(lab):
        lab.run("down", "--volumes")
        assert absent(lab)


def absent(lab: LiveLab) -> bool:
    """Say whether nothing at all is left of a lab."""
    label = f"label=com.docker.compose.project=mail-policy-lab-{lab.env['LAB_SLOT']}"
    kinds = (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
    left = "".join(docker_do(*kind, "--filter", label) for kind in kinds)
    home = Path(lab.env["LAB_STATE_DIR"])
    return left == "" and not (home / "labs" / lab.name).exists()


def standing(lab: LiveLab) -> list[str]:
    """Return the services of which a process is stopped."""
    states = "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | cut -c1"
    return [
        service
        for service in ("dovecot", "postfix")
        if "T" in lab.must(service, "sh", "-c", states)
    ]


def test_a_restored_lab_is_the_lab_that_was_kept(
    scratch: LiveLab, twin: LiveLab, tmp_path: Path
) -> None:
    """Entries with their operational attributes, messages with UIDs and flags, the queue, passwords
    and the CA; and it works.
    """
    fill(scratch)
    file = tmp_path / "lab.tgz"
    told = scratch.run("backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert subprocess.run(["sha256sum", "-c"], input=told, text=True, check=False).returncode == 0
    assert standing(scratch) == []
    before = entries(scratch), messages(scratch), queued(scratch)
    secrets = scratch.json("endpoints", "--secrets")
    ca = Path(secrets["ca_file"]).read_bytes()
    assert len(before[2]) == 2
    twin.run("restore", str(file), "--sha256", told.split()[0])
    assert (entries(twin), messages(twin), queued(twin)) == before
    other = twin.json("endpoints", "--secrets")
    for kept in ("accounts", "directory_admin", "policy_admin", "service_accounts", "policy"):
        assert other[kept] == secrets[kept]
    assert Path(other["ca_file"]).read_bytes() == ca
    assert other["slot"] != secrets["slot"]
    twin.run("queue", "--release")
    poll(lambda: not queued(twin), what="held mail", seconds=20)
    newest = [mail["subject"] for mail in twin.json("inbox", "bob")["messages"]][-2:]
    assert sorted(newest) == ["Held 0", "Held 1"]
    assert "250 2.0.0" in twin.run("send", "--from", "grace", "--to", "bob")
    twin.run("send", "--from", "carol", "--to", "bob", code=1)
    twin.run("doctor")
    twin.run("up")
    twin.run("reset")
    twin.run("scenario", "offboarding")


def test_mail_that_was_accepted_is_in_the_backup_once(
    scratch: LiveLab, twin: LiveLab, tmp_path: Path
) -> None:
    """While people go on sending: delivered or in the queue, nothing twice, nothing lost."""
    stack = tmp_path / "stack.json"
    stack.touch(mode=0o600)
    stack.write_text(scratch.run("endpoints", "-o", "json", "--secrets"))
    # As to a stack of somebody else's: for a run on the lab itself a backup would wait.
    many = str(_many(tmp_path, 60))
    sender = scratch.start("scenario", many, "-o", "jsonl", "--endpoints", str(stack), "--yes")
    assert sender.stdout is not None
    sent = 0
    for line in sender.stdout:
        sent += '"reply"' in line and "250 2.0.0" in line
        if sent == 10:
            break
    file = tmp_path / "busy.tgz"
    scratch.run("backup", str(file))
    rest, _ = sender.communicate(timeout=120)
    assert sender.returncode == 0, rest[-2000:]
    twin.run("restore", str(file))
    poll(lambda: not queued(twin), what="the queue to be empty", seconds=30)
    subjects = [m["subject"] for m in twin.json("inbox", "bob", "--count", "100")["messages"]]
    assert len(subjects) >= 10
    # In whatever order: those that waited in the queue were delivered later.
    assert sorted(subjects) == sorted(f"Number {number}" for number in range(len(subjects)))


def _many(where: Path, count: int) -> Path:
    story = where / "many.yaml"
    steps = "".join(
        f"  - send: {{from: alice, to: bob, subject: Number {number}, as: m{number}}}\n"
        for number in range(count)
    )
    story.write_text(f"title: Much mail\naccounts: [alice, bob]\nsteps:\n{steps}")
    return story


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_backup_leaves_the_lab_running_and_no_file(
    lab: LiveLab, tmp_path: Path, number: signal.Signals
) -> None:
    """While something stands still, killed even: what stood goes on, and is told of after that, as
    `heal` lets go on what might still stand.
    """
    process = lab.start("backup", str(tmp_path / "lab.tgz"))

    def held() -> list[str] | None:
        """Stop it, and let it go on unless something stands still."""
        assert process.poll() is None, "it was over before it was seen to stand"
        process.send_signal(signal.SIGSTOP)
        if found := standing(lab):
            return found
        process.send_signal(signal.SIGCONT)
        return None

    # The pause grows to eight times as much; it stands for less than a second.
    stood = poll(held, what="the lab to stand still", seconds=120, pause=0.0125)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == (-number if number is signal.SIGKILL else 130)
    poll(lambda: not standing(lab), what="the lab to go on", seconds=20)
    assert list(tmp_path.iterdir()) == []
    told = lab.ran("status")
    assert told.code == 0
    left = stood if number is signal.SIGKILL else []
    assert all(f"{service} is broken (pause)" in told.err for service in left), told.err
    assert ("is broken" in told.err) == bool(left), told.err
    lab.run("heal")
    assert lab.ran("status").err == ""


def test_an_interrupted_restore_leaves_nothing(lab: LiveLab, twin: LiveLab, tmp_path: Path) -> None:
    """No container, volume, network or file; then it can be restored."""
    file = tmp_path / "lab.tgz"
    lab.run("backup", str(file))
    process = twin.start("restore", str(file))
    assert process.stderr is not None
    for line in process.stderr:
        if "starting" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert absent(twin)
    twin.run("restore", str(file), "--check")
    assert absent(twin)
    twin.run("restore", str(file))


def test_a_restore_that_was_killed_is_no_lab(lab: LiveLab, twin: LiveLab, tmp_path: Path) -> None:
    """`up` says so in place of starting half of it, and `down --volumes` makes room."""
    file = tmp_path / "lab.tgz"
    lab.run("backup", str(file))
    process = twin.start("restore", str(file))
    assert process.stderr is not None
    for line in process.stderr:
        if "filling" in line:
            break
    process.kill()
    process.communicate(timeout=60)
    done = twin.ran("up")
    assert (done.code, "half of a backup" in done.err) == (3, True)
    assert twin.ran("restore", str(file)).code == 2
    twin.run("down", "--volumes")
    twin.run("restore", str(file))


def test_what_cannot_be_restored_changes_nothing(
    lab: LiveLab, twin: LiveLab, tmp_path: Path
) -> None:
    """A damaged file, another one, other settings, entries that slapd does not take, a lab that is
    there, a slot that is taken.
    """
    file, bad = tmp_path / "lab.tgz", tmp_path / "bad.tgz"
    digest = lab.run("backup", str(file)).split()[0]
    data = file.read_bytes()
    bad.write_bytes(data[:-20])
    assert "cannot be restored" in _refused(twin, str(bad))
    bad.write_bytes(data + b"x")
    _refused(twin, str(bad))
    _refused(twin, str(tmp_path / "none.tgz"))
    _refused(twin, str(tmp_path))
    assert digest in _refused(twin, str(file), "--sha256", "0" * 64)
    assert digest in _refused(twin, str(file), "--sha256", "")
    assert "LAB_DOMAIN=truenorth.local" in _refused(twin, str(file), LAB_DOMAIN="x.example")
    done = lab.ran("restore", str(file))
    assert (done.code, "already" in done.err) == (2, True)
    crowded = LiveLab("twin", {**twin.env, "LAB_SLOT": lab.env["LAB_SLOT"]})
    assert crowded.ran("restore", str(file)).code == 4
    assert absent(twin)
    lab.run("status")


def _refused(lab: LiveLab, *arguments: str, **env: str) -> str:
    done = lab.ran("restore", *arguments, **env)
    assert done.code == 2, done
    assert "Traceback" not in done.err
    assert absent(lab)
    return done.err


def test_a_lab_that_is_not_well_is_not_kept(scratch: LiveLab, tmp_path: Path) -> None:
    """Exit 3 with the command that says why, and no file."""
    docker_do("kill", scratch.container("milter"))
    done = scratch.ran("backup", str(tmp_path / "lab.tgz"))
    assert done.code == 3
    assert "milter" in done.err
    assert "doctor" in done.err
    assert list(tmp_path.iterdir()) == []
    assert scratch.ran("backup", str(tmp_path / "none" / "lab.tgz")).code == 2
