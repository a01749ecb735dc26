"""`labctl scenario --dry-run`: what a scenario would do, numbered, with its LDIF and replies."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from labctl.cli.app import App
from labctl.cli.presenting import Presenting
from labctl.errors import Exit, LabNotReady, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labctl.endpoints import Endpoints
    from labctl.report.ink import Ink
    from labctl.scenario.model import Scenario, Step

PLAN: Final = "plan"
PROBE: Final = "probe"


class OptionalValue(click.Command):
    """A command with `--dry-run`, whose value never is the next argument, but stands behind `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give the option alone the value that it then has."""
        given = [f"--dry-run={PLAN}" if each == "--dry-run" else each for each in args]
        return super().parse_args(ctx, given)


dry_run_option = click.option(
    "--dry-run",
    type=click.Choice([PLAN, PROBE]),
    metavar="[=probe]",
    help="Print the numbered steps, the LDIF and the expected replies, and touch nothing; "
    "--dry-run=probe also performs the steps that only read.",
)


@dataclass(frozen=True)
class Planning:
    """Prints scenarios; `probes` also performs what only reads."""

    app: App
    endpoints_file: Path | None
    presenting: Presenting
    probes: bool

    def show(self, scenarios: "Sequence[Scenario]", output: str) -> int:
        """Print them; returns the exit code."""
        from labctl.report.ink import ink_for

        if output != "text":
            raise UsageError(f"--dry-run prints text, not {output}")
        if self.presenting.conducted:
            raise UsageError("--dry-run performs nothing that --step or --pace could show")
        code = int(Exit.OK)
        with self.presenting.recorded("dry run"):
            ink = ink_for(sys.stdout, big=self.presenting.big)
            for each in scenarios:
                code = self._one(each, ink) or code
        return code

    def _one(self, scenario: "Scenario", ink: "Ink") -> int:
        endpoints = self._endpoints(scenario)
        lab = "no lab is up: DOMAIN and BASE stand for its own" if endpoints.slot is None else ""
        where = f"lab {endpoints.lab}" if not lab or self.endpoints_file else lab
        doing = "only what reads is done" if self.probes else "nothing is touched"
        ink.title(scenario.title, f"dry run: {doing} · {where}")
        if scenario.why:
            ink.prose(scenario.why)
        ink.blank()
        code = self._steps(scenario.steps, endpoints, ink) if not scenario.cases else 0
        for number, case in enumerate(scenario.cases, start=1):
            ink.closing(f"case {number}", case.name)
            code = self._steps(case.steps_on(endpoints.policy), endpoints, ink) or code
        return code

    def _endpoints(self, scenario: "Scenario") -> "Endpoints":
        from labctl.scenario.plan import placeholders

        try:
            return self.app.endpoints(self.endpoints_file)
        except LabNotReady:
            if self.probes:
                raise
            settings = self.app.settings
            return placeholders(scenario, settings.attributes, settings.policy)

    def _steps(self, steps: "Sequence[Step]", endpoints: "Endpoints", ink: "Ink") -> int:
        from labctl.report.ink import Row
        from labctl.report.wording import MARKS, lines, visible
        from labctl.scenario.plan import first_change, planned

        code, untouched = 0, first_change(steps)
        for number, step in enumerate(steps, start=1):
            ink.row(Row(number, MARKS["next"], "planned", step.verb, visible(step.summary())))
            for label, text in planned(step, endpoints):
                if label != "what":
                    for place, line in enumerate(lines(text)):
                        ink.detail("" if place else label, line)
            if self.probes and step.reads():
                ended = self._probe(step, number, endpoints, ink)
                # After a change that was not made, what is seen says nothing about the story.
                code = code or (ended if number <= untouched else 0)
        ink.blank()
        return code

    def _probe(self, step: "Step", number: int, endpoints: "Endpoints", ink: "Ink") -> int:
        from labctl.events import Check, Event
        from labctl.report.wording import visible
        from labctl.scenario.runner import probe
        from labctl.scenario.session import Session, new_run_id

        seen: list[str] = []

        def listen(event: Event) -> None:
            if isinstance(event, Check):
                seen.append(f"{event.what} {event.seen}")

        containers = None if self.endpoints_file else self.app.lab.containers
        wait = self.app.settings.wait_seconds
        session = Session(endpoints, new_run_id(), listen, wait, containers)
        try:
            verdict, reason, code = probe(step, number, session)
        finally:
            session.close()
        ink.detail("now", f"{verdict.value}: {visible(reason or ', '.join(seen))}", verdict.value)
        return int(code)
