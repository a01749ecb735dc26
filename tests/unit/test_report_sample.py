"""A run made by hand that the tests of all views share: every verdict, undo, an unkind server."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from labctl.events import (
    CaseEnded,
    CaseStarted,
    Change,
    Check,
    Clue,
    Command,
    Event,
    Mark,
    RunEnded,
    RunStarted,
    StepEnded,
    StepStarted,
    Verdict,
    Wire,
    from_dict,
    to_dict,
)
from labctl.report.jsonl import JsonlWriter
from labctl.report.replay import runs
from labctl.report.views import write

AT = 1_767_000_000.0
UNKIND = (
    "250 \x1b[2J\x07 ]]> <script>alert(1)</script> \x00\x9b31m \u202egro.live \udcff \ufffe é 雪"
)
LDIF = (
    "dn: uid=alice,ou=users,dc=truenorth,dc=local\nchangetype: modify\n"
    "replace: tnMailSendAllowed\ntnMailSendAllowed: FALSE\n-\n"
)
SWAKS = (
    "swaks --server 127.0.0.1:2587 --tls --auth PLAIN --auth-user alice@truenorth.local "
    "--from alice@truenorth.local --to bob@truenorth.local --header 'Subject: Quarterly report'"
)
STARTED = RunStarted(
    "9f3c1a", "alice-leaves", "Alice leaves the company", "default", "hardened", AT
)
Body = Sequence[Wire | Change | Check | Command | Clue]
POLICY = """\
dn: uid=carol,ou=users,dc=truenorth,dc=local
tnMailSendAllowed: FALSE
# tnAccountStatus is absent"""
FURTHER = "labctl explain carol --to bob"


def said(mark: Mark, line: str, peer: str = "submission", at: float = AT + 0.004) -> Wire:
    """Return a line on the wire."""
    return Wire(peer, mark, line, at)


def step(
    number: int,
    what: str,
    body: Body = (),
    verdict: Verdict = Verdict.PASSED,
    *,
    reason: str = "",
    ms: float = 20,
    undo: bool = False,
) -> list[Event]:
    """Return the events of one step; `what` is its verb and its summary."""
    verb, _, summary = what.partition(" ")
    return [
        StepStarted(number, verb, summary, AT, undo),
        *body,
        StepEnded(number, verdict, reason, ms / 1000, undo),
    ]


SENT: Body = [
    Command(SWAKS),
    said("===", "connected to 127.0.0.1:2587"),
    said("->", "AUTH PLAIN ***"),
    said("<-", "235 2.7.0 Authentication successful"),
    Check("the reply", "250 at EOM", "250 2.0.0 at EOM", ok=True),
]
REFUSED: Body = [
    said("->", "RCPT TO:<bob@truenorth.local>"),
    said(
        "<-", "554 5.7.1 <alice@truenorth.local>: Sender address rejected: sending is not allowed"
    ),
    Check("the reply", "554 5.7.1 at RCPT", "554 5.7.1 at RCPT", ok=True),
]
ACCEPTED: Body = [
    Command(SWAKS.replace("alice", "carol")),
    said("->", "RCPT TO:<bob@truenorth.local>"),
    said("<**", UNKIND),
    Check("the sign-in", "accepted", "accepted", ok=True),
    Check("the reply", "554 5.7.1 at RCPT", "250 2.1.5 at RCPT", ok=False),
    Clue(POLICY, FURTHER),
]

PASSED: list[Event] = [
    STARTED,
    *step(1, "send alice to bob, Quarterly report", SENT, ms=141),
    *step(
        2, "disable alice", [Change(LDIF, 0.0031), Command(f"ldapmodify <<'EOF'\n{LDIF}EOF")], ms=3
    ),
    *step(3, "resend Quarterly report", REFUSED, ms=38),
    *step(2, "disable alice", [Change(LDIF.replace("FALSE", "TRUE"), 0.002)], ms=2, undo=True),
    RunEnded(Verdict.PASSED, "", 3, 0, 0, 0, 2, 0.191, 0),
]
"""A run in which all went well."""

MIXED: list[Event] = [
    *PASSED[:-1],
    *step(
        4,
        "send carol to bob, a subject that goes on for longer than any projector is wide, and more",
        ACCEPTED,
        Verdict.FAILED,
        reason="the recipient was accepted",
        ms=1204,
    ),
    *step(
        5,
        "receive bob",
        [said("***", "timed out", "imaps")],
        Verdict.ERROR,
        reason="imaps does not answer\nlast seen: nothing",
        ms=5000,
    ),
    *step(6, "pause directory", (), Verdict.SKIPPED, reason="needs the lab's containers", ms=0),
    *step(4, "send carol", (), Verdict.ERROR, reason="the mailbox is locked", undo=True),
    RunEnded(Verdict.FAILED, "step 4 failed", 3, 1, 1, 1, 4, 6.41, 1),
]
"""A run that holds every verdict, and an undo that did not work."""


def cases(number: int, *, failed: Container[int], open_: Container[int]) -> list[Event]:
    """Return a run of so many cases, numbered from 1, with those that are not as usual."""
    events: list[Event] = [STARTED]
    for each in range(1, number + 1):
        verdict = Verdict.FAILED if each in failed else Verdict.PASSED
        reason, note = ("250 was seen", "") if each in failed else ("", "expected open")
        note = note if each in open_ else ""
        events += [
            CaseStarted(each, f"way {each}", AT),
            *step(1, "smtp dave on submission", REFUSED, verdict, reason=reason),
            CaseEnded(each, verdict, reason, each / 1000, note),
        ]
    bad = sum(each in failed for each in range(1, number + 1))
    worst = Verdict.FAILED if bad else Verdict.PASSED
    return [*events, RunEnded(worst, "", number - bad, bad, 0, 0, number, 1.0, bool(bad))]


INTERRUPTED: list[Event] = MIXED[: MIXED.index(REFUSED[0]) + 1]
"""A run that broke off in the middle of its third step."""


@dataclass(frozen=True, slots=True)
class Told:
    """A transcript that is nowhere stored; an event's place is its index."""

    events: Sequence[Event]

    def since(self, place: int = 0) -> Iterator[tuple[int, Event]]:
        """Yield the events from a place on."""
        return enumerate(self.events[place:], place)


def rendered(form: str, events: Sequence[Event], *, verbose: int = 0) -> str:
    """Return what the view of that form makes of events."""
    stream = StringIO()
    write(form, runs([Told(events)]), stream, verbose=verbose)
    return stream.getvalue()


def stored(path: Path, events: Iterable[Event]) -> Path:
    """Write events to a transcript."""
    with JsonlWriter(path) as emit:
        for event in events:
            emit(event)
    return path


def test_the_sample_survives_the_way_through_json_objects() -> None:
    """The hand-made events are events: each is equal to itself after to_dict and from_dict."""
    assert [from_dict(to_dict(event)) for event in MIXED] == MIXED


def test_the_interrupted_sample_breaks_off_within_a_step() -> None:
    """The interrupted run has an open step, and so neither its end nor the run's."""
    opened = sum(isinstance(event, StepStarted) for event in INTERRUPTED)
    assert opened == 1 + sum(isinstance(event, StepEnded) for event in INTERRUPTED)
