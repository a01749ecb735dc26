"""Runs told again: summed up once, then read from their transcript as often as a view wants.

So a view has the sums before the details, and holds no more than a step, or a case, at a time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from labctl.events import Event, RunEnded, RunStarted
from labctl.report.run import Case, Gathering, Run, Step


class Transcript(Protocol):
    """Events in their order, which can be read again and again, from any place on."""

    def since(self, place: int = 0) -> Iterator[tuple[int, Event]]:
        """Yield the events from a place on, each with its own place."""


@dataclass(frozen=True, slots=True)
class Replay(Run):
    """A run that can be read again, from the place in its transcript where it begins."""

    transcript: Transcript
    place: int

    def events(self) -> Iterator[Event]:
        """Yield all events from its beginning to that of the next run."""
        told = self.transcript.since(self.place)
        yield next(told)[1]
        for _, event in told:
            if isinstance(event, RunStarted):
                return
            yield event

    def steps(self) -> Iterator[Step]:
        """Yield its steps, one after the other."""
        return (each for each in self._parts() if isinstance(each, Step))

    def cases(self) -> Iterator[Case]:
        """Yield its cases, one after the other."""
        return (each for each in self._parts() if isinstance(each, Case))

    def _parts(self) -> Iterator[Step | Case]:
        gathering = Gathering(self.started)
        for event in self.events():
            if isinstance(event, RunEnded):
                break
            if part := gathering.add(event):
                yield part
        if part := gathering.close():
            yield part


def runs(transcripts: Iterable[Transcript]) -> list[Replay]:
    """Return the runs in transcripts, finished or not, in their order."""
    return [run for transcript in transcripts for run in _runs(transcript)]


def _runs(transcript: Transcript) -> Iterator[Replay]:
    began, gathering = 0, None
    for place, event in transcript.since():
        if gathering and isinstance(event, RunStarted | RunEnded):
            ended = event if isinstance(event, RunEnded) else None
            yield _replay(gathering.run(ended), transcript, began)
            gathering = None
        if isinstance(event, RunStarted):
            began, gathering = place, Gathering(event)
        elif gathering:
            gathering.add(event)
    if gathering:
        yield _replay(gathering.run(), transcript, began)


def _replay(run: Run, transcript: Transcript, began: int) -> Replay:
    return Replay(run.started, run.ended, run.sums, transcript, began)
