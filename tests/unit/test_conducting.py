"""A presenter goes back, repeats, skips and quits; the run stays an honest record of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_runner import STACK, Doing, changing, failing, passing, story

from labctl.events import CaseEnded, Event, Moved, RunEnded, StepEnded, StepStarted, Verdict
from labctl.scenario.conductor import Move, Standing
from labctl.scenario.journal import Journal
from labctl.scenario.model import Case, Needs, Scenario
from labctl.scenario.runner import run
from labctl.scenario.session import Session

NEXT, REPEAT, BACK, SKIP, QUIT = Move.NEXT, Move.REPEAT, Move.BACK, Move.SKIP, Move.QUIT
Action = Callable[[Session], None]


@dataclass
class Scripted:
    """A conductor who makes these moves, then goes on to the end; remembers where he was asked."""

    moves: Iterable[Move]
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = iter(self.moves)

    def choose(self, standing: Standing) -> Move:
        """Make the next move."""
        self.asked.append(standing.behind)
        return next(self._left, NEXT)


def conducted(scenario: Scenario, *moves: Move) -> tuple[RunEnded, list[Event]]:
    """Run it with a conductor who makes these moves."""
    events: list[Event] = []
    return run(scenario, Session(STACK, "r", events.append), Scripted(moves)), events


def shape(events: Iterable[Event]) -> list[str]:
    """Return the steps and moves in short: `1 passed`, `undo 1`, `back 2`."""
    told = []
    for event in events:
        if isinstance(event, StepEnded):
            told.append(f"{'undo ' if event.undo else ''}{event.number} {event.verdict}")
        elif isinstance(event, Moved):
            told.append(f"{event.move} {event.behind}")
    return told


def test_he_is_asked_before_each_step_and_after_the_last() -> None:
    """Also at the end, so that the last step can be gone back over."""
    conductor = Scripted([])
    run(story(passing, passing), Session(STACK, "r", lambda _: None), conductor)
    assert conductor.asked == [0, 1, 2]


def test_back_takes_back_what_the_step_changed_and_stands_before_it() -> None:
    """Its undos run at once, in the transcript; those of earlier steps wait for the end."""
    undone: list[str] = []
    scenario = story(changing("a", undone), changing("b", undone), passing)
    ended, events = conducted(scenario, NEXT, NEXT, NEXT, BACK, BACK)
    assert undone == ["b", "b", "a"]
    assert shape(events) == [
        "1 passed", "2 passed", "3 passed", "back 3", "back 2", "undo 2 passed",
        "2 passed", "3 passed", "undo 2 passed", "undo 1 passed",
    ]  # fmt: skip
    assert (ended.verdict, ended.passed, ended.exit_code) == (Verdict.PASSED, 5, 0)


def test_back_leaves_the_journal_alone(tmp_path: Path) -> None:
    """What the steps before have changed is still to be put back."""
    journal, there = Journal(tmp_path / "before.ldif"), []

    def change(session: Session) -> None:
        journal.note("cn=x", {"a": ("1",)})
        changing("a", [])(session)

    def look(session: Session) -> None:
        there.append(journal.path.exists())
        passing(session)

    session = Session(STACK, "r", lambda _: None, journal=journal)
    run(story(change, change, look), session, Scripted([NEXT, NEXT, BACK, NEXT, NEXT, REPEAT]))
    assert there == [True, True]
    assert not journal.path.exists()


def test_repeat_undoes_first_and_performs_the_step_again() -> None:
    """Both attempts are in the transcript, with the undo between them."""
    undone: list[str] = []
    _, events = conducted(story(changing("a", undone), passing), NEXT, REPEAT)
    assert shape(events)[:4] == ["1 passed", "repeat 1", "undo 1 passed", "1 passed"]
    assert undone == ["a", "a"]


def test_what_was_skipped_by_hand_is_no_success() -> None:
    """The run did not see all it holds: neither verdict nor exit code say that it passed."""
    reached: list[int] = []
    ended, events = conducted(story(passing, lambda _: reached.append(1)), NEXT, SKIP)
    told = [e for e in events if isinstance(e, StepEnded)][-1]
    assert (told.verdict, told.reason, reached) == (
        Verdict.SKIPPED,
        "skipped by the presenter",
        [],
    )
    assert (ended.verdict, ended.exit_code) == (Verdict.SKIPPED, 1)
    assert ended.reason == "not all was checked: skipped by the presenter"
    assert (ended.passed, ended.skipped) == (1, 1)


def test_quitting_skips_the_rest_and_takes_everything_back() -> None:
    """It is no interrupt: the steps that were not reached are told, and the run did not pass."""
    undone: list[str] = []
    ended, events = conducted(story(changing("a", undone), passing), NEXT, QUIT)
    assert shape(events) == ["1 passed", "quit 1", "2 skipped", "undo 1 passed"]
    assert (ended.verdict, ended.exit_code, undone) == (Verdict.SKIPPED, 1, ["a"])


def test_quitting_after_the_last_step_leaves_nothing_out() -> None:
    """All was checked by then."""
    ended, _ = conducted(story(passing), NEXT, QUIT)
    assert (ended.verdict, ended.exit_code) == (Verdict.PASSED, 0)


def test_a_failure_stays_one_although_the_repetition_passed() -> None:
    """The story goes on after it, but the run has seen an expectation that was not met."""
    attempts: list[Action] = [failing, passing]

    def action(session: Session) -> None:
        attempts.pop(0)(session)

    scenario = story(action, passing)
    ended, events = conducted(scenario, NEXT, REPEAT)
    assert shape(events) == ["1 failed", "repeat 1", "1 passed", "2 passed"]
    assert (ended.verdict, ended.failed, ended.exit_code) == (Verdict.FAILED, 1, 1)


def test_moves_that_are_impossible_are_asked_for_again() -> None:
    """Nothing lies before the first step, and nothing comes after the last."""
    ended, events = conducted(story(passing), BACK, REPEAT, NEXT, SKIP)
    assert shape(events) == ["1 passed"]
    assert ended.exit_code == 0


def test_quitting_in_a_case_skips_the_other_cases() -> None:
    """Each of them is told, with the reason, and the run did not pass."""
    steps = (Doing(action=passing), Doing(action=passing))
    cases = tuple(Case(name, Needs(), None, {"hardened": steps}) for name in ("a", "b"))
    ended, events = conducted(replace(story(), cases=cases), NEXT, QUIT)
    ends = [e for e in events if isinstance(e, CaseEnded)]
    assert [(e.verdict, e.reason) for e in ends] == [
        (Verdict.SKIPPED, "not all was checked: the presenter ended the run"),
        (Verdict.SKIPPED, "the presenter ended the run"),
    ]
    assert (ended.verdict, ended.exit_code) == (Verdict.SKIPPED, 1)


class Referring(Doing):
    """A step that needs a message."""

    def refers_to(self) -> str:
        """Name it."""
        return "report"


def test_a_step_whose_message_was_not_sent_is_skipped() -> None:
    """When the step that sends it was skipped, there is nothing to look for."""
    steps = (Doing(action=passing), Referring(action=passing))
    _, events = conducted(replace(story(), steps=steps), SKIP)
    assert [e.reason for e in events if isinstance(e, StepEnded)][-1] == (
        "the message 'report' was not sent"
    )


def test_each_message_after_going_back_has_an_identity_of_its_own() -> None:
    """Else the message of the earlier attempt would be found for that of the later one."""
    seen: list[str] = []

    def action(session: Session) -> None:
        seen.append(session.identity)

    conducted(story(action), NEXT, REPEAT)
    assert len(set(seen)) == 2
    assert seen[0] == "r"


@pytest.mark.parametrize("moves", [(), (NEXT, REPEAT), (NEXT, BACK, NEXT)])
def test_every_attempt_begins_and_ends_in_the_transcript(moves: tuple[Move, ...]) -> None:
    """No step ends that did not begin."""
    _, events = conducted(story(passing), *moves)
    steps = [type(e) for e in events if isinstance(e, StepStarted | StepEnded)]
    assert steps == [StepStarted, StepEnded] * (len(steps) // 2)
