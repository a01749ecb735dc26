"""How soon a change in the directory is obeyed, and whether it is ever obeyed late.

The floor is the plain round trip: the same sessions ask in the same way, at the same pace, while
the same attribute is toggled, and Postfix has the policy's rule left out.

Where Postfix asks replicas of the directory, a change shows when they have it, and decisions until
then are stale: how many, and for how long, is what is measured there, and no limit is set.
"""

from collections.abc import Mapping, Sequence

from labctl.bench.figure import Chart, Figure, percentile
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.postfix import PATIENT, configured
from labctl.bench.toggling import Paces, Seen, toggle
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

# What the login may do is not asked; whose address the sender is, and the recipient, are.
_RULE_LEFT_OUT: Mapping[str, str] = {
    "smtpd_client_restrictions": "permit_sasl_authenticated, reject",
    "smtpd_sender_restrictions": "reject_sender_login_mismatch",
}


def _measure(bench: Bench) -> Yielded:
    lines: dict[str, Sequence[float]] = {}
    for kind, (policy, directory, size) in _KINDS.items():
        with bench.lab(policy=policy, directory=directory) as lab:
            plain, seen = _on(bench, lab, kind, bench.size[size])
        single = directory == "single"
        for each in seen.stale[: _SHOWN if single else 1]:
            bench.progress.tell(each.transcript())
        yield from _figures(kind, plain, seen, bounded=single)
        lines[f"{kind}: shows the change"] = seen.effects
        lines[f"{kind}: plain round trip"] = plain
    yield Chart(
        "effect",
        "From the directory's answer to the first decision that shows it",
        "ms",
        tuple(f"p{each}" for each in _PERCENTS),
        {
            name: tuple(1000 * percentile(samples, each) if samples else None for each in _PERCENTS)
            for name, samples in lines.items()
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
    return [*first.trips, *last.trips], seen


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


def _figures(kind: str, plain: Sequence[float], seen: Seen, *, bounded: bool) -> Yielded:
    for (service, held), judged in sorted(seen.judged.items()):
        found = [
            each for each in seen.stale if (each.probe.service, each.probe.held) == (service, held)
        ]
        session = "held open" if held else "new sessions"
        name = f"stale decisions, {kind}, {service}, {session}"
        yield Figure.one(name, len(found), "probes", n=judged, limit=0 if bounded else None)
        if not bounded and found:
            ages = [1000 * each.seconds for each in found]
            yield Figure.of(
                f"of these, asked after the change, {kind}, {service}, {session}", ages, "ms"
            )
    yield Figure.one(f"toggles, {kind}", seen.toggles, "", n=seen.toggles)
    trip, effects, after = (
        [1000 * each for each in samples] for samples in (plain, seen.effects, seen.asked_after)
    )
    floor = percentile(trip, 50)
    if effects and after:
        for percent, limit in ((50, _MEDIAN_LIMIT), (99, _LATE_LIMIT)):
            yield Figure.of(
                f"until it shows, p{percent}, {kind}",
                effects,
                "ms",
                percent=percent,
                floor=floor,
                floor_is="plain RCPT",
                limit=limit if bounded else None,
            )
        yield Figure.of(
            f"until it shows, p99 against p99, {kind}",
            effects,
            "ms",
            percent=99,
            floor=percentile(trip, 99),
            floor_is="plain RCPT, p99",
        )
        yield Figure.of(
            f"asked for after the change, until it shows, {kind}",
            after,
            "ms",
            floor=floor,
            floor_is="plain RCPT",
        )
    asked = [1000 * each for each in seen.trips]
    yield Figure.of(f"RCPT, {kind}", asked, "ms", floor=floor, floor_is="plain RCPT")
    yield Figure.of(f"plain RCPT, {kind}", trip, "ms")


EFFECT = Measurement(
    "effect",
    """Toggle an account's policy while it keeps submitting, and count stale decisions.

    On each profile, through both submission services, in sessions held open and in new ones:
    whether any answer went against what the directory said at its RCPT, and how long it took from
    the directory's answer to the first decision that shows the change. At last, with replicas of
    the directory between: how far they are behind, as decisions show it.""",
    (
        Option("toggles", "How often the attribute changes, on each profile.", 10_000, 500),
        Option("replicated", "How often where the directory is replicated.", 2_000, 200),
        Option("sessions", "How many sessions ask side by side; half are held open.", 8, 8, 4),
        Option("asks", "How often a second each session that is held open asks.", 50, 50),
        Option("openings", "How many new sessions a second are opened, in all.", 1, 1),
    ),
    _measure,
)
