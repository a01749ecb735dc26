"""What a measurement is, and what it is handed when it is taken."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from labctl.bench.figure import Chart, Figure
from labctl.errors import UsageError
from labctl.lab.lab import Lab
from labctl.lab.own import own_lab
from labctl.settings import MAX_SLOT, Settings


class Progress(Protocol):
    """Whom to tell how it goes."""

    def step(self, text: str) -> None:
        """Tell that a step begins, or was seen to be done."""

    def detail(self, text: str) -> None:
        """Tell the last line of what the step prints."""

    def tell(self, text: str) -> None:
        """Tell what is worth a line, or several, of its own."""

    def count(self, done: int, total: int) -> None:
        """Tell how far the step has come."""


@dataclass(frozen=True, slots=True)
class Option:
    """A whole number that sizes a measurement: usually, in its short form, and at least."""

    name: str
    about: str
    full: int
    short: int
    least: int = 1


@dataclass(frozen=True, slots=True)
class Bench:
    """What a measurement is handed: where its labs may be, how large it is to be, whom to tell.
    `note` looks at each lab that it is done with, before that is removed.
    """

    settings: Settings
    name: str
    size: Mapping[str, int]
    progress: Progress
    note: Callable[[Lab], None]

    @property
    def root(self) -> Path:
        """The checkout."""
        return self.settings.root

    @contextmanager
    def lab(
        self,
        *,
        policy: str = "hardened",
        milter: str = "on",
        directory: str = "single",
        number: int = 0,
        extra: Path | None = None,
    ) -> Iterator[Lab]:
        """Yield a lab that is the measurement's own, up, and gone at the end whatever happens.

        `number` tells several apart, from 0; LAB_SLOT is the slot of the first. `extra` is a
        Compose file beside ours.
        """
        slot = self.settings.slot
        if slot is not None and slot + number > MAX_SLOT:
            raise UsageError(
                f"there is no slot {slot + number} for lab {number + 1}",
                f"The last is {MAX_SLOT}: set LAB_SLOT to a lower one, or to none.",
            )
        settings = replace(
            self.settings,
            policy=policy,
            milter=milter,
            directory=directory,
            slot=None if slot is None else slot + number,
            compose_extra=extra or self.settings.compose_extra,
        )
        name = f"{self.name}-{number}" if number else self.name
        with own_lab(settings, name, self.progress) as lab:
            yield lab
            self.note(lab)


Yielded = Generator[Figure | Chart, None, None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One of `labctl bench`; `about` is its help, the first line of it what the list shows."""

    name: str
    about: str
    options: tuple[Option, ...]
    measure: Callable[[Bench], Yielded]
