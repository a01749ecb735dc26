"""The JSON Schema and the reference say what the models say, and stay in step with them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from ruamel.yaml import YAML, YAMLError

from labctl.errors import InvalidScenario
from labctl.scenario.loader import Header, load, load_all
from labctl.scenario.reference import written_into
from labctl.scenario.schema import model_schema, scenario_schema
from labctl.scenario.steps import TABLE

ROOT = Path(__file__).resolve().parents[2]
WRONG = Path(__file__).parent / "cases"
FILE = ROOT / "labctl" / "scenario" / "schema.json"
SCHEMA = json.loads(FILE.read_text(encoding="utf-8"))
VALIDATOR = Draft7Validator(SCHEMA)
TOUR = sorted((ROOT / "scenarios" / "tour").glob("*.yaml"))
SHIPPED = [*sorted((ROOT / "scenarios").glob("*.yaml")), *TOUR]

# What no schema can know, or what stands below it: names, regular expressions, LDIF, YAML itself.
BEYOND = {
    "anchors",
    "as-whom",
    "bad-pattern",
    "message-never-sent",
    "name-taken",
    "unknown-account",
}


def read(path: Path) -> Any:
    """Read a file as an editor does."""
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def accepts(data: Any) -> bool:
    """Say whether the schema takes a document."""
    return VALIDATOR.is_valid(data)


def test_the_schema_is_the_one_that_the_models_make() -> None:
    """`make reference` would change nothing, and the result is a schema of draft-07."""
    assert scenario_schema() == SCHEMA
    Draft7Validator.check_schema(SCHEMA)


def test_the_reference_is_the_one_that_the_models_make() -> None:
    """`make reference` would change nothing in docs/scenarios.md."""
    page = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert written_into(page, load_all(TOUR)) == page


def test_the_example_of_the_reference_is_valid(tmp_path: Path) -> None:
    """What the page begins with can be copied and checked."""
    page = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    file = tmp_path / "x.yaml"
    file.write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    assert load(file).steps
    assert accepts(read(file))


def test_a_page_without_a_marker_is_an_error() -> None:
    """A table is never dropped in silence."""
    with pytest.raises(ValueError, match="lacks"):
        written_into("# Scenarios\n", [])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_ships_is_valid_and_says_so_in_its_first_line(path: Path) -> None:
    """The schema takes every scenario that ships; each refers to the schema, where it is."""
    assert [error.message for error in VALIDATOR.iter_errors(read(path))] == []
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    reference = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert reference
    assert (path.parent / reference[1]).resolve() == FILE


@pytest.mark.parametrize("path", sorted(WRONG.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_refuses_what_the_models_refuse(path: Path) -> None:
    """Each wrong file is refused, but for those whose fault is beyond any schema."""
    try:
        data = read(path)
    except YAMLError:
        return  # editors tell of it without a schema
    assert accepts(data) == (path.stem in BEYOND)


def test_check_jsonschema_agrees() -> None:
    """The tool takes what ships, and refuses a wrong verb, key and type."""
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", FILE]
    wrong = [WRONG / f"{name}.yaml" for name in ("unknown-verb", "typo-in-a-key", "wrong-type")]
    good = [path for path in SHIPPED if path.stem != "bypass"]  # which takes it long
    for files, code in ((good, 0), (wrong, 1)):
        done = subprocess.run([*command, *files], check=False, capture_output=True, text=True)
        assert done.returncode == code
        assert all(str(path) in done.stdout for path in files if code)


def scenario(*steps: Any, **header: Any) -> dict[str, Any]:
    """Return a document with these steps."""
    return {"title": "t", "accounts": ["alice", "bob"], "steps": list(steps), **header}


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        (scenario({"note": "x"}), True),
        (scenario({"pause": None}), True),
        (scenario({"pause": 2}), True),
        (scenario({"smtp": {"via": "{via}"}}), False),
        (scenario({"smtp": {"via": "{via}"}}, cases=[{"name": "a", "via": "relay"}]), True),
        (scenario({"smtp": {"via": "{Via}"}}, cases=[{"name": "a", "via": "relay"}]), True),
        (scenario({"smtp": {"greet": "{g}"}}, cases=[{"name": "a", "g": False}]), True),
        (scenario({"smtp": {"greet": "x{g}"}}, cases=[{"name": "a", "g": False}]), False),
        (scenario({"smtp": {"gret": "{g}"}}, cases=[{"name": "a", "g": False}]), False),
        (scenario({"smtp": {"dialogue": ["{d}"]}}, cases=[{"name": "a", "d": ["-> x"]}]), True),
        (scenario({"smtp": {}}, cases=[{"name": "a", "d": {"x": 1}}]), False),
        (
            scenario({"smtp": {}}, cases=[{"name": "a", "needs": ["imap"], "open": "hardened"}]),
            True,
        ),
        (scenario({"smtp": {}}, cases=[]), False),
        (scenario({"smtp": {}}, needs=["imap", {"policy": "baseline"}]), True),
        (scenario({"smtp": {}}, needs=["imap", "imap"]), False),
        (scenario({"smtp": {}, "flush": {}}), False),
        (scenario({}), False),
        (scenario(), False),
    ],
)
def test_a_document_is_valid_or_not(document: dict[str, Any], valid: bool) -> None:  # noqa: FBT001
    """Short forms, placeholders only where there are cases, one verb a step, needs as a list."""
    assert accepts(document) is valid


SCALARS = st.one_of(
    st.sampled_from(["alice", "m", "", "x y", "RCPT", "554 5.7.1", "absent", "yes", "1", "("]),
    st.integers(-1, 700),
    st.booleans(),
    st.none(),
    st.just(0.5),
)
ANYTHING = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(st.sampled_from(["stage", "reply", "text", "mail"]), SCALARS),
)
FITTING = {
    "name": ["alice", "bob", "m", "other"],
    "line": ["alice", "bob", "stranger@example.org", "uid=alice,ou=users,BASE", "", "x\ny"],
    "duration": ["500ms", "2s", "0s", 2, 0.5, 601],
    "regular expression": ["sent", "", "("],
    "LDIF": ["dn: uid=alice,ou=users,BASE\nchangetype: delete", "dn: x"],
    "reply": [250, "554 5.7.1", "999"],
    "attribute": ["mail", "send_allowed", "-"],
    "dialogue line": ["-> NOOP", "<- 250", "=== TLS", "=== SSL"],
}


def fitting(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that are likely to suit a field, by what its schema says."""
    if field.get("title") in FITTING:
        return st.sampled_from(FITTING[field["title"]])
    if "anyOf" in field:
        return st.one_of([fitting(each) for each in field["anyOf"]])
    if field.get("type") == "array":
        return st.lists(fitting(field["items"]), max_size=2)
    if "allOf" in field:  # an expectation
        return st.just({"stage": "RCPT", "reply": 554})
    if "patternProperties" in field:
        [values] = field["patternProperties"].values()
        return st.dictionaries(st.sampled_from(FITTING["attribute"]), fitting(values), max_size=2)
    either = {"boolean": [True, False], "null": [None]}.get(field["type"], ["some", "text"])
    return st.sampled_from(field.get("enum", either))


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    """Return a step of any verb, with the keys that it must have and perhaps some more."""
    verb = draw(st.sampled_from(sorted(TABLE)))
    if draw(st.integers(0, 9)) == 0:
        return {verb: draw(ANYTHING)}
    schema, _ = model_schema(TABLE[verb])
    fields, needed = schema["properties"], schema.get("required", ())
    chosen = [key for key in fields if key in needed or draw(st.integers(0, 3)) == 0]
    odd = draw(st.sampled_from([None, *chosen]))
    return {verb: {key: draw(ANYTHING if key == odd else fitting(fields[key])) for key in chosen}}


def problems(path: Path, document: Any) -> list[str]:
    """Return what is wrong with a document, without the places."""
    path.write_text(json.dumps(document), encoding="utf-8")
    try:
        load(path)
    except InvalidScenario as error:
        return [problem.split(": ", maxsplit=1)[1] for problem in error.problems]
    return []


SENT = {"send": {"from": "alice", "to": "bob", "as": "m"}}
BEYOND_JSON_SCHEMA = re.compile(
    r"\w+: account .* is not among|\w+: no earlier step sends|\w+: the name .* is already taken"
    r"|\w+: not a regular expression|change: |an effect is seen on"
)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(steps(), st.data())
def test_schema_and_models_say_the_same_of_any_step(
    tmp_path: Path, step: dict[str, Any], data: st.DataObject
) -> None:
    """What loads the schema takes, and what it takes does not load only for what it cannot know.

    The same values, moved to a case and referred to by placeholders, are no less welcome.
    """
    wrong = problems(tmp_path / "x.yaml", scenario(SENT, step))
    if accepts(scenario(SENT, step)):
        assert [problem for problem in wrong if not BEYOND_JSON_SCHEMA.match(problem)] == []
    else:
        assert wrong
    [(verb, given)] = step.items()
    if isinstance(given, dict) and given:
        moved = data.draw(st.sets(st.sampled_from(sorted(given)), min_size=1))
        row = {"name": "one", **{f"v_{key}": given[key] for key in moved}}
        filled = given | {key: f"{{v_{key}}}" for key in moved}
        document = scenario(SENT, {verb: filled}, cases=[row])
        if not problems(tmp_path / "y.yaml", document):
            assert accepts(document)


def test_the_tour_comes_by_every_verb_and_every_key_of_the_header() -> None:
    """There is an example that runs for each part of the language, and a wrong one."""
    documents = [read(path) for path in TOUR]
    used = {verb for document in documents for step in document["steps"] for verb in step}
    assert used == set(TABLE)
    assert {key for document in documents for key in document} == set(Header.model_fields)
    wrong = "".join(path.read_text(encoding="utf-8") for path in WRONG.glob("*.yaml"))
    assert [verb for verb in TABLE if not re.search(rf"- {{?{verb}:", wrong)] == []
