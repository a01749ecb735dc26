"""Whether memory stays where it is: in long runs, and when long transcripts are rendered."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from labctl.bench.command import ran
from labctl.bench.figure import Chart, Figure
from labctl.bench.measurement import Bench, Measurement, Option, Yielded
from labctl.bench.steps import most_memory
from labctl.endpoints import Attributes
from labctl.errors import HostProblem
from labctl.lab.lab import Lab
from labctl.lab.state import write_private
from labctl.protocols.poll import poll

_RUN = 1_000  # steps of one run
_WALKS = 5  # of them, among changes of the policy, which are quick
_OF_FIRST = 1.2  # times the memory after the first run
_OF_TRANSCRIPT = 0.1  # times its size, to render it
_FORMS = ("junit", "html")
_RENDERED = 3600.0  # seconds, to render a very long transcript

_TOGGLE = """\
  - disable: {account: alice}
  - enable: {account: alice}
"""
# SMTP, IMAP and the directory, what is accepted and what is refused.
_WALK = """\
  - send: {{from: alice, to: bob, as: sent-{number}}}
  - receive: {{account: bob, message: sent-{number}}}
  - offboard: {{account: alice}}
  - send: {{from: alice, to: bob, expect: {{stage: RCPT, reply: 554 5.7.1, text: policy}}}}
  - authenticate: {{account: alice, with: [submission, imap]}}
  - directory: {{as: postfix, entry: alice, sees: [{names.send_allowed}]}}
  - enable: {{account: alice}}
  - send: {{from: bob, envelope_from: alice, to: bob, expect: {{stage: RCPT, reply: 553 5.7.1}}}}
"""


def _measure(bench: Bench) -> Yielded:
    runs = bench.size["steps"] // _RUN
    with bench.lab() as lab, tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        bench.progress.step(f"{runs * _RUN:,} steps in one process")
        first, last = _many_steps(lab, place, runs)
        yield Figure.one(
            f"memory after {runs * _RUN:,} steps",
            last,
            "MB",
            n=runs * _RUN,
            floor=first,
            floor_is=f"after {_RUN:,} steps",
            limit=_OF_FIRST,
        )
        one = _first_run((place / "transcript.jsonl").read_text(encoding="ascii"))
        small, large = place / "small.jsonl", place / "large.jsonl"
        small.write_text(one, encoding="ascii")
        megabytes = _repeat(one, large, bench.size["megabytes"])
        taken: dict[str, float] = {}
        for form in _FORMS:
            bench.progress.step(f"a transcript of {megabytes:,.0f} MB as {form}")
            taken[form] = _rendered(lab, large, form) - _rendered(lab, small, form)
            yield Figure.one(
                f"memory to render it as {form}",
                taken[form],
                "MB",
                floor=megabytes,
                floor_is="the transcript",
                limit=_OF_TRANSCRIPT,
            )
    yield Chart(
        "memory",
        f"Memory to render a transcript of {megabytes:,.0f} MB",
        "MB",
        ("the transcript", *taken),
        {"memory": (megabytes, *taken.values())},
    )


def scenario(names: Attributes) -> str:
    """Return the scenario of a run: walks through all of it, and changes of the policy between."""
    toggles = (_RUN // _WALKS - _WALK.count("\n")) // _TOGGLE.count("\n")
    steps = "".join(
        _WALK.format(number=number, names=names) + _TOGGLE * toggles for number in range(_WALKS)
    )
    return f"title: Long\naccounts: [alice, bob]\nsteps:\n{steps}"


def _many_steps(lab: Lab, place: Path, runs: int) -> tuple[float, float]:
    """Return the memory after the first run and after the last, in MB."""
    stack, long = place / "stack.json", place / "long.yaml"
    write_private(stack, json.dumps(lab.endpoints().to_dict(secrets=True)))
    long.write_text(scenario(lab.settings.attributes), encoding="utf-8")
    program = [sys.executable, "-m", "labctl.bench.steps", str(stack), str(long)]
    said = ran([*program, str(runs), str(place / "transcript.jsonl")]).output
    first, last = json.loads(said)
    return first, last


def _first_run(transcript: str) -> str:
    lines = transcript.splitlines(keepends=True)
    end = next(place for place, line in enumerate(lines) if '"event": "run-ended"' in line)
    return "".join(lines[: end + 1])


def _repeat(text: str, path: Path, megabytes: int) -> float:
    """Write a text again and again, and return how large that is, in MB."""
    times = max(int(megabytes * 1e6 / len(text)), 1)
    with path.open("w", encoding="ascii") as file:
        for _ in range(times):
            file.write(text)
    return times * len(text) / 1e6


def _rendered(lab: Lab, transcript: Path, form: str) -> float:
    """Return the most memory that it took to render a transcript, in MB.

    It is read while the program runs: what the kernel tells at the end counts this process, too.
    """
    command = [sys.executable, "-m", "labctl", "-n", lab.name, "report", str(transcript)]
    peak = 0.0
    with (
        transcript.with_suffix(f".{form}").open("wb") as file,
        subprocess.Popen([*command, "-o", form], stdout=file) as process,
    ):

        def ended() -> int | None:
            nonlocal peak
            peak = max(peak, most_memory(process.pid))
            return process.poll()

        try:
            code = poll(ended, what=f"the {form} of {transcript}", seconds=_RENDERED)
        except BaseException:
            process.kill()
            raise
    if code != 0:
        raise HostProblem(f"{' '.join(command[1:6])} ended with {code}")
    return peak


MEMORY = Measurement(
    "memory",
    """Run very many steps in one process, and render very long transcripts.

    Memory after all steps against that after the first thousand: sending, receiving, signing in,
    asking the directory, what is refused among it, and many changes of the policy. And what it
    takes to render a transcript as JUnit and HTML against its size: far below 1, it is not held
    whole.""",
    (
        Option("steps", "How many steps are run.", 100_000, 3_000, 2 * _RUN),
        Option("megabytes", "How large the transcript is.", 1_000, 50),
    ),
    _measure,
)
