"""`MailLab` before anything is started: settings, slots, and what it says when it is not up."""

import subprocess
import sys
from pathlib import Path

import pytest

from labctl.errors import HostProblem, LabNotReady, SlotTaken, UsageError
from labctl.testing import MailLab
from labctl.testing.slots import claimed


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let slots be claimed below a directory of this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_lab_that_is_not_up_says_how_to_bring_it_up() -> None:
    """Whatever is asked of it, the error names `start`."""
    lab = MailLab()
    for ask in (lambda: lab.endpoints, lambda: lab.submit("alice", "bob"), lab.reset):
        with pytest.raises(LabNotReady, match="not up") as caught:
            ask()
        assert "start()" in caught.value.hint
    lab.stop()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"domian": "acme.example"}, "no setting 'domian'"),
        ({"domain": "-"}, "LAB_DOMAIN='-'"),
        ({"policy": "strict"}, "LAB_POLICY='strict'"),
        ({"name": "A lab"}, "cannot name a lab"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings: dict[str, str], said: str) -> None:
    """A word that is misspelt, or a value, is an error before anything is started."""
    with pytest.raises(UsageError, match=said):
        MailLab(**settings).start()


def test_a_slot_is_had_by_one_at_a_time(place: Path) -> None:
    """Others are refused, in this process or another, until it is given back."""
    other = (
        "from labctl.testing.slots import claimed\n"
        "from labctl.errors import SlotTaken\n"
        f"import tempfile; tempfile.tempdir = {str(place)!r}\n"
        "try:\n    with claimed(7): print('had')\n"
        "except SlotTaken as error: print(error.what)"
    )

    def try_it() -> str:
        command = [sys.executable, "-c", other]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with claimed(7) as state:
        assert state.stat().st_mode & 0o777 == 0o700
        with pytest.raises(SlotTaken), claimed(7):
            pass
        assert try_it() == "slot 7 is used by another test suite"
        with claimed(8) as another:
            assert another != state
    assert not state.exists()
    assert try_it() == "had"


def test_the_state_of_a_lab_that_was_not_removed_is_kept() -> None:
    """Whoever has the slot next finds there what may still run."""

    def leave_behind() -> Path:
        with claimed(7) as state:
            (state / "labs" / "mail-lab").mkdir(parents=True)
            raise HostProblem("the engine is gone")

    with pytest.raises(HostProblem, match="the engine is gone"):
        leave_behind()
    with claimed(7) as state:
        assert (state / "labs" / "mail-lab").is_dir()


def test_a_shared_place_that_others_can_read_is_refused() -> None:
    """The passwords of labs are below it."""
    with claimed(7) as state:
        state.parent.chmod(0o755)
    with pytest.raises(HostProblem, match="others may read it"), claimed(7):
        pass


def test_without_its_checkout_a_lab_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images and the compose file are in no wheel."""
    monkeypatch.setattr("labctl.testing.mail_lab.ROOT", tmp_path)
    with pytest.raises(HostProblem, match="not installed from its checkout"):
        MailLab().start()
