"""The thread of an account or a message, on a real lab; slapd's log is on while it is followed."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from conftest import LiveLab, docker_do

from labctl.protocols.poll import poll

LEVEL = ("ldapsearch", "-QLLL", "-Y", "EXTERNAL", "-H", "ldapi:///", "-s", "base", "-b")


def level(lab: LiveLab) -> str:
    """Return what slapd logs."""
    return lab.must("openldap", *LEVEL, "cn=config", "olcLogLevel").split()[-1]


def await_level(lab: LiveLab, wanted: str) -> None:
    """Wait until slapd logs that, and nothing of a reader is left if it is nothing."""
    poll(lambda: level(lab) == wanted, what=f"olcLogLevel: {wanted}", seconds=20)
    if wanted == "none":
        left = lab.must("openldap", "sh", "-c", "ls /run/slapd/readers; ls /dev | grep -x log || :")
        assert left == ""


@contextmanager
def following(lab: LiveLab, *whom: str) -> Iterator[subprocess.Popen[str]]:
    """Follow, from when slapd tells its operations on; ended at the end, or when nobody waits for
    what it tells any longer.
    """
    process = lab.start("logs", "--follow", "--tail", "0", "-o", "json", *whom)
    patience = threading.Timer(300, process.kill)
    patience.start()
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Following ")
        yield process
    finally:
        patience.cancel()
        process.kill()
        process.communicate(timeout=60)


def until(process: subprocess.Popen[str], text: str) -> list[dict]:
    """Return the strands up to the first with this text."""
    assert process.stdout is not None
    found = []
    for line in process.stdout:
        found.append(json.loads(line))
        if text in found[-1]["text"]:
            return found
    raise AssertionError(f"ended without {text}: {found}")


def sent(lab: LiveLab, sender: str, recipient: str) -> str:
    """Send a message and return its Message-ID, when it is delivered."""
    lab.run("send", "--from", sender, "--to", recipient)
    log = lab.run("logs", "postfix", "--tail", "40")
    return log.rpartition("message-id=<")[2].partition(">")[0]


def test_the_thread_of_an_account_joins_all_servers(lab: LiveLab) -> None:
    """Directory, SMTP session, queue and delivery, in the order of time; of nobody else."""
    with following(lab, "--account", "alice") as process:
        assert level(lab) == "stats"
        lab.run("send", "--from", "carol", "--to", "bob")
        lab.run("send", "--from", "alice", "--to", "bob")
        found = until(process, "removed")
        lab.run("user", "disable", "alice")
        lab.run("user", "enable", "alice")
        change = until(process, "MOD attr=")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        await_level(lab, "none")
    # What Dovecot says of the delivery may be heard after Postfix has removed the message.
    texts = [each["text"] for each in [*found, *change]]
    assert {each["service"] for each in [*found, *change]} == {"openldap", "postfix", "dovecot"}
    for part in ("(uid=alice)", "signed in", "sasl_username=alice", "saved mail", "status=sent"):
        assert any(part in text for text in texts), part
    assert not any("carol" in text for text in texts)
    times = [each["at"] for each in found]
    assert times == sorted(times)
    assert change[-1]["program"] == "slapd for policy-admin"


def test_the_thread_of_a_message_needs_no_follower_but_the_directory_does(lab: LiveLab) -> None:
    """By Message-ID and by queue id the same; what slapd did is not known afterwards."""
    message = sent(lab, "alice", "bob")
    out = lab.run("logs", "--message", message, "-o", "json")
    found = [json.loads(line) for line in out.splitlines()]
    assert {each["service"] for each in found} == {"postfix", "dovecot"}
    queue_id = next(each["about"] for each in found if "message-id=" in each["text"])
    again = lab.run("logs", "--message", queue_id, "-o", "json")
    assert [json.loads(line)["at"] for line in again.splitlines()] == [e["at"] for e in found]
    plain = lab.run("logs", "--message", message).splitlines()
    assert len(plain) == len(found)
    assert not any("\x1b" in line for line in plain)
    assert lab.run("logs", "--message", message, "--tail", "1").splitlines() == plain[-1:]


def test_a_message_is_given_what_was_asked_meanwhile(lab: LiveLab) -> None:
    """The directory's operations about its recipient, by name and time; none about others."""
    domain = lab.json("endpoints")["domain"]
    swaks = ("swaks", "--server", "127.0.0.1", "--from", "x@elsewhere.example", "--h-Message-Id")
    with following(lab, "--message", "known@before") as process:
        lab.must("postfix", *swaks, "<other@before>", "--to", f"bob@{domain}")
        lab.must("postfix", *swaks, "<known@before>", "--to", f"erin@{domain}")
        found = until(process, "removed")
        erin = f"mail=erin@{domain}"
        if not any(erin in each["text"] for each in found):  # slapd may be heard after Postfix
            found += until(process, erin)
    (why, *_) = (each["why"] for each in found if erin in each["text"])
    assert why == "name and time"
    assert not any("bob" in text or "other@before" in text for text in map(str, found))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_slapds_log_is_off_again_however_following_ends(
    lab: LiveLab, number: signal.Signals
) -> None:
    """Interrupted, told to end, hung up or killed."""
    with following(lab, "--account", "alice") as process:
        assert level(lab) == "stats"
        process.send_signal(number)
        process.communicate(timeout=60)
        await_level(lab, "none")


def test_two_follow_at_a_time_and_the_first_to_leave_takes_nothing_away(lab: LiveLab) -> None:
    """The other one goes on with the directory's operations."""
    with following(lab, "--account", "alice") as first, following(lab, "--account", "bob") as other:
        lab.run("user", "show", "alice")
        until(first, "SEARCH RESULT")
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
        await_level(lab, "stats")
        lab.run("user", "show", "bob")
        assert any("uid=bob" in each["text"] for each in until(other, "SEARCH RESULT"))
    await_level(lab, "none")


# A search for each line of its input, over one connection.
SEARCHES = ("ldapsearch", "-QLLL", "-Y", "EXTERNAL", "-H", "ldapi:///", "-s", "base", "-b", "")


def test_a_follower_that_does_not_read_holds_nobody_up(lab: LiveLab) -> None:
    """Slapd goes on while labctl is stopped in the middle, as Ctrl-Z does: of more lines than all
    pipes hold some are missed, and it says so.
    """
    with following(lab, "--account", "alice") as process:
        process.send_signal(signal.SIGSTOP)
        lab.must("openldap", *SEARCHES, "-f", "-", "(cn=%s)", "1.1", stdin="x\n" * 5000)
        process.send_signal(signal.SIGCONT)
        lab.run("user", "show", "alice")
        until(process, "lines were missed")
        lab.run("user", "show", "alice")
        until(process, "SEARCH RESULT")
    await_level(lab, "none")


def test_a_log_turned_on_and_off_under_load_holds_nobody_up(lab: LiveLab) -> None:
    """A socket that slapd writes to and nobody reads takes ten lines, and then slapd waits."""
    command = ("docker", "exec", "-i", lab.container("openldap"), *SEARCHES, "-f", "-", "(cn=%s)")
    load = subprocess.Popen([*command, "1.1"], stdin=subprocess.PIPE, text=True)
    feeding = threading.Thread(target=_feed, args=(load,))
    feeding.start()
    try:
        for _ in range(3):
            with following(lab, "--account", "alice"):
                assert level(lab) == "stats"
            await_level(lab, "none")
    finally:
        load.kill()
        load.wait()
        feeding.join()
    lab.must("openldap", "healthcheck")


def _feed(load: subprocess.Popen[str]) -> None:
    """Have it search until it ends."""
    assert load.stdin is not None
    with suppress(BrokenPipeError), load.stdin:
        while True:
            load.stdin.write("x\n" * 1000)


def test_following_goes_on_after_a_restart(scratch: LiveLab) -> None:
    """Of the directory, whose log is turned on again, and of Postfix."""
    with following(scratch, "--account", "alice") as process:
        docker_do("restart", "-t", "5", scratch.container("openldap"), scratch.container("postfix"))
        scratch.run("up")
        await_level(scratch, "stats")
        scratch.run("send", "--from", "alice", "--to", "bob")
        found = until(process, "status=sent")
    assert {"openldap", "postfix", "dovecot"} <= {each["service"] for each in found}


def test_wrong_input_is_told(lab: LiveLab) -> None:
    """Names that nobody has, both at a time, and -o json without a thread."""
    for arguments in (
        ["--account", "nobody"],
        ["--message", "a b"],
        ["--account", "alice", "--message", "x@y"],
        ["postfix", "--account", "alice"],
        ["-o", "json"],
    ):
        done = lab.ran("logs", *arguments)
        assert (done.code, done.out) == (2, ""), arguments
    done = lab.ran("logs", "--message", "nobody@sent.this")
    assert (done.code, done.out) == (0, "")
    assert "nothing about nobody@sent.this" in done.err
