"""Measurements are of labs of their own, which are gone at the end, and find what they look for."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import FIRST_SLOT, ROOT, LiveLab, bring_up, docker_do, environment

from labctl.bench.accounting import Balance, Mailing
from labctl.bench.command import ran
from labctl.bench.crowd import Crowd
from labctl.bench.measurement import Bench
from labctl.bench.measurements import scale
from labctl.bench.measurements.cost import (
    HARDENED,
    NONE,
    STATIC,
    STATIC_MAY_SEND,
    STATIC_RULES,
    require_refusal,
    write_static,
)
from labctl.bench.measurements.labs import Place, opened
from labctl.bench.measurements.survive import collect
from labctl.bench.postfix import NO_POLICY, PATIENT, configured
from labctl.bench.toggling import SERVICES, Paces, Seen, toggle, toggle_anew
from labctl.cli.meter import Meter
from labctl.endpoints import Account
from labctl.errors import ExpectationFailed
from labctl.lab.bulk import load
from labctl.lab.lab import Lab
from labctl.protocols.poll import poll
from labctl.protocols.smtp import SmtpConnection
from labctl.prove.breaking import write_file
from labctl.settings import load_settings


@pytest.fixture
def bench(state: Path) -> LiveLab:
    """Return a lab that does not exist yet, in a slot of its own."""
    return LiveLab("bench", environment(state, 12))


def left_behind() -> list[str]:
    """Return what there is of labs of a measurement, and of what stands beside them."""
    named = docker_do("ps", "-a", "--format", "{{.Names}}").split()
    named += docker_do("volume", "ls", "--format", "{{.Name}}").split()
    named += docker_do("network", "ls", "--format", "{{.Name}}").split()
    mine = tuple(f"mail-policy-lab-{FIRST_SLOT + slot}" for slot in (12, 13))
    return [name for name in named if name.startswith(mine)]


def test_a_measurement_prints_its_figures_keeps_them_and_leaves_nothing(
    bench: LiveLab, state: Path
) -> None:
    """What is printed as JSON is what is kept; it exits with 1 exactly if a limit is missed."""
    done = bench.ran("bench", "scenario", "--rounds", "1", "-o", "json")
    data = json.loads(done.out)
    kept = [path.read_text() for path in state.glob("bench/*-scenario.json")]
    assert json.loads(done.out) in [json.loads(text) for text in kept]
    missed = [each["name"] for each in data["figures"] if each["holds"] is False]
    assert done.code == (1 if missed else 0)
    waiting = next(each for each in data["figures"] if "waiting" in each["name"])
    assert 0 < waiting["value"] < data["figures"][0]["value"]
    assert left_behind() == []


@pytest.mark.parametrize(
    ("arguments", "exact"),
    [
        (
            (
                *("effect", "--toggles", "4", "--anew", "2", "--replicated", "2"),
                *("--sessions", "4", "--asks", "20", "--openings", "10"),
            ),
            {
                f"stale decisions, {profile}, {service}, {session}": 0
                for profile in ("hardened", "baseline")
                for service in SERVICES
                for session in ("held open", "new sessions")
            },
        ),
        (("cost", "--messages", "16", "--rounds", "1", "--widths", "1"), {}),
        (
            ("scale", "--accounts", "20", "--senders", "2"),
            {"lookups without an index, 20 accounts": 0},
        ),
        (("labs", "--labs", "2"), {"doors of another lab that open, 2 labs": 0}),
        (("memory", "--steps", "2000", "--megabytes", "1"), {"memory after 2,000 steps": None}),
        (("start", "--rounds", "1", "--builds", "0"), {}),
        (("footprint", "--rounds", "1"), {}),
        (
            ("survive", "--messages", "40", "--rounds", "2"),
            {
                "accepted and lost": 0,
                "of somebody blocked, let through": 0,
                "refused for good, though allowed": 0,
            },
        ),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_each_measurement_can_be_taken(
    bench: LiveLab, arguments: tuple[str, ...], exact: dict[str, float | None]
) -> None:
    """As small as can be: there are figures, those that are counted are exact, nothing is left."""
    done = bench.ran("bench", *arguments, "-o", "json")
    assert done.code in {0, 1}, done.err
    found = {each["name"]: each["value"] for each in json.loads(done.out)["figures"]}
    assert found
    for name, value in exact.items():
        assert found[name] == value or (value is None and found[name] > 0)
    assert left_behind() == []


@pytest.mark.parametrize(
    ("arguments", "at", "interrupt"),
    [
        (("scenario", "--rounds", "500"), "same story", os.kill),
        (("scenario", "--rounds", "500"), "same story", os.killpg),
        (("scale", "--accounts", "100000"), "1,000 accounts: loading", os.kill),
        (("scale", "--accounts", "100000"), "bare slapadd", os.killpg),
    ],
)
def test_an_interrupt_leaves_nothing(
    bench: LiveLab,
    arguments: tuple[str, ...],
    at: str,
    interrupt: Callable[[int, signal.Signals], None],
) -> None:
    """Ctrl-C ends it with 130; its labs, their volumes and containers beside them are gone. So it
    does at a terminal, where all that it has started are interrupted, too.
    """
    process = bench.start("bench", *arguments, own_group=True)
    said = ""
    for line in process.stderr or ():
        said += line
        if at in line:
            interrupt(process.pid, signal.SIGINT)
            break
    assert at in said, said
    _, more = process.communicate(timeout=120)
    assert process.returncode == 130, said + more
    assert left_behind() == []
    assert bench.ran("status").code == 3


def test_an_interrupt_of_all_measurements_leaves_nothing(bench: LiveLab) -> None:
    """Ctrl-C at a terminal is told to the script, and to the `labctl` that it waits for."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "performance.py"), "scenario"],
        env=bench.env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = ""
    for line in process.stderr or ():
        said += line
        if "same story" in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    assert "same story" in said, said
    _, more = process.communicate(timeout=120)
    assert process.returncode == 130, said + more
    assert left_behind() == []


def test_scale_finds_a_search_without_an_index_also_while_messages_are_delivered(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all that is searched for has an index, none is found, and it is told how many were
    read; one with each message is found each time.
    """
    noted = bring_up(state, 12, "noted", LAB_LDAP_LOG="stats,filter")
    try:
        lab = Lab(load_settings(ROOT, noted.env), noted.name)
        crowd = Crowd.of(lab.settings)
        crowd.write(tmp_path / "people.ldif", 0, 20, lambda *_: None)
        tmp_path.chmod(0o755)
        load(lab, tmp_path / "people.ldif", tmp_path, lambda command: ran(command).output)
        monkeypatch.setattr(scale, "_PROBES", 5)
        bench = Bench(lab.settings, noted.name, {"senders": 2}, Meter(), note=lambda _: None)

        def asked() -> scale.Grown:
            this = scale.Grown(25)
            scale.ask(bench, crowd, this, (lab, 20), (lab, 20))
            return this

        well = asked()
        assert well.unindexed == ()
        assert well.searches > 20 * well.lookups > 20
        assert len(well.decisions) == len(well.beside) == 10
        real = scale.send

        def send(connection: SmtpConnection, account: Account, to: Account) -> None:
            with lab.directory() as directory, suppress(ExpectationFailed):
                directory.search(lab.settings.base_dn, "(description=nobody)", "SUBTREE")
            real(connection, account, to)

        monkeypatch.setattr(scale, "send", send)
        assert asked().unindexed == ("description",) * 20
    finally:
        noted.run("down", "--volumes")
    assert left_behind() == []


def test_a_lab_that_exists_is_not_measured(lab: LiveLab) -> None:
    """Somebody's lab is refused with exit code 2, and goes on."""
    done = lab.ran("bench", "scenario", "--short")
    assert done.code == 2
    assert "would be changed" in done.err
    lab.run("send", "--from", "alice", "--to", "bob")


COPIED = {
    "smtpd_client_restrictions": "check_sasl_access texthash:/etc/postfix/copied, reject",
    "smtpd_sender_restrictions": "reject_sender_login_mismatch",
}


def toggled(lab: Lab, **values: str) -> Seen:
    """Toggle Alice's policy while she keeps asking, Postfix having these parameters."""
    with configured(lab.containers, {**PATIENT, **values}):
        return toggle(
            lab.endpoints(),
            "alice",
            toggles=20,
            sessions=4,
            paces=Paces(held=20, new=10),
            insists=True,
            count=lambda *_: None,
        )


def test_a_stale_decision_is_found_and_told_with_its_transcript(scratch: LiveLab) -> None:
    """Served from a file that was copied once, Alice goes on sending: each such answer is found.
    Asked of the directory, none is; both services and both kinds of session are judged.
    """
    lab = Lab(load_settings(ROOT, scratch.env), scratch.name)
    judged: set[tuple[str, bool]] = set()
    every = {(service, held) for service in SERVICES for held in (True, False)}
    for _ in range(20):  # whether a new session's question falls between two changes is chance
        well = toggled(lab)
        assert well.stale == []
        shown = {allowed: len(each) for allowed, each in well.effects.items()}
        assert (well.toggles, shown) == (20, {False: 10, True: 10})
        assert [len(each) for each in well.asked_after.values()] == [10, 10]
        judged |= well.judged.keys()
        if judged == every:
            break
    assert judged == every
    anew = toggle_anew(lab.endpoints(), "alice", toggles=4, count=lambda *_: None)
    assert anew.stale == []
    assert anew.judged == {(service, False): 4 for service in SERVICES}
    write_file(lab.containers, "postfix", "/etc/postfix/copied", "alice OK\n")
    broken = toggled(lab, **COPIED)
    assert broken.stale
    with configured(lab.containers, {**PATIENT, **COPIED}):
        anew = toggle_anew(lab.endpoints(), "alice", toggles=4, count=lambda *_: None)
    assert len(anew.stale) == 4  # two changes that forbid, through two services
    assert not any(each.allowed for each in broken.stale)
    told = broken.stale[0].transcript()
    assert "directory had said: may not send" in told
    assert "-> RCPT TO:<alice@truenorth.local>" in told
    assert "<- 250 2.1.5 Ok" in told


def test_a_way_that_refuses_nobody_is_not_measured(scratch: LiveLab) -> None:
    """What enforces the policy is shown to, before its costs are taken for those of a policy: the
    blocked are refused, and whoever the directory blocks meanwhile, but by a static file.
    """
    lab = Lab(load_settings(ROOT, scratch.env), scratch.name)
    require_refusal(lab, HARDENED)
    with (
        configured(lab.containers, NO_POLICY),
        pytest.raises(ExpectationFailed, match="answers 250 to Dave, who may not send"),
    ):
        require_refusal(lab, NONE)
    write_static(lab)
    with configured(lab.containers, STATIC_RULES):
        require_refusal(lab, STATIC)
        with pytest.raises(ExpectationFailed, match="answers 250 to Alice, who may not send any"):
            require_refusal(lab, HARDENED)
    write_file(lab.containers, "postfix", STATIC_MAY_SEND, "alice OK\ndave OK\n")
    with (
        configured(lab.containers, STATIC_RULES),
        pytest.raises(ExpectationFailed, match="answers 250 to Dave, who may not send"),
    ):
        require_refusal(lab, STATIC)
    require_refusal(lab, HARDENED)  # she may send again


def test_a_lab_that_another_reaches_is_found(lab: LiveLab, scratch: LiveLab) -> None:
    """No door of one lab opens to another, and all do when it is put on the other's network."""
    here, there = (Lab(load_settings(ROOT, each.env), each.name) for each in (scratch, lab))
    own, other = Place.of(here), Place.of(there)
    assert opened(here, own, [other]) == []
    network = (f"{lab.project}_lab", here.containers.container_name("postfix"))
    docker_do("network", "connect", *network)
    try:
        assert set(opened(here, own, [other])) == set(other.servers)
    finally:
        docker_do("network", "disconnect", *network)


def mailed(lab: Lab, **values: str) -> Balance:
    """Submit some mail with Postfix having these parameters, and account for it."""
    endpoints = lab.endpoints()
    alice, dave, bob = (endpoints.account(who) for who in ("alice", "dave", "bob"))
    mailing = Mailing(endpoints, sender=alice, blocked=dave, to=bob)
    with configured(lab.containers, {**PATIENT, **values}):
        with mailing.going_on(2):
            mailing.until(20)
        poll(lambda: not lab.containers.queue(), what="delivery", seconds=60)
    return Balance.of(mailing.ledger, collect(lab.containers, "bob"))


def test_mail_that_is_lost_or_let_through_is_found(scratch: LiveLab) -> None:
    """Postfix throws mail away, delivers it twice, or asks no policy: each is accounted for."""
    lab = Lab(load_settings(ROOT, scratch.env), scratch.name)
    well = mailed(lab)
    assert (well.lost, well.let_through, well.delivered_again) == ((), (), 0)
    scratch.run("reset")
    assert len(mailed(lab, virtual_transport="discard:").lost) >= 20
    scratch.run("reset")
    assert mailed(lab, always_bcc="bob@truenorth.local").delivered_again >= 20
    scratch.run("reset")
    assert mailed(lab, **NO_POLICY).let_through
