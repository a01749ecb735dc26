"""What the policy costs: submissions under several ways to enforce it, and under none.

Each way is a main.cf in the same lab, put in turn about, round by round, so that what else goes on
on this host falls on all of them; those that ask the directory are shown to refuse before they are
measured. The clients are a process of their own. Beside the time, which depends on the host's load,
stands the processor time of all services of the lab together, until the messages are delivered.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from labctl.bench.asking import signed_in
from labctl.bench.command import ran
from labctl.bench.figure import Chart, Direction, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.postfix import MAIN, NO_POLICY, with_parameters
from labctl.bench.usage import processor
from labctl.errors import ExpectationFailed
from labctl.events import Event
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.lab.images import SERVICES, ensure, image_in
from labctl.lab.lab import Lab
from labctl.lab.state import write_private
from labctl.protocols.directory import Directory
from labctl.protocols.entry import ENABLE
from labctl.protocols.poll import poll
from labctl.prove.breaking import reload_postfix, write_file

_WIDTHS = (8, 1, 32)  # sessions side by side
_JUDGED = 8
_OF_NONE = 0.95  # hardened, without the milter, of the messages a second without a policy
_OF_BASELINE = 0.95  # and of those under baseline
_ACCEPTED, _REFUSED = 250, 554
_DRAINED = 60.0  # seconds, for what was accepted to be delivered
_STATIC = "/etc/postfix/bench_static"

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


@dataclass(slots=True)
class Taken:
    """What was measured of one way under one load, a round each; of messages, all rounds'."""

    rates: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)


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
        STATIC: with_parameters(hardened, _static()),
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


def _static() -> Mapping[str, str]:
    """Return the same rules, asked of a file: who may send, and whose an address is."""
    rule = f"check_sasl_access texthash:{_STATIC}_may_send, reject"
    return {
        **NO_POLICY,
        "smtpd_sender_login_maps": f"texthash:{_STATIC}_logins",
        "smtpd_client_restrictions": rule,
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
        "smtpd_data_restrictions": f"reject_unauth_pipelining, {rule}",
        "smtpd_end_of_data_restrictions": f"reject_sender_login_mismatch, {rule}",
    }


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
        for way in files.keys() - {NONE, STATIC}:
            bench.progress.step(f"{way}: does it refuse")
            _under(hardened_lab, files[way])
            require_refusal(hardened_lab, way)
        bench.progress.step("submitting, under each way in turn")
        for number in range(bench.size["rounds"]):
            for place, (way, text) in enumerate(files.items()):
                bench.progress.count(number * len(files) + place, bench.size["rounds"] * len(files))
                _under(hardened_lab, text)
                _submit(hardened_lab, stack, Load(_JUDGED, each=False), 4 * _JUDGED)  # warms up
                for load in loads:
                    taken = cells.setdefault((load, way), Taken())
                    _take(hardened_lab, stack, load, bench.size["messages"], taken)
    yield from _figures(cells, loads, list(files))


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
    """See that Alice is refused once the directory says so, and not before.

    Raises ExpectationFailed where she is not, DeadlinePassed where she is never accepted.
    """
    endpoints = lab.endpoints()
    alice = endpoints.account("alice")
    with (
        Directory.open(endpoints, endpoints.policy_admin, emit=_unheard) as directory,
        signed_in(endpoints, alice) as connection,
    ):
        dn = directory.dn(alice.name)

        def answer() -> int:
            connection.begin(alice.address)
            code = connection.recipient(alice.address).reply.code
            connection.reset()
            return code

        poll(lambda: answer() == _ACCEPTED, what=f"{way} to accept", seconds=_ASKED)
        directory.set_policy(dn, {"send_allowed": "FALSE"})
        refused = answer()
        directory.set_policy(dn, ENABLE)
        if (refused, answer()) != (_REFUSED, _ACCEPTED):
            raise ExpectationFailed(f"{way} answers {refused} to one who may not send")


def _unheard(_event: Event) -> None:
    """Listen to nothing."""


def _prepare(lab: Lab) -> None:
    """Write the static maps, and let proxymap, which is not root, read the directory's."""
    lab.containers.execute("postfix", ["sh", "-c", "chmod 0644 /etc/postfix/ldap_*.cf"])
    accounts = lab.endpoints().accounts.values()
    may = "".join(f"{each.login} OK\n" for each in accounts)
    logins = "".join(f"{each.address} {each.login}\n" for each in accounts)
    write_file(lab.containers, "postfix", f"{_STATIC}_may_send", may)
    write_file(lab.containers, "postfix", f"{_STATIC}_logins", logins)


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


def _figures(cells: Cells, loads: list[Load], names: list[str]) -> Yielded:
    for load in loads:
        for way in names:
            yield from _of(cells[load, way], cells[load, NONE], load, way)
    load = Load(_JUDGED, each=False)
    usual = cells[load, "baseline"].rates
    for name, way, limit in (("policy", HARDENED, _OF_BASELINE), ("milter", MILTER, None)):
        yield Figure.against(
            name,
            cells[load, way].rates,
            "1/s",
            floor=usual,
            floor_is="baseline",
            limit=limit,
            direction="more",
        )
    yield Chart(
        "cost",
        "Accepted messages a second, by how the policy is enforced",
        "1/s",
        tuple(str(load).replace(", ", ",\n") for load in loads),
        {way: tuple(median(cells[load, way].rates) for load in loads) for way in names},
    )


def _of(taken: Taken, floor: Taken, load: Load, way: str) -> Yielded:
    judged = way == HARDENED and load == Load(_JUDGED, each=False)
    for what, unit, own, others in (
        ("messages a second", "1/s", taken.rates, floor.rates),
        ("delivered a second", "1/s", taken.delivered, floor.delivered),
        ("processor time a message", "ms", taken.processor, floor.processor),
    ):
        name = f"{way}: {what}, {load}"
        direction: Direction = "more" if unit == "1/s" else "less"
        if way == NONE:
            yield Figure.of(name, own, unit, direction=direction)
            continue
        limit = _OF_NONE if judged and own is taken.rates else None
        yield Figure.against(
            name, own, unit, floor=others, floor_is=NONE, limit=limit, direction=direction
        )
    yield Figure.of(f"{way}: a message takes, {load}", taken.messages, "ms")


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
