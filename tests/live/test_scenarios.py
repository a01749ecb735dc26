"""The scenarios that ship hold on real servers, and go red when what they prove is broken."""

import json
from collections.abc import Iterable

import pytest
from conftest import ROOT, LiveLab, docker_do

from labctl.endpoints import Endpoints
from labctl.errors import ExpectationFailed
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.protocols.poll import poll
from labctl.scenario.session import Session
from labctl.scenario.steps.unchanged import Unchanged

# The catalogue test_bypass.py runs, and those of a replicated directory test_replicated.py.
ELSEWHERE = {"bypass", "replica-behind", "replica-limit"}
SHIPPED = sorted({path.stem for path in (ROOT / "scenarios").glob("*.yaml")} - ELSEWHERE)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_scenario_passes_on_the_default_profile(lab: LiveLab, name: str) -> None:
    """Each expectation of each scenario is met by the default lab."""
    events = lab.verdicts(name, code=0)
    ended = events[-1]
    assert ended["verdict"] == "passed"
    assert ended["checks"] >= len([e for e in events if e["event"] == "check"]) > 0
    assert ended["skipped"] == ended["failed"] == ended["error"] == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_on_the_baseline_profile_they_pass_or_say_why_not(baseline: LiveLab, name: str) -> None:
    """A scenario passes on baseline, or is skipped as a whole with the profile as its reason."""
    done = baseline.ran("scenario", name, "-o", "jsonl")
    ended = json.loads(done.out.splitlines()[-1])
    if ended["verdict"] == "skipped":
        assert "needs the policy profile hardened" in done.out
        assert done.code == 1, "a run in which nothing was checked is not a success"
    else:
        assert (done.code, ended["verdict"]) == (0, "passed")


def break_postfix(lab: LiveLab, edits: Iterable[tuple[str, str]]) -> None:
    """Edit rendered files and let Postfix read them; each edit must change something."""
    for file, expression in edits:
        path = f"/etc/postfix/{file}"
        before = lab.must("postfix", "cat", path)
        lab.must("postfix", "sed", "-i", expression, path)
        assert lab.must("postfix", "cat", path) != before, "the mutation changed nothing"
    lab.must("postfix", "read-anew")


NO_SENDING_POLICY = "s/^hardened_sending_policy =/hardened_sending_policy = permit\\n_unused =/"

MUTATIONS = {
    "the policy is not asked": (
        "offboarding",
        "resend",
        [
            ("main.cf", NO_SENDING_POLICY),
            ("main.cf", "s/, check_sender_access ldap:.*reject_disabled.cf//"),
        ],
    ),
    "the flag is misspelt in the filters": (
        "send-disabled",
        "send",
        [
            (name, "s/tnMailSendAllowed=FALSE/tnMailSendAlowed=FALSE/g")
            for name in (
                "ldap_login_may_not_send.cf",
                "ldap_login_may_send.cf",
                "ldap_sender_reject_disabled.cf",
            )
        ],
    ),
    "refusals are only warned of": (
        "offboarding",
        "resend",
        [
            ("main.cf", NO_SENDING_POLICY),
            ("main.cf", "s/check_sender_access ldap:/warn_if_reject, &/"),
        ],
    ),
    "the refusal does not name the policy": (
        "offboarding",
        "resend",
        [
            ("ldap_login_may_not_send.cf", "s/directory policy/reasons/"),
            ("ldap_sender_reject_disabled.cf", "s/directory policy/reasons/"),
        ],
    ),
    "senders are not compared with logins": (
        "offboarding",
        "send",
        [("main.cf", "s/reject_sender_login_mismatch, //g")],
    ),
    "the login map forgets secondary addresses": (
        "anti-spoofing",
        "send",
        [("ldap_sender_logins.cf", "s/(mailLocalAddress=%s)//")],
    ),
    "port 25 takes our own senders": (
        "anti-spoofing",
        "send",
        [("main.cf", "s/check_sender_access regexp:[^ ]*own_senders.regexp//")],
    ),
    "the null sender is allowed": (
        "anti-spoofing",
        "send",
        [("main.cf", "s/^hardened_null_sender = .*/hardened_null_sender =/")],
    ),
    "the header is not looked at": (
        "header-from",
        "send",
        [("main.cf", "s/^smtpd_milters = .*/smtpd_milters =/")],
    ),
    "port 25 is held to it, too": (
        "header-from",
        "send",
        [("main.cf", "s/^relay_milters =/& $hardened_milters/")],
    ),
    "mail for outside is not captured": (
        "delivery",
        "send",
        [("main.cf", "s/regexp:[^ ]*outside_captured.regexp//")],
    ),
    "recipients have no secondary addresses": (
        "delivery",
        "send",
        [("ldap_aliases.cf", "s/(mailLocalAddress=%s)//")],
    ),
    "signing in is off": (
        "send-disabled",
        "send",
        [("main.cf", "s/^smtpd_sasl_auth_enable = yes/smtpd_sasl_auth_enable = no/")],
    ),
    "mail is accepted and lost": (
        "offboarding",
        "receive",
        [("main.cf", "s/^virtual_transport = .*/virtual_transport = discard:/")],
    ),
    "any status is as good as active": (
        "status-values",
        "send",
        [
            ("main.cf", NO_SENDING_POLICY),
            ("ldap_sender_reject_disabled.cf", "s/(&(tnAccountStatus=\\*)[^)]*))*)//"),
        ],
    ),
}


@pytest.mark.parametrize("fault", MUTATIONS)
def test_a_broken_guarantee_turns_a_scenario_red(scratch: LiveLab, fault: str) -> None:
    """For each guarantee that is broken on purpose, a shipped scenario fails at the right verb."""
    scenario, verb, edits = MUTATIONS[fault]
    break_postfix(scratch, edits)
    done = scratch.ran("scenario", scenario, "-o", "jsonl", LAB_WAIT_SECONDS="3")
    events = [json.loads(line) for line in done.out.splitlines()]
    red = [e for e in events if e["event"] == "step-ended" and e["verdict"] in ("failed", "error")]
    assert done.code in (1, 5), done.out
    begun = {e["number"]: e["verb"] for e in events if e["event"] == "step-started"}
    assert begun[red[0]["number"]] == verb, red[0]["reason"]


@pytest.mark.parametrize("event", ["reload", "restart", "new configuration"])
def test_unchanged_notices(scratch: LiveLab, event: str) -> None:
    """A reload, a restart and a changed configuration each turn the step `unchanged` red."""
    containers = LabContainers(Engine(), scratch.project)
    endpoints = Endpoints.from_dict(scratch.json("endpoints", "--secrets"))
    session = Session(endpoints, "r", lambda _: None, containers=containers)
    Unchanged().prepare(session)
    Unchanged().perform(session)
    match event:
        case "reload":
            scratch.must("postfix", "postfix", "reload")
            poll(lambda: _reloaded(scratch), what="the new queue manager", seconds=30)
        case "restart":
            docker_do("restart", "-t", "3", scratch.container("postfix"))
            poll(lambda: _reloaded(scratch), what="the queue manager", seconds=30)
        case "new configuration":
            scratch.must("postfix", "sed", "-i", "s/5.7.1 Sending/5.7.1 sending/", *MAPS)
    with pytest.raises(ExpectationFailed):
        Unchanged().perform(session)


MAPS = ("/etc/postfix/ldap_login_may_not_send.cf",)


def _reloaded(lab: LiveLab) -> bool | None:
    """Say whether a queue manager runs that has been started after the reload."""
    return lab.inside("postfix", "fingerprint").code == 0 or None
