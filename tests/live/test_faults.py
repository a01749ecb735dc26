"""Whatever a scenario breaks is mended at its end, however that comes, or else by `labctl heal`."""

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import LiveLab, docker_do

from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.lab.faults import by_hand
from labctl.protocols.poll import poll

OUTSIDE = ("openldap: cut", "postfix: full", "dovecot: full", "openldap: full")
TO_BOB = ("send", "--from", "alice", "--to", "bob")


def story(directory: Path, *faults: str) -> str:
    """Write a scenario that breaks servers, and waits for what never comes."""
    lines = [
        f"  - fault: {{service: {service}, kind: {kind}}}\n"
        for service, _, kind in (fault.partition(": ") for fault in faults)
    ]
    file = directory / "broken.yaml"
    file.write_text(
        "title: Broken\naccounts: [alice, bob]\nsteps:\n"
        "  - send: {from: alice, to: bob, as: x}\n"
        f"{''.join(lines)}  - receive: {{account: alice, message: x, within: 300s}}\n"
    )
    return str(file)


_QUEUE_MANAGER = "grep -lsx qmgr /proc/[0-9]*/comm | cut -d/ -f3"


def queue_manager(lab: LiveLab) -> str:
    """Return the process of Postfix's queue manager, or nothing."""
    return lab.must("postfix", "sh", "-c", _QUEUE_MANAGER).strip()


def signalled(lab: LiveLab, name: str, program: str, service: str = "postfix") -> None:
    """Send a signal to processes of a server that do not run as root."""
    container = lab.container(service)
    image = docker_do("inspect", "--format", "{{.Config.Image}}", container).strip()
    beside = ["--network=none", "--pid", f"container:{container}", "--cap-add=KILL"]
    line = f"for p in /proc/[0-9]*; do grep -qsx {program} $p/comm && kill -{name} ${{p##*/}}; done"
    docker_do("run", "--rm", *beside, "--entrypoint=bash", image, "-c", f"{line}; true")


def ended_by(lab: LiveLab, number: signal.Signals, file: str) -> None:
    """Run a story until it waits, and send it a signal."""
    process = lab.start("scenario", file, "-o", "jsonl")
    assert process.stdout is not None
    for line in process.stdout:
        if '"step-started"' in line and '"receive"' in line:
            break
    process.send_signal(number)
    process.communicate(timeout=60)


def test_an_interrupted_run_mends_what_it_broke(scratch: LiveLab, tmp_path: Path) -> None:
    """A server that was cut off and full disks are well again, and nothing is left to be told."""
    ended_by(scratch, signal.SIGTERM, story(tmp_path, *OUTSIDE))
    done = scratch.ran(*TO_BOB)
    assert (done.code, done.out.strip()) == (0, "250 2.0.0 at EOM")
    assert "broken" not in done.err
    assert scratch.ran("heal").err == "Nothing was left broken.\n"


def test_what_a_killed_run_left_is_told_and_healed(scratch: LiveLab, tmp_path: Path) -> None:
    """The next commands say which servers are broken and how, until `heal` has mended them."""
    ended_by(scratch, signal.SIGKILL, story(tmp_path, *OUTSIDE, "milter: stop"))
    told = scratch.ran("status")
    assert told.code == 3
    for service, kinds in {
        "openldap": "cut, full",
        "postfix": "full",
        "dovecot": "full",
        "milter": "stop",
    }.items():
        assert f"{service} is broken ({kinds})" in told.err
    assert scratch.ran(*TO_BOB).code != 0
    scratch.run("heal")
    done = scratch.ran("scenario", "delivery")
    assert done.code == 0, done.out
    assert "broken" not in done.err


@pytest.mark.parametrize("command", ["up", "reset"])
def test_what_brings_a_lab_back_mends_it_too(
    scratch: LiveLab, tmp_path: Path, command: str
) -> None:
    """After a run was killed, the lab works again, and no command speaks of it any more."""
    ended_by(
        scratch, signal.SIGKILL, story(tmp_path, "dovecot: full", "openldap: cut", "milter: pause")
    )
    scratch.run(command)
    done = scratch.ran("scenario", "delivery")
    assert done.code == 0, done.out
    assert "broken" not in done.err


@pytest.mark.parametrize("service", ["openldap", "postfix", "dovecot", "milter"])
def test_a_server_that_stands_still_is_told_and_goes_on(scratch: LiveLab, service: str) -> None:
    """Its first process stopped by a signal, by whomever, the others pass its own check: it is not
    well for that, and `up` lets it go on.
    """
    docker_do("kill", "--signal=STOP", scratch.container(service))
    told = {row["service"]: row["health"] for row in scratch.json("status", code=3)["services"]}
    assert told[service] == "stands still"
    assert f"{service} is running, stands still" in scratch.run("doctor", code=3)
    scratch.run("up")
    scratch.run("status")


def test_a_server_that_ends_while_it_is_mended_is_started(scratch: LiveLab) -> None:
    """As one does whose fault was interrupted: the engine goes on to end it."""
    containers, name = LabContainers(Engine(), scratch.project), scratch.container("openldap")
    docker_do("kill", "--signal=STOP", name)
    with ThreadPoolExecutor(1) as pool:
        mended = pool.submit(containers.mend, "openldap", 60)
        poll(lambda: "ldapsearch" in docker_do("top", name), what="it to be asked", seconds=30)
        docker_do("kill", name)
        mended.result()
    scratch.run("status")


def test_what_a_fault_ran_beside_a_server_goes_with_the_lab(scratch: LiveLab) -> None:
    """Cut short between its making and its start, a container would be there for good."""
    containers = LabContainers(Engine(), scratch.project)
    for kind in ("pause", "slow", "full"):
        *_, command = by_hand(containers, "postfix", kind)
        docker_do("create", *command[3:])
    beside = ("ps", "-aq", "--filter", f"label=mail-policy-lab.beside={scratch.project}")
    assert len(docker_do(*beside).split()) == 3
    scratch.run("down")
    assert docker_do(*beside) == ""
    scratch.run("up")


def test_what_is_gone_is_broken_no_more(scratch: LiveLab, tmp_path: Path) -> None:
    """Of two servers that a killed run left broken one was removed: `heal` mends the other one,
    says what is missing, once, and `up` brings that up whole.
    """
    ended_by(scratch, signal.SIGKILL, story(tmp_path, "milter: stop", "dovecot: stop"))
    docker_do("rm", "-f", scratch.container("milter"))
    healed = scratch.ran("heal")
    assert healed.code == 3
    assert "there is no milter" in healed.err
    scratch.must("dovecot", "healthcheck")
    assert "broken" not in scratch.ran("up").err
    assert scratch.ran(*TO_BOB).code == 0


@pytest.mark.parametrize("kind", ["kill", "pause", "slow", "full"])
def test_a_server_that_is_gone_cannot_be_broken_further(
    scratch: LiveLab, tmp_path: Path, kind: str
) -> None:
    """The second fault is an error that says why, not skipped; what the first one did is mended."""
    done = scratch.ran("scenario", story(tmp_path, "postfix: kill", f"postfix: {kind}"))
    assert done.code == 3, done.out
    assert "postfix cannot be broken so: " in done.out
    assert scratch.ran(*TO_BOB).code == 0


@pytest.mark.parametrize(
    "fault", ["openldap: pause", "postfix: pause", "dovecot: cut", "postfix: full"]
)
def test_a_fault_ends_after_its_time(scratch: LiveLab, tmp_path: Path, fault: str) -> None:
    """With `for` the server comes back while the steps go on, with no step that heals."""
    file = tmp_path / "for.yaml"
    file.write_text(
        "title: For a while\naccounts: [alice, bob]\nsteps:\n"
        f"  - fault: {{service: {fault.replace(':', ', kind:')}, for: 500ms}}\n"
        "  - send: {from: alice, to: bob, as: x, within: 20s}\n"
        "  - receive: {account: bob, message: x, within: 20s}\n"
    )
    scratch.verdicts(str(file), code=0)


def test_a_full_disk_costs_no_mail(scratch: LiveLab, tmp_path: Path) -> None:
    """Postfix with a full disk takes nothing; mail for mailboxes whose disk is full waits."""
    file = tmp_path / "full.yaml"
    file.write_text(
        "title: Full\naccounts: [alice, bob]\nsteps:\n"
        "  - fault: {service: postfix, kind: full}\n"
        '  - send: {from: alice, to: bob, expect: {stage: EOM, reply: "451"}}\n'
        "  - heal: {service: postfix}\n"
        "  - fault: {service: dovecot, kind: full}\n"
        "  - send: {from: alice, to: bob, as: kept}\n"
        "  - log: {message: kept, matches: status=deferred}\n"
        "  - heal: {service: dovecot}\n"
        "  - receive: {account: bob, message: kept, within: 20s}\n"
    )
    scratch.verdicts(str(file), code=0)


def test_a_delivery_that_found_no_directory_goes_on_when_it_is_back(scratch: LiveLab) -> None:
    """Dovecot by itself asks a directory that was away only for somebody who comes later, and
    nobody comes here: the delivery would wait for 150 seconds, and be deferred.
    """
    directory, name = scratch.container("openldap"), scratch.container("dovecot")
    dovecot = Engine().client.containers.get(name)
    said = r"LHLO test\r\nMAIL FROM:<>\r\nRCPT TO:<bob@truenorth.local>\r\nQUIT\r\n"
    talk = f"exec 3<>/dev/tcp/127.0.0.1/24; printf '{said}' >&3; cat <&3"
    docker_do("stop", "-t", "5", directory)
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(docker_do, "exec", name, "timeout", "60", "bash", "-c", talk)

        def asked_in_vain() -> bool:
            _, connected, since = dovecot.logs().rpartition(b"Connect from 127.0.0.1")
            return bool(connected) and b"ldap_start_tls_s() failed" in since

        poll(asked_in_vain, what="the delivery", seconds=30)
        docker_do("start", directory)
        assert "250 2.1.5 OK" in answers.result()


@pytest.mark.parametrize("ending", ["goes on", "is killed"])
def test_dovecot_asks_a_directory_again_that_hung(scratch: LiveLab, ending: str) -> None:
    """STARTTLS was not answered in time: the next question would fail, or, where the connection
    ended, each one for as long as the process lives that asks. Nobody asks until it is mended.
    """
    containers, name = LabContainers(Engine(), scratch.project), scratch.container("dovecot")
    dovecot = Engine().client.containers.get(name)
    before = dovecot.logs()

    def said(line: bytes) -> bool:
        return line in dovecot.logs().removeprefix(before)

    containers.inflict("openldap", "pause")
    docker_do("restart", "-t", "3", name)  # it connects as it starts
    poll(lambda: said(b"ldap_start_tls_s() failed: Timed out"), what="Dovecot", seconds=30)
    if ending == "is killed":
        docker_do("kill", scratch.container("openldap"))
    containers.mend("openldap", 60)
    poll(lambda: said(b"wake-lookups: "), what="it to be mended", seconds=60)
    poll(lambda: scratch.ran(*TO_BOB).code == 0, what="mail to go on", seconds=20)


def test_a_lock_of_a_killed_dovecot_is_nobodys(scratch: LiveLab) -> None:
    """It names a process, and that number is another one's after a start: here the master's."""
    assert scratch.ran(*TO_BOB).code == 0
    scratch.run("inbox", "bob")
    scratch.must("dovecot", "doveadm", "mailbox", "create", "-u", "bob", "Locked")
    left = "for d in /home/bob/Maildir /home/bob/Maildir/.Locked; do"
    left += " printf 1:%s $(hostname) >$d/dovecot-uidlist.lock; done"
    scratch.must("dovecot", "sh", "-c", left)
    locks = ("dovecot", "find", "/home", "-name", "*.lock")
    assert len(scratch.must(*locks).split()) == 2
    docker_do("kill", scratch.container("dovecot"))
    scratch.run("up")
    assert scratch.must(*locks) == ""
    assert scratch.ran(*TO_BOB).code == 0
    scratch.run("inbox", "bob")
    scratch.must("dovecot", "doveadm", "mailbox", "delete", "-u", "bob", "Locked")


def test_a_dovecot_whose_waker_ended_is_not_well(scratch: LiveLab) -> None:
    """Nobody would have it ask a directory again that was away."""
    scratch.must("dovecot", "healthcheck")
    signalled(scratch, "KILL", "wake-lookups", "dovecot")
    assert scratch.inside("dovecot", "healthcheck").code == 1
    docker_do("restart", "-t", "3", scratch.container("dovecot"))  # as `doctor` says
    poll(lambda: scratch.inside("dovecot", "healthcheck").code == 0, what="it", seconds=30)


def test_a_full_disk_is_emptied_while_a_file_there_is_open(scratch: LiveLab) -> None:
    """As one is of a delivery that fails just then."""
    containers = LabContainers(Engine(), scratch.project)
    containers.inflict("dovecot", "full")
    open_there = "exec 3</home/bob/Maildir/tmp/full; echo open; sleep 60"
    holder = ["docker", "exec", scratch.container("dovecot"), "sh", "-c", open_there]
    with subprocess.Popen(holder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        containers.mend("dovecot", 60)
        process.kill()
    assert "full " not in scratch.must("dovecot", "cat", "/proc/mounts")
    scratch.run("scenario", "delivery")


def test_postfix_outlives_its_log(scratch: LiveLab) -> None:
    """Mail goes on when postlogd ends with more lines waiting than a socket holds by default."""
    assert scratch.ran(*TO_BOB).code == 0  # postlogd runs
    signalled(scratch, "STOP", "postlogd")
    for _ in range(4):  # six lines each
        assert scratch.ran(*TO_BOB).code == 0
    signalled(scratch, "KILL", "postlogd")
    assert scratch.ran(*TO_BOB).code == 0


def test_a_queue_manager_that_is_missing_is_started(scratch: LiveLab) -> None:
    """By who looks for it: Postfix itself would let it be until the next mail, or for 300 s."""
    before = queue_manager(scratch)
    signalled(scratch, "TERM", "qmgr")
    poll(lambda: queue_manager(scratch) == "", what="the queue manager to end", seconds=10)
    told = dict(line.split("=") for line in scratch.must("postfix", "fingerprint").splitlines())
    assert told["qmgr.pid"] == queue_manager(scratch) != before


def test_a_new_queue_manager_runs_when_postfix_has_read_anew(scratch: LiveLab) -> None:
    """And stays, whatever reload came right before, which may take what starts the next one."""
    look = f"echo qmgr=$({_QUEUE_MANAGER})"
    line = f"{look}; postfix reload; read-anew; {look}; sleep 1; {look}"
    for _ in range(10):
        before, done, after, later = scratch.must("postfix", "sh", "-c", line).split()
        assert done == "reloaded"
        assert after == later != before
        assert after != "qmgr="


def test_a_queue_manager_that_cannot_start_is_told(scratch: LiveLab) -> None:
    """In some ten seconds, and not as if Postfix had read its configuration."""
    scratch.must("postfix", "postconf", "-e", "qmgr_message_active_limit=nonsense")
    done = scratch.inside("postfix", "read-anew")
    assert done.code == 1
    assert "the queue manager does not start" in done.err
    assert "reloaded" not in done.out
    docker_do("restart", "-t", "3", scratch.container("postfix"))
    poll(lambda: scratch.inside("postfix", "fingerprint").code == 0, what="Postfix", seconds=30)


@pytest.mark.parametrize("kind", ["stop", "pause", "cut"])
def test_a_postfix_that_starts_while_dovecot_is_away_asks_to_try_again(
    scratch: LiveLab, tmp_path: Path, kind: str
) -> None:
    """A process that never saw Dovecot offers AUTH all the same, and answers it with 454."""
    file = tmp_path / "anew.yaml"
    file.write_text(
        "title: Anew\naccounts: [alice, bob]\nsteps:\n"
        f"  - fault: {{service: dovecot, kind: {kind}}}\n"
        "  - fault: {service: postfix, kind: kill}\n"
        "  - heal: {service: postfix}\n"
        '  - send: {from: alice, to: bob, expect: {stage: AUTH, reply: "454"}}\n'
        '  - send: {from: alice, to: bob, via: submissions, expect: {stage: AUTH, reply: "454"}}\n'
        "  - heal: {service: dovecot}\n"
        "  - send: {from: alice, to: bob, as: back, within: 2}\n"
    )
    scratch.verdicts(str(file), code=0)


def test_a_server_that_hangs_is_asked_in_vain(scratch: LiveLab, tmp_path: Path) -> None:
    """The shell that was open there hangs with it, and is not waited for."""
    file = tmp_path / "hangs.yaml"
    file.write_text(
        "title: Hangs\naccounts: [alice]\nsteps:\n"
        "  - fault: {service: openldap, kind: deny}\n"
        "  - heal: {service: openldap}\n"
        "  - fault: {service: openldap, kind: pause}\n"
        "  - fault: {service: openldap, kind: full}\n"
    )
    ended = scratch.verdicts(str(file), code=3)[-1]
    assert "openldap: read-only failed" in ended["reason"]
    scratch.run("send", *TO_BOB[1:])
    assert scratch.ran("status").err == ""


def test_what_a_host_lets_be_made_by_half_is_taken_back(scratch: LiveLab, tmp_path: Path) -> None:
    """Its engine refuses the second part of a pause: the step is skipped, and nothing hangs."""
    file = tmp_path / "half.yaml"
    file.write_text(
        "title: Half\naccounts: [alice, bob]\nsteps:\n"
        "  - fault: {service: openldap, kind: pause}\n"
        "  - heal: {service: openldap}\n"
        "  - send: {from: alice, to: bob}\n"
    )
    refusing = tmp_path / "docker"
    refusing.write_text(
        f"#!/bin/sh\ncase $* in *--cap-add=KILL*STOP*) exit 1 ;; esac\n"
        f'exec {shutil.which("docker")} "$@"\n'
    )
    refusing.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    paused, *_ = [
        e for e in scratch.verdicts(str(file), code=0, PATH=path) if e["event"] == "step-ended"
    ]
    assert paused["verdict"] == "skipped"
    assert "this host cannot make openldap pause" in paused["reason"]
    state = docker_do("inspect", "-f", "{{.State.Pid}}", scratch.container("openldap")).strip()
    assert Path(f"/proc/{state}/stat").read_text().rpartition(") ")[2][0] != "T"


def test_slow_works_or_says_why_not(scratch: LiveLab, tmp_path: Path) -> None:
    """Where the kernel has netem a reply takes longer than the delay; else the step is skipped,
    and says what the kernel lacks.
    """
    file = tmp_path / "slow.yaml"
    file.write_text(
        "title: Slow\naccounts: [alice, bob]\nsteps:\n"
        "  - fault: {service: openldap, kind: slow}\n"
        "  - send: {from: alice, to: bob, as: late, within: 30s}\n"
        "  - heal: {service: openldap}\n"
        "  - send: {from: alice, to: bob, as: soon}\n"
    )
    events = scratch.verdicts(str(file), code=0)
    slow, late, *_ = [e for e in events if e["event"] == "step-ended"]
    if slow["verdict"] == "skipped":
        assert "this host cannot make openldap slow" in slow["reason"]
        assert "qdisc" in slow["reason"]
    else:
        assert late["seconds"] > 0.3
