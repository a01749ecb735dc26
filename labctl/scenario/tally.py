"""What steps or cases came to: counted one by one, folded once, at the end."""

from collections import Counter
from dataclasses import dataclass, field

from labctl.errors import Exit
from labctl.events import RunEnded, Verdict

Result = tuple[Verdict, str, int]
"""A verdict, the reason for it, an exit code."""


@dataclass(slots=True)
class Tally:
    """Verdicts in numbers, and the first reason and exit code that were not good."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    reason: str = ""
    exit_code: int = Exit.OK
    skipped: str = ""  # why steps were left out by hand: what they hold was not seen
    quit: bool = False  # the presenter has ended the run
    left: bool = False  # something that was changed could not be put back

    def count(self, verdict: Verdict, reason: str, exit_code: int) -> None:
        """Count one more."""
        self.verdicts[verdict] += 1
        if self.exit_code == Exit.OK and exit_code != Exit.OK:
            self.exit_code, self.reason = exit_code, reason

    def fold(self, checks: int, seconds: float) -> RunEnded:
        """Return how all of it ended; where nothing was checked, or less than could
        have been, it is no success.
        """
        seen = self.verdicts
        if seen[Verdict.ERROR] or self.exit_code == Exit.INTERRUPTED:
            verdict = Verdict.ERROR
        elif seen[Verdict.FAILED]:
            verdict = Verdict.FAILED
        elif checks == 0 or self.skipped:
            verdict = Verdict.SKIPPED
            reason = f"not all was checked: {self.skipped}" if checks else "nothing was checked"
            self.count(Verdict.SKIPPED, reason, Exit.EXPECTATION)
            seen[Verdict.SKIPPED] -= 1
        else:
            verdict = Verdict.PASSED
        return RunEnded(
            verdict,
            self.reason,
            seen[Verdict.PASSED],
            seen[Verdict.FAILED],
            seen[Verdict.ERROR],
            seen[Verdict.SKIPPED],
            checks,
            seconds,
            self.exit_code,
        )
