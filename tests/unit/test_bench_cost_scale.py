"""What the measurements of cost and scale are made of, as far as it needs no lab."""

from collections import Counter
from pathlib import Path

import pytest

from labctl.bench.crowd import Crowd
from labctl.bench.figure import Figure
from labctl.bench.measurements import cost, scale
from labctl.bench.measurements.cost import HARDENED, MILTER, NONE, Load, Taken, in_turn, ways
from labctl.bench.measurements.scale import Grown, alternated, searches, unindexed
from labctl.errors import LabNotReady
from labctl.lab.bulk import took
from labctl.lab.seed import read_seed
from labctl.settings import Settings

HERE = Path()
MAIN = """smtpd_client_restrictions = $hardened_sending_policy
hardened_sending_policy = check_sasl_access ldap:/etc/postfix/yes.cf,
    check_sasl_access ldap:/etc/postfix/no.cf
virtual_alias_maps = regexp:/etc/postfix/x.regexp, ${relayhost?{}:{ldap:/etc/postfix/aliases.cf}}
smtpd_milters = inet:milter:8891
"""


@pytest.fixture
def made() -> dict[str, dict[str, str]]:
    """Return the parameters of each way's main.cf."""
    return {
        way: dict(
            line.split(" = ", 1)
            for line in text.replace("\n    ", " ").splitlines()
            if not line.endswith(" = ")
        )
        for way, text in ways("smtpd_client_restrictions = usual\n", MAIN).items()
    }


def test_each_way_is_the_lab_s_own_configuration_but_for_the_policy(
    made: dict[str, dict[str, str]],
) -> None:
    """The milter is asked in one of them alone; without a policy who signed in may send."""
    assert [way for way, each in made.items() if "smtpd_milters" in each] == [
        "hardened, with the milter"
    ]
    assert made[NONE]["smtpd_client_restrictions"] == "permit_sasl_authenticated, reject"
    assert made[HARDENED]["smtpd_client_restrictions"] == "$hardened_sending_policy"
    assert made["baseline"] == {"smtpd_client_restrictions": "usual"}
    assert "texthash:" in made["a static texthash map"]["smtpd_client_restrictions"]


def test_the_policy_service_is_asked_where_the_directory_would_be(
    made: dict[str, dict[str, str]],
) -> None:
    """In every list that hardened asks about the login; all else is as under hardened."""
    served = made["a policy service (postfwd)"]
    rule = served.pop("hardened_sending_policy")
    assert rule == "check_policy_service inet:postfwd:10040, reject"
    made[HARDENED].pop("hardened_sending_policy")
    assert served == made[HARDENED]


def test_through_proxy_every_table_of_the_directory_is_asked_so(
    made: dict[str, dict[str, str]],
) -> None:
    """And proxymap is told that it may: it opens no others."""
    proxied = made["hardened, through proxy"]
    assert "proxy:ldap:/etc/postfix/yes.cf" in proxied["hardened_sending_policy"]
    assert "{proxy:ldap:/etc/postfix/aliases.cf}" in proxied["virtual_alias_maps"]
    assert proxied["proxy_read_maps"].split(", ") == [
        f"proxy:ldap:/etc/postfix/{name}.cf" for name in ("yes", "no", "aliases")
    ]


@pytest.mark.parametrize("rounds", [1, 3, 5, 7, 10, 14])
def test_each_way_has_each_place_as_often_as_any_other(rounds: int) -> None:
    """As far as so many rounds allow."""
    names = ["a", "b", "c", "d", "e", "f", "g"]
    turns = [in_turn(names, number, rounds) for number in range(rounds)]
    assert all(sorted(turn) == names for turn in turns)
    for place in range(len(names)):
        had = Counter(turn[place] for turn in turns)
        often = [had[name] for name in names]
        assert max(often) - min(often) <= 1


@pytest.fixture
def found() -> dict[str, Figure]:
    """Return the figures of made-up samples, by their names."""
    load = Load(8, each=False)
    cells = {
        (load, NONE): Taken([100, 200], [100, 200], [10, 20], [1, 2, 3]),
        (load, "baseline"): Taken([80, 160], [80, 160], [11, 22], [2, 3, 4]),
        (load, HARDENED): Taken([60, 120], [70, 140], [12, 24], [4, 5, 6]),
        (load, MILTER): Taken([45, 90], [35, 70], [18, 36], [9, 10, 11]),
    }
    names = [way for _, way in cells]
    return {
        each.name: each for each in cost.figures(cells, [load], names) if isinstance(each, Figure)
    }


LOAD = "8 sessions, signed in before"


@pytest.mark.parametrize(
    ("what", "ratio", "limit"),
    [
        (f"hardened: messages a second, {LOAD}", 0.6, 0.95),
        (f"hardened, against baseline: messages a second, {LOAD}", 0.75, 0.95),
        (f"hardened with the milter, against without: messages a second, {LOAD}", 0.75, None),
        (f"hardened with the milter, against without: delivered a second, {LOAD}", 0.5, None),
        (f"hardened with the milter, against without: processor time a message, {LOAD}", 1.5, None),
        (f"hardened with the milter, against without: a message takes, {LOAD}", 2, None),
        (f"{MILTER}: a message takes, {LOAD}", 5, None),
        (f"{HARDENED}: a message takes, {LOAD}", 2.5, None),
    ],
)
def test_what_a_way_costs_is_told_against_another(
    found: dict[str, Figure], what: str, ratio: float, limit: float | None
) -> None:
    """The milter against hardened without it, hardened against baseline, all against none."""
    assert found[what].ratio == pytest.approx(ratio)
    assert found[what].limit == limit
    floors = {"against baseline": "baseline", "against without": HARDENED}
    expected = [floor for said, floor in floors.items() if said in what] or [NONE]
    assert [found[what].floor_is] == expected


def test_no_policy_is_a_floor_and_has_none(found: dict[str, Figure]) -> None:
    """All else has one, and no name is there twice."""
    without = {name for name, each in found.items() if each.floor is None}
    assert without == {name for name in found if name.startswith(f"{NONE}:")}
    assert len(without) == 4
    assert len(found) == 4 * (4 + 2)


def test_a_crowd_is_written_as_a_directory_reads_it(tmp_path: Path) -> None:
    """Each of them once, in the domain and below the base of the lab; one in ten may not send."""
    settings = Settings(HERE, HERE, domain="x.test", base_dn="dc=x,dc=test")
    crowd = Crowd.of(settings)
    crowd.write(tmp_path / "people.ldif", 5, 25, lambda *_: None)
    entries = read_seed(tmp_path / "people.ldif", settings)
    assert [each.name for each in entries] == [f"u{number:07d}" for number in range(5, 25)]
    assert entries[0].dn == "uid=u0000005,ou=users,dc=x,dc=test"
    assert entries[0].values["userPassword"] == (crowd.hash,)
    blocked = [each.name for each in entries if each.values["tnMailSendAllowed"] == ("FALSE",)]
    assert blocked == ["u0000010", "u0000020"]
    senders = {each.login for each in crowd.senders(24, 25)}
    assert not senders & {"u0000000", *blocked}
    assert len(senders) > 20
    assert len(crowd.senders(24, 4)) == 24


def test_the_log_of_slapd_tells_of_searches_and_of_those_without_an_index() -> None:
    """In slapd's own words."""
    lines = [
        '6b08 0x7f conn=1 op=1 SRCH base="ou=users,dc=x" scope=1 deref=0 filter="(sn=x)"',
        "6b08 0x7f conn=1 op=1 SRCH attr=uid",
        "6b08 0x7f <= mdb_equality_candidates: (sn) not indexed",
        "6b08 0x7f <= mdb_substring_candidates: (mail) not indexed",
    ]
    assert searches(lines) == 1
    assert unindexed(lines) == ("sn", "mail")


def test_recipients_are_from_all_over_the_accounts() -> None:
    """Each is another as long as there are enough, and has an address of its own in any case: what
    Postfix remembers would help a small lab more than a large one.
    """
    crowd = Crowd.of(Settings(HERE, HERE))
    logins = [each.login for each in crowd.recipients(1200, 100_000)]
    assert len(set(logins)) == 1200
    assert int(logins[0][1:]) == 0
    assert int(logins[-1][1:]) > 98_000
    few = crowd.recipients(12, 4)
    assert [int(each.login[1:]) for each in few] == [0, 1, 2, 3] * 3
    assert len({each.address for each in few}) == 12
    assert few[5].address == f"{few[5].login}+5@truenorth.local"


def test_who_is_asked_first_alternates() -> None:
    """A, B, B, A: so neither is always the one that comes after a pause."""
    assert [list(alternated("ab", number)) for number in range(3)] == [
        ["a", "b"],
        ["b", "a"],
        ["a", "b"],
    ]


def test_slapadd_s_own_time_is_read_from_what_the_container_printed() -> None:
    """It is among whatever else was said; where it is not, that is told."""
    said = "Container x Created\nClosing DB...\nslapadd took 1250000 us\r\n"
    assert took(said) == 1.25
    with pytest.raises(LabNotReady, match=r"but: Closing DB\.\.\."):
        took("Closing DB...\n")


def test_decisions_are_compared_pair_by_pair_and_lookups_told_with_how_many_were_read() -> None:
    """One slow moment that falls on both sides of a pair does not count; nor does its order."""
    this = Grown(
        1_000,
        load=2.0,
        bare=1.0,
        added=990,
        decisions=[2.0, 30.0, 3.0],
        beside=[2.0, 20.0, 3.0],
        searches=240,
        unindexed=("sn",),
    )
    found = {each.name: each for each in scale.figures([this]) if isinstance(each, Figure)}
    decided = found["decision at RCPT, 1,000 accounts"]
    assert decided.ratio == 1
    assert decided.n == 3
    without = found["lookups without an index, 1,000 accounts"]
    assert (without.value, without.n, without.holds) == (1, 240, False)
    assert found["loading, 1,000 accounts"].ratio == pytest.approx(0.5)
