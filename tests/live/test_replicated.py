"""A replicated directory: replicas answer for it, how far they are behind is known, and bounded."""

import json
import math
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LABCTL, LiveLab, bring_up, docker_do, environment
from test_confined import LISTENERS, LISTENING, RUNNING, SHELLS, USERS, address
from test_faults import ended_by, story

from labctl.errors import DeadlinePassed
from labctl.protocols.poll import poll

LIMIT = 5  # seconds
REPLICAS = ("replica1", "replica2")
STATUS = ("status", "-o", "json")
TO_BOB = ("send", "--to", "bob", "--from")
MODIFY = """dn: uid=alice,ou=users,dc=truenorth,dc=local
changetype: modify
replace: tnMailSendAllowed
tnMailSendAllowed: FALSE
"""


@pytest.fixture(scope="module")
def whole(state: Path) -> Iterator[LiveLab]:
    """The lab behind `replicated`; after it nothing is left."""
    lab = bring_up(state, 4, "copied", "--directory", "replicated")
    label = f"label=com.docker.compose.project={lab.project}"
    yield lab
    lab.run("down", "--volumes")
    for kind in (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q")):
        assert docker_do(*kind, "--filter", label) == ""


@pytest.fixture
def replicated(whole: LiveLab) -> Iterator[LiveLab]:
    """A lab with two replicas, which a test may break."""
    yield whole
    whole.run("up", "--directory", "replicated", "--policy", "hardened")
    whole.run("reset")


@pytest.fixture
def limited(replicated: LiveLab) -> LiveLab:
    """The same, with a limit to the lag, which `up` alone was told."""
    replicated.run("up", LAB_MAX_LAG_SECONDS=str(LIMIT))
    return replicated


def lags(lab: LiveLab) -> dict[str, dict]:
    """Return what `status` says of the replicas, be the lab whole or not."""
    return {row["service"]: row for row in json.loads(lab.ran(*STATUS).out)["replicas"]}


def behind(lab: LiveLab, service: str) -> float:
    """Return the seconds that a replica is behind; NaN where that is not known."""
    seconds = lags(lab)[service]["lag_seconds"]
    return math.nan if seconds is None else seconds


def kill(lab: LiveLab, *services: str) -> None:
    """Kill servers."""
    docker_do("kill", *map(lab.container, services))


def eventually(look: object, seconds: float = 30.0) -> None:
    """Wait until it is so."""
    try:
        poll(lambda: look() or None, what="it", seconds=seconds, pause=0.1)  # type: ignore[operator]
    except DeadlinePassed as error:
        raise AssertionError(str(error)) from error


def answer(lab: LiveLab, sender: str) -> str:
    """Return the reply to somebody's message to bob."""
    done = lab.ran(*TO_BOB, sender)
    return done.out.strip() or done.err


@pytest.mark.parametrize(
    "name",
    [
        "offboarding",
        "send-disabled",
        "status-values",
        "restart-under-load",
        "replica-behind",
        "tour/lag",
    ],
)
def test_scenarios_pass_where_the_directory_is_replicated(whole: LiveLab, name: str) -> None:
    """Also those that know nothing of replicas: steps that change the directory wait for them."""
    ended = whole.verdicts(name, code=0)[-1]
    assert ended["verdict"] == "passed"
    assert ended["checks"] > 0
    assert ended["skipped"] == ended["failed"] == ended["error"] == 0


def test_the_limit_holds_in_a_scenario(limited: LiveLab) -> None:
    """Cut off for longer than the limit: 450, then as the directory says; nothing is skipped."""
    ended = limited.verdicts("replica-limit", code=0)[-1]
    assert ended["verdict"] == "passed"
    assert ended["skipped"] == 0


def test_the_command_of_lag_tells_what_the_step_saw(whole: LiveLab, tmp_path: Path) -> None:
    """Pasted, it has the replica's row, with a lag that the step would take."""
    file = tmp_path / "lag.yaml"
    file.write_text(
        "title: Lag\naccounts: [alice]\nsteps:\n  - lag: {replica: replica1, below: 20s}\n"
    )
    (line,) = [e["line"] for e in whole.verdicts(str(file), code=0) if e["event"] == "command"]
    assert line.split()[0] == "labctl"
    env = {**whole.env, "PATH": f"{LABCTL.parent}:{os.environ['PATH']}"}
    told = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=True)
    (row,) = [row.split() for row in told.stdout.splitlines() if row.startswith("replica1")]
    assert row[-1] == "s"
    assert float(row[-2]) < 20


def test_lag_is_seen_while_the_directory_hangs(replicated: LiveLab, tmp_path: Path) -> None:
    """By a run that has asked it before."""
    file = tmp_path / "hangs.yaml"
    file.write_text(
        "title: Hangs\naccounts: [alice]\nsteps:\n"
        "  - lag: {replica: replica1, below: 20s}\n"
        "  - fault: {service: openldap, kind: pause}\n"
        "  - lag: {replica: replica1, above: 3s, within: 60s}\n"
    )
    assert replicated.verdicts(str(file), code=0)[-1]["checks"] == 2


def test_a_step_tells_that_the_replicas_have_the_change(whole: LiveLab) -> None:
    """It is no secret of the scenario's that it waits."""
    events = whole.verdicts("offboarding", code=0)
    told = [e["reason"] for e in events if e["event"] == "step-ended" and e["reason"]]
    assert set(told) == {"the replicas have it, too"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("directory-away", "needs a single directory; this is replicated"),
        ("replica-limit", "needs LAB_MAX_LAG_SECONDS of at most 5; this is not set"),
    ],
)
def test_what_does_not_fit_is_skipped_with_its_reason(
    whole: LiveLab, name: str, reason: str
) -> None:
    """A directory that is away does not stop anybody here, and the limit is the lab's: what the
    variable says to `scenario` is none.
    """
    done = whole.ran("scenario", name, LAB_MAX_LAG_SECONDS=str(LIMIT))
    assert done.code == 1
    assert reason in done.out


def test_a_single_directory_has_no_replicas(lab: LiveLab) -> None:
    """The default lab has the four services, and says so; the scenarios of replicas are skipped."""
    status = lab.json("status")
    assert {row["service"] for row in status["services"]} == LISTENERS.keys() - {*REPLICAS}
    assert (status["directory"], status["replicas"]) == ("single", [])
    assert "BEHIND" not in lab.run("status")
    for name in ("replica-behind", "tour/lag"):
        assert "needs a replicated directory; this is single" in lab.run("scenario", name, code=1)


@pytest.mark.parametrize("service", REPLICAS)
def test_a_replica_is_confined_as_documented(whole: LiveLab, service: str) -> None:
    """What listens, as whom it runs; and no port of it is published."""
    found = {address(line) for line in whole.must(service, "bash", "-c", LISTENING).split()}
    assert {each for each in found if not each.startswith("127.0.0.11")} == LISTENERS[service]
    rows = whole.must(service, "bash", "-c", RUNNING).splitlines()
    users = {user for user, name in (row.split(maxsplit=1) for row in rows) if name not in SHELLS}
    assert users == USERS[service]
    assert docker_do("port", whole.container(service)) == ""


def test_hiding_may_be_repeated(whole: LiveLab) -> None:
    """One that was cut off does not know whether it was done, and does it again: once is enough."""
    for _ in range(2):
        whole.must("replica2", "hide-policy", "on")
    assert whole.inside("replica2", "hide-policy", "is-off").code == 1
    for _ in range(2):
        whole.must("replica2", "hide-policy", "off")
        whole.must("replica2", "hide-policy", "is-off")


@pytest.mark.parametrize("service", REPLICAS)
def test_a_replica_takes_no_change(whole: LiveLab, service: str) -> None:
    """It refers to the provider whoever would write, be it root (RFC 4511 §4.1.10)."""
    modify = ("ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///")
    done = whole.inside(service, *modify, stdin=MODIFY)
    assert done.code == 10
    assert "ldap://openldap" in done.err
    assert answer(whole, "alice").startswith("250")


def test_postfix_asks_the_replicas_alone(replicated: LiveLab) -> None:
    """With the provider dead people sign in, send and read, and who may not send is refused: new
    sessions, too. That it is not known how far they are behind is said.
    """
    kill(replicated, "openldap")
    assert answer(replicated, "dave").startswith("554 5.7.1")
    assert answer(replicated, "alice").startswith("250")
    assert replicated.json("inbox", "bob")["messages"]
    for row in lags(replicated).values():
        assert row["lag_seconds"] is None
        assert row["age_seconds"] > 0
    assert "unknown, as of " in replicated.run("status", code=3)


def test_nobody_is_let_through_when_it_is_not_known_any_more(limited: LiveLab) -> None:
    """The provider is away for longer than the limit: 450 for whom the policy would allow, and for
    whom it would not; mail from outside is taken. Back again, all is as before.
    """
    kill(limited, "openldap")
    eventually(lambda: answer(limited, "alice").startswith("450 4.7.1"))
    ages = [row["age_seconds"] for row in lags(limited).values()]
    assert min(ages) > LIMIT - 2
    assert answer(limited, "dave").startswith("450 4.7.1")
    assert answer(limited, "stranger@example.org").startswith("250")
    docker_do("start", limited.container("openldap"))
    eventually(lambda: answer(limited, "alice").startswith("250"))
    assert answer(limited, "dave").startswith("554 5.7.1")


def test_without_a_limit_it_goes_on(replicated: LiveLab) -> None:
    """By default a replica answers however old it is: LAB_MAX_LAG_SECONDS alone bounds it."""
    kill(replicated, "openldap")
    eventually(lambda: min(r["age_seconds"] for r in lags(replicated).values()) > LIMIT + 1)
    assert answer(replicated, "alice").startswith("250")
    assert answer(replicated, "dave").startswith("554 5.7.1")


def test_replicas_hear_of_what_was_changed_while_nobody_kept_it(
    replicated: LiveLab, state: Path
) -> None:
    """A start of the provider sets the passwords of Postfix and Dovecot, before it serves; and of
    what is changed while the directory is single no contextCSN tells. Several times, as a heartbeat
    that comes first would hide it.
    """
    secret = state / "labs" / replicated.name / "secrets" / "postfix.password"
    for _ in range(3):
        secret.unlink()
        replicated.run("up")
        eventually(lambda: len({stored(replicated, each) for each in ("openldap", *REPLICAS)}) == 1)
        assert answer(replicated, "alice").startswith("250")
        replicated.run("up", "--directory", "single")
        replicated.run("user", "disable", "carol")
        replicated.run("up", "--directory", "replicated")
        assert answer(replicated, "carol").startswith("554 5.7.1")
        replicated.run("up", "--directory", "single")
        replicated.run("user", "enable", "carol")
        replicated.run("up", "--directory", "replicated")
        assert answer(replicated, "carol").startswith("250")


def stored(lab: LiveLab, service: str) -> str:
    """Return what a directory keeps of Postfix's account: its number, and its password's hash."""
    search = "ldapsearch -QY EXTERNAL -H ldapi:/// -LLL -o ldif-wrap=no -s base -b"
    entry = "cn=postfix,ou=services,dc=truenorth,dc=local"
    told = lab.must(service, "sh", "-c", f"{search} {entry} userPassword entryUUID")
    assert told.count("\nuserPassword:: ") == told.count("\nentryUUID: ") == 1, told
    return "".join(sorted(told.splitlines()))


@pytest.mark.parametrize("service", REPLICAS)
def test_one_replica_dies_and_the_other_is_asked(replicated: LiveLab, service: str) -> None:
    """Nobody is told to try again later, in a new session, and the policy holds."""
    kill(replicated, service)
    assert answer(replicated, "alice").startswith("250")
    assert lags(replicated)[service]["age_seconds"] is None
    replicated.run("scenario", "send-disabled")


def test_up_without_the_limit_says_that_it_is_lifted(limited: LiveLab) -> None:
    """Once; the next `up` has nothing to say of it."""
    told = [limited.ran("up") for _ in range(2)]
    assert ["LAB_MAX_LAG_SECONDS" in done.err for done in told] == [True, False]
    assert [done.code for done in told] == [0, 0]
    assert limited.json("status")["max_lag_seconds"] is None
    bound = {"LAB_MAX_LAG_SECONDS": str(LIMIT)}
    limited.run("up", **bound)
    assert "LAB_MAX_LAG_SECONDS" not in limited.ran("up", "--directory", "single", **bound).err


def test_a_replica_that_cannot_bound_its_lag_ends(limited: LiveLab) -> None:
    """If the program that watches is killed slapd ends, too, rather than answer without a limit."""
    as_openldap = ("setpriv", "--reuid=openldap", "--regid=openldap", "--clear-groups")
    victim = "for p in /proc/[0-9]*; do [ $(<$p/comm) = bound-lag ] && kill -9 ${p##*/}; done; true"
    limited.must("replica1", *as_openldap, "bash", "-c", victim)
    state = ("inspect", "-f", "{{.State.Status}}", limited.container("replica1"))
    eventually(lambda: docker_do(*state).strip() == "exited")
    assert answer(limited, "alice").startswith("250")


def test_how_far_a_replica_is_behind_is_known_and_mended(
    replicated: LiveLab, tmp_path: Path
) -> None:
    """A run that was killed left one behind: `status` and `doctor` say how far, `heal` mends it."""
    ended_by(replicated, signal.SIGKILL, story(tmp_path, "replica2: behind"))
    eventually(lambda: behind(replicated, "replica2") > 4)
    eventually(lambda: behind(replicated, "replica1") < 2)
    assert "replica2 is broken (behind)" in replicated.ran("status").err
    findings = {row["what"]: row for row in replicated.json("doctor", code=3)["findings"]}
    assert "replica2 is behind: " in findings["replicas"]["seen"]
    assert findings["replicas"]["level"] == "fail"
    replicated.run("heal")
    eventually(lambda: behind(replicated, "replica2") < 2)
    findings = {row["what"]: row for row in replicated.json("doctor")["findings"]}
    assert findings["replicas"]["level"] == "ok"


def test_an_empty_replica_answers_nobody(replicated: LiveLab) -> None:
    """One that has no entries yet would deny that anybody exists, and mail would bounce."""
    container = replicated.container("replica2")
    docker_do("kill", container, replicated.container("openldap"))
    image = docker_do("inspect", "-f", "{{.Config.Image}}", container).strip()
    volume = f"{replicated.project}_replica2:/var/lib/ldap"
    docker_do("run", "--rm", "-v", volume, "--entrypoint=sh", image, "-c", "rm /var/lib/ldap/*")
    docker_do("start", container)
    assert replicated.inside("replica2", "healthcheck").code != 0
    found = replicated.must("replica2", "bash", "-c", LISTENING).split()
    assert not {"*:389", "*:636"} & {address(line) for line in found}
    docker_do("start", replicated.container("openldap"))
    eventually(lambda: replicated.inside("replica2", "healthcheck").code == 0)
    replicated.run("up")
    docker_do("kill", replicated.container("replica1"))
    assert answer(replicated, "alice").startswith("250")


def test_a_replica_that_fills_is_not_well(replicated: LiveLab) -> None:
    """Its slapd runs, and nobody is told that it is well, nor how far it is behind."""
    container = replicated.container("replica2")
    docker_do("kill", container, replicated.container("openldap"))
    image = docker_do("inspect", "-f", "{{.Config.Image}}", container).strip()
    volume = f"{replicated.project}_replica2:/var/lib/ldap"
    anew = "rm /var/lib/ldap/lock.mdb; : >/var/lib/ldap/data.mdb"
    docker_do("run", "--rm", "-v", volume, "--entrypoint=sh", image, "-c", anew)
    docker_do("start", container)
    filling = ("test", "-S", "/run/slapd/filling")
    eventually(lambda: replicated.inside("replica2", *filling).code == 0)
    assert "Can't contact" in replicated.inside("replica2", "healthcheck").err
    assert lags(replicated)["replica2"]["age_seconds"] is None
    docker_do("start", replicated.container("openldap"))
    eventually(lambda: replicated.inside("replica2", "healthcheck").code == 0)


def test_a_limit_is_refused_where_it_would_open_the_lab(replicated: LiveLab) -> None:
    """`baseline` takes a policy that is hidden for a yes; nothing is changed."""
    done = replicated.ran("up", "--policy", "baseline", LAB_MAX_LAG_SECONDS=str(LIMIT))
    assert done.code == 2
    assert "LAB_MAX_LAG_SECONDS hides the policy" in done.err
    assert replicated.json("endpoints")["policy"] == "hardened"


def test_a_lab_becomes_single_and_replicated_again(replicated: LiveLab) -> None:
    """`up --directory` switches a lab that runs; people and what they may do stay."""
    replicated.run("user", "disable", "carol")
    replicated.run("up", "--directory", "single")
    status = replicated.json("status")
    assert not {row["service"] for row in status["services"]} & {*REPLICAS}
    assert answer(replicated, "carol").startswith("554 5.7.1")
    replicated.run("up", "--directory", "replicated")
    assert lags(replicated).keys() == {*REPLICAS}
    assert answer(replicated, "carol").startswith("554 5.7.1")


def test_a_backup_has_the_provider_and_replicas_fill_themselves(
    replicated: LiveLab, state: Path, tmp_path: Path
) -> None:
    """Restored, the lab is replicated again, and decides as before."""
    file = tmp_path / "lab.tgz"
    replicated.run("user", "disable", "carol")
    replicated.run("backup", str(file))
    twin = LiveLab("twin", environment(state, 13))
    twin.run("restore", str(file))
    try:
        assert twin.json("endpoints")["directory"] == "replicated"
        eventually(lambda: all(behind(twin, service) < 2 for service in REPLICAS))
        assert answer(twin, "carol").startswith("554 5.7.1")
        assert answer(twin, "alice").startswith("250")
    finally:
        twin.run("down", "--volumes")


def test_a_thread_has_what_the_replicas_were_asked(replicated: LiveLab) -> None:
    """`logs --follow` lets the replicas tell their operations, too, since Postfix asks them; one
    that is away is named, and keeps nobody from following the others.
    """
    kill(replicated, "replica2")
    process = replicated.start("logs", "--follow", "--account", "dave", "-o", "json")
    assert process.stdout is not None
    assert process.stderr is not None
    assert "replica2 does not tell" in process.stderr.readline()
    assert "Following" in process.stderr.readline()
    answer(replicated, "dave")
    services = set()
    for line in process.stdout:
        services.add(json.loads(line)["service"])
        if services >= {"replica1", "postfix"}:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert services >= {"replica1", "postfix"}
    kill(replicated, "openldap", "replica1")
    follow = replicated.ran("logs", "--follow", "--account", "dave")
    assert follow.code == 3
    assert "no directory tells its operations" in follow.err
