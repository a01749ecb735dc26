"""Writes what is made from the models of the scenario language: the JSON Schema for editors, and
the tables of docs/scenarios.md. A test compares both.
"""

import json
from pathlib import Path

from labctl.scenario.loader import load_all
from labctl.scenario.reference import written_into
from labctl.scenario.schema import scenario_schema

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "labctl" / "scenario" / "schema.json"
PAGE = ROOT / "docs" / "scenarios.md"

if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(scenario_schema(), indent=2) + "\n", encoding="utf-8")
    tour = load_all(sorted((ROOT / "scenarios" / "tour").glob("*.yaml")))
    PAGE.write_text(written_into(PAGE.read_text(encoding="utf-8"), tour), encoding="utf-8")
