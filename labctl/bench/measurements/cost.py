"""What the policy costs: submissions under several ways to enforce it, and under none.

Each way is a main.cf in the same lab, put in turn about, round by round, so that what else goes on
on this host falls on all of them; each round begins with another, so that none is always the first.
All that enforce a policy are shown to refuse before they are measured. The clients are a process of
their own. Beside the time, which depends on the host's load, stands the processor time of all
services of the lab together, until the messages are delivered.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from labctl.bench.asking import signed_in
from labctl.bench.command import ran
from labctl.bench.figure import Chart, Direction, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.postfix import MAIN, NO_POLICY, with_parameters
from labctl.bench.usage import processor
from labctl.endpoints import Account, Endpoints
from labctl.errors import ExpectationFailed
from labctl.events import Event
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.lab.images import SERVICES, ensure, image_in
from labctl.lab.lab import Lab
from labctl.lab.state import write_private
from labctl.protocols.directory import Directory
from labctl.protocols.entry import DISABLE, ENABLE
from labctl.protocols.poll import poll
from labctl.protocols.smtp import SmtpConnection
from labctl.prove.breaking import reload_postfix, write_file

_WIDTHS = (8, 1, 32)  # sessions side by side
_JUDGED = 8
_OF_NONE = 0.95  # hardened, without the milter, of the messages a second without a policy
_OF_BASELINE = 0.95  # and of those under baseline
_ACCEPTED, _REFUSED = 250, 554
_DRAINED = 60.0  # seconds, for what was accepted to be delivered
STATIC_MAY_SEND, _STATIC_LOGINS = "/etc/postfix/bench_may_send", "/etc/postfix/bench_logins"

NONE, HARDENED, MILTER = "no policy", "hardened", "hardened, with the milter"
STATIC = "a static texthash map"
_WORKING = (*SERVICES, "postfwd")
_ASKED = 30.0  # seconds, for the policy service to answer the first time

# A policy service in an image of its own (benchmarks/postfwd) stands beside the lab's services.
_EXTRA = """\
services:
  postfwd:
    image: {image}
    pull_policy: never
    init: true
    mem_limit: 512m
    networks: [lab]
    environment:
      LAB_BASE_DN: {base_dn}
      LAB_ATTR_SEND_ALLOWED: {names.send_allowed}
      LAB_ATTR_STATUS: {names.status}
    secrets: [ca.pem, postfix.password]
    tmpfs:
      - /run/postfwd:mode=0755,size=1m
    labels:
      mail-policy-lab.name: ${{LAB_NAME:?}}
      mail-policy-lab.state: ${{LAB_STATE:?}}
"""


@dataclass(frozen=True, slots=True)
class Load:
    """How messages come: in how many sessions, and whether each signs in for itself."""

    sessions: int
    each: bool

    def __str__(self) -> str:
        return f"{self.sessions} sessions, {'AUTH included' if self.each else 'signed in before'}"


class Rounds(NamedTuple):
    """One sample a round of something."""

    what: str
    unit: str
    direction: Direction
    samples: list[float]


@dataclass(slots=True)
class Taken:
    """What was measured of one way under one load, a round each; of messages, all rounds'."""

    rates: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)

    def rounds(self) -> tuple[Rounds, ...]:
        """Return what there is one sample of for each round."""
        return (
            Rounds("messages a second", "1/s", "more", self.rates),
            Rounds("delivered a second", "1/s", "more", self.delivered),
            Rounds("processor time a message", "ms", "less", self.processor),
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """One way, and another that it is held against."""

    own: Taken
    floor: Taken
    floor_is: str


Cells = dict[tuple[Load, str], Taken]


def ways(baseline: str, hardened: str) -> dict[str, str]:
    """Return a main.cf for each way to enforce the policy, made of those of the two profiles."""
    plain = with_parameters(hardened, {"smtpd_milters": ""})
    return {
        NONE: with_parameters(hardened, NO_POLICY),
        "baseline": baseline,
        HARDENED: plain,
        MILTER: hardened,
        "hardened, through proxy": _proxied(plain),
        "a policy service (postfwd)": with_parameters(plain, _SERVED),
        STATIC: with_parameters(hardened, STATIC_RULES),
    }


# The same rules, asked of files: who may send, and whose an address is.
_STATIC_RULE = f"check_sasl_access texthash:{STATIC_MAY_SEND}, reject"
STATIC_RULES: Mapping[str, str] = {
    **NO_POLICY,
    "smtpd_sender_login_maps": f"texthash:{_STATIC_LOGINS}",
    "smtpd_client_restrictions": _STATIC_RULE,
    "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    "smtpd_data_restrictions": f"reject_unauth_pipelining, {_STATIC_RULE}",
    "smtpd_end_of_data_restrictions": f"reject_sender_login_mismatch, {_STATIC_RULE}",
}

# Where hardened asks the directory about the login, it asks the policy service.
_SERVED: Mapping[str, str] = {
    "hardened_sending_policy": "check_policy_service inet:postfwd:10040, reject"
}


def _proxied(text: str) -> str:
    """Return a main.cf whose tables of the directory are asked by one process for all."""
    maps = list(dict.fromkeys(re.findall(r"\bldap:/[^\s,}]+", text)))
    proxied = re.sub(r"\bldap:/", "proxy:ldap:/", text)
    return with_parameters(
        proxied, {"proxy_read_maps": ", ".join(f"proxy:{each}" for each in maps)}
    )


def in_turn(names: Sequence[str], number: int, rounds: int) -> tuple[str, ...]:
    """Return the order of a round, counted from 0: their own, but begun further on each time, so
    that over all rounds each has each place as often as any other, as far as that can be.
    """
    first = number * len(names) // rounds
    return (*names[first:], *names[:first])


def _measure(bench: Bench) -> Yielded:
    widths = sorted(_WIDTHS[: bench.size["widths"]])
    loads = [Load(sessions, each) for sessions in widths for each in (False, True)]
    cells: Cells = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        bench.lab(policy="baseline", extra=_extra(bench, Path(directory))) as lab,
    ):
        baseline = lab.containers.execute("postfix", ["cat", MAIN])
        hardened_lab = Lab(lab.settings, lab.name)
        hardened_lab.up(bench.progress, policy="hardened")
        stack = Path(directory) / "stack.json"
        write_private(stack, json.dumps(hardened_lab.endpoints().to_dict(secrets=True)))
        _prepare(hardened_lab)
        hardened = hardened_lab.containers.execute("postfix", ["cat", MAIN])
        files = ways(baseline, hardened)
        for way in (each for each in files if each != NONE):
            bench.progress.step(f"{way}: does it refuse")
            _under(hardened_lab, files[way])
            require_refusal(hardened_lab, way)
        bench.progress.step("submitting, under each way in turn")
        rounds = bench.size["rounds"]
        for number in range(rounds):
            for place, way in enumerate(in_turn(list(files), number, rounds)):
                bench.progress.count(number * len(files) + place, rounds * len(files))
                _under(hardened_lab, files[way])
                _submit(hardened_lab, stack, Load(_JUDGED, each=False), 4 * _JUDGED)  # warms up
                for load in loads:
                    taken = cells.setdefault((load, way), Taken())
                    _take(hardened_lab, stack, load, bench.size["messages"], taken)
    yield from figures(cells, loads, list(files))


def _extra(bench: Bench, directory: Path) -> Path:
    """Build the image of the policy service; returns a Compose file with it."""
    root, settings = bench.root, bench.settings
    image = image_in(root / "benchmarks" / "postfwd")
    ensure(Engine(), root, [image], bench.progress)
    path = directory / "extra.yaml"
    path.write_text(
        _EXTRA.format(image=image.reference, base_dn=settings.base_dn, names=settings.attributes),
        encoding="utf-8",
    )
    return path


def require_refusal(lab: Lab, way: str) -> None:
    """See that Dave, whom the seed blocks, is refused, and that Alice is once the directory says
    so, and not before; where a file is asked, that she is not.

    Raises ExpectationFailed where one of them is not, DeadlinePassed where she is never accepted.
    """
    endpoints = lab.endpoints()
    alice, dave = (endpoints.account(who) for who in ("alice", "dave"))
    with signed_in(endpoints, alice) as hers, signed_in(endpoints, dave) as his:
        poll(lambda: _answer(hers, alice) == _ACCEPTED, what=f"{way} to accept", seconds=_ASKED)
        if (refused := _answer(his, dave)) != _REFUSED:
            raise ExpectationFailed(f"{way} answers {refused} to Dave, who may not send")
        if way != STATIC:
            _require_toggled(endpoints, way, lambda: _answer(hers, alice))


def _require_toggled(endpoints: Endpoints, way: str, answer: Callable[[], int]) -> None:
    """See that what Alice is answered is what the directory says of her at that moment."""
    with Directory.open(endpoints, endpoints.policy_admin, emit=_unheard) as directory:
        dn = directory.dn("alice")
        directory.set_policy(dn, DISABLE)
        refused = answer()
        directory.set_policy(dn, ENABLE)
        if (refused, answer()) != (_REFUSED, _ACCEPTED):
            raise ExpectationFailed(f"{way} answers {refused} to Alice, who may not send any more")


def _answer(connection: SmtpConnection, account: Account) -> int:
    """Return the code that is answered to a RCPT of an account."""
    connection.begin(account.address)
    code = connection.recipient(account.address).reply.code
    connection.reset()
    return code


def _unheard(_event: Event) -> None:
    """Listen to nothing."""


def _prepare(lab: Lab) -> None:
    """Write the static maps, and let proxymap, which is not root, read the directory's."""
    lab.containers.execute("postfix", ["sh", "-c", "chmod 0644 /etc/postfix/ldap_*.cf"])
    write_static(lab)


def write_static(lab: Lab) -> None:
    """Write what the directory says now to files: who may send, and whose an address is."""
    endpoints = lab.endpoints()
    with Directory.open(endpoints, endpoints.policy_admin, emit=_unheard) as directory:
        may = "".join(
            f"{each.login} OK\n"
            for name, each in endpoints.accounts.items()
            if directory.policy(directory.person(name)).may_send
        )
    logins = "".join(f"{each.address} {each.login}\n" for each in endpoints.accounts.values())
    write_file(lab.containers, "postfix", STATIC_MAY_SEND, may)
    write_file(lab.containers, "postfix", _STATIC_LOGINS, logins)


def _under(lab: Lab, text: str) -> None:
    write_file(lab.containers, "postfix", MAIN, text)
    reload_postfix(lab.containers)


def _take(lab: Lab, stack: Path, load: Load, messages: int, taken: Taken) -> None:
    count = max(messages // 4 if load.each else messages, load.sessions)
    lab.containers.execute("dovecot", ["maildirs", "empty"])
    before = processor(lab, _WORKING)
    seconds, whole, each = _submit(lab, stack, load, count)
    taken.rates.append(len(each) / seconds)
    taken.delivered.append(len(each) / whole)
    taken.messages += [1000 * one for one in each]
    taken.processor.append(1000 * (processor(lab, _WORKING) - before) / len(each))


def _submit(lab: Lab, stack: Path, load: Load, count: int) -> tuple[float, float, list[float]]:
    """Submit messages and see them delivered; returns the seconds until all are accepted, until all
    are delivered, and for each.
    """
    program = str(lab.settings.root / "benchmarks" / "load.py")
    each = ["each"] if load.each else []
    done = ran([sys.executable, program, str(stack), str(count), str(load.sessions), *each])
    accepted = time.perf_counter()
    poll(lambda: _drained(lab.containers), what="the queue to be empty", seconds=_DRAINED)
    said = json.loads(done.output)
    return said["seconds"], said["seconds"] + time.perf_counter() - accepted, said["messages"]


def _drained(containers: LabContainers) -> bool | None:
    return None if containers.queue() else True


def figures(cells: Cells, loads: Sequence[Load], names: Sequence[str]) -> Yielded:
    """Return each way's figures under each load, against no policy; then hardened against baseline
    and the milter against hardened without it, under the usual load; and a chart of the rates.
    """
    judged = Load(_JUDGED, each=False)
    for load in loads:
        yield from _alone(cells[load, NONE], load)
        for way in names:
            if way != NONE:
                limit = _OF_NONE if (way, load) == (HARDENED, judged) else None
                pair = Pair(cells[load, way], cells[load, NONE], NONE)
                yield from _against(way, load, pair, limit)
    hardened = cells[judged, HARDENED]
    usual = Pair(hardened, cells[judged, "baseline"], "baseline")
    yield from _against("hardened, against baseline", judged, usual, _OF_BASELINE)
    milter = Pair(cells[judged, MILTER], hardened, HARDENED)
    yield from _against("hardened with the milter, against without", judged, milter)
    yield Chart(
        "cost",
        "Accepted messages a second, by how the policy is enforced",
        "1/s",
        tuple(map(str, loads)),
        {way: tuple(median(cells[load, way].rates) for load in loads) for way in names},
    )


def _alone(taken: Taken, load: Load) -> Yielded:
    """Return the figures without a policy, which are the floor of the others."""
    for what, unit, direction, samples in taken.rounds():
        yield Figure.of(f"{NONE}: {what}, {load}", samples, unit, direction=direction)
    yield Figure.of(f"{NONE}: a message takes, {load}", taken.messages, "ms")


def _against(name: str, load: Load, pair: Pair, limit: float | None = None) -> Yielded:
    """Return the figures of one way against another; the limit is that of the accepted rate.

    What a message takes has no pairs: its ratio is that of the medians.
    """
    for own, other in zip(pair.own.rounds(), pair.floor.rounds(), strict=True):
        yield Figure.against(
            f"{name}: {own.what}, {load}",
            own.samples,
            own.unit,
            floor=other.samples,
            floor_is=pair.floor_is,
            limit=limit if own.samples is pair.own.rates else None,
            direction=own.direction,
        )
    yield Figure.of(
        f"{name}: a message takes, {load}",
        pair.own.messages,
        "ms",
        floor=pair.floor.messages,
        floor_is=pair.floor_is,
    )


COST = Measurement(
    "cost",
    """Submit messages under several ways to enforce the policy, and under none.

    No policy, baseline, hardened without the milter and with it, through proxy:, asked of a policy
    service (postfwd) and of a static file: messages accepted and delivered a second, how long each
    takes, and the processor time of all servers until it is delivered; in 1, 8 and 32 sessions, TLS
    on, with the sign-in and without it.""",
    (
        Option(
            "messages", "How many are sent each time; with a sign-in each, a quarter.", 400, 160
        ),
        Option("rounds", "How often each way has its turn.", 7, 3),
        Option("widths", "How many of 8, 1 and 32 sessions are tried, in this order.", 3, 1),
    ),
    _measure,
)
