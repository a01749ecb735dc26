"""What a look of the doctor's comes to, and who listens on a port."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from docker.errors import NotFound

from labctl.errors import Exit, HostProblem, LabNotReady
from labctl.lab.doctor.finding import Finding, Level, looked, well
from labctl.lab.doctor.listeners import TABLES, listener, listening
from labctl.lab.doctor.mail import domains

LAB: Any = None

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0
   1: 0100007F:024B 0100007F:0019 01 00000000:00000000 00:00000000 00000000     0        0 18 1 0
"""


def test_a_look_that_ends_in_an_error_is_a_failure_with_the_command_in_its_hint() -> None:
    """And its exit code; a hint without a command is told as it is."""

    def away(_: Any) -> Finding:
        raise LabNotReady("it is away", "Bring it up with `labctl up`; then look again.")

    def lacks(_: Any) -> Finding:
        raise HostProblem("there is none", "Install one.")

    assert looked(LAB, "x", away) == Finding("x", Level.FAIL, "it is away", "labctl up", 3)
    assert looked(LAB, "y", lacks) == Finding(
        "y", Level.FAIL, "there is none", "Install one.", Exit.HOST
    )
    assert looked(LAB, "z", lambda _: well("good")) == Finding("z", Level.OK, "good")


def test_what_the_engine_refuses_is_a_failure_and_no_traceback() -> None:
    """A container that was removed between two questions about it."""

    def gone(_: Any) -> Finding:
        raise NotFound("no such container")

    here: Any = SimpleNamespace(files=SimpleNamespace(command="labctl"))
    found = looked(here, "x", gone)
    assert (found.level, found.mend) == (Level.FAIL, "labctl status")
    assert "no such container" in found.seen


def test_only_ports_that_are_listened_on_are_read_from_the_kernels_table() -> None:
    """Connections are none, nor is the head line; the table may be there twice."""
    assert listening((TABLE + TABLE).splitlines()) == {25: "17"}
    assert listening([]) == {}


def test_who_listens_is_found_by_the_socket_itself() -> None:
    """Our own process; a port of nobody is not made up."""
    nobody: Any = SimpleNamespace(
        client=SimpleNamespace(containers=SimpleNamespace(list=lambda **_: []))
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"(process {os.getpid()})" in listener(nobody, port)
        assert port in listening(Path(TABLES[0]).read_text().splitlines())
    assert listener(nobody, port).startswith("somebody")


def lab(said: str) -> Any:
    """Return a lab whose Postfix says that of its domains."""
    return SimpleNamespace(
        containers=SimpleNamespace(
            execute=lambda _service, _command: said, container_name=lambda service: f"lab-{service}"
        )
    )


def test_a_domain_is_found_in_two_classes_however_they_are_written() -> None:
    """Commas, blanks and capitals."""
    said = "mydestination = localhost, X.org\nvirtual_mailbox_domains = x.org y.org\n"
    found = domains(lab(said))
    assert found.level is Level.FAIL
    assert "x.org is in two classes" in found.seen
    assert found.mend == "docker restart lab-postfix"
    alone = "mydestination =\nvirtual_alias_domains = \nvirtual_mailbox_domains = x.org\n"
    assert domains(lab(alone)) == well("x.org: virtual_mailbox_domains")
