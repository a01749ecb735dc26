"""Adding people: what has not ended is taken up, what was refused leaves nothing."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.errors import ExpectationFailed
from labctl.lab.membership import add_person
from labctl.lab.people import Person, read_people
from labctl.lab.seed import Converged, converge, entry_of
from labctl.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
ZED = Person("zed", "zed@truenorth.local", (), 3000, "secret", "{ARGON2}x")


@pytest.fixture
def settings() -> Settings:
    """Return the default settings."""
    return load_settings(ROOT / "docs", {})


class Lab:
    """A lab whose directory takes an entry, or refuses it."""

    def __init__(self, settings: Settings, where: Path, *, refuses: bool) -> None:
        self.settings, self.refuses, self.homes = settings, refuses, {"bob"}
        self.files = SimpleNamespace(
            accounts=where / "accounts.json", locked=lambda _: nullcontext(), command="labctl"
        )
        self.noted: list[Person] = []

    def directory(self) -> Any:
        """Return the directory, in which nobody is."""
        return nullcontext(
            SimpleNamespace(dn=lambda name: name, read=lambda _: None, add=self._add)
        )

    def _add(self, _dn: str, _values: object) -> None:
        self.noted.append(read_people(self.files.accounts)["zed"])
        if self.refuses:
            raise ExpectationFailed("the directory refuses it")

    def make_maildirs(self, people: Mapping[str, Person]) -> None:
        """Make their homes."""
        self.homes.update(people)

    def remove_maildirs(self, name: str) -> None:
        """Remove somebody's home."""
        self.homes.discard(name)


def test_who_is_added_is_pending_until_the_directory_has_him(
    settings: Settings, tmp_path: Path
) -> None:
    """He is noted before, so that a command that is killed can be taken up."""
    lab: Any = Lab(settings, tmp_path, refuses=False)
    person = add_person(lab, "zed", ())
    assert lab.noted == [replace(person, pending=True)]
    assert read_people(lab.files.accounts) == {"zed": person}
    assert not person.pending


def test_an_addition_that_is_refused_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    """Neither a password nor a home."""
    lab: Any = Lab(settings, tmp_path, refuses=True)
    with pytest.raises(ExpectationFailed):
        add_person(lab, "zed", ())
    assert read_people(lab.files.accounts) == {}
    assert lab.homes == {"bob"}


@pytest.mark.parametrize("pending", [True, False])
def test_only_who_is_pending_comes_into_the_directory(settings: Settings, *, pending: bool) -> None:
    """Whoever was there once, and is there no more, was deleted by somebody."""
    zed, there = replace(ZED, pending=pending), []
    directory: Any = SimpleNamespace(
        attributes=settings.attributes,
        read=lambda _: None,
        add=lambda dn, _values: there.append(dn),
    )
    done = converge(directory, [entry_of(zed, settings)], {"zed": zed}, reset=False)
    assert done == Converged(added=int(pending))
    assert there == ["uid=zed,ou=users,dc=truenorth,dc=local"] * pending
