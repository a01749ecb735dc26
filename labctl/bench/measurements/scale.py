"""How a lab grows with its accounts: loading them, what they take, and how fast decisions stay.

Beside the lab that grows stands one that keeps ten accounts, asked in turn with it, so that what
else goes on on this host falls on both. slapd logs what it is asked (LAB_LDAP_LOG=stats,filter).
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

from labctl.bench.asking import decisions, send, signed_in
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
_TURNS, _PROBES = 24, 25  # as many senders, each with so many recipients
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
    beside: list[float] = field(default_factory=list)  # of the small lab, in turn
    lookups: float = 0.0
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
        _add(bench, small, crowd, scratch, (0, ten))
        _require_detection(small)
        there = 0
        for size in _sizes(bench.size["accounts"]):
            this = Grown(size, added=size - seeded - there)
            bench.progress.step(f"{size:,} accounts: loading")
            this.load = _add(bench, lab, crowd, scratch, (there, size - seeded))
            if size > _SIZES[0]:
                this.bare = _add_bare(bench, lab, scratch)
            there = size - seeded
            bench.progress.step(f"{size:,} accounts: asking")
            _ask(bench, crowd, this, (small, ten), (lab, there))
            grown.append(this)
    yield from _figures(grown)


def _sizes(most: int) -> list[int]:
    return [size for size in _SIZES if size < most] + [most]


def _extra(directory: Path) -> Path:
    """Return a Compose file: memory for a large database, and a log of what is asked."""
    path = directory / "extra.yaml"
    path.write_text(_EXTRA, encoding="utf-8")
    directory.chmod(0o755)
    return path


def _add(bench: Bench, lab: Lab, crowd: Crowd, scratch: Path, span: tuple[int, int]) -> float:
    """Load accounts, and return how long that took, from stopping the directory to its answer."""
    ldif = scratch / "people.ldif"
    crowd.write(ldif, *span, bench.progress.count)
    begun = time.perf_counter()
    load(lab, ldif, scratch, ran)
    return time.perf_counter() - begun


def _add_bare(bench: Bench, lab: Lab, scratch: Path) -> float:
    """Return how long the same file takes with slapadd alone, into an empty database."""
    bench.progress.step("the same with a bare slapadd")
    with empty_volume(lab) as volume:
        begun = time.perf_counter()
        slapadd(lab, scratch / "people.ldif", scratch, ran, volume=volume)
        return time.perf_counter() - begun


def _ask(bench: Bench, crowd: Crowd, this: Grown, *crowded: tuple[Lab, int]) -> None:
    """Ask the small lab and the one that grows, each with the number of its accounts, in turn."""
    since = time.time()
    for turn in range(_TURNS):
        bench.progress.count(turn, _TURNS)
        for samples, (lab, people) in zip((this.beside, this.decisions), crowded, strict=True):
            sender = crowd.senders(_TURNS, people)[turn]
            samples.extend(decisions(lab.endpoints(), sender, _PROBES))
    grown, _ = crowded[1]
    this.unindexed = unindexed(_log(grown, since))
    this.lookups = _lookups(grown)
    this.memory = usage(grown)["openldap"].memory
    kilobytes = grown.containers.execute("openldap", ["du", "-k", "/var/lib/ldap/data.mdb"])
    this.database = int(kilobytes.split()[0]) * 1024 / 1e6


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


def _figures(grown: Sequence[Grown]) -> Yielded:
    last = grown[-1].accounts
    for this in grown:
        size = f"{this.accounts:,} accounts"
        if this.bare:
            yield Figure.one(
                f"loading, {size}",
                this.added / this.load,
                "1/s",
                floor=this.added / this.bare,
                floor_is="slapadd -q alone",
                limit=_OF_BARE if this.accounts == last else None,
                direction="more",
            )
        yield Figure.of(
            f"decision at RCPT, {size}",
            this.decisions,
            "ms",
            floor=median(this.beside),
            floor_is="with 10, in turn",
            limit=_OF_SMALL,
        )
        yield Figure.one(f"lookups a message, {size}", this.lookups, "")
        count = len(this.unindexed)
        yield Figure.one(f"lookups without an index, {size}", count, "", limit=0)
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
    the database, slapd's memory, how long RCPT takes against a lab of ten accounts beside it, how
    often the directory is asked for a message, and whether ever without an index.""",
    (Option("accounts", "How many there are at the end.", 1_000_000, 100_000, 10),),
    _measure,
)
