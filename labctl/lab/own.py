"""A lab that somebody's work needs for itself: nobody's before, and gone after."""

from collections.abc import Iterator
from contextlib import contextmanager

from labctl.errors import UsageError
from labctl.lab.images import Progress
from labctl.lab.lab import Lab
from labctl.settings import Settings


@contextmanager
def own_lab(settings: Settings, name: str, progress: Progress) -> Iterator[Lab]:
    """Yield a lab that comes up now, and remove it, whatever happened to it.

    Raises UsageError if there is a lab of that name.
    """
    lab = Lab(settings, name)
    if lab.files.record() is not None:
        raise UsageError(
            f"the lab {lab.name!r} exists, and would be changed and removed",
            f"Name one that does not exist, or remove it: `{lab.files.command} down --volumes`.",
        )
    try:
        lab.up(progress)
        yield lab
    finally:
        if lab.files.record() is not None:
            progress.step(f"removing the lab {lab.name!r}")
            lab.down(volumes=True)
