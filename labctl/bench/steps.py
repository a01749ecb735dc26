"""Runs one scenario many times in this process, and prints the most memory that it had, in MB:
after the first run, and after the last.

Usage: python -m labctl.bench.steps STACK.json SCENARIO.yaml RUNS TRANSCRIPT.jsonl
"""

import json
import re
import sys
from pathlib import Path

from labctl.endpoints import Endpoints
from labctl.errors import Exit
from labctl.report.jsonl import JsonlWriter
from labctl.scenario.loader import load_all
from labctl.scenario.runner import run
from labctl.scenario.session import Session, new_run_id


def most_memory(process: int | str = "self") -> float:
    """Return the most memory that a process has had so far, in MB (proc(5), VmHWM); 0 for one that
    has ended.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def main() -> int:
    """Run them; the transcript holds all of them, one after the other."""
    stack, scenario, runs, transcript = sys.argv[1:]
    endpoints = Endpoints.from_dict(json.loads(Path(stack).read_text(encoding="utf-8")))
    loaded = load_all([Path(scenario)])
    memory: list[float] = []
    with JsonlWriter(Path(transcript)) as emit:
        for _ in range(int(runs)):
            ended = run(loaded[0], Session(endpoints, new_run_id(), emit, 10.0, None))
            if ended.exit_code != Exit.OK:
                sys.stderr.write(f"{ended.reason}\n")
                return ended.exit_code
            memory.append(most_memory())
    sys.stdout.write(json.dumps([memory[0], memory[-1]]) + "\n")
    return int(Exit.OK)


if __name__ == "__main__":
    sys.exit(main())
