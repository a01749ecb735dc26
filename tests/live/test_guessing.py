"""What guessing passwords costs, and a step that says so."""

from pathlib import Path

import pytest
from conftest import LiveLab

HEAD = "title: t\naccounts: [alice, bob]\nsteps:\n"


def test_an_answer_that_comes_too_soon_fails_the_step(lab: LiveLab, tmp_path: Path) -> None:
    """`at_least` is held against the time that the answer took, on SMTP and on IMAP."""
    for service in ("submission", "imap"):
        file = tmp_path / f"{service}.yaml"
        file.write_text(
            f"{HEAD}  - authenticate: {{account: alice, with: [{service}], at_least: 60s}}\n"
        )
        done = lab.ran("scenario", str(file))
        assert done.code == 1
        assert "expected     60s at least" in done.out, done.out


@pytest.mark.parametrize("penalty", ["on", "off"])
def test_wrong_passwords_make_imap_slower_unless_that_is_off(
    scratch: LiveLab, tmp_path: Path, penalty: str
) -> None:
    """LAB_AUTH_PENALTY: four seconds more after one failure, by default; submission has no part."""
    file = tmp_path / "guess.yaml"
    wrong = "account: alice, guessed: true, expect: refused"
    file.write_text(
        f"{HEAD}  - authenticate: {{{wrong}, with: [submission, imap]}}\n"
        "  - authenticate: {account: bob, with: [submission]}\n"
        "  - authenticate: {account: bob, with: [imap], at_least: 4s}\n"
    )
    if penalty == "off":
        scratch.run("up", LAB_AUTH_PENALTY=penalty)
    try:
        done = scratch.ran("scenario", str(file))
    finally:
        scratch.run("up")
    assert done.code == {"on": 0, "off": 1}[penalty], done.out
    if penalty == "off":
        assert "expected     4s at least" in done.out, done.out
