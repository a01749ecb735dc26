"""Waiting with a deadline, and a tap that lets no secret through."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.errors import DeadlinePassed, LabNotReady, UsageError
from labctl.events import Wire
from labctl.protocols.poll import Clock, poll
from labctl.protocols.tap import Tap, masked


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 0.0
        self.clock = Clock(lambda: self.time, self.sleep)

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.time += seconds


def test_poll_returns_the_first_thing_that_is_an_answer() -> None:
    """0 is one; None and False, which a comparison returns, are not."""
    answers = iter([None, False, 0, 5])
    assert poll(lambda: next(answers), what="x", seconds=9, clock=FakeClock().clock) == 0


def test_poll_never_waits_beyond_its_deadline_and_says_what_it_saw() -> None:
    """The error names what was awaited, how long, and the last thing seen."""
    fake = FakeClock()

    def probe() -> None:
        raise LabNotReady("nobody answers")

    with pytest.raises(DeadlinePassed, match=r"waited 3 s for the tide; last seen: nobody answers"):
        poll(probe, what="the tide", seconds=3, clock=fake.clock, retry=(LabNotReady,))
    assert 2 < fake.time <= 3


def test_poll_lets_other_errors_through() -> None:
    """Only the named errors mean "not yet"."""

    def probe() -> None:
        raise UsageError("no")

    with pytest.raises(UsageError):
        poll(probe, what="x", seconds=9, clock=FakeClock().clock, retry=(LabNotReady,))


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("AUTH PLAIN AGEAYg==", "AUTH PLAIN ***"),
        ("auth plain AGEAYg==", "auth plain ***"),
        ("AUTH LOGIN", "AUTH LOGIN"),
        ("a1 AUTHENTICATE PLAIN AGEAYg==", "a1 AUTHENTICATE PLAIN ***"),
        ('A2 LOGIN alice "secret"', "A2 LOGIN ***"),
        ("MAIL FROM:<alice@x.org>", "MAIL FROM:<alice@x.org>"),
        ("RCPT TO:<auth@x.org>", "RCPT TO:<auth@x.org>"),
    ],
)
def test_what_carries_a_secret_is_masked_and_nothing_else(line: str, shown: str) -> None:
    """AUTH, AUTHENTICATE and LOGIN lines lose their secret; ordinary lines are as they were."""
    assert masked(line) == shown


secrets = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=30)


@given(secrets)
def test_no_way_of_signing_in_shows_the_secret(secret: str) -> None:
    """Neither the password nor its base64 is in the transcript, whichever way it is sent."""
    told: list[Wire] = []
    tap = Tap("x", lambda event: told.append(event) if isinstance(event, Wire) else None)
    whole = base64.b64encode(f"\0alice\0{secret}".encode()).decode()
    alone = base64.b64encode(secret.encode()).decode()
    tap.sent(f"AUTH PLAIN {whole}\r\n".encode())
    for challenge, answer in (("334 UGFzc3dvcmQ6", alone), ("334 ", whole), ("+ ", whole)):
        tap.received(challenge.encode() + b"\r\n")
        tap.sent(answer.encode() + b"\r\n")
    tap.sent(f'a LOGIN alice "{secret}"\r\n'.encode())
    lines = [event.line for event in told if event.mark == "->"]
    assert len(lines) == 5
    assert not [line for line in lines if secret in line or whole in line or alone in line]


def test_a_cancelled_challenge_is_shown() -> None:
    """`*` cancels SASL (RFC 4954 §4) and is no secret; after it lines are shown again."""
    told: list[str] = []
    tap = Tap("x", lambda event: told.append(getattr(event, "line", "")))
    tap.received(b"334 \r\n")
    tap.sent(b"*\r\n")
    tap.sent(b"QUIT\r\n")
    assert told == ["334 ", "*", "QUIT"]
