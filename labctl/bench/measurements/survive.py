"""Whether mail is lost, or let through, while servers fail at random."""

import random
import secrets
import time
from dataclasses import dataclass

from labctl.bench.accounting import Balance, Ledger, Mailing
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.errors import HostCannot
from labctl.lab.containers import LabContainers
from labctl.lab.faults import Kind
from labctl.protocols.poll import poll

_FAULTS: tuple[tuple[str, Kind], ...] = (
    *(("openldap", kind) for kind in ("stop", "kill", "pause", "slow", "cut", "deny")),
    *(("dovecot", kind) for kind in ("stop", "kill", "pause", "slow", "cut", "full")),
    *(("postfix", kind) for kind in ("stop", "kill", "pause", "slow", "full")),
    *(("milter", kind) for kind in ("stop", "kill", "pause", "slow", "cut")),
)
_SECONDS = (0.3, 3.0)  # that a fault lasts
_HEALED = 60.0  # seconds, until a server is well again
_STALLED = 60.0  # seconds in which nothing at all is delivered
# Takes the files out of the folder, and prints their Message-IDs: Dovecot reads a whole folder to
# deliver, and with a hundred thousand messages in it that would be all that it did. It is told, or
# it would write lists of those that are gone; what it misses, it is told in the next round.
_COLLECT = (
    "cd /home/$1/Maildir && mkdir -p collected"
    " && find new cur -type f -print0 | xargs -0r mv -t collected"
    " && find collected -type f -print0 | xargs -0r grep -hi -m 1 '^Message-ID:'"
    " && rm -r collected && { timeout 15 doveadm force-resync -u $1 INBOX || true; }"
)


@dataclass(frozen=True, slots=True)
class Round:
    """One outage: after which part of the round's mail it begins, and how many seconds it lasts."""

    service: str
    kind: Kind
    after: float
    seconds: float

    @classmethod
    def drawn(cls, chance: random.Random) -> "Round":
        """Return the next one that chance brings."""
        service, kind = chance.choice(_FAULTS)
        return cls(service, kind, chance.random() / 2, chance.uniform(*_SECONDS))

    def __str__(self) -> str:
        return f"{self.service} {self.kind}"

    @property
    def whole(self) -> str:
        """With how long it lasts."""
        return f"{self} for {self.seconds:.1f} s"


def _measure(bench: Bench) -> Yielded:
    seed = bench.size["seed"] or secrets.randbelow(999_999) + 1
    bench.progress.tell(f"seed {seed}: with --seed {seed} the same faults come again")
    chance = random.Random(seed)  # noqa: S311 - which fault comes is no secret
    rounds = [Round.drawn(chance) for _ in range(bench.size["rounds"])]
    deferred: list[float] = []
    found: list[str] = []
    with bench.lab() as lab:
        endpoints = lab.endpoints()
        alice, dave, bob = (endpoints.account(who) for who in ("alice", "dave", "bob"))
        mailing = Mailing(endpoints, sender=alice, blocked=dave, to=bob)
        bench.progress.step("submitting, while servers fail")
        with mailing.going_on(bench.size["sessions"]):
            for number, each in enumerate(rounds):
                before = mailing.ledger.deferred
                _live_through(bench, lab.containers, mailing, number, each)
                deferred.append(mailing.ledger.deferred - before)
                found += collect(lab.containers, bob.name)
        _until_delivered(bench, lab.containers)
        found += collect(lab.containers, bob.name)
        balance = Balance.of(mailing.ledger, found)
    for lost in (*balance.lost, *balance.let_through, *mailing.ledger.refused):
        bench.progress.tell(f"not as it should be: {lost}")
    yield from _figures(mailing.ledger, balance, seed, len(rounds))
    labels = tuple(f"{number}: {each}" for number, each in enumerate(rounds, start=1))
    title = "Tries that were told to come back later, by the round's fault"
    yield Chart("survive", title, "tries", labels, {"deferred": tuple(deferred)})


def collect(containers: LabContainers, name: str) -> list[str]:
    """Take the messages out of somebody's INBOX; returns their Message-IDs, once for each copy."""
    lines = containers.execute("dovecot", ["bash", "-c", _COLLECT, "collect", name]).splitlines()
    return [line.partition(":")[2].strip() for line in lines]


def _live_through(
    bench: Bench, containers: LabContainers, mailing: Mailing, number: int, outage: Round
) -> None:
    """Let a server fail in the midst of a round's mail, heal it, and have the rest accepted."""
    messages, rounds = bench.size["messages"], bench.size["rounds"]
    bench.progress.step(f"round {number + 1} of {rounds}: {outage.whole}")
    first, last = (messages * part // rounds for part in (number, number + 1))
    mailing.until(first + int((last - first) * outage.after))
    try:
        containers.inflict(outage.service, outage.kind)
    except HostCannot as lack:
        bench.progress.tell(f"round {number + 1}: {outage} is left out: {lack.what}")
    else:
        time.sleep(outage.seconds)  # the outage itself, while the sessions go on
    finally:
        containers.mend(outage.service, _HEALED)
    mailing.until(last)


def _until_delivered(bench: Bench, containers: LabContainers) -> None:
    """Wait as long as the queue gets shorter; raises DeadlinePassed when it does not."""
    bench.progress.step("waiting until all is delivered")
    most = waiting = len(containers.queue())

    def shorter() -> int | None:
        left = len(containers.queue())
        return left if left < waiting else None

    while waiting:
        bench.progress.count(most - waiting, most)
        waiting = poll(shorter, what="mail to be delivered", seconds=_STALLED, pause=0.5)


def _figures(ledger: Ledger, balance: Balance, seed: int, rounds: int) -> Yielded:
    accepted, tries = len(ledger.accepted), ledger.deferred + ledger.unanswered
    yield Figure.one("accepted and lost", len(balance.lost), "messages", n=accepted, limit=0)
    through = len(balance.let_through)
    yield Figure.one(
        "of somebody blocked, let through", through, "messages", n=ledger.blocked, limit=0
    )
    wrongly = len(ledger.refused)
    yield Figure.one("refused for good, though allowed", wrongly, "messages", n=accepted, limit=0)
    yield Figure.one("told to come back later", ledger.deferred, "tries", n=accepted + tries)
    yield Figure.one("without an answer", ledger.unanswered, "tries", n=accepted + tries)
    yield Figure.one("copies: sent again for want of an answer", balance.sent_again, "", n=accepted)
    yield Figure.one("copies: delivered again by Postfix", balance.delivered_again, "", n=accepted)
    yield Figure.one("delivered, and never acknowledged", balance.unasked, "messages", n=accepted)
    yield Figure.one("the seed of the faults", seed, "", n=rounds)


SURVIVE = Measurement(
    "survive",
    """Let servers fail at random while mail is submitted, and account for every message.

    Whether a message that was accepted is lost, one of somebody who may not send is let through,
    or somebody who may send is refused for good; and how many copies there are, and why. A fault
    stops, kills, freezes, slows or cuts off one server, fills its disk, or hides the
    policy from Postfix.""",
    (
        Option("messages", "How many messages are to be accepted.", 100_000, 400),
        Option("rounds", "How many faults there are, one after the other.", 20, 4),
        Option("sessions", "How many sessions submit side by side.", 8, 8),
        Option("seed", "Which faults come: the same number, the same; 0: any.", 0, 0, 0),
    ),
    _measure,
)
