"""The commands about scenarios: scenarios, scenario, check, report."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labctl.cli.app import App, endpoints_option, output_option, pass_app, yes_option
from labctl.cli.keeping import (
    BUNDLES,
    REPORTS,
    evidence_option,
    kept_evidence,
    kept_reports,
    print_report,
    read_runs,
    report_option,
    reserved,
    write_reports,
)
from labctl.cli.output import show
from labctl.cli.planning import PROBE, OptionalValue, Planning, dry_run_option
from labctl.cli.presenting import Presenting, Stage, presenting_options
from labctl.errors import Exit, LabctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labctl.endpoints import Endpoints
    from labctl.events import Emit, Event
    from labctl.report.replay import Replay
    from labctl.scenario.model import Scenario
    from labctl.scenario.session import Containers

format_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "jsonl", "junit", "html"]),
    default="text",
    show_default=True,
    help="How to print the run.",
)
_JOURNAL = "before.ldif"  # beside the transcript, as long as something is to be put back
verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    help="Also the commands that do the same by hand, and LDIF; twice: also the wire.",
)


def _shipped(app: App) -> list[Path]:
    return sorted((app.root / "scenarios").glob("*.yaml"))


def _find(app: App, name: str) -> Path:
    """Return the file of a scenario that is given by its name (`offboarding`, `tour/ldif`) or its
    path.
    """
    folder = app.root / "scenarios"
    named = {str(path.relative_to(folder))[:-5]: path for path in folder.rglob("*.yaml")}
    if name in named:
        return named[name]
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(named), n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "`labctl scenarios` lists them."
    raise UsageError(f"there is no scenario {name!r}", hint)


@click.command()
@output_option
@pass_app
def scenarios(app: App, *, output: str) -> None:
    """List the scenarios that ship with the lab."""
    from labctl.scenario.loader import load_all

    found = load_all(_shipped(app))
    data = {
        "scenarios": [
            {
                "name": each.name,
                "title": each.title,
                "steps": len(each.steps),
                "cases": len(each.cases),
            }
            for each in found
        ]
    }
    rows = [(each.name, each.size, each.title) for each in found]
    show(output, data, ("NAME", "SIZE", "TITLE"), rows)


@click.command()
@click.argument("files", nargs=-1, required=True)
@endpoints_option
@pass_app
def check(app: App, *, files: tuple[str, ...], endpoints_file: Path | None) -> None:
    """Say what is wrong in scenario files, all of it, without touching any server.

    With --endpoints, also what is wrong in that file, and which accounts it lacks.
    """
    from labctl.scenario.loader import load_all
    from labctl.scenario.runner import require_accounts

    found = load_all(_find(app, name) for name in files)
    if endpoints_file:
        endpoints = app.endpoints(endpoints_file)
        for each in found:
            require_accounts(each, endpoints)
    for each in found:
        click.echo(f"{each.path}: {each.size}, valid")


@click.command(cls=OptionalValue)
@click.argument("names", nargs=-1, required=True, metavar="NAME|PATH...")
@dry_run_option
@presenting_options
@format_option
@report_option
@evidence_option
@verbose_option
@endpoints_option
@yes_option
@pass_app
def scenario(
    app: App,
    *,
    names: tuple[str, ...],
    dry_run: str | None,
    step: bool,
    pace: float | None,
    record: Path | None,
    big: bool,
    output: str,
    report: tuple[Path, ...],
    evidence: Path | None,
    verbose: int,
    endpoints_file: Path | None,
    yes: bool,
) -> int:
    """Replay scenarios against the lab, or against the stack that --endpoints describes.

    Each run leaves its transcript in .lab/runs/; what was changed in the directory is put back at
    the end, also after an interrupt, and reports and evidence are written then, too. With
    --endpoints it says first what it will change there, and asks. Exits with 0 only if every
    expectation was met, and no step was skipped by hand.
    """
    presenting = Presenting(step, pace, record, big)
    presenting.check(output)
    if not endpoints_file and dry_run is None:
        _open_shells(app)
    from labctl.scenario.loader import load_all
    from labctl.scenario.session import new_run_id

    transcripts: list[Path] = []
    with (
        reserved(report, REPORTS) as reports,
        reserved([evidence] if evidence else [], BUNDLES) as bundles,
        ExitStack() as alone,
    ):
        loaded = load_all(_find(app, name) for name in names)
        if dry_run is not None:
            planning = Planning(app, endpoints_file, presenting, probes=dry_run == PROBE)
            return planning.show(loaded, output)
        if not endpoints_file:
            alone.enter_context(_alone(app, names))
        endpoints = app.endpoints(endpoints_file)
        if endpoints_file:
            _prepare(app, loaded, endpoints, yes=yes)
        with (
            kept_evidence(app, endpoints, bundles, loaded, transcripts),
            kept_reports(reports, transcripts, output=output, verbose=verbose),
            presenting.recorded(", ".join(each.title for each in loaded)),
        ):
            code = int(Exit.OK)
            for each in loaded:
                run = _Run(app, endpoints, output, verbose, presenting, new_run_id())
                transcripts.append(run.transcript)
                ended = run.perform(each)
                code = code or ended
                if code == Exit.INTERRUPTED:
                    break
            return code


@contextmanager
def _alone(app: App, names: tuple[str, ...]) -> Iterator[None]:
    """Keep others from changing the lab meanwhile: a second run would take for the state before it
    what this one has changed, and put that back. A lab that became another one until then is read
    anew.
    """
    app.lab.files.require()
    with app.lab.files.locked(f"labctl scenario {' '.join(names)}"):
        if app.lab.project.record != app.lab.files.require():
            del app.lab
        yield


def _open_shells(app: App) -> None:
    """Let the shells that a run needs start while libraries are imported, which takes as long. What
    there is to say of a lab that is not up is said when it is asked for.
    """
    with suppress(LabctlError):
        app.lab.containers.open("postfix", "dovecot")


def _prepare(app: App, scenarios: "list[Scenario]", endpoints: "Endpoints", *, yes: bool) -> None:
    from labctl.cli.consent import agree
    from labctl.scenario.runner import require_accounts

    for each in scenarios:
        require_accounts(each, endpoints)
    for left in sorted((app.settings.state / "runs").glob(f"*/{_JOURNAL}")):
        click.echo(
            f"Warning: the run {left.parent.name} was killed, or is running still. What it changed "
            f"is put back by: ldapmodify -f {left}",
            err=True,
        )
    agree(endpoints, scenarios, yes=yes)


@dataclass(frozen=True)
class _Run:
    """One run of one scenario: its listeners and its transcript."""

    app: App
    endpoints: "Endpoints"
    output: str
    verbose: int
    presenting: Presenting
    run_id: str

    @property
    def transcript(self) -> Path:
        """Where its events are stored."""
        return self.app.settings.state / "runs" / self.run_id / "transcript.jsonl"

    def perform(self, scenario: "Scenario") -> int:
        """Run it; returns the exit code."""
        from labctl.report.jsonl import JsonlWriter
        from labctl.scenario.journal import Journal
        from labctl.scenario.runner import run
        from labctl.scenario.session import Session

        self.transcript.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            listeners: list[Emit] = [stack.enter_context(JsonlWriter(self.transcript))]
            stage = self._stage(stack)
            if stage is not None:
                listeners.append(stage.terminal)
            elif self.output == "jsonl":
                listeners.append(stack.enter_context(JsonlWriter(sys.stdout)))

            def listen(event: "Event") -> None:
                for each in listeners:
                    each(event)

            session = Session(
                self.endpoints,
                self.run_id,
                listen,
                self.app.settings.wait_seconds,
                None if self.endpoints.file else self._containers(),
                Journal(self.transcript.with_name(_JOURNAL)) if self.endpoints.file else None,
                stage.presenter if stage else None,
            )
            ended = run(scenario, session, stage.conductor) if stage else run(scenario, session)
            return ended.exit_code

    def _stage(self, stack: ExitStack) -> Stage | None:
        if self.output != "text":
            return None
        return stack.enter_context(self.presenting.stage(self.verbose))

    def _containers(self) -> "Containers":
        return self.app.lab.containers


@click.command()
@click.argument("run")
@format_option
@report_option
@verbose_option
@pass_app
def report(app: App, *, run: str, output: str, report: tuple[Path, ...], verbose: int) -> None:
    """Render the transcript of a run again: by its id, by its path, or `last`.

    A transcript that ends early, because its run was killed, is rendered as far as it goes.
    """
    from labctl.report.jsonl import is_cut_off

    path = _transcript(app, run)
    with reserved(report, REPORTS) as reports:
        runs = read_runs([path])
        if not runs:
            raise UsageError(f"{path} holds no run: it has no run-started event")
        if is_cut_off(path):
            click.echo(f"labctl: {path} ends in the middle of a line: it was cut off", err=True)
        if output == "text":
            _play_back(runs, verbose)
        else:
            print_report(output, runs)
        write_reports(reports, runs, verbose=verbose)


def _play_back(runs: "Iterable[Replay]", verbose: int) -> None:
    from labctl.report.terminal import Terminal

    with Terminal(sys.stdout, verbose=verbose) as emit:
        for each in runs:
            for event in each.events():
                emit(event)


def _transcript(app: App, run: str) -> Path:
    runs = app.settings.state / "runs"
    if run == "last":
        found = sorted(runs.glob("*/transcript.jsonl"))
        if found:
            return found[-1]
        raise UsageError("there is no run yet", "Run one: `labctl scenario offboarding`.")
    path = Path(run) if "/" in run else runs / run / "transcript.jsonl"
    if not path.is_file():
        raise UsageError(f"there is no transcript {path}", "`labctl report last` shows the newest.")
    return path
