"""The catalogue of ways around the policy holds on both profiles, and notices a way that opens."""

import base64
import json
from typing import Any

from conftest import ROOT, LiveLab
from test_scenarios import break_postfix

from labctl.scenario.loader import load

CATALOGUE = load(ROOT / "scenarios" / "bypass.yaml")
NULL_SENDER_ALONE = {each.name for each in CATALOGUE.cases if each.name.startswith("Bob: null sen")}


def played(lab: LiveLab, code: int) -> dict[str, dict[str, Any]]:
    """Run the catalogue, which must show no password; returns how each case ended, by its name."""
    told = lab.run("scenario", "bypass", "-o", "jsonl", code=code)
    for account in lab.json("endpoints", "--secrets")["accounts"].values():
        assert not [form for form in forms(account["login"], account["password"]) if form in told]
    events = [json.loads(line) for line in told.splitlines()]
    names = {event["number"]: event["name"] for event in events if event["event"] == "case-started"}
    return {names[event["number"]]: event for event in events if event["event"] == "case-ended"}


def forms(login: str, password: str) -> tuple[str, ...]:
    """Return a password as it may stand on the wire: plainly, for LOGIN and for PLAIN."""
    coded = (base64.b64encode(text.encode()) for text in (password, f"\0{login}\0{password}"))
    return (password, *(each.decode() for each in coded))


def test_on_hardened_nothing_is_open(lab: LiveLab) -> None:
    """Every attempt is refused, every legitimate message accepted."""
    ended = played(lab, code=0)
    assert {event["verdict"] for event in ended.values()} == {"passed"}
    assert {event["note"] for event in ended.values()} == {""}
    assert set(ended) == {case.name for case in CATALOGUE.cases}


def test_on_baseline_the_known_ways_are_open_and_say_so(baseline: LiveLab) -> None:
    """Exactly the cases that name the profile pass as expected open, the rest as usual."""
    ended = played(baseline, code=0)
    assert {event["verdict"] for event in ended.values()} == {"passed"}
    noted = {name for name, event in ended.items() if event["note"] == "expected open"}
    assert noted == {case.name for case in CATALOGUE.cases if case.open_on == "baseline"}


def test_a_way_that_opens_turns_its_cases_red_and_no_other(scratch: LiveLab) -> None:
    """With the null sender allowed, the cases of one who may send and uses it fail."""
    break_postfix(scratch, [("main.cf", "s/^hardened_null_sender = .*/hardened_null_sender =/")])
    ended = played(scratch, code=1)
    assert len(NULL_SENDER_ALONE) > 1
    red = {name for name, event in ended.items() if event["verdict"] != "passed"}
    assert red == NULL_SENDER_ALONE
