"""How a lab grows with its accounts: loading them, what they take, and how fast decisions stay.

Beside the lab that grows stands one that keeps ten accounts, asked in turn with it, RCPT by RCPT,
so that what else goes on on this host falls on both. slapd logs what it is asked
(LAB_LDAP_LOG=stats,filter).
"""

import re
import secrets
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeVar

from labctl.bench.asking import decision, send, signed_in
from labctl.bench.command import ran
from labctl.bench.crowd import Crowd
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.usage import usage
from labctl.errors import ExpectationFailed, LabNotReady
from labctl.lab.bulk import empty_volume, load, slapadd
from labctl.lab.lab import Lab
from labctl.lab.people import read_people
from labctl.protocols.poll import poll

_SIZES = (10, 1_000, 100_000, 1_000_000)
_OF_SMALL = 1.25  # times the decision's latency at ten accounts
_OF_BARE = 0.5  # of the entries a second of a bare slapadd
_MANY = 100_000  # accounts: fewer are loaded sooner than a directory is stopped and started
_PROBES = 50  # recipients of each sender
_MESSAGES = 20
_UNINDEXED = re.compile(r"_candidates: \((\S+)\) not indexed")  # slapd's own words
_SEARCH = re.compile(r"\bSRCH base=")
# slapadd -q writes through a map of the file: where the database is larger than the memory that it
# may have, each page goes out and comes in again, and loading takes many times as long.
_EXTRA = """\
services:
  openldap:
    mem_limit: 3g
    environment:
      LAB_LDAP_LOG: stats,filter
"""


T = TypeVar("T")


@dataclass(slots=True)
class Grown:
    """What was measured at one size; times in seconds."""

    accounts: int
    load: float = 0.0
    bare: float = 0.0
    added: int = 0
    database: float = 0.0
    memory: float = 0.0
    decisions: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)  # of the small lab, each with one of those
    lookups: float = 0.0
    searches: int = 0
    unindexed: tuple[str, ...] = ()


def unindexed(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the attributes that were asked for without an index, each time that they were."""
    return tuple(match[1] for line in lines if (match := _UNINDEXED.search(line)))


def searches(lines: Sequence[str]) -> int:
    """Return how many searches the directory was asked for."""
    return sum(_SEARCH.search(line) is not None for line in lines)


def _measure(bench: Bench) -> Yielded:
    grown: list[Grown] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        bench.lab(extra=_extra(Path(directory))) as small,
        bench.lab(extra=_extra(Path(directory)), number=1) as lab,
    ):
        crowd, scratch = Crowd.of(bench.settings), Path(directory)
        seeded = len(read_people(lab.files.accounts))
        ten = _SIZES[0] - seeded
        _add(bench, small, crowd, scratch, (0, ten), name="10 accounts beside it")
        _require_detection(small)
        there = 0
        for size in _sizes(bench.size["accounts"]):
            this = Grown(size, added=size - seeded - there)
            span = (there, size - seeded)
            this.load = _add(bench, lab, crowd, scratch, span, name=f"{size:,} accounts")
            if size > _SIZES[0]:
                this.bare = _add_bare(bench, lab, scratch)
            there = size - seeded
            bench.progress.step(f"{size:,} accounts: asking")
            ask(bench, crowd, this, (small, ten), (lab, there))
            grown.append(this)
    yield from figures(grown)


def _sizes(most: int) -> list[int]:
    return [size for size in _SIZES if size < most] + [most]


def _extra(directory: Path) -> Path:
    """Return a Compose file: memory for a large database, and a log of what is asked."""
    path = directory / "extra.yaml"
    path.write_text(_EXTRA, encoding="utf-8")
    directory.chmod(0o755)
    return path


def _add(
    bench: Bench, lab: Lab, crowd: Crowd, scratch: Path, span: tuple[int, int], *, name: str
) -> float:
    """Load accounts, and return how long that took, from stopping the directory to its answer."""
    ldif = scratch / "people.ldif"
    bench.progress.step(f"{name}: writing the LDIF")
    crowd.write(ldif, *span, bench.progress.count)
    bench.progress.step(f"{name}: loading (slapadd)")
    begun = time.perf_counter()
    load(lab, ldif, scratch, _output)
    return time.perf_counter() - begun


def _add_bare(bench: Bench, lab: Lab, scratch: Path) -> float:
    """Return how long the same file takes slapadd itself, into an empty database."""
    bench.progress.step("the same with a bare slapadd")
    with empty_volume(lab) as volume:
        return slapadd(lab, scratch / "people.ldif", scratch, _output, volume=volume)


def _output(command: Sequence[str]) -> str:
    return ran(command).output


def ask(
    bench: Bench, crowd: Crowd, this: Grown, small: tuple[Lab, int], large: tuple[Lab, int]
) -> None:
    """Ask the small lab and the one that grows, each with how many of the crowd it has; then weigh
    the latter, and read in its log all that it was asked: decisions, sign-ins and messages.

    Raises LabNotReady if the log does not have it all.
    """
    grown, _ = large
    since = time.time()
    _decide(bench, crowd, this, small, large)
    this.lookups = _lookups(grown)
    lines = _log(grown, since)
    this.searches, this.unindexed = searches(lines), unindexed(lines)
    if this.searches < len(this.decisions) + _MESSAGES:  # each takes one at least
        raise LabNotReady(f"slapd's log tells of {this.searches:,} searches, which are not all")
    this.memory = usage(grown)["openldap"].memory
    kilobytes = grown.containers.execute("openldap", ["du", "-k", "/var/lib/ldap/data.mdb"])
    this.database = int(kilobytes.split()[0]) * 1024 / 1e6


def _decide(
    bench: Bench, crowd: Crowd, this: Grown, small: tuple[Lab, int], large: tuple[Lab, int]
) -> None:
    """Let a sender in each lab name recipients in turn, one here, one there; which lab is first
    alternates. Senders and recipients are from all over the accounts.
    """
    (here, few), (there, many) = small, large
    turns = bench.size["senders"]
    senders = list(zip(crowd.senders(turns, few), crowd.senders(turns, many), strict=True))
    count = turns * _PROBES
    pairs = list(zip(crowd.recipients(count, few), crowd.recipients(count, many), strict=True))
    for turn, (one, other) in enumerate(senders):
        bench.progress.count(turn, turns)
        with (
            signed_in(here.endpoints(), one) as beside,
            signed_in(there.endpoints(), other) as session,
        ):
            for probe, (near, far) in enumerate(pairs[turn * _PROBES : (turn + 1) * _PROBES]):
                sides = [
                    (this.beside, beside, one, near),
                    (this.decisions, session, other, far),
                ]
                for samples, connection, sender, to in alternated(sides, probe):
                    samples.append(decision(connection, sender, to))


def alternated(sides: Sequence[T], number: int) -> Sequence[T]:
    """Return them as they are for an even number, and the other way round for an odd one."""
    return sides[::-1] if number % 2 else sides


def _lookups(lab: Lab) -> float:
    """Return how many searches a message takes from MAIL to its delivery, the sign-in left out."""
    endpoints = lab.endpoints()
    alice, bob = endpoints.account("alice"), endpoints.account("bob")
    with signed_in(endpoints, alice) as connection:
        since = time.time()
        for _ in range(_MESSAGES):
            send(connection, alice, bob)
        poll(
            lambda: None if lab.containers.queue() else True,
            what="the queue to be empty",
            seconds=60,
        )
        lines = _log(lab, since)
    return searches(lines) / _MESSAGES


def _require_detection(lab: Lab) -> None:
    """See that the log tells of a search without an index: else there being none says nothing."""
    since = time.time()
    _search(lab, "description", "nobody")
    if "description" not in unindexed(_log(lab, since)):
        raise LabNotReady("slapd's log does not tell of a search without an index")


def _log(lab: Lab, since: float) -> list[str]:
    """Return what slapd has logged since then (seconds since the epoch), up to now: a line comes to
    the engine somewhat later than the answer to the client, so a search of ours marks the end.

    Raises DeadlinePassed when that is not seen.
    """
    mark = secrets.token_hex(8)
    _search(lab, "uid", mark)

    def logged() -> list[str] | None:
        lines = lab.containers.log_lines("openldap", since)
        at = next((at for at, line in enumerate(lines) if "SRCH" in line and mark in line), None)
        return None if at is None else list(lines[:at])

    return poll(logged, what="slapd to have logged what it was asked", seconds=30)


def _search(lab: Lab, attribute: str, value: str) -> None:
    with lab.directory() as directory, suppress(ExpectationFailed):
        directory.search(f"ou=users,{lab.settings.base_dn}", f"({attribute}={value})", "LEVEL")


def figures(grown: Sequence[Grown]) -> Yielded:
    """Return the figures of each size; how fast many are loaded is judged at the last."""
    last = grown[-1].accounts
    for this in grown:
        size = f"{this.accounts:,} accounts"
        if this.bare:
            judged = this.accounts == last and last >= _MANY
            yield Figure.one(
                f"loading, {size}",
                this.added / this.load,
                "1/s",
                floor=this.added / this.bare,
                floor_is="slapadd -q alone",
                limit=_OF_BARE if judged else None,
                direction="more",
            )
        yield Figure.against(
            f"decision at RCPT, {size}",
            this.decisions,
            "ms",
            floor=this.beside,
            floor_is="with 10, in turn",
            limit=_OF_SMALL,
        )
        yield Figure.one(f"lookups a message, {size}", this.lookups, "")
        count = len(this.unindexed)
        yield Figure.one(f"lookups without an index, {size}", count, "", n=this.searches, limit=0)
        yield Figure.one(f"database, {size}", this.database, "MB")
        yield Figure.one(f"memory of slapd, {size}", this.memory, "MB")
    yield Chart(
        "scale",
        "A decision at RCPT, by how many accounts there are",
        "ms",
        tuple(f"{each.accounts:,}" for each in grown),
        {
            "this many accounts": tuple(median(each.decisions) for each in grown),
            "10 accounts, in turn": tuple(median(each.beside) for each in grown),
        },
        "lines",
    )


SCALE = Measurement(
    "scale",
    """Grow a lab to a million accounts, and see whether decisions stay as quick.

    With 10, 1,000, 100,000 and 1,000,000 accounts: how fast they are loaded against a bare slapadd,
    the database, slapd's memory (as `docker stats` counts it: without what the kernel can drop at
    once, such as idle pages of the mapped database), how long RCPT takes against a lab of ten
    accounts beside it, how often the directory is asked for a message, and whether ever without an
    index.""",
    (
        Option("accounts", "How many there are at the end.", 1_000_000, 100_000, 10),
        Option("senders", "How many ask in each lab, for fifty recipients each.", 24, 8),
    ),
    _measure,
)
