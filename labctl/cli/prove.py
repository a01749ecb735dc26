"""The command that breaks a lab on purpose: prove."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import show
from labctl.cli.progress import Progress
from labctl.errors import Exit, ExpectationFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from labctl.events import Event
    from labctl.lab.lab import Lab
    from labctl.prove.mutation import Mutation
    from labctl.prove.proof import Result
    from labctl.scenario.model import Scenario

HEADER = ("MUTATION", "SCENARIO", "LINE", "SEEN")
_WAIT_SECONDS = 3.0  # for a message: on a broken lab one that is late never comes


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--list", "only_list", is_flag=True, help="List the mutations, and touch nothing.")
@output_option
@pass_app
def prove(app: App, *, words: tuple[str, ...], only_list: bool, output: str) -> int:
    """Break a lab on purpose, one mutation at a time, and see a scenario go red each time.

    With words, only mutations whose name holds all of them, and of the scenarios only those that
    these name; else all, until one goes red. It is done to a lab of its own, which
    comes up for it and is removed at the end. Exits with 1 if a mutation survives.
    """
    from labctl.prove.catalogue import MUTATIONS
    from labctl.prove.proof import survivors

    chosen = [each for each in MUTATIONS if all(word in each.name for word in words)]
    if not chosen:
        raise UsageError(
            f"no mutation is named {' '.join(words)!r}", "`labctl prove --list` shows them."
        )
    if only_list:
        _show_list(chosen, output)
        return int(Exit.OK)
    with Progress() as progress, _own_lab(app, progress) as lab:
        results = list(_results(lab, chosen, _scenarios(app, chosen), progress))
    show(output, _data(results), HEADER, [_row(result) for result in results])
    left = survivors(results)
    click.echo(f"{len(results)} mutations, {len(left)} survived.", err=True)
    return int(Exit.EXPECTATION if left else Exit.OK)


def _show_list(mutations: "Sequence[Mutation]", output: str) -> None:
    rows = [(each.name, each.profile, each.scenario) for each in mutations]
    keys = ("name", "profile", "scenario")
    data = {"mutations": [dict(zip(keys, row, strict=True)) for row in rows]}
    show(output, data, ("MUTATION", "PROFILE", "FIRST SCENARIO"), rows)


def _own_lab(app: App, progress: Progress) -> "AbstractContextManager[Lab]":
    from labctl.lab.own import own_lab

    named = app.name != "default"
    settings = app.settings if named else replace(app.settings, slot=None)
    return own_lab(
        replace(settings, policy="hardened", directory="single"),
        app.name if named else "prove",
        progress,
    )


def _scenarios(app: App, chosen: "Sequence[Mutation]") -> "list[Scenario]":
    from labctl.prove.catalogue import MUTATIONS
    from labctl.scenario.loader import load_all

    found = load_all(sorted((app.root / "scenarios").glob("*.yaml")))
    named = {mutation.scenario for mutation in chosen}
    return [each for each in found if len(chosen) == len(MUTATIONS) or each.name in named]


def _results(
    lab: "Lab",
    chosen: "Sequence[Mutation]",
    scenarios: "Sequence[Scenario]",
    progress: Progress,
) -> "Iterator[Result]":
    """Yield what becomes of each mutation, profile by profile."""
    from labctl.lab.lab import Lab

    for profile in dict.fromkeys(mutation.profile for mutation in chosen):
        on_profile = Lab(lab.settings, lab.name)
        on_profile.up(progress, policy=profile)
        yield from _on_profile(
            on_profile, [each for each in chosen if each.profile == profile], scenarios, progress
        )


def _on_profile(
    lab: "Lab",
    mutations: "Sequence[Mutation]",
    scenarios: "Sequence[Scenario]",
    progress: Progress,
) -> "Iterator[Result]":
    from labctl.prove.breaking import break_lab, mend_lab
    from labctl.prove.proof import caught_by
    from labctl.prove.proof import prove as prove_one

    play = _player(lab)
    for scenario in scenarios:
        progress.step(f"before anything is broken: {scenario.name}")
        if red := caught_by(scenario, play):
            raise ExpectationFailed(
                f"{red.scenario} is red before anything is broken, at {red.line}: {red.reason}",
                "Mend that first: on a lab that is not well nothing can be proved.",
            )
    for number, mutation in enumerate(mutations, start=1):
        progress.step(f"{number} of {len(mutations)}: {mutation.name}")
        break_lab(lab.containers, mutation, lab.settings.base_dn)
        result = prove_one(mutation, scenarios, play)
        progress.step(f"    {result.caught.scenario if result.caught else 'SURVIVED'}")
        yield result
        mend_lab(lab.containers, mutation.services)
        lab.reset(_Quiet())


class _Quiet:
    """Tells nobody how it goes."""

    def step(self, text: str) -> None:
        """Tell nothing."""

    def detail(self, text: str) -> None:
        """Tell nothing."""


def _player(lab: "Lab") -> "Callable[[Scenario, Callable[[Event], None]], None]":
    """Return what runs a scenario on the lab."""
    from labctl.scenario.runner import run
    from labctl.scenario.session import Session, new_run_id

    def play(scenario: "Scenario", emit: "Callable[[Event], None]") -> None:
        session = Session(lab.endpoints(), new_run_id(), emit, _WAIT_SECONDS, lab.containers)
        if run(scenario, session).exit_code == Exit.INTERRUPTED:
            raise KeyboardInterrupt

    return play


def _row(result: "Result") -> tuple[str, ...]:
    if result.caught is None:
        return (result.mutation.name, "SURVIVED", "-", "-")
    return (
        result.mutation.name,
        result.caught.scenario,
        result.caught.line,
        result.caught.reason,
    )


def _data(results: "Sequence[Result]") -> dict[str, Any]:
    keys = ("mutation", "scenario", "line", "seen")
    rows = [
        {
            **dict(zip(keys, _row(result), strict=True)),
            "survived": result.caught is None,
            "profile": result.mutation.profile,
            "seconds": round(result.seconds, 3),
        }
        for result in results
    ]
    return {"mutations": rows, "survivors": sum(row["survived"] for row in rows)}
