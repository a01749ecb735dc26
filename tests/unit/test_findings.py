"""What a look of the doctor's comes to, and who listens on a port."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from labctl.endpoints import Account, Endpoint, Secret
from labctl.errors import Exit, HostProblem, LabNotReady
from labctl.lab.certificates import Host, ensure_certificates
from labctl.lab.doctor import ASKS, policy, servers
from labctl.lab.doctor.finding import Finding, Level, looked, well
from labctl.lab.doctor.listeners import TABLES, listener, listening
from labctl.lab.doctor.mail import domains
from labctl.lab.images import CERTIFIED
from labctl.lab.replicas import REPLICAS
from labctl.lab.state import LabRecord
from labctl.protocols.smtp import Outcome, Reply, Stage

LAB: Any = None
HIDDEN = Secret("x")

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


REFUSED = Outcome(Stage.RCPT, Reply(554, "5.7.1", "Access denied"))


@pytest.mark.parametrize(
    ("outcome", "restarted"),
    [
        (REFUSED, ""),
        (Outcome(Stage.RCPT, Reply(450, "4.7.1", "The policy is hidden")), "openldap"),
        (Outcome(Stage.RCPT, Reply(451, "4.3.0", "Temporary lookup failure")), "openldap"),
        (Outcome(Stage.AUTH, Reply(535, "5.7.8", "Authentication failed")), "dovecot"),
        (Outcome(Stage.RCPT, Reply(250, "2.1.5", "Ok")), "postfix"),
    ],
)
def test_only_the_policys_own_refusal_is_its_enforcement(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, restarted: str
) -> None:
    """Neither a directory that does not tell, nor a sign-in that fails; who is to render his rules
    again is who did not tell.
    """
    outcomes = iter([REFUSED, outcome])
    here = lab("")
    here.project = SimpleNamespace(record=LabRecord(0, "hardened"))
    monkeypatch.setattr(policy, "directory_refuses", lambda *_: "")
    monkeypatch.setattr("labctl.lab.shadow.is_on", lambda _: False)
    monkeypatch.setattr(policy, "_blocked", lambda _: Account("dave", "dave", "d@x.org", HIDDEN))
    monkeypatch.setattr(policy, "_told", lambda *_: next(outcomes))
    found = policy.enforced(here)
    assert found.level is (Level.FAIL if restarted else Level.OK)
    assert found.mend == (f"docker restart lab-{restarted}" if restarted else "")
    assert str(outcome) in found.seen


def test_a_replica_that_hides_the_policy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that does, with what has it render its own rules."""

    def ask(service: str, _command: list[str]) -> str:
        if service == "replica2":
            raise LabNotReady("hide-policy failed (1)")
        return ""

    here = lab("")
    here.containers.execute = ask
    here.project = SimpleNamespace(record=LabRecord(0, "hardened", "replicated"))
    monkeypatch.setattr(policy, "unseen_policies", lambda _: [])
    found = policy.visible(here)
    assert (found.level, found.mend) == (Level.FAIL, "docker restart lab-replica2")
    assert found.seen.startswith("replica2 hides")
    here.project.record = LabRecord(0, "hardened")
    assert policy.visible(here).level is Level.OK


@pytest.mark.parametrize("what", ["enforcement", "sign-in", "policy attributes", "replicas"])
def test_nobody_asks_postfix_who_would_wait_for_a_replica(what: str) -> None:
    """A paused replica never answers him."""
    assert ASKS[what].issuperset(REPLICAS)


def away(tmp_path: Path, said: str, directory: str) -> Any:
    """Return a lab whose directory has ended with a refusal to start, and those words."""
    here = lab("")
    here.containers.project = "lab"
    here.containers.exit_code = lambda _: 78
    here.containers.last_lines = lambda _service, _count: said
    ca, broken = tmp_path / "ca.pem", tmp_path / "broken"
    here.files = SimpleNamespace(command="labctl", secrets=tmp_path, ca=ca, broken=broken)
    here.project = SimpleNamespace(record=LabRecord(0, "hardened", directory))
    here.endpoints = lambda: SimpleNamespace(services={})
    return here


def test_only_a_damaged_database_is_made_anew(tmp_path: Path) -> None:
    """With its replicas, which have what is lost; other names in the settings are no damage."""
    other = "was made with the names 'a'.\nset the old names again, or remove the volume"
    found = servers.services(away(tmp_path, other, "single"), [])
    assert (found.level, found.mend) == (Level.FAIL, "labctl up")
    spoilt = "could not be brought up to date.\nwhere the volume is damaged, remove it"
    assert servers.services(away(tmp_path, spoilt, "single"), []).mend == (
        "docker rm --force lab-openldap && docker volume rm lab_directory && labctl up"
    )
    assert servers.services(away(tmp_path, spoilt, "replicated"), []).mend == (
        "docker rm --force lab-openldap lab-replica1 lab-replica2"
        " && docker volume rm lab_directory lab_replica1 lab_replica2 && labctl up"
    )


@pytest.mark.parametrize(("directory", "level"), [("replicated", Level.FAIL), ("single", Level.OK)])
def test_the_certificates_of_the_servers_there_are_looked_at(
    tmp_path: Path, directory: str, level: Level
) -> None:
    """A damaged one of a replica's is told; nobody misses it where there is no replica."""
    ensure_certificates(tmp_path, (*CERTIFIED, *REPLICAS), Host("mail.x.org"))
    (tmp_path / "replica1.pem").write_text("nonsense")
    here = away(tmp_path, "", directory)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = Endpoint("127.0.0.1", server.getsockname()[1], "tls")
    names = ("ldaps", "submissions", "imaps")
    here.endpoints = lambda: SimpleNamespace(services=dict.fromkeys(names, nobody))
    found = servers.certificates(here)
    assert found.level is level
    assert ("replica1.pem" in found.seen) is (level is Level.FAIL)
