"""The catalogue of ways around the policy, as it stands in its file."""

from pathlib import Path

import pytest

from labctl.scenario.loader import load

CATALOGUE = load(Path(__file__).resolve().parents[2] / "scenarios" / "bypass.yaml")
AT_LEAST = 150


def test_the_catalogue_is_large_and_no_two_cases_are_the_same() -> None:
    """Every case has another dialogue, account or moment than all the others."""
    attempts = {repr(case.steps_on("hardened")) for case in CATALOGUE.cases}
    assert len(attempts) == len(CATALOGUE.cases) >= AT_LEAST


@pytest.mark.parametrize("profile", ["hardened", "baseline"])
def test_what_is_open_is_accepted_and_what_is_not_is_not(profile: str) -> None:
    """Where a case names a profile as open its last reply there is a yes, elsewhere a no."""
    for case in CATALOGUE.cases:
        if case.open_on is not None:
            last = case.steps_on(profile)[-1].model_dump()["dialogue"][-1]
            assert last[3] in ("23" if profile == case.open_on else "45"), case.name
