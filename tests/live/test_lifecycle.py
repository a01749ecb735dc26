"""Up, down, reset and restarts: done twice or interrupted, nothing is lost or left behind."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import LiveLab, bring_up, docker_do

from labctl.endpoints import PROGRAMS
from labctl.errors import LabNotReady
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.protocols.poll import poll

SERVICES = ("openldap", "postfix", "dovecot", "milter")


def ids(lab: LiveLab) -> str:
    """Return the identities of the lab's containers."""
    return docker_do("ps", "-aq", "--filter", f"label=com.docker.compose.project={lab.project}")


def policy_of(lab: LiveLab, name: str) -> tuple[str, str]:
    """Return an account's policy attributes."""
    user = lab.json("user", "show", name)["user"]
    return user["tnMailSendAllowed"], user["tnAccountStatus"]


def test_up_twice_changes_nothing(lab: LiveLab) -> None:
    """The second `up` keeps every container, and finds nothing to add or correct."""
    before, started = ids(lab), lab.json("status")["services"]
    done = lab.ran("up")
    assert done.code == 0
    assert ids(lab) == before
    assert [row["started"] for row in lab.json("status")["services"]] == [
        row["started"] for row in started
    ]
    assert "0 added, 0 corrected, 0 removed" in done.err


def test_up_puts_right_what_differs_from_the_seed_but_leaves_the_policy(lab: LiveLab) -> None:
    """A changed name is corrected, a policy attribute set by somebody stays until `reset`."""
    base = lab.json("endpoints")["base_dn"]
    change = f"dn: uid=dave,ou=users,{base}\nchangetype: modify\nreplace: sn\nsn: Nobody\n"
    lab.must("openldap", *AS_ADMIN, stdin=change)
    lab.run("user", "set", "dave", "--status", "disabled")
    assert "1 corrected" in lab.ran("up").err
    assert policy_of(lab, "dave") == ("FALSE", "disabled")
    assert "1 corrected" in lab.ran("reset").err
    assert policy_of(lab, "dave") == ("FALSE", "active")


AS_ADMIN = ("ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///")


def test_reset_empties_mailboxes_and_removes_strangers(lab: LiveLab) -> None:
    """After `reset` no mailbox holds mail and nobody is there whom the seed does not have."""
    lab.run("user", "add", "frank", "--alias", "frank.n@truenorth.local")
    lab.run("send", "--from", "frank", "--to", "bob")
    lab.run("scenario", "offboarding")
    assert lab.json("inbox", "bob")["messages"]
    lab.run("reset")
    assert lab.json("inbox", "bob")["messages"] == []
    names = {user["name"] for user in lab.json("user", "list")["users"]}
    assert "frank" not in names
    assert "frank" not in lab.json("endpoints", "--secrets")["accounts"]
    lab.run("scenario", "offboarding")


def test_dovecot_forgets_what_a_reset_took_away(lab: LiveLab) -> None:
    """With nobody reading, each delivery would go on writing a list of all that are gone."""
    listed = ("dovecot", "grep", "-c", "^[0-9]* :", "/home/bob/Maildir/dovecot-uidlist")
    lab.run("send", "--from", "alice", "--to", "bob")
    poll(lambda: lab.inside(*listed).code == 0, what="Bob's list to have it", seconds=30)
    lab.run("reset")
    assert lab.inside(*listed).out.strip() == "0"


def test_a_person_added_by_hand_works_at_once_and_leaves_nothing_when_removed(
    lab: LiveLab,
) -> None:
    """An added person sends and receives; a removed one has no entry, mailbox or password."""
    lab.run("user", "add", "grace")
    assert "250 2.0.0 at EOM" in lab.run("send", "--from", "grace", "--to", "grace")
    home = lab.must("dovecot", "stat", "-c", "%a %U %g", "/home/grace")
    assert home.split()[0] == "700"
    lab.run("user", "remove", "grace")
    assert lab.inside("dovecot", "test", "-e", "/home/grace").code != 0
    lab.run("user", "show", "grace", code=2)


def test_an_addition_that_was_cut_short_is_taken_up(lab: LiveLab, state: Path) -> None:
    """Whoever is noted as pending and has no entry, as a killed `user add` leaves him, is made
    whole by `up`, added anew, or removed; and others are added meanwhile.
    """
    base = lab.json("endpoints")["base_dn"]
    accounts = state / "labs" / lab.name / "secrets" / "accounts.json"

    def cut_short() -> None:
        lab.must("openldap", "ldapdelete", *AS_ADMIN[1:], f"uid=henry,ou=users,{base}")
        lab.must("dovecot", "rm", "-r", "/home/henry")
        noted = json.loads(accounts.read_text())
        assert noted["henry"]["pending"] is False
        noted["henry"]["pending"] = True
        accounts.write_text(json.dumps(noted))

    lab.run("user", "add", "henry")
    cut_short()
    lab.run("user", "add", "iris")
    assert "1 added" in lab.ran("up").err
    assert "250 2.0.0 at EOM" in lab.run("send", "--from", "henry", "--to", "henry")
    cut_short()
    lab.run("user", "add", "henry")
    assert "250 2.0.0 at EOM" in lab.run("send", "--from", "henry", "--to", "iris")
    cut_short()
    lab.run("user", "remove", "henry")
    assert "0 added" in lab.ran("up").err
    lab.run("user", "remove", "iris")


def test_whom_the_directory_has_deleted_does_not_come_back(lab: LiveLab) -> None:
    """Somebody who was added, and whom another program removes; `user remove` clears up."""
    base = lab.json("endpoints")["base_dn"]
    lab.run("user", "add", "henry")
    lab.must("openldap", "ldapdelete", *AS_ADMIN[1:], f"uid=henry,ou=users,{base}")
    assert "0 added" in lab.ran("up").err
    lab.run("user", "show", "henry", code=2)
    lab.run("user", "remove", "henry")


def test_names_that_mean_something_else_are_no_people(lab: LiveLab) -> None:
    """Nobody is added by the name of a program; whom Postfix needs is not removed."""
    for name in PROGRAMS:
        done = lab.ran("user", "add", name)
        assert (done.code, "cannot be an account" in done.err) == (2, True), name
    done = lab.ran("user", "remove", "outside")
    assert (done.code, "outside stays" in done.err) == (2, True)
    assert "outside" in {row["name"] for row in lab.json("user", "list")["users"]}


@pytest.mark.parametrize("way", ["restart three times", "kill -9 and start", "stop and start"])
@pytest.mark.parametrize("which", [*SERVICES, "all"])
def test_everything_restarts(scratch: LiveLab, way: str, which: str) -> None:
    """After each kind of restart, of one server or all, the lab comes back and the story holds."""
    names = [scratch.container(service) for service in (SERVICES if which == "all" else [which])]
    match way:
        case "restart three times":
            for _ in range(3):
                docker_do("restart", "-t", "5", *names)
        case "kill -9 and start":
            docker_do("kill", "-s", "KILL", *names)
            docker_do("start", *names)
        case "stop and start":
            docker_do("stop", "-t", "5", *names)
            docker_do("start", *names)
    before = ids(scratch)
    scratch.run("up")
    assert ids(scratch) == before, "up has to find them running, not to replace them"
    scratch.run("scenario", "offboarding")


def test_every_server_ends_by_itself_when_it_is_told_to(scratch: LiveLab) -> None:
    """None is killed at the end of its time (137), or ended by the signal: `down` is quick."""
    names = [scratch.container(service) for service in SERVICES]
    docker_do("stop", "-t", "5", *names)
    codes = docker_do("inspect", "--format", "{{.State.ExitCode}}", *names).split()
    assert dict(zip(SERVICES, codes, strict=True)) == dict.fromkeys(SERVICES, "0")
    scratch.run("up")


def test_a_service_of_ones_own_comes_up_too_and_goes_again(
    scratch: LiveLab, tmp_path: Path
) -> None:
    """LAB_COMPOSE_EXTRA may add one that waits for ours, which the engine then looks at more often;
    without it, `up` removes that.
    """
    extra = tmp_path / "beside.yaml"
    extra.write_text(
        "services:\n  beside:\n    image: ${LAB_IMAGE_MILTER}\n    entrypoint: [sleep, '600']\n"
        "    init: true\n    network_mode: none\n"
        "    depends_on: {openldap: {condition: service_healthy}}\n"
    )
    running = ("ps", "-q", "--filter", f"name=^/{scratch.container('beside')}$")

    def checked_every() -> int:
        form = "{{.Config.Healthcheck.Interval.Seconds}}"
        return round(float(docker_do("inspect", "--format", form, scratch.container("openldap"))))

    assert scratch.ran("up", LAB_COMPOSE_EXTRA=str(extra)).code == 0
    assert docker_do(*running)
    assert checked_every() == 5
    scratch.run("up")
    assert not docker_do(*running)
    assert checked_every() == 30


@pytest.mark.parametrize("which", ["dovecot", "all"])
def test_up_lets_go_on_what_a_killed_run_left_paused(scratch: LiveLab, which: str) -> None:
    """Compose would not start it, and `labctl doctor` names this very command."""
    names = [scratch.container(service) for service in (SERVICES if which == "all" else [which])]
    docker_do("pause", *names)
    before = ids(scratch)
    scratch.run("up")
    assert ids(scratch) == before
    scratch.run("scenario", "offboarding")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_undoes_what_it_changed(
    lab: LiveLab, tmp_path: Path, number: signal.Signals
) -> None:
    """A run that is interrupted puts the attributes back, says so, and exits with 130."""
    story = tmp_path / "story.yaml"
    story.write_text(
        "title: Never arrives\naccounts: [alice, bob]\nsteps:\n"
        "  - send: {from: alice, to: bob, as: x}\n"
        "  - offboard: {account: alice}\n"
        "  - receive: {account: alice, message: x}\n"
    )
    before = policy_of(lab, "alice")
    process = lab.start("scenario", str(story), "-o", "jsonl", LAB_WAIT_SECONDS="60")
    assert process.stdout is not None
    for line in process.stdout:
        if '"step-started"' in line and '"receive"' in line:
            break
    assert policy_of(lab, "alice") == ("FALSE", "offboarded")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert '"undo": true' in rest
    assert policy_of(lab, "alice") == before


def test_two_at_once_wait_for_each_other(lab: LiveLab) -> None:
    """Two `up` and a `reset` at the same time all succeed, one after the other."""
    together = [lab.start("up"), lab.start("up"), lab.start("reset")]
    outputs = [process.communicate(timeout=120) for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], outputs
    lab.run("scenario", "offboarding")


BESIDE = {
    "up": ("up",),
    "reset": ("reset",),
    "heal": ("heal",),
    "another scenario": ("scenario", "send-disabled"),
    "backup": ("backup", "{}/kept.tgz"),
    "user add": ("user", "add", "zoe"),
    "down": ("down",),
}


@pytest.mark.parametrize("what", BESIDE)
def test_beside_a_run_others_wait_and_find_all_put_back(
    scratch: LiveLab, tmp_path: Path, what: str
) -> None:
    """What changes the lab waits for a run that has changed a policy, and the run goes on as if it
    were alone; both end well, and what was changed is as it was.
    """
    story = tmp_path / "story.yaml"
    story.write_text(
        "title: Takes its time\naccounts: [alice, bob]\nsteps:\n"
        "  - offboard: {account: alice}\n"
        "  - fault: {service: dovecot, kind: stop, for: 2s}\n"
        "  - authenticate: {account: alice, with: [submission], expect: refused}\n"
        "  - send: {from: bob, to: alice, within: 30s, as: late}\n"
        "  - receive: {account: alice, message: late, within: 30s}\n"
        "  - unchanged:\n"
    )
    before = policy_of(scratch, "alice")
    run = scratch.start("scenario", str(story), "-o", "jsonl")
    assert run.stdout is not None
    for line in run.stdout:
        if '"step-started"' in line and '"authenticate"' in line:
            break
    other = scratch.start(*(each.format(tmp_path) for each in BESIDE[what]))
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    out, err = other.communicate(timeout=120)
    assert other.returncode == 0, out + err
    scratch.run("up")
    assert policy_of(scratch, "alice") == before
    assert scratch.json("doctor")["ok"]


def test_two_runs_of_one_scenario_do_not_see_each_other(scratch: LiveLab) -> None:
    """Both pass: neither takes for the policy that was there what the other one has made of it."""
    together = [scratch.start("scenario", "offboarding") for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], outputs
    assert policy_of(scratch, "alice") == ("TRUE", "active")


def test_down_and_up_at_once_leave_a_lab_or_none(state: Path) -> None:
    """Two `up`, a `down --volumes`, a `reset` and a run at once: each does all of its work or says
    why not, and what is left is a whole lab, or nothing at all.
    """
    lab = bring_up(state, 10, "tumult")
    try:
        for _ in range(2):
            many = [
                ("down", "--volumes"),
                ("up",),
                ("reset",),
                ("up",),
                ("scenario", "offboarding"),
            ]
            together = [lab.start(*each) for each in many]
            outputs = [process.communicate(timeout=200) for process in together]
            down, up, reset, second, run = (process.returncode for process in together)
            assert down == up == second == 0, outputs
            assert {reset, run} <= {0, 3}, outputs
            lab.run("up")
            lab.run("scenario", "offboarding")
    finally:
        lab.run("down", "--volumes")
    assert not (state / "labs" / "tumult").exists()
    assert "tumult" not in docker_do("ps", "-a", "--format", '{{.Label "mail-policy-lab.name"}}')


def test_down_keeps_mail_and_entries_and_with_volumes_nothing(state: Path) -> None:
    """`down` and `up` find mail and people as they were; `down --volumes` leaves no trace."""
    lab = bring_up(state, 5, "brief")
    project = lab.project
    lab.run("user", "disable", "carol")
    lab.run("send", "--from", "alice", "--to", "bob", "--subject", "Kept")
    lab.run("scenario", "delivery")
    kept = [mail["subject"] for mail in lab.json("inbox", "bob")["messages"]]
    lab.run("down")
    lab.run("status", code=3)
    lab.run("up")
    assert [mail["subject"] for mail in lab.json("inbox", "bob")["messages"]] == kept
    assert policy_of(lab, "carol")[0] == "FALSE"
    lab.run("down", "--volumes")
    for kind in ("container", "network", "volume"):
        everything = ("--all",) if kind == "container" else ()
        label = f"label=com.docker.compose.project={project}"
        assert docker_do(kind, "ls", "-q", *everything, "--filter", label) == ""
    assert not (state / "labs" / "brief").exists()


def test_the_policy_profile_is_switched_on_a_running_lab(state: Path) -> None:
    """`up --policy` changes what is enforced, and keeps mail, people and the other containers."""
    lab = bring_up(state, 4, "switch")
    spoof = ("send", "--from", "alice", "--to", "bob", "--envelope-from", "")
    try:
        lab.run(*spoof, code=1)
        lab.run("up", "--policy", "baseline")
        assert lab.json("endpoints")["policy"] == "baseline"
        lab.run(*spoof)
        lab.run("up", "--policy", "hardened")
        lab.run(*spoof, code=1)
    finally:
        lab.run("down", "--volumes")


def test_other_names_and_another_domain(state: Path) -> None:
    """Attributes, domain and base of other names are followed by every map, filter and step."""
    lab = bring_up(
        state,
        5,
        "renamed",
        LAB_DOMAIN="mail.example.net",
        LAB_BASE_DN="dc=mail,dc=example,dc=net",
        LAB_ATTR_SEND_ALLOWED="mailSendAllowed",
        LAB_ATTR_STATUS="mailAccountStatus",
    )
    try:
        for name in ("offboarding", "delivery", "status-values", "anti-spoofing", "header-from"):
            lab.run("scenario", name)
        user = lab.json("user", "show", "alice")["user"]
        assert user["address"] == "alice@mail.example.net"
        assert user["mailSendAllowed"] == "TRUE"
    finally:
        lab.run("down", "--volumes")


def test_logs_show_what_a_server_said(lab: LiveLab) -> None:
    """`logs postfix` holds the refusal that a person just got."""
    lab.run("send", "--from", "dave", "--to", "bob", code=1)
    assert "Sending is disabled" in lab.run("logs", "postfix", "--tail", "50")


def test_the_makefile_verbs_bring_a_lab_up_and_down(state: Path) -> None:
    """`make demo` ends with the verdict, run again it is all done already, `lab-down` stops it."""
    lab = LiveLab("default", _make_env(state))
    try:
        for _ in range(2):
            done = _make(lab, "demo")
            assert "passed: 12 steps" in done, done
        assert "lab-up" in _make(lab, "help")
        _make(lab, "lab-down")
        lab.run("status", code=3)
    finally:
        lab.run("down", "--volumes")


def _make_env(state: Path) -> dict[str, str]:
    from conftest import environment

    return environment(state, 6)


def _make(lab: LiveLab, verb: str) -> str:
    from conftest import ROOT

    done = subprocess.run(
        ["make", "--no-print-directory", verb],
        cwd=ROOT,
        env=lab.env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shell_that_was_lost_with_its_container_is_opened_anew(scratch: LiveLab) -> None:
    """After a restart the next command works, in the same process; of one that is away, the
    engine's reason is told.
    """
    containers = LabContainers(Engine(), scratch.project)
    before = containers.execute("dovecot", ["cat", "/proc/1/stat"])
    docker_do("kill", scratch.container("dovecot"))
    with pytest.raises(LabNotReady, match="dovecot does not run"):
        poll(lambda: containers.execute("dovecot", ["true"]) is None, what="the end", seconds=10)
    docker_do("start", scratch.container("dovecot"))
    assert containers.execute("dovecot", ["cat", "/proc/1/stat"]) != before


def test_a_shell_that_was_interrupted_answers_nothing_any_more(lab: LiveLab) -> None:
    """What the command then says would be taken for the answer to the next."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    containers = LabContainers(Engine(), lab.project)
    containers.open("dovecot")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1)
        with pytest.raises(KeyboardInterrupt):
            containers.execute("dovecot", ["sh", "-c", "sleep 3; echo late"])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert containers.execute("dovecot", ["echo", "mine"]) == "mine\n"
