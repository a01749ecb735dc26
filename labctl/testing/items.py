"""Scenarios as items of pytest: collected from their file, run on `mail_lab`, told step by step."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labctl.errors import Exit, InvalidScenario, LabctlError
from labctl.report.wording import visible
from labctl.scenario.loader import load_all
from labctl.scenario.model import Scenario
from labctl.testing.results import Played

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from labctl.testing.stack import MailStack


class ScenarioFile(pytest.Module):
    """A file with a scenario: one test, or one a case. Like pytest's own files of text it stands
    where modules do, for fixtures that look for one, and nothing is imported.
    """

    obj = None

    def collect(self) -> "Iterator[ScenarioItem]":
        """Yield the tests; every error of the file is told as `path:line:column: what`."""
        try:
            [scenario] = load_all([Path(os.path.relpath(self.path))])
        except InvalidScenario as error:
            raise self.CollectError(str(error)) from None
        if not scenario.cases:
            yield self._item(scenario.title or scenario.name, scenario)
        for case in scenario.cases:
            yield self._item(case.name, replace(scenario, cases=(case,)))

    def _item(self, name: str, scenario: Scenario) -> "ScenarioItem":
        item: ScenarioItem = ScenarioItem.from_parent(
            self, name=visible(name), callobj=_playing(scenario)
        )
        item.add_marker("labctl_scenario")
        return item


def _playing(scenario: Scenario) -> "Callable[[MailStack], None]":
    """Return the test of a scenario; pytest hands it the fixture that it names."""

    def play(mail_lab: "MailStack") -> None:
        played = mail_lab.run(scenario)
        if played.ended.exit_code == Exit.INTERRUPTED:
            raise KeyboardInterrupt
        if played.skipped:
            pytest.skip(played.skipped)
        if not played.passed:
            raise DidNotPass(played)

    return play


class DidNotPass(Exception):
    """A scenario was played, and did not pass."""

    def __init__(self, played: Played) -> None:
        super().__init__(played.ended.reason)
        self.played = played


class ScenarioItem(pytest.Function):
    """A scenario, or a case of one, as a test."""

    def reportinfo(self) -> tuple[Path, None, str]:
        """Say where it stands: in its file."""
        return self.path, None, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]  # pytest's own type is not public
        """Tell the steps, and not where in labctl the error was raised."""
        error = excinfo.value
        if isinstance(error, DidNotPass):
            return _Story(error.played.text, _Crash(str(self.path), str(error)))
        if isinstance(error, LabctlError):
            return _Story(str(error), _Crash(str(self.path), error.what))
        return super().repr_failure(excinfo)


@dataclass(frozen=True, slots=True)
class _Crash:
    """What pytest's summary says of a failure."""

    path: str
    message: str
    lineno: int = 0

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class _Story:
    """A failure as pytest prints it; `reprcrash` is for its summary, and for JUnit's."""

    text: str
    reprcrash: _Crash

    def toterminal(self, terminal: Any) -> None:
        """Print it."""
        terminal.line(self.text)

    def __str__(self) -> str:
        return self.text
