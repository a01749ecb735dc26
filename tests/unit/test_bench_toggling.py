"""Which state the directory had at a probe, and which answers are stale."""

import time
from itertools import product

import pytest
from dialogue import playing
from test_effect import ALICE, BYE, HELLO, NO, YES

from labctl.bench.measurements.effect import figures
from labctl.bench.postfix import with_parameters
from labctl.bench.toggling import SERVICES, Asker, Change, Probe, Seen, Stale, Watch, known
from labctl.endpoints import Endpoints
from labctl.errors import ExpectationFailed
from labctl.protocols.smtp import Outcome, Reply, Stage

ALLOWED = Change(allowed=True, begun=1.0, answered=2.0)
FORBIDDEN = Change(allowed=False, begun=5.0, answered=6.0)
OPEN = Change(allowed=True, begun=9.0)


def probe(begun: float, ended: float, code: int, *, held: bool = True) -> Probe:
    """Return a probe with this answer."""
    outcome = Outcome(Stage.RCPT, Reply(code, "", "text"))
    return Probe("submission", held, begun, ended, outcome, (" -> RCPT", "<-  reply"))


@pytest.mark.parametrize(
    ("begun", "ended", "expected"),
    [
        (2.0, 4.9, ALLOWED),  # from the answer on
        (1.5, 3.0, None),  # the change had not been answered yet when it began
        (4.0, 5.0, None),  # a change began meanwhile
        (4.0, 7.0, None),  # or went on meanwhile from its beginning to its end
        (5.5, 5.6, None),  # within a change
        (6.0, 8.9, FORBIDDEN),
        (8.0, 9.5, None),  # the last one has not been answered
        (9.5, 9.6, None),
        (0.0, 0.5, None),  # before anything was known
    ],
)
def test_the_state_at_a_probe_is_known_unless_a_change_overlaps(
    begun: float, ended: float, expected: Change | None
) -> None:
    """Whatever begins by the probe's end and was not answered by its beginning overlaps it."""
    assert known([ALLOWED, FORBIDDEN, OPEN], begun, ended) is expected


@pytest.fixture
def watch() -> Watch:
    """A watch on an account that may not send since 10; the directory answered at 11."""
    watch = Watch(now=lambda: 10.0)
    watch.begin(allowed=False)
    watch.answer(11.0)
    return watch


def test_an_answer_against_the_directory_is_stale(watch: Watch) -> None:
    """It is told with what was said; one that overlaps the change, or goes with it, is not."""
    assert not watch.judge(0, probe(10.5, 11.5, 250))
    assert not watch.judge(0, probe(11.0, 12.0, 554))
    assert (watch.seen.stale, watch.seen.overlapping) == ([], 1)
    assert watch.judge(0, probe(12.0, 13.0, 250))
    assert watch.seen.stale == [Stale(allowed=False, seconds=1.0, probe=probe(12.0, 13.0, 250))]
    told = watch.seen.stale[0].transcript().splitlines()
    assert "1000.0 ms before the directory had said: may not send" in told[0]
    assert told[1:] == [" -> RCPT", "<-  reply"]
    assert watch.seen.judged == {("submission", True): 2}


@pytest.mark.parametrize("insists", [True, False])
def test_who_insists_asks_again_at_once_after_a_stale_answer(*, insists: bool) -> None:
    """Else when the change shows is told by its pace, and not by the servers."""
    watch = Watch()
    watch.begin(allowed=False)
    watch.answer(time.monotonic())
    with playing([*HELLO, *YES, *NO, *BYE]) as server:
        services = {"submission": server.endpoint}
        stack = Endpoints("x", 0, "x.org", "dc=x", "", None, services, accounts={"alice": ALICE})
        asker = Asker(0, stack, ALICE, watch, pause=60, insists=insists)
        asker.now.set()
        with asker.open() as connection:
            asker.ask(connection)
            assert (len(watch.seen.stale), asker.now.is_set()) == (1, insists)
            asker.now.set()
            asker.ask(connection)
    assert server.complaints == []
    assert (len(watch.seen.stale), asker.now.is_set()) == (1, False)
    assert len(watch.seen.effects[False]) == 1


def test_neither_accepted_nor_refused_for_good_counts_against_it(watch: Watch) -> None:
    """A 450 is no decision of the directory's."""
    watch.judge(0, probe(12.0, 13.0, 450))
    assert len(watch.seen.stale) == 1


def test_the_first_decision_that_shows_a_change_tells_how_soon_it_took_effect(
    watch: Watch,
) -> None:
    """One a change, also where it was asked for before the directory answered; and apart from it
    the first that was asked for after the answer.
    """
    watch.judge(0, probe(10.2, 11.1, 250))
    watch.judge(0, probe(10.9, 11.25, 554))
    watch.judge(1, probe(11.5, 11.75, 554))
    watch.judge(0, probe(11.2, 12.0, 554))
    assert watch.seen.effects == {False: [0.25], True: []}
    assert watch.seen.asked_after == {False: [0.75], True: []}


def test_a_decision_that_shows_a_change_before_its_answer_took_no_time() -> None:
    """The directory has changed by then, and has not said so yet."""
    watch = Watch(now=lambda: 10.0)
    watch.begin(allowed=False)
    watch.judge(0, probe(10.1, 10.5, 554))
    assert watch.seen.effects[False] == []
    watch.answer(11.0)
    assert watch.seen.effects == {False: [0.0], True: []}


def test_what_was_asked_for_during_the_change_before_shows_nothing() -> None:
    """It may have seen the state before that one, which is the same as the last."""
    moments = iter([10.0, 20.0])
    watch = Watch(now=lambda: next(moments))
    watch.begin(allowed=False)
    watch.answer(11.0)
    watch.begin(allowed=True)
    watch.answer(21.0)
    watch.judge(0, probe(10.5, 22.0, 250))
    assert watch.seen.effects == {False: [], True: []}


def test_round_trips_are_those_of_sessions_that_are_held_open(watch: Watch) -> None:
    """New ones sign in first, and compete; a refusal ends sooner, and stands apart."""
    watch.judge(0, probe(11.0, 11.5, 554))
    watch.judge(0, probe(11.0, 12.0, 250))
    watch.judge(0, probe(11.0, 13.0, 450))
    watch.judge(1, probe(11.0, 13.0, 554, held=False))
    assert watch.seen.trips == {False: [0.5], True: [1.0]}


def test_nothing_that_was_judged_is_no_result() -> None:
    """Where there are limits, a kind of session without a probe ends it; else its 0 is shown."""
    seen = Seen(toggles=2)
    seen.effects[False] = seen.effects[True] = [0.001]
    every = list(product(SERVICES, (False, True)))
    seen.judged.update(every[1:])
    with pytest.raises(ExpectationFailed, match="nothing was judged through submission, new"):
        list(figures("hardened", [0.001], seen, bounded=True))
    assert next(figures("replicated", [0.001], seen, bounded=False)).n == 0
    seen.judged.update(every)
    found = [each for each in figures("hardened", [0.001], seen, bounded=True) if each.holds]
    assert len(found) == len(every) + 4
    seen.effects[True] = []
    with pytest.raises(ExpectationFailed, match="no change showed in a permission"):
        list(figures("hardened", [0.001], seen, bounded=True))


def test_a_session_that_breaks_in_any_way_ends_the_waiting() -> None:
    """And not only one that a server broke: else its kind would be judged no more, in silence."""
    watch = Watch()
    asker = Asker(1, None, None, watch, pause=0, insists=False)  # type: ignore[arg-type]
    asker.run(None)
    with pytest.raises(AttributeError):
        watch.await_all([0])


def test_parameters_replace_those_of_the_file_wherever_they_stand() -> None:
    """Lines that go on are part of one; a name that begins alike is another."""
    text = "a = 1\nb = 2,\n    3\nab = 4\nb=5\nc = 6\n"
    assert with_parameters(text, {"b": "x", "d": ""}) == "a = 1\nab = 4\nc = 6\nb = x\nd = \n"
