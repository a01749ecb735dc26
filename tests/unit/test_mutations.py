"""Mutations change something, and a proof finds the first scenario that goes red."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.errors import UsageError
from labctl.events import CaseStarted, Event, StepEnded, StepStarted, Verdict
from labctl.prove.catalogue import MUTATIONS
from labctl.prove.mutation import Edit, Mutation
from labctl.prove.proof import Caught, caught_by, prove, survivors
from labctl.scenario.model import Needs, Scenario, Step
from labctl.scenario.steps.fault import Fault

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {path.stem for path in (ROOT / "scenarios").glob("*.yaml")}
NOTHING = Mutation("nothing", (), "second")


def scenario(name: str, *steps: Step) -> Scenario:
    """Return a scenario of that name; what it does is up to who plays it."""
    return Scenario(Path(f"{name}.yaml"), name, "", (), steps, (), Needs())


def playing(*red: str) -> tuple[list[str], Callable[[Scenario, Callable[[Event], None]], None]]:
    """Return what plays scenarios, those in `red` with a step that fails, and what was played."""
    played: list[str] = []

    def play(each: Scenario, emit: Callable[[Event], None]) -> None:
        played.append(each.name)
        verdict = Verdict.FAILED if each.name in red else Verdict.PASSED
        emit(StepStarted(1, "send", "a letter", 0.0))
        emit(StepEnded(1, verdict, "reply: expected 5, seen 2\nmore", 0.1))
        emit(StepStarted(2, "send", "never told where the first was red", 0.0))
        emit(StepEnded(2, Verdict.PASSED, "", 0.1))

    return played, play


def test_the_catalogue_is_large_and_each_mutation_is_one_of_a_kind() -> None:
    """At least forty, none twice, each with a scenario that ships."""
    assert len({each.name for each in MUTATIONS}) == len(MUTATIONS) >= 40
    assert len({each.changes for each in MUTATIONS}) == len(MUTATIONS)
    assert {each.scenario for each in MUTATIONS} <= SHIPPED


def test_an_edit_changes_each_line_that_fits() -> None:
    """`^` and `$` are a line's ends, and a group can be kept."""
    edit = Edit("/etc/postfix/main.cf", "^(a) = .*$", r"\1 = 2")
    assert edit.applied("a = 1\nb = 1\na = 3\n") == "a = 2\nb = 1\na = 2\n"
    assert edit.service == "postfix"
    assert Edit("/etc/dovecot/dovecot.conf", "x", "y").service == "dovecot"


@pytest.mark.parametrize("text", ["", "b = 1\n", "a = 2\n"])
def test_an_edit_that_changes_nothing_is_an_error(text: str) -> None:
    """Else it would look like a mutation that nobody noticed, or that everybody did."""
    with pytest.raises(UsageError, match="changes nothing"):
        Edit("/etc/postfix/main.cf", "^a = .*$", "a = 2").applied(text)


def test_the_likeliest_scenario_is_played_first_and_the_first_red_one_ends_it() -> None:
    """The line is the step's, the reason its first line; what comes after is not played."""
    played, play = playing("second", "third")
    result = prove(NOTHING, [scenario(n) for n in ("first", "second", "third")], play)
    assert result.caught == Caught("second", "1 send a letter", "reply: expected 5, seen 2")
    assert played == ["second"]
    assert survivors([result]) == []


def test_what_no_scenario_notices_has_survived() -> None:
    """All were played, and none was red."""
    played, play = playing()
    result = prove(NOTHING, [scenario(n) for n in ("first", "second")], play)
    assert (result.caught, played) == (None, ["second", "first"])
    assert survivors([result]) == [result]


def test_scenarios_that_take_servers_away_come_last() -> None:
    """They wait for the servers to come back; the likeliest is the first all the same."""
    away = Fault(service="openldap", kind="stop")
    played, play = playing()
    prove(NOTHING, [scenario("away", away), scenario("first"), scenario("second", away)], play)
    assert played == ["second", "first", "away"]


def test_a_rehearsal_counts_for_its_own_mutations_alone() -> None:
    """It does not touch a policy that is not the lab's, which is no proof that the hole is seen."""
    shadow = scenario("shadow", Fault(service="postfix", kind="shadow"))
    played, play = playing("shadow")
    assert prove(NOTHING, [shadow, scenario("second")], play).caught is None
    assert played == ["second"]
    assert prove(Mutation("its own", (), "shadow"), [shadow], play).caught is not None


def test_a_case_is_named_with_its_step() -> None:
    """In a scenario of cases the line says which case."""

    def play(_: Scenario, emit: Callable[[Event], None]) -> None:
        emit(CaseStarted(7, "the null sender", 0.0))
        emit(StepStarted(1, "smtp", "MAIL FROM:<>", 0.0))
        emit(StepEnded(1, Verdict.ERROR, "gone", 0.1))

    caught = caught_by(scenario("bypass"), play)
    assert caught == Caught("bypass", "the null sender: 1 smtp MAIL FROM:<>", "gone")


def test_what_is_undone_after_does_not_count_again() -> None:
    """The undo that follows a red step may end as it likes."""

    def play(_: Scenario, emit: Callable[[Event], None]) -> None:
        emit(StepStarted(1, "send", "", 0.0))
        try:
            emit(StepEnded(1, Verdict.FAILED, "red", 0.1))
        finally:
            emit(StepEnded(1, Verdict.ERROR, "not undone", 0.1, undo=True))

    caught = caught_by(scenario("x"), play)
    assert caught is not None
    assert caught.reason == "red"
