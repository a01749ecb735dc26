"""`MailLab`: a lab that comes up for a test suite, and of which nothing is left after it."""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from labctl.errors import HostProblem, LabNotReady, SlotTaken, UsageError
from labctl.testing.slots import claimed
from labctl.testing.stack import MailStack

if TYPE_CHECKING:
    from labctl.lab.containers import LabContainers
    from labctl.lab.lab import Lab
    from labctl.settings import Settings

ROOT = Path(__file__).resolve().parents[2]

_log = logging.getLogger("labctl.testing")


@dataclass(frozen=True, slots=True)
class _Told:
    """How it goes, told step by step; what a build prints is not."""

    step: Callable[[str], None]

    def detail(self, text: str) -> None:
        """Tell nothing."""


class MailLab(MailStack):
    """A lab of real servers in containers, up from `start` to `stop`.

    ::

        with MailLab(policy="hardened", domain="acme.example") as lab:
            lab.directory.offboard("alice")
            assert str(lab.submit("alice", "bob")) == "554 5.7.1 at RCPT"

    It takes a slot that nobody has, unless one is given, and a state directory of its own. At the
    end containers, network, volumes, passwords and CA are removed, after an exception too; what a
    process that was killed has left behind goes when its slot is taken next.

    `settings` are those of `.env.example`, in lower case and without `LAB_`: `domain`, `milter`,
    `attr_send_allowed`, …; what is not given is as `.env` and the environment say. `tell` is
    called with a line of text at each step; without it they are logged, to `labctl.testing`.

    A lab starts in seconds. Where the images are missing (`built`) they are built first, which
    takes minutes.
    """

    def __init__(
        self,
        policy: str = "hardened",
        *,
        slot: int | None = None,
        name: str = "mail-lab",
        state: Path | None = None,
        tell: Callable[[str], None] = _log.info,
        **settings: str,
    ) -> None:
        super().__init__(None)
        self.name = name
        self._slot = slot
        self._state = state
        self._given = {f"LAB_{key.upper()}": value for key, value in settings.items()}
        self._given["LAB_POLICY"] = policy
        self._progress = _Told(tell)
        self._lab: Lab | None = None
        self._held = ExitStack()

    @property
    def built(self) -> bool:
        """Say whether this host has the images; raises HostProblem when no engine answers."""
        from labctl.lab.engine import Engine
        from labctl.lab.images import SERVICES, image_of, is_present

        engine = Engine()
        with closing(engine.client):
            images = [image_of(service, ROOT) for service in SERVICES]
            return all(is_present(engine, image.reference) for image in images)

    @property
    def containers(self) -> "LabContainers | None":
        """The lab's own containers."""
        return None if self._lab is None else self._lab.containers

    def start(self) -> Self:
        """Bring the lab up; does nothing if it is.

        Raises UsageError for a setting that cannot be used, SlotTaken when the slot, or every
        slot, is taken, HostProblem or DeadlinePassed when it does not come up.
        """
        if self._lab is not None:
            return self
        settings = self._settings()
        if self._slot is not None:
            return self._start(settings, self._slot)
        return self._start_anywhere(settings)

    def stop(self) -> None:
        """Take the lab down, and remove all of it; does nothing if it is not up."""
        self._lab = self._endpoints = None
        self._held.close()

    def reset(self) -> None:
        """Put directory, mailboxes and queue back to the seed, with everything running on."""
        if self._lab is None:
            raise LabNotReady("the lab is not up", "Call start() first.")
        self._lab.reset(self._progress)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _settings(self) -> "Settings":
        from dotenv import dotenv_values

        from labctl.settings import load_settings

        if not (ROOT / "compose" / "compose.yaml").is_file():
            raise HostProblem(
                "labctl is not installed from its checkout, where the lab's images are",
                "Install it with `pip install -e` and the path of the checkout.",
            )
        known = dotenv_values(ROOT / ".env.example")
        for name in self._given:
            if name not in known:
                raise UsageError(
                    f"there is no setting {name.removeprefix('LAB_').lower()!r}",
                    "They are in .env.example, there in upper case and with LAB_ before them.",
                )
        return load_settings(ROOT, {**os.environ, **self._given})

    def _start_anywhere(self, settings: "Settings") -> Self:
        """Take the highest slot that is free: people's own labs begin at 0. Those come last whose
        ports Linux gives to any connection, too.
        """
        from labctl.settings import COMMON_SLOTS, MAX_SLOT

        for slot in sorted(range(MAX_SLOT, -1, -1), key=lambda slot: slot in COMMON_SLOTS):
            try:
                return self._start(settings, slot)
            except SlotTaken as error:
                _log.debug("%s", error.what)
        raise SlotTaken(f"all {MAX_SLOT + 1} slots are taken", "Take labs down with --volumes.")

    def _start(self, settings: "Settings", slot: int) -> Self:
        from labctl.lab.lab import Lab
        from labctl.lab.project import require_unused
        from labctl.lab.state import lab_names

        with ExitStack() as held:  # what was begun is taken back, unless all of it was done
            own = replace(settings, slot=slot, state=held.enter_context(claimed(slot)))
            for left in lab_names(own):
                _remove(Lab(own, left))
            lab = Lab(own if self._state is None else replace(own, state=self._state), self.name)
            if lab.files.record() is not None:
                raise UsageError(
                    f"the lab {self.name!r} of {lab.settings.state} exists, and would be removed",
                    "Choose another name, or another state directory.",
                )
            held.callback(lab.engine.client.close)
            require_unused(lab.engine, slot)
            held.callback(_remove, lab)
            lab.up(self._progress)
            self._endpoints, self.wait_seconds = lab.endpoints(), lab.settings.wait_seconds
            self._lab, self._held = lab, held.pop_all()
        return self


def _remove(lab: "Lab") -> None:
    """Remove a lab, however far it came."""
    if lab.files.compose_env.is_file():
        lab.down(volumes=True)
    else:
        lab.files.remove()
