"""Whatever a scenario breaks is mended at its end, however that comes, or else by `labctl heal`."""

import signal
from pathlib import Path

import pytest
from conftest import LiveLab, docker_do

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


def test_postfix_outlives_its_log(scratch: LiveLab) -> None:
    """Mail goes on when postlogd ends with more lines waiting than a socket holds by default."""
    to_postlogd = (
        "for p in /proc/[0-9]*; do grep -qa ^postlogd $p/cmdline && kill -{} ${{p##*/}}; done"
    )

    def signalled(name: str) -> None:
        container = scratch.container("postfix")
        image = docker_do("inspect", "--format", "{{.Config.Image}}", container).strip()
        beside = ["--network=none", "--pid", f"container:{container}", "--cap-add=KILL"]
        line = f"{to_postlogd.format(name)}; true"
        docker_do("run", "--rm", *beside, "--entrypoint=bash", image, "-c", line)

    assert scratch.ran(*TO_BOB).code == 0  # postlogd runs
    signalled("STOP")
    for _ in range(4):  # six lines each
        assert scratch.ran(*TO_BOB).code == 0
    signalled("KILL")
    assert scratch.ran(*TO_BOB).code == 0


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
