"""The transcript as JSON lines: one event a line, pure ASCII, whole at every moment.

Each line is flushed as it is written, so an interrupted run leaves everything up to its last event.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

from labctl.events import Event, from_dict, to_dict


class JsonlWriter:
    """Writes events to a file, which it opens and closes, or to a text stream, which it does not.

    Call it with an event: it is an `Emit`.
    """

    def __init__(self, target: Path | TextIO) -> None:
        self._owned = isinstance(target, Path)
        self._stream = (
            target.open("w", encoding="ascii", newline="\n") if isinstance(target, Path) else target
        )

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(line(event))
        self._stream.flush()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def line(event: Event) -> str:
    """Return an event as the line that stands for it, with its line feed."""
    return json.dumps(to_dict(event)) + "\n"


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored transcript as it is now, of so many bytes: what is added later is not in it.

    An event's place is that of its first byte.
    """

    path: Path
    size: int

    @classmethod
    def at(cls, path: Path) -> "Stored":
        """Return the transcript there. Raises OSError if there is none."""
        return cls(path, path.stat().st_size)

    def since(self, place: int = 0) -> Iterator[tuple[int, Event]]:
        """Yield the events from a place on, each with its own, as `parse` reads them."""
        with self.path.open("rb") as file:
            file.seek(place)
            yield from _placed(self._lines(file, place), str(self.path), place)

    def _lines(self, file: Iterable[bytes], place: int) -> Iterator[bytes]:
        for each in file:
            yield each[: self.size - place]
            place += len(each)
            if place >= self.size:
                return


def read(path: Path) -> Iterator[Event]:
    """Yield the events of a stored transcript, one by one, as `parse` does."""
    with path.open("rb") as file:
        yield from parse(file, str(path))


def parse(lines: Iterable[bytes], name: str) -> Iterator[Event]:
    """Yield the events that lines hold, one by one.

    A last line without its line feed that is no JSON is what a crash left of a write: reading stops
    before it. Any other broken line raises ValueError: `name:line: what`.
    """
    return (event for _, event in _placed(lines, name, 0))


def is_cut_off(path: Path) -> bool:
    """Say whether a transcript ends in the middle of a line, as a crash leaves it."""
    last = b""
    with path.open("rb") as file:
        for last in file:  # noqa: B007  the last one is wanted
            pass
    whole = not last or last.endswith(b"\n")
    return not whole and not list(parse([last], str(path)))


def _placed(lines: Iterable[bytes], name: str, place: int) -> Iterator[tuple[int, Event]]:
    for number, text in enumerate(lines, 1):
        try:
            data = json.loads(text)
        except ValueError as error:
            if not text.endswith(b"\n"):
                return
            raise ValueError(f"{name}:{number}: not JSON: {error}") from error
        yield place, _event(data, f"{name}:{number}")
        place += len(text)


def _event(data: object, where: str) -> Event:
    if not isinstance(data, dict):
        raise ValueError(f"{where}: not an event: {type(data).__name__}, not an object")  # noqa: TRY004  one kind of error per file
    try:
        return from_dict(data)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
