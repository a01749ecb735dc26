"""What a bundle states: how the runs ended, what differs after them, what was left out."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labctl.endpoints import SCHEMA
from labctl.evidence.bundle import README, Content, pack
from labctl.evidence.masking import Mask, without_passwords
from labctl.evidence.readme import readme
from labctl.evidence.snapshot import Omission, Snapshot, differences
from labctl.report.jsonl import Stored
from labctl.report.replay import runs
from labctl.report.run import Run
from labctl.report.views import write

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_REPORT = "report.html"
_LONGEST = 40  # of a scenario's name in the archive, whose format knows 100 characters


@dataclass(frozen=True, slots=True)
class Replayed:
    """A scenario as it stood in its file when it was read, and the transcript of its run."""

    scenario: Path
    text: str
    transcript: Path


@dataclass(frozen=True, slots=True)
class Statement:
    """All that is told; `masked` says in which files passwords stood, and how often."""

    runs: Sequence[Run]
    differs: Sequence[str]
    left_out: Sequence[Omission]
    masked: Mapping[str, int]

    @property
    def name(self) -> str:
        """The bundle's name: that of its first run."""
        return _UNSAFE.sub("-", self.runs[0].started.run)

    @property
    def at(self) -> int:
        """When the first run began, in whole seconds since the epoch."""
        return int(self.runs[0].started.at)

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "schema": SCHEMA,
            "runs": [_run(run) for run in self.runs],
            "differs": list(self.differs),
            "left_out": [asdict(each) for each in self.left_out],
            "masked": dict(self.masked),
        }


def _run(run: Run) -> dict[str, Any]:
    started = run.started
    return {
        "run": started.run,
        "scenario": started.scenario,
        "title": started.title,
        "lab": started.lab,
        "policy": started.policy,
        "began": run.began.isoformat(timespec="milliseconds"),
        "verdict": run.outcome,
        "reason": run.reason,
        "outcomes": run.outcomes,
        "expected_open": run.open,
        "checks": run.checks,
        "seconds": round(run.seconds, 3),
        "exit_code": run.ended.exit_code if run.ended else None,
    }


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is to be kept: large files lie in a directory until they are packed."""

    name: str
    at: int
    members: Mapping[str, Content]

    def packed(self) -> Iterator[bytes]:
        """Yield the archive, piece by piece."""
        return pack(self.name, self.members, self.at)


def bundle(
    replayed: Iterable[Replayed], before: Snapshot, after: Snapshot, mask: Mask, directory: Path
) -> Bundle | None:
    """Return the bundle, or None if nothing ran; no password that the mask knows is in it.

    Transcripts and their report, which may be long, are put into a directory, and no more than a
    step of them is held.
    """
    texts, transcripts = _named(replayed, before, after)
    files, masked = _masked(texts, mask)
    stored: dict[str, Path] = {}
    for number, (name, path) in enumerate(transcripts.items()):
        stored[name] = directory / str(number)
        if times := _masked_transcript(path, stored[name], mask):
            masked[name] = times
    found = runs(Stored.at(path) for path in stored.values())
    if not found:
        return None
    report = directory / _REPORT
    with report.open("w", encoding="utf-8", newline="\n") as stream:
        write("html", found, stream)
    left_out = _left_out(before, after, mask)
    masked = dict(sorted(masked.items()))
    statement = Statement(found, differences(before, after), left_out, masked)
    files["verdicts.json"] = json.dumps(statement.to_dict(), indent=2) + "\n"
    files[README] = readme(statement, sorted([*files, *stored, _REPORT, README]))
    members = {name: text.encode("utf-8", "backslashreplace") for name, text in files.items()}
    return Bundle(statement.name, statement.at, {**members, **stored, _REPORT: report})


def _masked(texts: Mapping[str, str], mask: Mask) -> tuple[dict[str, str], dict[str, int]]:
    """Return texts without passwords, and in which of them there were any, and how many."""
    done = {name: mask.apply(text) for name, text in texts.items()}
    times = {name: number for name, (_, number) in done.items() if number}
    return {name: text for name, (text, _) in done.items()}, times


def _masked_transcript(path: Path, copy: Path, mask: Mask) -> int:
    """Copy a transcript without passwords, and return how many there were."""
    times = 0
    with (
        path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as lines,
        copy.open("w", encoding="utf-8", newline="\n") as masked,
    ):
        for line in lines:
            text, number = mask.apply_to_transcript(line)
            masked.write(text)
            times += number
    return times


def _named(
    replayed: Iterable[Replayed], before: Snapshot, after: Snapshot
) -> tuple[dict[str, str], dict[str, Path]]:
    """Return what goes into the bundle by the names that it has there: texts, and transcripts."""
    texts: dict[str, str] = {}
    transcripts: dict[str, Path] = {}
    for number, each in enumerate(replayed, 1):
        stem = f"{number:03}-{_UNSAFE.sub('-', each.scenario.stem)[:_LONGEST]}"
        texts[f"scenarios/{stem}.yaml"] = each.text
        transcripts[f"transcripts/{stem}.jsonl"] = each.transcript
    for when, taken in (("before", before), ("after", after)):
        texts |= {f"{when}/{name}": text for name, text in taken.files.items()}
    return texts, transcripts


def _left_out(before: Snapshot, after: Snapshot, mask: Mask) -> list[Omission]:
    """Return what is missing, told once if it is missing before and after for the same reason."""
    told: dict[Omission, list[str]] = {}
    for when, taken in (("before", before), ("after", after)):
        for each in taken.left_out:
            told.setdefault(each, []).append(when)
    return [
        Omission(f"{' and '.join(when)}: {each.what}", mask.apply(without_passwords(each.why))[0])
        for each, when in told.items()
    ]
