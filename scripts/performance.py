"""Takes every measurement in its short form, and writes docs/performance.md with what was found.

Usage: .venv/bin/python scripts/performance.py [--full] [--keep] [MEASUREMENT]...

With names, only those are taken anew; with --keep none is. What is shown is what benchmarks/results
holds, which each that is taken replaces, the short form a full one, too; the plots beside it are
drawn from it. Exits with 1 if one that was taken misses a limit or could not be taken, or if all
in their short form took longer together than ten minutes; how long they took is kept there, too.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from labctl.bench.measurements import TABLE
from labctl.bench.plot import draw
from labctl.bench.result import Result, read
from labctl.bench.table import HEADER, markdown, rows
from labctl.errors import Exit

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
PLOTS = ROOT / "docs" / "performance"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
TOGETHER = RESULTS / "together.json"  # how long all took in their short form
WITHIN = 600  # seconds, that they may take
VERSIONS = ("python", "docker", "compose", "slapd", "postfix", "dovecot")  # shown, of a result's
MANY = 12  # figures, beyond which a section shows those with a limit, and folds all


def take(name: str, *, full: bool) -> bool:
    """Take a measurement, and keep its result; one that cannot be taken leaves the last one.

    Says whether it could be taken; an interrupt ends all.
    """
    labctl = str(Path(sys.executable).parent / "labctl")
    form = [] if full else ["--short"]
    command = [labctl, "-n", "bench", "bench", name, "-o", "json", "--no-plot", *form]
    sys.stderr.write(f"measuring {name}\n")
    # Ctrl-C at a terminal is labctl's as well, which then puts its lab away: it is waited for.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    if done.returncode == Exit.INTERRUPTED:
        sys.exit(done.returncode)
    if done.returncode not in {0, 1} or not done.stdout:
        sys.stderr.write(f"not taken: {name}\n")
        return False
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_bytes(done.stdout)
    return True


def kept() -> Iterator[Result]:
    """Yield what is kept, in the order of the table."""
    for measurement in TABLE:
        path = RESULTS / f"{measurement.name}.json"
        if path.is_file():
            yield read(path)


def section(result: Result) -> str:
    """Return what the page says of one measurement."""
    about = next(each.about for each in TABLE if each.name == result.bench)
    size = ", ".join(f"{name} {value:,}" for name, value in result.size.items())
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(result.began))
    lines = [f"### {result.bench}", "", *(line.strip() for line in about.splitlines()), ""]
    machine, versions = result.machine, result.versions
    told = ", ".join(f"{name} {versions[name]}" for name in VERSIONS if name in versions)
    if commit := versions.get("labctl's commit"):
        told += f", commit {abbreviated(commit)}"
    lines += [
        f"`labctl bench {result.bench}`: {size}; {when}, {result.seconds:.0f} s. "
        f"{machine['system']}, {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory']}, load before it {machine['load before']}; {told}.",
        "",
    ]
    lines += [*figures(result), ""]
    for chart in result.charts:
        lines += [f"![{chart.title}](performance/{chart.name}.svg)", ""]
    return "\n".join(lines)


def abbreviated(commit: str) -> str:
    """Return a commit as people write it; that files were other ones than its own is told."""
    return commit[:7] + ("-dirty" if commit.endswith("-dirty") else "")


def figures(result: Result) -> list[str]:
    """Return the tables of a measurement."""
    everything = markdown(HEADER, rows(result.figures))
    if len(result.figures) <= MANY:
        return [everything]
    judged = [each for each in result.figures if each.holds is not None]
    return [
        *([markdown(HEADER, rows(judged)), ""] if judged else []),
        f"<details><summary>All {len(result.figures)} figures</summary>",
        "",
        everything,
        "",
        "</details>",
    ]


def summary(results: list[Result]) -> str:
    """Return which limits hold and which are missed."""
    judged = [each for result in results for each in result.figures if each.holds is not None]
    missed = [each for each in judged if not each.holds]
    told = [f"{len(judged) - len(missed)} of {len(judged)} limits hold."]
    if missed:
        told += ["These are missed:", "", markdown(HEADER, rows(missed))]
    if TOGETHER.is_file():
        all_of_them = json.loads(TOGETHER.read_text(encoding="utf-8"))
        told += ["", f"{all_of_them['began']}: {in_all(all_of_them['seconds'])}."]
    return "\n".join([*told, ""])


def in_all(seconds: float) -> str:
    """Return how long all took together, and whether that holds."""
    verdict = "holds" if seconds <= WITHIN else "MISSED"
    return f"all in their short form took {seconds:.0f} s (≤ {WITHIN} s: {verdict})"


def written(page: str, results: list[Result]) -> str:
    """Return the page with what was measured in its place."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    measured = "\n".join([summary(results), *(section(each) for each in results)])
    return f"{head}{BEGIN}\n{measured}\n{END}{tail}"


def main() -> None:
    """Measure what is asked for, and write the page."""
    options = {each for each in sys.argv[1:] if each.startswith("--")}
    names = [each for each in sys.argv[1:] if not each.startswith("--")]
    known = [each.name for each in TABLE]
    if wrong := [*(set(names) - set(known)), *(options - {"--full", "--keep"})]:
        sys.exit(f"{', '.join(wrong)}: use --full, --keep or some of {', '.join(known)}")
    taken = [] if "--keep" in options else names or known
    began, begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), time.monotonic()
    failed = [name for name in taken if not take(name, full="--full" in options)]
    seconds = time.monotonic() - begun
    everything = set(taken) == set(known) and "--full" not in options
    if everything and not failed:
        TOGETHER.write_text(json.dumps({"began": began, "seconds": round(seconds, 1)}) + "\n")
    results = list(kept())
    if not results:
        sys.exit(f"nothing is kept in {RESULTS}")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    for chart in (chart for result in results for chart in result.charts):
        draw(chart, PLOTS / chart.name)
    sys.stderr.write(f"wrote {PAGE}\n")
    news = [each for each in results if each.bench in taken and each.bench not in failed]
    missed = [figure for each in news for figure in each.missed]
    for figure in missed:
        sys.stderr.write(f"missed: {figure.name}\n")
    too_long = everything and seconds > WITHIN
    if everything:
        sys.stderr.write(f"{'missed: ' if too_long else ''}{in_all(seconds)}\n")
    sys.exit(bool(missed or failed or too_long))


if __name__ == "__main__":
    main()
