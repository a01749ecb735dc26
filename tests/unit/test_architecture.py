"""The rooms of docs/design.md and who may import whom, read from the code itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "labctl"
BASE = {"errors", "events", "endpoints", "settings"}

# room: (rooms of ours it may import, libraries it may import)
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "errors": (set(), set()),
    "events": (set(), set()),
    "endpoints": ({"errors"}, {"pydantic"}),
    "settings": ({"errors", "endpoints"}, {"dotenv"}),
    "protocols": (BASE, {"ldap3"}),
    "scenario": (BASE | {"protocols"}, {"pydantic", "ruamel"}),
    "report": ({"events"}, {"rich", "jinja2", "markdown_it", "markupsafe"}),
    "explain": (BASE | {"protocols"}, set()),
    "lab": (BASE | {"protocols"}, {"docker", "cryptography", "ldif"}),
    "evidence": (BASE | {"protocols", "report", "lab"}, {"ldif"}),
    "prove": (BASE | {"protocols", "scenario", "lab"}, set()),
    "bench": (
        BASE | {"protocols", "scenario", "report", "lab", "prove"},
        {"matplotlib"},
    ),
    "testing": (
        BASE | {"protocols", "scenario", "report", "lab"},
        {"pytest", "dotenv"},
    ),
    "stage": (BASE | {"protocols", "scenario", "report"}, {"rich"}),
    "cli": (
        BASE
        | {
            "protocols",
            "scenario",
            "explain",
            "prove",
            "bench",
            "evidence",
            "report",
            "stage",
            "lab",
        }
        | {"cli"},
        {"click", "rich", "ruamel", "pydantic"},
    ),
}


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield what a module imports, wherever in it, as dotted names in parts."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            parts = tuple((node.module or "").split("."))
            if parts == ("labctl",):
                for alias in node.names:
                    yield ("labctl", alias.name)
            else:
                yield parts


def modules() -> list[Path]:
    """Return every module of the package but its two entrances."""
    found = sorted(PACKAGE.rglob("*.py"))
    return [path for path in found if path.parent != PACKAGE or path.stem.strip("_") in ROOMS]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_design_allows(path: Path) -> None:
    """Each module imports its own room, the rooms and the libraries of its row, and the stdlib."""
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    ours, libraries = ROOMS[room]
    for parts in imports(path):
        if parts[0] == "labctl":
            assert parts[1] in ours | {room, "__version__"}, ".".join(parts)
        elif parts[0] not in sys.stdlib_module_names:
            assert parts[0] in libraries, ".".join(parts)


def test_every_room_is_in_the_table() -> None:
    """A new folder has to be put into the table, and so into the design."""
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert rooms <= set(ROOMS)


HEAVY = (
    "rich",
    "docker",
    "pydantic",
    "ruamel",
    "ldap3",
    "jinja2",
    "junitparser",
    "cryptography",
    "matplotlib",
)


def imported_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has imported after `code`."""
    program = f"{code}\nimport sys\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_the_version_is_told_before_anything_heavy_is_imported() -> None:
    """`labctl --version` imports neither click nor any of the heavy libraries."""
    code = "import sys; sys.argv = ['labctl', '--version']; import labctl.__main__ as m; m.main()"
    assert not imported_by(code) & {*HEAVY, "click"}


def test_the_command_line_imports_heavy_libraries_late() -> None:
    """Importing the command line alone imports none of the heavy libraries."""
    assert not imported_by("import labctl.cli") & set(HEAVY)


def test_the_plugin_of_pytest_costs_other_suites_little() -> None:
    """Every run of pytest where labctl is installed imports it: nothing heavy."""
    assert not imported_by("import labctl.testing") & {*HEAVY, "pytest", "dotenv"}
    assert not imported_by("import labctl.testing.plugin") & {*HEAVY, "dotenv", "smtplib"}
