"""The slot of a test suite's lab: nobody else's, as long as the suite has it.

Who has a slot holds a lock on a file, which ends with the process however that ends. The state of
the lab lies beside it; where a process was killed, whoever has the slot next finds it there.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.errors import HostProblem, SlotTaken


@contextmanager
def claimed(slot: int) -> Iterator[Path]:
    """Have a slot, and a directory for the state of the lab in it, which is removed at the end.

    Raises SlotTaken when another test suite of this user has the slot.
    """
    place = _place()
    with (place / f"slot-{slot}.lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SlotTaken(
                f"slot {slot} is used by another test suite",
                "Wait until that ends, or choose another slot.",
            ) from None
        state = place / f"slot-{slot}"
        state.mkdir(mode=0o700, exist_ok=True)
        try:
            yield state
        finally:
            if not any(state.glob("labs/*")):  # else what may still run is found there later
                shutil.rmtree(state)


def _place() -> Path:
    """Return the directory that the test suites of this user share, readable by him alone."""
    place = Path(tempfile.gettempdir()) / f"mail-policy-lab-testing-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or place.is_symlink():
        raise HostProblem(
            f"{place} belongs to somebody else, or others may read it",
            "Remove it, or set TMPDIR to a directory of your own.",
        )
    return place
