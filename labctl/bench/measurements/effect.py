"""How soon a change in the directory is obeyed, and whether it is ever obeyed late.

The floor is the plain round trip: the same sessions ask in the same way, at the same pace, while
the same attribute is toggled, and Postfix has the policy's rule left out.

Where Postfix asks replicas of the directory, a change shows when they have it, and decisions until
then are stale: how many, and for how long, is what is measured there, and no limit is set.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from labctl.bench.figure import Chart, Figure, percentile
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.postfix import PATIENT, configured
from labctl.bench.toggling import SERVICES, Paces, Seen, toggle, toggle_anew
from labctl.errors import ExpectationFailed
from labctl.lab.lab import Lab

# What the figures call it: the profile, the directory, and which size says how often it is toggled.
_KINDS = {
    "hardened": ("hardened", "single", "toggles"),
    "baseline": ("baseline", "single", "toggles"),
    "replicated": ("hardened", "replicated", "replicated"),
}
_ACCOUNT = "alice"
_PLAIN = 500  # toggles, at most, for the floor, before and again after
_SHOWN = 5  # stale decisions that are told in full
_MEDIAN_LIMIT, _LATE_LIMIT = 1.5, 3.0  # times the plain round trip
_PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
_DECISIONS = {False: "refusal", True: "permission"}

# What the login may do is not asked; whose address the sender is, and the recipient, are.
_RULE_LEFT_OUT: Mapping[str, str] = {
    "smtpd_client_restrictions": "permit_sasl_authenticated, reject",
    "smtpd_sender_restrictions": "reject_sender_login_mismatch",
}


def _measure(bench: Bench) -> Yielded:
    lines: dict[str, Sequence[float]] = {}
    for kind, (policy, directory, size) in _KINDS.items():
        single = directory == "single"
        with bench.lab(policy=policy, directory=directory) as lab:
            plain, seen = _on(bench, lab, kind, bench.size[size])
            if single:
                _ask_anew(bench, lab, kind, seen)
        _tell(bench, kind, [each.transcript() for each in seen.stale], bounded=single)
        yield from figures(kind, plain, seen, bounded=single)
        for allowed, decision in _DECISIONS.items():
            lines[f"{kind}: a {decision} shows"] = seen.effects[allowed]
        lines[f"{kind}: plain round trip"] = plain
    for policy in _KINDS:
        yield Chart(
            f"effect-{policy}",
            f"{policy}: from the directory's answer to the first decision that shows it",
            "ms",
            tuple(f"p{each}" for each in _PERCENTS),
            {
                name: tuple(1000 * percentile(samples, each) for each in _PERCENTS)
                for name, samples in lines.items()
                if name.startswith(f"{policy}: ") and samples
            },
            "lines",
        )


def _on(bench: Bench, lab: Lab, kind: str, toggles: int) -> tuple[list[float], Seen]:
    """Return the plain round trips, taken before and after, and what was seen in between."""
    few = min(max(toggles // 10, 10), _PLAIN)
    left_out = {**PATIENT, **_RULE_LEFT_OUT}
    first = _toggled(bench, lab, left_out, few, f"{kind}: the plain round trip")
    seen = _toggled(bench, lab, PATIENT, toggles, f"{kind}: toggling, and asking", insists=True)
    last = _toggled(bench, lab, left_out, few, f"{kind}: the plain round trip again")
    return [*first.trips[True], *last.trips[True]], seen


def _toggled(
    bench: Bench,
    lab: Lab,
    values: Mapping[str, str],
    toggles: int,
    what: str,
    *,
    insists: bool = False,
) -> Seen:
    bench.progress.step(what)
    with configured(lab.containers, values):
        return toggle(
            lab.endpoints(),
            _ACCOUNT,
            toggles=toggles,
            sessions=bench.size["sessions"],
            paces=Paces(bench.size["asks"], bench.size["openings"]),
            insists=insists,
            count=bench.progress.count,
        )


def _ask_anew(bench: Bench, lab: Lab, kind: str, seen: Seen) -> None:
    """Have each of some more changes judged in new sessions, and add that to what was seen."""
    bench.progress.step(f"{kind}: toggling, and asking in new sessions")
    with configured(lab.containers, PATIENT):
        anew = toggle_anew(
            lab.endpoints(), _ACCOUNT, toggles=bench.size["anew"], count=bench.progress.count
        )
    seen.judged += anew.judged
    seen.toggles += anew.toggles
    seen.stale += anew.stale


def _tell(bench: Bench, kind: str, stale: Sequence[str], *, bounded: bool) -> None:
    """Print stale decisions; where there should be none, all are kept in a file, too."""
    for each in stale[: _SHOWN if bounded else 1]:
        bench.progress.tell(each)
    if bounded and stale:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = bench.settings.state / "bench" / f"{stamp}-effect-{kind}-stale.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(stale) + "\n", encoding="utf-8")
        bench.progress.tell(f"all {len(stale)} stale decisions are in {path}")


def figures(kind: str, plain: Sequence[float], seen: Seen, *, bounded: bool) -> Yielded:
    """Yield the figures of one kind; where they have limits, there must be something to judge."""
    for service, held in product(SERVICES, (False, True)):
        yield from _stale(kind, service, seen, held=held, bounded=bounded)
    probes = seen.judged.total() + seen.overlapping
    yield Figure.one(f"probes that overlap a change, {kind}", seen.overlapping, "probes", n=probes)
    yield Figure.one(f"toggles, {kind}", seen.toggles, "", n=seen.toggles)
    trip = _milliseconds(plain)
    for allowed, decision in _DECISIONS.items():
        effects = _milliseconds(seen.effects[allowed])
        if not effects and bounded:
            raise ExpectationFailed(f"{kind}: no change showed in a {decision}")
        if effects:
            yield from _shows(f"until a {decision} shows", kind, effects, trip, bounded=bounded)
        if after := _milliseconds(seen.asked_after[allowed]):
            name = f"asked for after the change, until a {decision} shows, {kind}"
            yield Figure.of(name, after, "ms", floor=trip, floor_is="plain RCPT")
    if accepted := _milliseconds(seen.trips[True]):
        name = f"RCPT that is accepted, {kind}"
        yield Figure.of(name, accepted, "ms", floor=trip, floor_is="plain RCPT")
    if refused := _milliseconds(seen.trips[False]):
        yield Figure.of(f"RCPT that is refused, {kind}", refused, "ms")
    yield Figure.of(f"plain RCPT, {kind}", trip, "ms")


def _stale(kind: str, service: str, seen: Seen, *, held: bool, bounded: bool) -> Yielded:
    session = "held open" if held else "new sessions"
    judged = seen.judged[service, held]
    if not judged and bounded:
        raise ExpectationFailed(f"{kind}: nothing was judged through {service}, {session}")
    ages = _milliseconds(
        each.seconds
        for each in seen.stale
        if (each.probe.service, each.probe.held) == (service, held)
    )
    name = f"stale decisions, {kind}, {service}, {session}"
    yield Figure.one(name, len(ages), "probes", n=judged, limit=0 if bounded else None)
    if not bounded and ages:
        name = f"of these, asked after the change, {kind}, {service}, {session}"
        yield Figure.of(name, ages, "ms")


def _shows(
    what: str, kind: str, effects: Sequence[float], trip: Sequence[float], *, bounded: bool
) -> Yielded:
    for percent, limit in ((50, _MEDIAN_LIMIT), (99, _LATE_LIMIT)):
        yield Figure.of(
            f"{what}, p{percent}, {kind}",
            effects,
            "ms",
            percent=percent,
            floor=trip,
            floor_is="plain RCPT",
            limit=limit if bounded else None,
        )
    yield Figure.of(
        f"{what}, p99 against p99, {kind}",
        effects,
        "ms",
        percent=99,
        floor=trip,
        floor_percent=99,
        floor_is="plain RCPT, p99",
    )


def _milliseconds(seconds: Iterable[float]) -> list[float]:
    return [1000 * each for each in seconds]


EFFECT = Measurement(
    "effect",
    """Toggle an account's policy while it keeps submitting, and count stale decisions.

    On each profile, through both submission services, in sessions held open and in new ones:
    whether any answer went against what the directory said at its RCPT, and how long it took from
    the directory's answer to the first decision that shows the change, a refusal or a permission.
    Few new sessions are opened meanwhile, as each costs a hash of the password; after it, each of
    some more changes is asked about in new sessions alone. At last, with replicas of the directory
    between: how far they are behind, as decisions show it.""",
    (
        Option("toggles", "How often the attribute changes, on each profile.", 10_000, 500, 2),
        Option("anew", "How often more, asked about in new sessions alone.", 1_000, 20, 2),
        Option("replicated", "How often where the directory is replicated.", 2_000, 200, 2),
        Option("sessions", "How many sessions ask side by side; half are held open.", 8, 8, 4),
        Option("asks", "How often a second each session that is held open asks.", 50, 50),
        Option("openings", "How many new sessions a second are opened, in all.", 1, 1),
    ),
    _measure,
)
