"""Many labs side by side: what each takes, how quick it stays, and that none reaches another."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from statistics import median

from labctl.bench.asking import decisions, send, signed_in
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.usage import available, usage
from labctl.endpoints import Endpoints
from labctl.errors import LabctlError, LabNotReady
from labctl.lab.lab import Lab
from labctl.protocols.smtp import SmtpConnection

_SIZES = (1, 5, 10, 20, 30)
_IDLE = 40.0  # MB of memory that an idle lab may take
_PAUSE = 0.5  # seconds between two messages of each of the others
_PROBES = 25  # of each lab while the others send
_ALONE = 100  # of the first, alone: the floor of all
_DOORS = (("openldap", 389), ("postfix", 25), ("postfix", 587), ("dovecot", 24), ("milter", 8891))
# Knocks at all doors at once, prints those that open within two seconds (connect(2), EINPROGRESS).
_KNOCK = r"""
use IO::Select; use IO::Socket::INET; use Socket qw(SOL_SOCKET SO_ERROR); use Time::HiRes qw(time);
my %doors;
for my $door (@ARGV) {
    my ($host, $port) = split m{/}, $door;
    my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Blocking => 0) or next;
    $doors{$socket} = [$socket, $door];
}
my $waiting = IO::Select->new(map { $$_[0] } values %doors);
my $end = time + 2;
while ($waiting->count and (my $left = $end - time) > 0) {
    for my $socket ($waiting->can_write($left)) {
        print "$doors{$socket}[1]\n" if unpack("i", getsockopt $socket, SOL_SOCKET, SO_ERROR) == 0;
        $waiting->remove($socket);
    }
}
"""


@dataclass(slots=True)
class Side:
    """What was measured of so many labs side by side; `used` is the memory of those that have sent
    mail before, the more so the shorter ago that was, `decisions` is by lab, `host` what this host
    has less than before the first, in MB.
    """

    labs: int
    starts: list[float]
    idle: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    decisions: list[list[float]] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    knocked: int = 0
    host: float | None = None

    @property
    def slowest(self) -> list[float]:
        """The decisions of the lab whose own median is the worst."""
        return max(self.decisions, key=median)


def _measure(bench: Bench) -> Yielded:
    sides: list[Side] = []
    labs: list[Lab] = []
    starts: list[float] = []
    most = bench.size["labs"]
    before = available()
    with ExitStack() as stack:
        for number in range(most):
            bench.progress.step(f"lab {number + 1} of {most}")
            begun = time.perf_counter()
            labs.append(stack.enter_context(bench.lab(number=number)))
            starts.append(time.perf_counter() - begun)
            if number + 1 == most or number + 1 in _SIZES:
                bench.progress.step(f"{number + 1} side by side")
                sides.append(_side(labs, starts, before if number + 1 == most else None))
                starts = []
    yield from _figures(sides)


def _side(labs: Sequence[Lab], starts: list[float], before: float | None) -> Side:
    """Measure the labs that are up; those that started last have had no mail. `before` is the
    memory that this host had before the first, where what it has less now is to be told.
    """
    side = Side(len(labs), starts)
    for place, lab in enumerate(labs):
        had_traffic = place < len(labs) - len(starts)
        memory = sum(each.memory for each in usage(lab).values())
        (side.used if had_traffic else side.idle).append(memory)
    if before is not None and labs[0].engine.is_here:
        side.host = _less(labs, before)
    for lab in labs:
        with _sending([other for other in labs if other is not lab]):
            endpoints = lab.endpoints()
            probes = _PROBES if len(labs) > 1 else _ALONE
            side.decisions.append(decisions(endpoints, endpoints.account("bob"), probes))
    places = [Place.of(lab) for lab in labs]
    for number, lab in enumerate(labs):
        others = [*places[:number], *places[number + 1 :]]
        side.opened += opened(lab, places[number], others)
        side.knocked += sum(len(other.doors_from(places[number])) for other in others)
    return side


def _less(labs: Sequence[Lab], before: float) -> float | None:
    """Return how much less memory this host has than before, in MB, without what this program
    itself keeps open in the labs; None where it does not tell.
    """
    for lab in labs:
        lab.containers.hang_up()
    now = available()
    return None if now is None else before - now


@contextmanager
def _sending(labs: Sequence[Lab]) -> Iterator[None]:
    """Let Alice send now and then in each of these labs meanwhile."""
    stopped = threading.Event()
    errors: list[LabctlError] = []

    def keep_sending(connection: SmtpConnection, endpoints: Endpoints) -> None:
        alice, bob = endpoints.account("alice"), endpoints.account("bob")
        try:
            while not stopped.wait(_PAUSE):
                send(connection, alice, bob)
        except LabctlError as error:
            errors.append(error)

    threads: list[threading.Thread] = []
    with ExitStack() as stack:
        for lab in labs:  # one after the other: thirty sign-ins at once are too many for a host
            endpoints = lab.endpoints()
            connection = stack.enter_context(signed_in(endpoints, endpoints.account("alice")))
            threads.append(threading.Thread(target=keep_sending, args=(connection, endpoints)))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
    if errors:
        raise errors[0]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lab is: its servers on its own network, this host on it, and its ports on this."""

    servers: tuple[str, ...]
    host: str
    ports: tuple[int, ...]

    @classmethod
    def of(cls, lab: Lab) -> "Place":
        """Return where this lab is now."""
        servers = (f"{_network(lab, service)['IPAddress']}/{port}" for service, port in _DOORS)
        published = tuple(each.port for each in lab.endpoints().services.values())
        return cls(tuple(servers), _network(lab, "postfix")["Gateway"], published)

    def doors_from(self, other: "Place") -> tuple[str, ...]:
        """Return where another lab may reach this one: directly, and through this host."""
        return (*self.servers, *(f"{other.host}/{port}" for port in self.ports))


def opened(lab: Lab, own: Place, others: Sequence[Place]) -> list[str]:
    """Return the doors of other labs that open to one; all of its own must, or nothing is known."""
    doors = [door for other in others for door in other.doors_from(own)]
    knock = ["perl", "-e", _KNOCK, *own.servers, *doors]
    found = lab.containers.execute("postfix", knock).split()
    if shut := [door for door in own.servers if door not in found]:
        raise LabNotReady(f"the lab {lab.name!r} does not reach its own {', '.join(shut)}")
    return [door for door in found if door in doors]


def _network(lab: Lab, service: str) -> Mapping[str, str]:
    name = lab.containers.container_name(service)
    networks = lab.engine.client.api.inspect_container(name)["NetworkSettings"]["Networks"]
    found: Mapping[str, str] = next(iter(networks.values()))
    return found


def _figures(sides: Sequence[Side]) -> Yielded:
    alone = sides[0].slowest
    for side in sides:
        labs = f"{side.labs} lab{'s' if side.labs > 1 else ''}"
        yield Figure.of(f"memory of each idle lab, {labs}", side.idle, "MB", limit=_IDLE)
        if side.used:
            yield Figure.of(f"memory of each that has sent mail, {labs}", side.used, "MB")
        if side.host is not None:
            name = f"memory of this host for each, {labs}"
            yield Figure.one(name, side.host / side.labs, "MB", n=side.labs)
        yield Figure.of(f"start of the last, {labs}", side.starts, "s")
        floor, floor_is = (alone, "alone") if side is not sides[0] else (None, "")
        yield Figure.of(
            f"decision at RCPT while the others send, {labs}",
            list(chain.from_iterable(side.decisions)),
            "ms",
            floor=floor,
            floor_is=floor_is,
        )
        if side.labs > 1:
            name = f"decision at RCPT in the slowest lab, {labs}"
            yield Figure.of(name, side.slowest, "ms", floor=floor, floor_is=floor_is)
        if side.knocked:
            name = f"doors of another lab that open, {labs}"
            yield Figure.one(name, len(side.opened), "", n=side.knocked, limit=0)
    yield Chart(
        "labs",
        "Labs side by side: memory of each",
        "MB",
        tuple(str(side.labs) for side in sides),
        {"memory of each idle lab": tuple(median(side.idle) for side in sides)},
        "lines",
    )


LABS = Measurement(
    "labs",
    """Bring up many labs side by side, and see what each takes.

    Memory and start of each, how long RCPT takes in each while the others send twice a second (in
    all, and in the lab whose own median is the worst; against the first lab, alone), and whether
    any reaches the servers of another one, directly or through this host. The memory of a lab is
    what its containers take. This host pays more for each: the engine's own processes beside them,
    too, which is told of the most labs, as the memory that is available less than before the first;
    whatever else went on meanwhile is in it.""",
    (Option("labs", "How many there are at the end.", 30, 4),),
    _measure,
)
