"""What goes wrong on a host gets a clear error and the documented exit code."""

import socket
from pathlib import Path

from conftest import LiveLab, bring_up, docker_do, environment

# The queue of a socket is filled: the kernel lets further connections to it go unanswered, as a
# host that is gone does.
UNANSWERED = """
use Socket qw(:DEFAULT SOCK_NONBLOCK);
$^F = 99;
my $address = pack_sockaddr_in 24, inet_aton '127.0.0.9';
socket my $full, PF_INET, SOCK_STREAM, 0;
bind $full, $address and listen $full, 0 or die;
my @waiting = map {
    socket my $one, PF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0;
    connect $one, $address;
    $one
} 1 .. 2;
$ENV{LAB_DOVECOT_HOST} = '127.0.0.9';
exec 'timeout', 40, 'lmtp-path';
"""


def test_a_lab_that_never_came_up_is_exit_3(state: Path) -> None:
    """Every command about a lab that is not there says so, and how to bring it up."""
    lab = LiveLab("absent", environment(state, 7))
    for command in (["status"], ["endpoints"], ["scenario", "offboarding"], ["user", "list"]):
        done = lab.ran(*command)
        assert done.code == 3, done
        assert "labctl -n absent up" in done.err


def test_a_lab_that_was_stopped_is_exit_3(state: Path) -> None:
    """After `down`, status and scenario exit with 3 and send nothing anywhere."""
    lab = bring_up(state, 8, "stopped")
    try:
        lab.run("down")
        assert lab.ran("status").code == 3
        events = lab.verdicts("offboarding", code=3)
        assert "does not answer" in events[-1]["reason"] or "container" in events[-1]["reason"]
        assert lab.ran("user", "list").code == 3
    finally:
        lab.run("down", "--volumes")


def test_a_taken_port_is_exit_4(state: Path) -> None:
    """A port that somebody else has is named, with what to do, before anything is started."""
    lab = LiveLab("taken", environment(state, 9))
    port = (2 + int(lab.env["LAB_SLOT"])) * 1000 + 587
    with socket.create_server(("127.0.0.1", port)):
        done = lab.ran("up")
    assert done.code == 4
    assert f"127.0.0.1:{port}" in done.err
    assert "LAB_SLOT" in done.err


def test_a_slot_of_another_lab_is_exit_4(lab: LiveLab, state: Path) -> None:
    """Two labs cannot have one slot: the second is told whose it is, and takes nothing down."""
    second = LiveLab("second", environment(state, 0))
    done = second.ran("up")
    assert done.code == 4
    assert "'hardened'" in done.err
    second.run("down", "--volumes")
    lab.run("status")


def test_no_engine_is_exit_4(state: Path) -> None:
    """Without an engine `up` and `doctor` say what to install, and nothing of a lab not seen."""
    lab = LiveLab("none", environment(state, 10, DOCKER_HOST="unix:///nowhere/docker.sock"))
    for command in ("up", "doctor"):
        done = lab.ran(command)
        assert done.code == 4
        assert "Docker Engine" in done.err + done.out
    assert lab.ran("doctor").out.count("to mend it") == 1


def test_a_lab_that_never_came_up_has_no_files(state: Path) -> None:
    """Each command that would change it says so, and makes none."""
    lab = LiveLab("never", environment(state, 10))
    for command in ("reset", "down", "heal"):
        done = lab.ran(command)
        assert (done.code, "is not up" in done.err) == (3, True), command
    assert not (state / "labs" / "never").exists()


def test_a_server_that_hangs_ends_the_wait_with_its_log(lab: LiveLab) -> None:
    """When a deadline passes, the message names what was awaited, and ends with the log."""
    lab.must("dovecot", "bash", "-c", "kill -STOP -1")  # all but the first, which `up` lets go on
    try:
        done = lab.ran("up", LAB_READY_SECONDS="3")
    finally:
        lab.must("dovecot", "bash", "-c", "kill -CONT -1")
    assert done.code == 5
    assert "waited 3 s for " in done.err
    assert "The last lines of its log" in done.err
    lab.run("up")


def test_a_server_that_ends_by_itself_is_not_waited_for(state: Path, tmp_path: Path) -> None:
    """It is told at once, long before the deadline, with the right service's last log lines."""
    extra = tmp_path / "extra.yaml"
    extra.write_text("services: {dovecot: {environment: {LAB_AUTH_PENALTY: sometimes}}}\n")
    lab = bring_up(state, 11, "late")
    try:
        done = lab.ran("up", LAB_READY_SECONDS="3600", LAB_COMPOSE_EXTRA=str(extra))
        assert done.code == 3
        assert "dovecot: ended by itself with exit status 78" in done.err
        assert "LAB_AUTH_PENALTY is 'sometimes'" in done.err
        secret = state / "labs" / "late" / "secrets" / "dovecot.password"
        kept = secret.read_text()
        secret.write_text("")  # slapd reads it, too: either of the two may be told of
        done = lab.ran("up", LAB_READY_SECONDS="3600")
        assert done.code == 3
        assert "ended by itself with exit status 78" in done.err
        assert "dovecot.password is missing or empty" in done.err
        secret.write_text(kept)
        lab.run("up")
        lab.run("scenario", "offboarding")
    finally:
        lab.run("down", "--volumes")


def test_the_path_of_a_delivery_is_not_waited_for_for_long(lab: LiveLab) -> None:
    """A connection that nobody answers is given up: `up` tells who ended after all its looks."""
    done = lab.inside("postfix", "perl", "-e", UNANSWERED)
    assert done.code == 1
    assert "127.0.0.9:24 does not answer in time" in done.err


def test_who_hangs_is_said_by_who_looks(scratch: LiveLab) -> None:
    """Where a server takes a connection, and says nothing, the look says so."""
    docker_do("pause", scratch.container("dovecot"))
    try:
        done = scratch.inside("postfix", "lmtp-path")
    finally:
        docker_do("unpause", scratch.container("dovecot"))
    assert done.code == 1
    assert "dovecot:24 does not greet" in done.err
    docker_do("kill", "-s", "STOP", scratch.container("milter"))
    try:
        done = scratch.inside("milter", "healthcheck")
    finally:
        docker_do("kill", "-s", "CONT", scratch.container("milter"))
    assert done.code == 1
    assert "port 8891 does not answer" in done.err


def test_doctor_is_content_with_a_healthy_lab(lab: LiveLab) -> None:
    """All findings are well, and the Compose in use is named."""
    found = lab.json("doctor")
    assert found["ok"] is True
    seen = {row["what"]: row["seen"] for row in found["findings"]}
    assert "docker" in seen["compose"].lower()
    assert seen["policy attributes"].startswith("seen by Postfix")


def test_doctor_finds_a_directory_that_hides_the_policy(scratch: LiveLab) -> None:
    """If Postfix's account may not see the policy attributes, doctor says so and exits with 3."""
    hide = (
        "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\nadd: olcAccess\n"
        "olcAccess: {0}to attrs=tnMailSendAllowed,tnAccountStatus "
        'by dn.base="cn=postfix,ou=services,dc=truenorth,dc=local" none by * break\n'
    )
    scratch.must("openldap", "ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///", stdin=hide)
    done = scratch.ran("doctor")
    assert done.code == 3
    assert "cannot see the policy attributes" in done.out


def test_status_asks_now(scratch: LiveLab) -> None:
    """A server that has just stopped answering is said to be ill, before the engine has noticed."""
    scratch.run("status")
    docker_do("kill", "-s", "STOP", scratch.container("openldap"))
    try:
        services = scratch.json("status", code=3)["services"]
    finally:
        docker_do("kill", "-s", "CONT", scratch.container("openldap"))
    assert {row["service"] for row in services if row["health"] != "healthy"} == {"openldap"}
    scratch.run("status")
