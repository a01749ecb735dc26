"""The presenter's side of a run: what comes next, the keys, and what they do.

Before each step stands what it will do, what it is expected to do, and why; then a key decides. On
a `pace` (seconds) it goes on by itself, and the keys work all the same.
"""

from dataclasses import dataclass
from typing import Final

from labctl.report.ink import Row
from labctl.report.terminal import Terminal
from labctl.report.wording import MARKS, lines, visible
from labctl.scenario.conductor import Move, Standing
from labctl.scenario.plan import cause, planned
from labctl.stage.keys import END, ENTER, Keyboard

_KEYS: Final = {
    ENTER: Move.NEXT,
    "r": Move.REPEAT,
    "b": Move.BACK,
    "s": Move.SKIP,
    "q": Move.QUIT,
    END: Move.QUIT,
}
_LDIF_SHOWN: Final = 9  # lines; a screen has 24


@dataclass
class Director:
    """Shows what is next and asks for a key; a Conductor, and whom a `pause` step waits for."""

    terminal: Terminal
    keyboard: Keyboard
    pace: float | None = None

    def choose(self, standing: Standing) -> Move:
        """Show what is next, and return what the presenter wants."""
        self._preview(standing)
        while True:
            self.keyboard.forget()
            self.terminal.ink.prompt(self._keys(standing))
            key = self.keyboard.key(self.pace)
            move = Move.NEXT if key is None else _KEYS.get(key.lower())
            if move in standing.moves:
                return move
            if key in {"w", "W"}:
                self.terminal.toggle_wire()

    def wait(self, seconds: float | None) -> None:
        """Let a `pause` of the scenario last as long as it says at the presenter's pace; where he
        presses a key before each step, he has paused already.
        """
        if self.pace is not None and seconds is not None:
            self.keyboard.key(seconds)

    def _preview(self, standing: Standing) -> None:
        ink = self.terminal.ink
        ink.blank()
        if standing.next is None:
            ink.detail("", "That was the last step. Next, everything is put back as it was.")
            return
        number, step = standing.behind + 1, standing.next
        of = f"of {len(standing.steps)}"
        ink.row(Row(number, MARKS["next"], "next", step.verb, visible(step.summary()), "", of))
        if standing.hindered:
            ink.detail("skipped", f"for {visible(standing.hindered)}")
            return
        for label, text in planned(step, standing.endpoints):
            self._detail(label, text)
        because = cause(standing.steps, standing.behind, standing.endpoints)
        if because is not None:
            number, earlier = because
            ink.detail("after", f"step {number}, {earlier.verb} {visible(earlier.summary())}")

    def _detail(self, label: str, text: str) -> None:
        rows = lines(text)
        if len(rows) > _LDIF_SHOWN:
            rows = [*rows[: _LDIF_SHOWN - 1], f"… {len(rows) - _LDIF_SHOWN + 1} more lines"]
        for number, row in enumerate(rows):
            self.terminal.ink.detail("" if number else label, row)

    def _keys(self, standing: Standing) -> str:
        moves = standing.moves
        going = "Enter next" if standing.next else "Enter end"
        if self.pace is not None:
            going = f"{going}, in {self.pace:g} s"
        wire = "off" if self.terminal.wire_shown else "on"
        told = (
            going,
            Move.REPEAT in moves and f"r repeat {standing.behind}",
            Move.BACK in moves and "b back",
            Move.SKIP in moves and "s skip",
            f"w wire {wire}",
            "q quit",
        )
        return " " + " · ".join(each for each in told if each)
