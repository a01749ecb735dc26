"""Each line of `labctl doctor` turns when exactly that is broken, and its command mends it."""

import base64
import datetime as dt
import json
import os
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import LABCTL, LiveLab, docker_do, environment

from labctl.lab.certificates import Host
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.protocols.poll import poll

LATELY = "refused sign-ins"


def ill(lab: LiveLab, *, lately: bool = False, **env: str) -> dict[str, dict]:
    """Return the lines that are not ok, by what they are about; the exit code is that of the first
    failure. Who was refused lately may have been so by another test.
    """
    done = lab.ran("doctor", "-o", "json", **env)
    assert "Traceback" not in done.err, done.err
    found = json.loads(done.out)
    failed = [row for row in found["findings"] if row["level"] == "fail"]
    assert done.code == (failed[0]["exit_code"] if failed else 0), done
    assert found["ok"] is not bool(failed)
    rows = [row for row in found["findings"] if row["level"] != "ok"]
    return {row["what"]: row for row in rows if lately or row["what"] != LATELY}


def only(lab: LiveLab, what: str, level: str, **env: str) -> dict:
    """Return the one line that is not ok, which must be this, with a command to mend it."""
    found = ill(lab, lately=what == LATELY, **env)
    assert {name: row["level"] for name, row in found.items()} == {what: level}, found
    assert found[what]["mend"]
    return found[what]


def mend(lab: LiveLab, row: dict) -> None:
    """Run the command of a line, as a person would, and see that all is well."""
    env = {**lab.env, "PATH": f"{LABCTL.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", row["mend"]], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{row['mend']}\n{done.stderr}"
    assert poll(lambda: not ill(lab), what="all to be well", seconds=30)


def reload(lab: LiveLab, change: str) -> None:
    """Change Postfix's configuration and let it be read."""
    old = "touch -d '5 seconds ago' *.cf"  # Postfix waits while a file is young
    lab.must("postfix", "bash", "-c", f"cd /etc/postfix && {change} && {old}")
    lab.must("postfix", "postfix", "reload")
    lab.must("postfix", "fingerprint")


# ---- This host


def test_settings_that_cannot_be_used_are_told(lab: LiveLab) -> None:
    """And nothing else is looked at, as nothing is known."""
    row = only(lab, "settings", "fail", LAB_POLICY="nonsense")
    assert "LAB_POLICY" in row["seen"]
    assert lab.ran("doctor", LAB_POLICY="nonsense").code == 2


def test_a_disk_without_room_is_told(state: Path, tmp_path: Path) -> None:
    """Where the lab's files would be."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", tmp_path], check=True)
    try:
        lab = LiveLab("small", {**environment(state, 10), "LAB_STATE_DIR": str(tmp_path)})
        row = only(lab, "disk", "fail")
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert f"({tmp_path})" in row["seen"]


def test_a_clock_that_has_gone_back_is_told(lab: LiveLab, state: Path) -> None:
    """The lab's files are from the future, then."""
    file = state / "labs" / lab.name / "lab.json"
    os.utime(file, (time.time() + 3600,) * 2)
    try:
        row = only(lab, "clock", "fail")
    finally:
        os.utime(file)
    assert "gone back" in row["seen"]


def test_a_lab_whose_files_are_gone_is_told(lab: LiveLab, tmp_path: Path) -> None:
    """Its containers are found by their labels, and the command removes them."""
    project = f"mail-policy-lab-{int(lab.env['LAB_SLOT']) + 11}"
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": "milter",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": "none",
        "mail-policy-lab.name": "ghost",
        "mail-policy-lab.state": str(tmp_path / "gone"),
    }
    image = docker_do("inspect", "-f", "{{.Config.Image}}", lab.container("milter")).strip()
    flags = [flag for label in labels.items() for flag in ("--label", "=".join(label))]
    left = docker_do("create", *flags, image).strip()
    try:
        row = only(lab, "leftovers", "warn")
        assert "'ghost'" in row["seen"]
        mend(lab, row)
        assert docker_do("ps", "-aq", "--filter", f"id={left}") == ""
    finally:
        subprocess.run(["docker", "rm", "-f", left], capture_output=True, check=False)


def test_a_subnet_that_another_network_has_is_told(state: Path) -> None:
    """Before the lab comes up: with whose it is, and another range."""
    lab = LiveLab("crowded", environment(state, 8))
    slot = int(lab.env["LAB_SLOT"])
    subnet = f"10.213.{slot // 16}.{slot % 16 * 16}/28"
    docker_do("network", "create", "--subnet", subnet, f"crowding-{slot}")
    try:
        row = only(lab, "subnet", "fail")
        assert row["exit_code"] == 4
    finally:
        docker_do("network", "rm", f"crowding-{slot}")
    assert f"crowding-{slot}" in row["seen"]


def test_who_listens_on_a_port_of_the_lab_is_told(lab: LiveLab, state: Path) -> None:
    """A process by its name, a container by its own."""
    absent = LiveLab("elsewhere", environment(state, 12))
    port = (2 + int(absent.env["LAB_SLOT"])) * 1000 + 587
    with socket.create_server(("127.0.0.1", port)):
        row = only(absent, "ports", "fail")
    assert f"127.0.0.1:{port} (submission)" in row["seen"]
    assert f"(process {os.getpid()}) listens there" in row["seen"]
    second = LiveLab("second", {**lab.env})
    row = only(second, "ports", "fail")
    assert lab.container("openldap") in row["seen"]


# ---- The servers


def test_a_server_that_does_not_run_is_told(scratch: LiveLab) -> None:
    """Killed, removed or paused: which, and what starts it."""
    docker_do("kill", scratch.container("milter"), scratch.container("openldap"))
    row = ill(scratch)["services"]
    assert row["seen"] == "openldap does not run; milter does not run"
    mend(scratch, row)
    docker_do("rm", "-f", scratch.container("milter"))
    mend(scratch, only(scratch, "services", "fail"))
    docker_do("pause", scratch.container("milter"))
    try:
        row = ill(scratch)["services"]
        assert row["seen"] == "milter is paused"
        mend(scratch, row)
    finally:
        subprocess.run(
            ["docker", "unpause", scratch.container("milter")], capture_output=True, check=False
        )


def test_who_has_the_port_of_a_server_that_cannot_start_is_told(scratch: LiveLab) -> None:
    """And ended by the command that mends it."""
    docker_do("stop", "-t", "5", scratch.container("postfix"))
    port = str(scratch.json("endpoints")["smtp"]["port"])
    serve = ("-m", "http.server", port, "--bind", "127.0.0.1")
    with subprocess.Popen([sys.executable, *serve], stderr=subprocess.DEVNULL) as other:
        poll(lambda: _is_open(int(port)) or None, what="somebody to listen", seconds=20)
        row = only(scratch, "services", "fail")
        assert f"(process {other.pid}) listens on 127.0.0.1:{port}" in row["seen"]
        mend(scratch, row)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_directory_whose_database_is_damaged_is_told_and_made_anew(scratch: LiveLab) -> None:
    """What its entrypoint says, and the one command: the people are there again."""
    name = scratch.container("openldap")
    spoil = "dd if=/dev/urandom of=/var/lib/ldap/data.mdb bs=1k count=16 conv=notrunc"
    scratch.must("openldap", "bash", "-c", spoil)
    docker_do("restart", "-t", "2", name)
    assert docker_do("wait", name).strip() == "78"
    row = only(scratch, "services", "fail")
    assert "where the volume is damaged" in row["seen"]
    mend(scratch, row)


def test_a_record_that_is_gone_is_told_and_made_anew(scratch: LiveLab, state: Path) -> None:
    """The lab's containers are known for its own, in its slot."""
    (state / "labs" / scratch.name / "lab.json").unlink()
    row = only(scratch, "services", "fail")
    assert "its lab.json is gone" in row["seen"]
    mend(scratch, row)


@pytest.mark.parametrize("again", [False, True])
def test_a_server_that_the_others_do_not_reach_is_told(scratch: LiveLab, *, again: bool) -> None:
    """Taken off the network, or put back on it by hand, without its name there: it answers its own
    check, and nobody else.
    """
    network, name = f"{scratch.project}_lab", scratch.container("openldap")
    docker_do("network", "disconnect", network, name)
    if again:
        docker_do("network", "connect", network, name)
    row = only(scratch, "services", "fail")
    assert row["seen"] == "openldap is not on the lab's network by its name"
    assert scratch.ran("status").code == 3
    mend(scratch, row)


def test_what_a_killed_command_left_broken_is_told(scratch: LiveLab, state: Path) -> None:
    """With how, and the command that mends it."""
    notes = state / "labs" / scratch.name / "broken"
    notes.mkdir(exist_ok=True)
    (notes / "1-killed.json").write_text('{"milter": ["stop"], "postfix": ["stop"]}\n')
    docker_do("stop", "-t", "5", scratch.container("milter"), scratch.container("postfix"))
    row = only(scratch, "services", "fail")
    assert row["seen"].endswith("milter (stop), postfix (stop)")
    assert row["mend"] == "labctl -n scratch heal"
    mend(scratch, row)


def test_a_port_where_nobody_listens_is_told(scratch: LiveLab) -> None:
    """Which port of the host, which of the container, and where it does listen."""
    reload(scratch, "postconf -MX 25/inet")
    row = only(scratch, "ports", "fail")
    assert "nobody listens on 25 (on " in row["seen"]
    assert "587" in row["seen"]
    mend(scratch, row)


def test_a_certificate_that_clients_refuse_is_told(scratch: LiveLab, state: Path) -> None:
    """One that has ended; `up` makes another one."""
    secrets = state / "labs" / scratch.name / "secrets"
    (secrets / "dovecot.pem").write_bytes(_ended(secrets))
    scratch.must("dovecot", "doveadm", "reload")
    row = poll(lambda: ill(scratch).get("certificates"), what="the new certificate", seconds=20)
    assert "dovecot's certificate: certificate has expired" in row["seen"]
    mend(scratch, row)


def _ended(secrets: Path) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key = serialization.load_pem_private_key((secrets / "dovecot.key").read_bytes(), None)
    ca_key = serialization.load_pem_private_key((secrets / "ca.key").read_bytes(), None)
    ca = x509.load_pem_x509_certificate((secrets / "ca.pem").read_bytes())
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(ca.subject)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(now - dt.timedelta(days=9))
    builder = builder.not_valid_after(now - dt.timedelta(days=1))
    names = Host("mail.truenorth.local").names("dovecot")
    signed = builder.add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("name", ["ca.pem", "dovecot.key"])
def test_a_damaged_certificate_is_told(scratch: LiveLab, state: Path, name: str) -> None:
    """Of the CA, without which nobody is trusted, or of a server that still has the old one."""
    (state / "labs" / scratch.name / "secrets" / name).write_text("nonsense")
    row = ill(scratch)["certificates"]
    assert name.partition(".")[0] in row["seen"]
    mend(scratch, row)


def test_a_container_whose_clock_is_off_is_told(scratch: LiveLab, tmp_path: Path) -> None:
    """By how much; containers share this host's clock, so one is made to say another time."""
    liar = tmp_path / "date"
    liar.write_text('#!/bin/sh\nexec /bin/date -d "1 hour ago" "$@"\n')
    liar.chmod(0o755)
    extra = tmp_path / "extra.yaml"
    extra.write_text(f"services: {{milter: {{volumes: ['{liar}:/usr/local/bin/date:ro']}}}}\n")
    scratch.run("up", LAB_COMPOSE_EXTRA=str(extra))
    row = only(scratch, "clocks", "fail")
    assert row["seen"].startswith("milter's clock is -3")


def test_a_place_without_room_is_told(scratch: LiveLab) -> None:
    """Where a server writes; a start empties what is in memory."""
    scratch.inside("postfix", "dd", "if=/dev/zero", "of=/tmp/full", "bs=1M")
    row = only(scratch, "space", "fail")
    assert "/tmp of postfix is full" in row["seen"]  # noqa: S108
    mend(scratch, row)


def test_a_server_near_its_limit_is_told(scratch: LiveLab) -> None:
    """Of processes, which are counted at once."""
    scratch.must("milter", "bash", "-c", "for i in $(seq 238); do sleep 600 & done; exit 0")
    row = only(scratch, "limits", "warn")
    assert row["seen"].startswith("milter uses ")
    mend(scratch, row)


# ---- The directory and the policy


def test_a_directory_that_refuses_its_administrator_is_told(scratch: LiveLab) -> None:
    """His password was changed in the running server; only what asks as him is wrong, too."""
    change = (
        "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nreplace: olcRootPW\nolcRootPW: x\n"
    )
    scratch.must("openldap", "ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///", stdin=change)
    found = ill(scratch)
    assert set(found) == {"directory", "policy attributes"}
    assert "refuses the name or the password" in found["directory"]["seen"]
    mend(scratch, found["directory"])


def test_nothing_is_asked_of_a_directory_that_hangs(scratch: LiveLab) -> None:
    """It would take minutes: what it would be asked is left out."""
    docker_do("kill", "-s", "STOP", scratch.container("openldap"))
    try:
        row = only(scratch, "services", "fail")
    finally:
        docker_do("kill", "-s", "CONT", scratch.container("openldap"))
    assert row["seen"] == "openldap is running, stands still"


def test_a_postfix_that_hangs_is_not_waited_for(scratch: LiveLab) -> None:
    """Doctor says so, and `queue` gives up."""
    containers = LabContainers(Engine(), scratch.project)
    containers.inflict("postfix", "pause")
    try:
        row = only(scratch, "services", "fail")
        done = scratch.ran("queue")
    finally:
        containers.mend("postfix", 30)
    assert row["seen"] == "postfix is running, stands still"
    assert done.code == 3
    assert "Postfix does not tell about its queue" in done.err


def test_a_policy_that_postfix_does_not_see_is_told(scratch: LiveLab) -> None:
    """A rule that hides it; slapd's start renders its own rules."""
    scratch.must("openldap", "hide-policy", "on")
    found = ill(scratch)
    assert set(found) == {"policy attributes", "enforcement"}, found
    assert "cannot see the policy attributes" in found["policy attributes"]["seen"]
    assert "is told 450" in found["enforcement"]["seen"]
    mend(scratch, found["policy attributes"])


LISTS = "smtpd_{client,sender,data,end_of_data}_restrictions=permit_sasl_authenticated"

RELAY = "mynetworks=0.0.0.0/0 relay_relay_restrictions=permit_mynetworks,reject_unauth_destination"


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (LISTS, "dave may not send, and Postfix answers 250"),
        (RELAY, "port 25 relays for anybody: 250"),
    ],
)
def test_a_postfix_that_lets_through_is_told(scratch: LiveLab, change: str, seen: str) -> None:
    """Whoever changed its rules as it runs: it is asked, as a client would."""
    reload(scratch, f"postconf -e {change}")
    row = only(scratch, "enforcement", "fail")
    assert row["seen"].startswith(seen)
    mend(scratch, row)


def test_a_policy_that_is_only_rehearsed_is_told(scratch: LiveLab) -> None:
    """With the switch that ends it."""
    scratch.run("shadow", "--on")
    mend(scratch, only(scratch, "enforcement", "fail"))


# ---- People and mail


def test_a_domain_in_two_classes_is_told(scratch: LiveLab) -> None:
    """Which domain, and which two."""
    reload(scratch, "postconf -e mydestination=truenorth.local")
    row = only(scratch, "domains", "fail")
    assert "mydestination and virtual_mailbox_domains" in row["seen"]
    mend(scratch, row)


@pytest.mark.parametrize("who", ["carol", "dave"])
def test_a_password_that_the_directory_does_not_take_is_told(scratch: LiveLab, who: str) -> None:
    """The directory refuses, and its entry has another password; `up` puts it right. Of one who may
    not send, that is no finding of the policy's.
    """
    dn = f"uid={who},ou=users,{scratch.json('endpoints')['base_dn']}"
    scratch.must("openldap", "ldappasswd", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///", "-s", "x", dn)
    row = only(scratch, "sign-in", "fail")
    assert row["seen"].startswith(f"the directory refuses {who}: the entry uid={who}")
    mend(scratch, row)


def test_a_person_without_an_entry_is_told(scratch: LiveLab) -> None:
    """The directory refuses, as it has nobody of that name."""
    dn = f"uid=carol,ou=users,{scratch.json('endpoints')['base_dn']}"
    scratch.must("openldap", "ldapdelete", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///", dn)
    row = ill(scratch)["sign-in"]
    assert row["seen"] == "the directory refuses carol: there is no such entry"
    mend(scratch, row)


def test_a_dovecot_that_refuses_whom_the_directory_takes_is_told(scratch: LiveLab) -> None:
    """With the reply and the line that it logged."""
    scratch.must(
        "dovecot",
        "bash",
        "-c",
        "sed -i 's/^pass_filter.*/pass_filter = (uid=nobody)/' /etc/dovecot/dovecot-ldap.conf.ext"
        " && doveadm reload",
    )
    row = poll(lambda: ill(scratch).get("sign-in"), what="a refusal", seconds=30)
    assert row["seen"].startswith("the directory takes alice's password, and imap refuses alice")
    assert "dovecot logged: " in row["seen"]
    scratch.must("dovecot", "true")
    docker_do("restart", "-t", "5", scratch.container("dovecot"))


def test_somebody_who_was_refused_lately_is_told(scratch: LiveLab) -> None:
    """Who, how often, which server's words, and whether there is such an entry."""
    port = scratch.json("endpoints")["submissions"]["port"]
    for name in ("mallory", "mallory", "carol"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP_SSL("127.0.0.1", port, context=context) as smtp:
            smtp.ehlo()
            token = base64.b64encode(f"\0{name}\0wrong".encode()).decode()
            assert smtp.docmd("AUTH", f"PLAIN {token}")[0] == 535
    row = only(scratch, LATELY, "warn")
    assert row["seen"].startswith("mallory was refused 2 times")
    assert "SASL PLAIN authentication failed" in row["seen"]
    assert row["seen"].endswith("there is no such entry")
    assert row["mend"] == "labctl -n scratch logs --account mallory"


@contextmanager
def stuck(lab: LiveLab) -> Iterator[None]:
    """Let mail wait in the queue, as Postfix delivers to where nobody listens."""
    reload(lab, "postconf -e virtual_transport=lmtp:inet:127.0.0.1:1")
    lab.run("send", "--from", "alice", "--to", "bob", "--subject", "Stuck")
    yield
    reload(lab, "sed -i 's/^virtual_transport.*/virtual_transport = lmtp:inet:dovecot:24/' main.cf")


def test_mail_that_does_not_arrive_is_told_and_sent_when_the_cause_is_gone(
    scratch: LiveLab,
) -> None:
    """Why, since when; `queue` shows it, and `queue --flush` has it delivered."""
    with stuck(scratch):
        row = poll(lambda: ill(scratch).get("queue"), what="a refusal", seconds=30)
        assert "Connection refused" in row["seen"]
        [message] = scratch.json("queue")["messages"]
        assert message["from"] == "alice@truenorth.local"
        assert message["to"][0]["address"] == "bob@truenorth.local"
        assert "Connection refused" in message["why"]
        assert message["queue_id"] in scratch.run("queue")
    mend(scratch, row)
    assert scratch.json("inbox", "bob")["messages"][-1]["subject"] == "Stuck"


def test_mail_on_hold_is_told_and_released(scratch: LiveLab) -> None:
    """It would wait for ever, and says so."""
    with stuck(scratch):
        scratch.must("postfix", "postsuper", "-h", "ALL")
        assert scratch.json("queue")["messages"][0]["why"].startswith("on hold")
    row = only(scratch, "queue", "warn")
    assert "on hold" in row["seen"]
    mend(scratch, row)
    assert scratch.json("inbox", "bob")["messages"][-1]["subject"] == "Stuck"


def uids(lab: LiveLab) -> list[tuple[int, str]]:
    """Return the UIDs and subjects of Bob's mail."""
    return [(mail["uid"], mail["subject"]) for mail in lab.json("inbox", "bob")["messages"]]


def test_an_index_that_dovecot_cannot_read_is_told_and_made_anew(scratch: LiveLab) -> None:
    """Files that became root's; messages keep their UIDs."""
    for number in range(3):
        scratch.run("send", "--from", "alice", "--to", "bob", "--subject", f"Number {number}")
    poll(lambda: len(uids(scratch)) >= 3, what="three messages", seconds=20)
    before = uids(scratch)
    scratch.must("dovecot", "sh", "-c", "chown root:root /home/bob/Maildir/dovecot.index*")
    row = only(scratch, "mailboxes", "fail")
    assert row["seen"].startswith("bob: /home/bob/Maildir/dovecot.index")
    assert row["mend"] == "labctl -n scratch mailbox reindex bob"
    mend(scratch, row)
    assert uids(scratch) == before
    assert f"bob: {len(before)} messages." in scratch.run("mailbox", "reindex", "bob")


def test_an_index_that_dovecot_mends_by_itself_is_told_once(scratch: LiveLab) -> None:
    """A damaged cache; the next look finds nothing."""
    scratch.run("send", "--from", "alice", "--to", "bob")
    poll(lambda: uids(scratch) or None, what="a message", seconds=20)
    scratch.must("dovecot", "sh", "-c", "echo x > /home/bob/Maildir/dovecot-uidlist")
    row = only(scratch, "mailboxes", "warn")
    assert "bob: Dovecot mended it just now" in row["seen"]
    assert ill(scratch) == {}


def test_mailboxes_that_are_missing_are_told_and_made(scratch: LiveLab) -> None:
    """Of one person, or of all, as an `up` that was cut short leaves them."""
    scratch.must("dovecot", "rm", "-r", "/home/bob")
    row = only(scratch, "mailboxes", "fail")
    assert row["seen"] == "bob: there is no Maildir"
    scratch.must("dovecot", "bash", "-c", "rm -r /home/*")
    row = only(scratch, "mailboxes", "fail")
    assert row["seen"].startswith("alice: there is no Maildir (and ")
    mend(scratch, row)


def test_dovecot_is_not_asked_for_each_mailbox_while_it_has_nobody_to_ask(scratch: LiveLab) -> None:
    """The first that it cannot tell about ends the look: each would take a quarter of a minute."""
    name = scratch.container("openldap")
    docker_do("kill", "-s", "STOP", name)
    try:
        done = scratch.inside("dovecot", "maildirs", "check")
    finally:
        docker_do("kill", "-s", "CONT", name)
    assert done.code == 1
    assert done.err.count("Dovecot cannot be told who") == 1


def test_a_mailbox_of_nobody_is_told(lab: LiveLab) -> None:
    """Exit 2 and the command that lists people."""
    done = lab.ran("mailbox", "reindex", "nobody")
    assert done.code == 2
    assert f"labctl -n {lab.name} user list" in done.err
