"""What a scenario needs of a stack: words or a mapping, and the reason where it is not met."""

from pathlib import Path

import pytest

from labctl.endpoints import Endpoint, Endpoints
from labctl.scenario.loader import load
from labctl.scenario.model import Needs

SERVICES = {name: Endpoint("127.0.0.1", 1, "tls") for name in ("submission", "imaps", "ldaps")}
STACK = Endpoints("x", 0, "x.org", "dc=x", "baseline", None, SERVICES)


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        ("{}", Needs()),
        ("[]", Needs()),
        ("{imap: true, policy: hardened}", Needs(imap=True, policy="hardened")),
        ("[imap, policy: hardened]", Needs(imap=True, policy="hardened")),
        ("[containers, {imap: false}]", Needs(containers=True)),
    ],
)
def test_a_list_and_a_mapping_say_the_same(tmp_path: Path, given: str, needs: Needs) -> None:
    """A word in a list means that it is true."""
    file = tmp_path / "x.yaml"
    file.write_text(f"title: t\naccounts: []\nneeds: {given}\nsteps: [{{flush: }}]\n")
    assert load(file).needs == needs


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        (Needs(), ""),
        (Needs(submission=True, imaps=True, ldaps=True, policy="baseline"), ""),
        (Needs(imap=True), "needs imap; the stack has no such service"),
        (Needs(smtp=True, imap=True), "needs smtp and imap; the stack has no such service"),
        (Needs(policy="hardened"), "needs the policy profile hardened; this is baseline"),
        (Needs(containers=True), "needs the lab's own containers"),
        (Needs(directory="replicated"), "needs a replicated directory; this is single"),
        (Needs(max_lag=5.0), "needs LAB_MAX_LAG_SECONDS of at most 5; this is not set"),
    ],
)
def test_a_need_that_is_not_met_has_a_reason(needs: Needs, reason: str) -> None:
    """Each service by its name, the policy, and the containers."""
    assert needs.unmet(STACK, containers=False) == reason


def test_containers_meet_the_need_for_them() -> None:
    """In a lab of our own there is nothing to say."""
    assert not Needs(containers=True).unmet(STACK, containers=True)
