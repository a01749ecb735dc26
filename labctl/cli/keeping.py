"""What is kept of a run beside its transcript: reports, by the ending of their file, and evidence.

Every file is seen to be writable before anything runs, and written at the end, however that is.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import click

from labctl.errors import HostProblem, UsageError

if TYPE_CHECKING:
    from labctl.cli.app import App
    from labctl.endpoints import Endpoints
    from labctl.evidence.statement import Bundle
    from labctl.report.replay import Replay
    from labctl.scenario.model import Scenario

F = TypeVar("F", bound=Callable[..., Any])

REPORTS: Final = (".txt", ".jsonl", ".xml", ".html")
BUNDLES: Final = (".tgz", ".tar.gz")


class _Paths(click.Option):
    """An option that may be given several times, and in `.env` as paths are: parted by colons."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        parts = self.type.split_envvar_value(value) if isinstance(value, str) else value
        return super().type_cast_value(ctx, parts)


def report_option(command: F) -> F:
    """Add `--report PATH`."""
    return click.option(
        "--report",
        cls=_Paths,
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Also write the run there, as the ending says: .txt, .jsonl, .xml (JUnit) or .html. "
        "May be given several times.",
    )(command)


def evidence_option(command: F) -> F:
    """Add `--evidence FILE.tgz`."""
    return click.option(
        "--evidence",
        type=click.Path(path_type=Path),
        metavar="FILE.tgz",
        help="Also keep the evidence there: transcripts, entries and configuration before and "
        "after, versions, clocks, checksums; no password.",
    )(command)


@dataclass(frozen=True, slots=True)
class Target:
    """A file that is written at the end, whole or not at all."""

    path: Path
    fresh: Path

    @classmethod
    def reserve(cls, path: Path, endings: Sequence[str]) -> "Target":
        """Return the file, seen to be writable; raises UsageError if it cannot be written, or has
        none of the endings.
        """
        if not path.name.endswith(tuple(endings)):
            raise UsageError(
                f"{path}: the ending says the form, and this one is not known",
                f"Use one of {', '.join(endings)}.",
            )
        target = cls(path, path.with_name(f".{path.name}.{os.getpid()}"))
        try:
            if path.is_dir():
                raise IsADirectoryError(21, "it is a directory")
            target.fresh.touch()
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}", "Choose another place for it."
            ) from error
        return target

    @contextmanager
    def filled(self) -> Iterator[BinaryIO]:
        """Yield what is to be filled, which then takes the file's place; raises HostProblem when
        that fails after all.
        """
        try:
            with self.fresh.open("wb") as file:
                yield file
            self.fresh.replace(self.path)
        except OSError as error:
            raise HostProblem(f"{self.path} cannot be written: {error.strerror}") from error
        click.echo(f"labctl: wrote {self.path}", err=True)


@contextmanager
def reserved(paths: Sequence[Path], endings: Sequence[str]) -> Iterator[list[Target]]:
    """Yield the files to be written, and leave nothing beside them."""
    targets: list[Target] = []
    try:
        for path in dict.fromkeys(paths):
            targets.append(Target.reserve(path, endings))  # noqa: PERF401 - each is seen to
        yield targets
    finally:
        for target in targets:
            target.fresh.unlink(missing_ok=True)


def read_runs(transcripts: Iterable[Path]) -> "list[Replay]":
    """Return the runs in transcripts, none if nothing has begun; raises UsageError if one is no
    transcript.
    """
    from labctl.report.jsonl import Stored
    from labctl.report.replay import runs

    try:
        return runs(Stored.at(path) for path in transcripts)
    except (OSError, ValueError) as error:
        raise UsageError(f"not a transcript: {error}") from error


def write_reports(targets: Sequence[Target], runs: "Sequence[Replay]", *, verbose: int) -> None:
    """Write a report in each file's own form."""
    from labctl.report.views import ENDINGS, write

    for target in targets:
        with target.filled() as file, TextIOWrapper(file, "utf-8", newline="\n") as stream:
            write(ENDINGS[target.path.suffix], runs, stream, verbose=verbose)


def print_report(form: str, runs: "Sequence[Replay]") -> None:
    """Write a report to stdout."""
    from labctl.report.views import write

    write(form, runs, sys.stdout)
    sys.stdout.flush()


@contextmanager
def kept_reports(
    targets: Sequence[Target], transcripts: Sequence[Path], *, output: str, verbose: int
) -> Iterator[None]:
    """Report at the end on whatever was begun: in files, and on stdout if it is of one piece."""
    whole = output in {"junit", "html"}
    if not targets and not whole:
        yield
        return
    from labctl.scenario.interrupts import interrupts_held

    try:
        yield
    finally:
        with interrupts_held():
            runs = read_runs(path for path in transcripts if path.is_file())
            if runs:
                write_reports(targets, runs, verbose=verbose)
                if whole:
                    print_report(output, runs)


@contextmanager
def kept_evidence(
    app: "App",
    endpoints: "Endpoints",
    targets: Sequence[Target],
    scenarios: "Sequence[Scenario]",
    transcripts: Sequence[Path],
) -> Iterator[None]:
    """Keep the evidence of whatever was begun, if it is wanted: of before, of it, and of after."""
    if not targets:
        yield
        return
    from labctl.evidence.masking import Mask
    from labctl.evidence.snapshot import snapshot
    from labctl.evidence.statement import Replayed, bundle
    from labctl.scenario.interrupts import interrupts_held

    lab = None if endpoints.file else app.lab
    texts = [(each.path, each.path.read_text("utf-8")) for each in scenarios]
    before = snapshot(endpoints, lab)
    try:
        yield
    finally:
        with interrupts_held():
            begun = zip(texts, transcripts, strict=False)  # an interrupt may have come in between
            replayed = [Replayed(*text, path) for text, path in begun if path.is_file()]
            after = snapshot(endpoints, lab)
            _write_bundle(targets, partial(bundle, replayed, before, after, Mask.of(endpoints)))


def _write_bundle(targets: Sequence[Target], made: "Callable[[Path], Bundle | None]") -> None:
    from tempfile import TemporaryDirectory

    from labctl.evidence.bundle import digest

    with TemporaryDirectory(prefix="labctl-") as directory:
        try:
            kept = made(Path(directory))
        except OSError as error:
            what = f"the evidence cannot be put together in {directory}: {error.strerror}"
            raise HostProblem(what, "Is there room? TMPDIR names another place.") from error
        if kept is None:
            return  # nothing ran
        for target in targets:
            with target.filled() as file:
                file.writelines(kept.packed())
            click.echo(f"labctl: its SHA-256 is {digest(target.path)}", err=True)
