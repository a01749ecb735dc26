"""The pytest plugin: the fixture `mail_lab`, and scenarios as tests.

It comes with labctl, and is idle in runs that use neither: nothing heavy is imported, nothing is
collected or started then. A file `*.scenario.yaml` is a test, or one a case if it has cases.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from labctl.testing.items import ScenarioFile
    from labctl.testing.stack import MailStack

SUFFIX = ".scenario.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what says which stack `mail_lab` is."""
    group = parser.getgroup("mail_lab", "the mail-policy lab")
    group.addoption(
        "--mail-lab-endpoints",
        metavar="FILE",
        type=Path,
        help="Use the stack that this file describes (`labctl endpoints -o json --secrets`) and "
        "start no lab.",
    )
    parser.addini("mail_lab_endpoints", "The same, relative to the file that says so.")
    parser.addini("mail_lab_policy", "The policy profile of the lab.", default="hardened")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that every scenario has, and quieten ldap3."""
    config.addinivalue_line(
        "markers", "labctl_scenario: a scenario of the mail-policy lab; the plugin sets it"
    )
    # ldap3 2.9.1 uses names that ssl and pyasn1 have deprecated: nothing that a suite could mend.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:ldap3.*")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    """Collect the scenarios."""
    if not file_path.name.endswith(SUFFIX):
        return None
    from labctl.testing.items import ScenarioFile

    return ScenarioFile.from_parent(parent, path=file_path)


@pytest.fixture(scope="session")
def mail_lab(request: pytest.FixtureRequest) -> Iterator["MailStack"]:
    """Hand out a mail stack that is up: a lab of this session's own, which is removed at its end,
    or the stack that `--mail-lab-endpoints` names. Whoever changes the directory puts it back,
    within `with mail_lab.changed(…):`.
    """
    from labctl.errors import LabctlError

    with ExitStack() as held:
        try:
            stack = _stack(request.config, held)
        except LabctlError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        yield stack


def _stack(config: pytest.Config, held: ExitStack) -> "MailStack":
    from labctl.endpoints.reading import read_file
    from labctl.testing import MailLab, MailStack

    if file := _endpoints_file(config):
        return MailStack(read_file(file, os.environ))
    lab = MailLab(config.getini("mail_lab_policy"), tell=lambda text: _tell(config, text, 1))
    if not lab.built:
        _tell(config, "the lab's images are built first, which takes minutes", 0)
    return held.enter_context(lab)


def _endpoints_file(config: pytest.Config) -> Path | None:
    if given := config.getoption("mail_lab_endpoints"):
        return Path(given)
    said = config.getini("mail_lab_endpoints")
    return (config.inipath or config.rootpath).parent / said if said else None


def _tell(config: pytest.Config, text: str, verbosity: int) -> None:
    """Print a line, whatever is captured, to those who want to know so much."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    if terminal is None or config.get_verbosity() < verbosity:
        return
    with ExitStack() as shown:
        if capture is not None:
            shown.enter_context(capture.global_and_fixture_disabled())
        terminal.ensure_newline()
        terminal.write_line(f"mail_lab: {text}")
