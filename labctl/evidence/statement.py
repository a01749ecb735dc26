"""What a bundle states: how the runs ended, what differs after them, what was left out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labctl.endpoints import SCHEMA
from labctl.evidence.bundle import README, pack
from labctl.evidence.masking import Mask, without_passwords
from labctl.evidence.readme import readme
from labctl.evidence.snapshot import Omission, Snapshot, differences
from labctl.report.html import to_html
from labctl.report.jsonl import Stored
from labctl.report.replay import Replay, runs
from labctl.report.run import Run

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_TRANSCRIPTS = "transcripts/"
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


def bundle(
    replayed: Iterable[Replayed], before: Snapshot, after: Snapshot, mask: Mask
) -> bytes | None:
    """Return the bundle, or None if nothing ran; no password that the mask knows is in it."""
    files, masked = _masked(_files(replayed, before, after), mask)
    with TemporaryDirectory() as directory:
        found = _runs(files, Path(directory))
        if not found:
            return None
        files["report.html"] = "".join(to_html(found))
    left_out = _left_out(before, after, mask)
    statement = Statement(found, differences(before, after), left_out, masked)
    files["verdicts.json"] = json.dumps(statement.to_dict(), indent=2) + "\n"
    files[README] = readme(statement, sorted([*files, README]))
    members = {name: text.encode("utf-8", "backslashreplace") for name, text in files.items()}
    return pack(statement.name, members, statement.at)


def _masked(files: Mapping[str, str], mask: Mask) -> tuple[dict[str, str], dict[str, int]]:
    """Return the files without passwords, and in which of them there were any, and how many."""
    done = {
        name: (mask.apply_to_transcript if name.startswith(_TRANSCRIPTS) else mask.apply)(text)
        for name, text in files.items()
    }
    times = {name: number for name, (_, number) in sorted(done.items()) if number}
    return {name: text for name, (text, _) in done.items()}, times


def _files(replayed: Iterable[Replayed], before: Snapshot, after: Snapshot) -> dict[str, str]:
    files: dict[str, str] = {}
    for number, each in enumerate(replayed, 1):
        stem = f"{number:03}-{_UNSAFE.sub('-', each.scenario.stem)[:_LONGEST]}"
        files[f"scenarios/{stem}.yaml"] = each.text
        files[f"{_TRANSCRIPTS}{stem}.jsonl"] = each.transcript.read_text(
            "utf-8", "backslashreplace"
        )
    files |= {f"before/{name}": text for name, text in before.files.items()}
    return files | {f"after/{name}": text for name, text in after.files.items()}


def _runs(files: Mapping[str, str], directory: Path) -> list[Replay]:
    """Return the runs of the transcripts as they are in the bundle, read from a directory."""
    (directory / _TRANSCRIPTS).mkdir()
    found = []
    for name in sorted(each for each in files if each.startswith(_TRANSCRIPTS)):
        path = directory / name
        path.write_text(files[name], "utf-8", "backslashreplace", newline="\n")
        found.append(Stored.at(path))
    return runs(found)


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
