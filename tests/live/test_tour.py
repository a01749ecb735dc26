"""The tour: each part of the language in a scenario of its own, all of which pass on the lab."""

import json

import pytest
from conftest import ROOT, LiveLab

ELSEWHERE = "lag"  # test_replicated.py goes there
TOUR = [
    path for path in sorted((ROOT / "scenarios" / "tour").glob("*.yaml")) if path.stem != ELSEWHERE
]


@pytest.mark.parametrize("path", TOUR, ids=lambda path: path.stem)
def test_every_stop_of_the_tour_passes(lab: LiveLab, path: str) -> None:
    """Each expectation is met, and nothing is skipped."""
    ended = lab.verdicts(str(path), code=0)[-1]
    assert ended["verdict"] == "passed"
    assert ended["checks"] > 0
    assert ended["skipped"] == ended["failed"] == ended["error"] == 0


@pytest.mark.parametrize("path", TOUR, ids=lambda path: path.stem)
def test_on_the_baseline_profile_a_stop_passes_or_says_why_not(
    baseline: LiveLab, path: str
) -> None:
    """A stop passes on baseline, or is skipped as a whole with the profile as its reason."""
    done = baseline.ran("scenario", str(path), "-o", "jsonl")
    ended = json.loads(done.out.splitlines()[-1])
    if ended["verdict"] == "skipped":
        assert "needs the policy profile hardened" in done.out
        assert done.code == 1, "a run in which nothing was checked is not a success"
    else:
        assert (done.code, ended["verdict"]) == (0, "passed")
