"""The lab's files on this host: state, people, seed, certificates, images, ports."""

import datetime as dt
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from dialogue import playing

from labctl.cli.app import App
from labctl.cli.scenario import _alone
from labctl.endpoints import SERVICES, Endpoint
from labctl.errors import HostProblem, LabNotReady, UsageError
from labctl.lab import certificates
from labctl.lab.certificates import Host, ensure_certificates
from labctl.lab.engine import Engine
from labctl.lab.images import image_of
from labctl.lab.lab import Lab
from labctl.lab.people import new_password, password_hash, read_people, write_people
from labctl.lab.project import Project, port_of, services_of
from labctl.lab.replicas import REPLICAS
from labctl.lab.seed import people_of, read_seed
from labctl.lab.state import LabFiles, LabRecord, free_slot, lab_names, write_private
from labctl.protocols.smtp import SmtpConnection
from labctl.protocols.tls import client_context
from labctl.settings import MAX_SLOT, Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
SEED = ROOT / "scenarios" / "seed.ldif"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with a state directory of the test's own."""
    return load_settings(ROOT / "docs", {"LAB_STATE_DIR": str(tmp_path / "state")})


def test_a_lab_that_never_came_up_says_how_to_bring_it_up(settings: Settings) -> None:
    """The hint is the command, with the lab's name where it is not `default`."""
    with pytest.raises(LabNotReady, match="labctl -n blue up"):
        LabFiles.of(settings, "blue").require()
    with pytest.raises(LabNotReady, match="`labctl up`"):
        LabFiles.of(settings, "default").require()


@pytest.mark.parametrize(
    "text",
    [
        '{"slot": 1',
        "[]",
        '{"slot": 99, "policy": "hardened"}',
        '{"slot": 1, "policy": "x"}',
        '{"slot": 1, "policy": "hardened", "directory": "x"}',
        '{"slot": 1, "policy": "hardened", "max_lag": 2}',
    ],
)
def test_a_damaged_record_is_a_clear_error(settings: Settings, text: str) -> None:
    """Half a file, or one that no lab has, names itself and says what to do."""
    files = LabFiles.of(settings, "default")
    files.create()
    (files.directory / "lab.json").write_text(text)
    with pytest.raises(HostProblem, match=r"lab\.json"):
        files.record()


@pytest.mark.parametrize("text", ["{", "[]", '{"alice": {"login": "alice"}}'])
def test_damaged_passwords_are_a_clear_error(settings: Settings, text: str) -> None:
    """The file is named, with the command that makes it anew."""
    files = LabFiles.of(settings, "blue")
    files.create()
    files.accounts.write_text(text)
    with pytest.raises(HostProblem, match=r"`rm .*accounts\.json && labctl -n blue up`"):
        read_people(files.accounts)


def test_private_files_are_private_and_whole(tmp_path: Path) -> None:
    """Mode 0600 even over a wider file, and no other file is left beside it."""
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def test_slots_default_first_and_the_lowest_free_one(settings: Settings) -> None:
    """`default` has 0; others take the lowest from 1 that no lab has; a removed lab's is free."""
    for name in ("default", "blue", "red"):
        files = LabFiles.of(settings, name)
        slot = free_slot(settings, name)
        files.create()
        files.write_record(LabRecord(slot, "hardened"))
    assert lab_names(settings) == ["blue", "default", "red"]
    found = [LabFiles.of(settings, name).require().slot for name in ("default", "blue", "red")]
    assert found == [0, 1, 2]
    LabFiles.of(settings, "blue").remove()
    assert free_slot(settings, "green") == 1


def test_who_holds_the_lock_is_named(settings: Settings) -> None:
    """A second process waits, and is told the first one's command and process."""
    first, second = LabFiles.of(settings, "default"), LabFiles.of(settings, "default")
    with (
        first.locked("labctl up"),
        pytest.raises(HostProblem, match=rf"labctl up \(process {os.getpid()}\)"),
        second.locked("labctl reset", seconds=0.1),
    ):
        pass
    with second.locked("labctl reset", seconds=0.1):
        pass


def test_of_those_who_wait_for_a_lab_that_is_removed_one_goes_first(settings: Settings) -> None:
    """The lock goes with the lab's files: who waited for the old one takes the new one."""
    first, others = LabFiles.of(settings, "default"), LabFiles.of(settings, "default")
    inside: list[int] = []
    most: list[int] = []
    met = Event()

    def enter() -> None:
        with others.locked("labctl up", seconds=30):
            inside.append(1)
            if len(inside) > 1:
                met.set()
            met.wait(0.1)  # for another one, who must not come
            most.append(len(inside))
            others.write_record(LabRecord(0, "hardened"))
            inside.pop()
            others.remove()

    with ThreadPoolExecutor(4) as pool:
        with first.locked("labctl down"):
            waiting = [pool.submit(enter) for _ in range(4)]
            first.remove()
        for each in waiting:
            each.result()
    assert most == [1, 1, 1, 1]
    assert not first.directory.exists()


def test_a_run_that_waited_for_a_lab_sees_what_became_of_it(settings: Settings) -> None:
    """Another command changed it, after the run had read it and before it had the lock."""
    app = App(ROOT / "docs", {"LAB_STATE_DIR": str(settings.state)}, "default")
    app.lab.files.create()
    app.lab.files.write_record(LabRecord(0, "hardened"))
    assert app.lab.project.record.replicas == ()
    app.lab.files.write_record(LabRecord(0, "hardened", "replicated"))
    with _alone(app, ("offboarding",)):
        assert app.lab.project.record.replicas == REPLICAS
        kept = app.lab
    with _alone(app, ("offboarding",)):
        assert app.lab is kept


def test_of_a_lab_that_is_none_nothing_is_left(settings: Settings) -> None:
    """A command that was refused leaves no directory behind; one that made a lab does."""
    files = LabFiles.of(settings, "default")
    with pytest.raises(LabNotReady), files.locked("labctl reset"):
        files.require()
    assert not files.directory.exists()
    with files.locked("labctl up"):
        files.write_record(LabRecord(0, "hardened"))
    assert files.require().slot == 0


def test_a_lab_whose_record_alone_is_lost_keeps_its_secrets(settings: Settings) -> None:
    """A command that holds the lock, and finds no record, takes away nothing else."""
    files = LabFiles.of(settings, "default")
    files.create()
    (files.secrets / "ca.key").write_text("secret")
    with files.locked("labctl reset"):
        pass
    assert (files.secrets / "ca.key").read_text() == "secret"


def test_secrets_id_changes_with_a_file_and_tells_nothing(settings: Settings) -> None:
    """A password that is written anew changes it; reading or other files do not."""
    files = LabFiles.of(settings, "default")
    files.create()
    write_private(files.secrets / "postfix.password", "one")
    before = files.secrets_id()
    write_private(files.secrets / "accounts.json", "{}")
    assert files.secrets_id() == before
    os.utime(files.secrets / "postfix.password", ns=(1, 1))
    assert files.secrets_id() != before
    assert "one" not in before


def test_ports_never_collide_over_all_slots() -> None:
    """Each service of each slot has a port of its own, from 2025 up, all below 65,536."""
    ports = [port_of(service, slot) for slot in range(MAX_SLOT + 1) for service in SERVICES]
    assert len(set(ports)) == len(ports)
    assert (port_of("smtp", 0), port_of("ldaps", 0), max(ports) < 65536) == (2025, 2636, True)


def test_each_slot_has_a_subnet_and_no_variable_a_secret(settings: Settings) -> None:
    """The compose variables hold distinct /28 networks, and none of the passwords."""
    files = LabFiles.of(settings, "default")
    files.create()
    write_private(files.secrets / "postfix.password", "geheim-geheim")
    images = {"postfix": image_of("postfix", ROOT)}
    subnets = []
    for slot in (0, 1, 17, MAX_SLOT):
        project = Project(settings, files, LabRecord(slot, "hardened"), Engine())
        project.write_env(images)
        text = files.compose_env.read_text()
        assert "geheim" not in text
        subnets.append(next(line for line in text.splitlines() if "LAB_SUBNET=" in line))
    assert subnets[0] == "LAB_SUBNET=10.213.0.0/28"
    assert len(set(subnets)) == 4


def test_published_everywhere_is_reached_at_loopback(settings: Settings) -> None:
    """LAB_BIND=0.0.0.0 is no address to connect to."""
    wide = load_settings(ROOT / "docs", {"LAB_BIND": "0.0.0.0"})  # noqa: S104 - compared
    assert services_of(wide, 0)["imap"] == Endpoint("127.0.0.1", 2143, "starttls")
    assert services_of(settings, 1)["imaps"].port == 3993


def test_a_hash_is_checked_by_the_standard_and_salted() -> None:
    """Argon2id in PHC form, as slapd reads it; two hashes of one password differ."""
    password = new_password()
    first, second = password_hash(password), password_hash(password)
    assert first.startswith("{ARGON2}$argon2id$v=19$")
    assert first != second
    Argon2id.verify_phc_encoded(password.encode(), first.removeprefix("{ARGON2}"))


def test_people_keep_their_passwords_and_new_ones_get_one(
    settings: Settings, tmp_path: Path
) -> None:
    """A second `up` knows everybody as before; who is new in the seed gets a password."""
    seed = read_seed(SEED, settings)
    first = people_of(seed[:2], {})
    write_people(tmp_path / "accounts.json", first)
    assert (tmp_path / "accounts.json").stat().st_mode & 0o777 == 0o600
    known = read_people(tmp_path / "accounts.json")
    assert known == first
    second = people_of(seed, known)
    assert {name: second[name] for name in first} == first
    passwords = [person.password for person in second.values()]
    assert len(set(passwords)) == len(seed) == 6


def test_the_seed_follows_domain_base_and_attribute_names() -> None:
    """No default name is left in the seed of a lab that has others."""
    own = {
        "LAB_DOMAIN": "example.net",
        "LAB_BASE_DN": "dc=example,dc=net",
        "LAB_ATTR_SEND_ALLOWED": "mailSendAllowed",
        "LAB_ATTR_STATUS": "mailAccountStatus",
    }
    seed = read_seed(SEED, load_settings(ROOT / "docs", own))
    assert seed[0].dn == "uid=alice,ou=users,dc=example,dc=net"
    assert seed[0].values["mailSendAllowed"] == ("TRUE",)
    assert "truenorth" not in repr(seed)
    assert "tnMailSendAllowed" not in repr(seed)


@pytest.mark.parametrize("content", ["not ldif", "dn: uid=a\nuid: a\n", "dn: x\n"])
def test_a_broken_seed_is_a_clear_error(tmp_path: Path, settings: Settings, content: str) -> None:
    """What cannot be read as people names the file."""
    path = tmp_path / "seed.ldif"
    path.write_text(content)
    with pytest.raises(HostProblem, match=r"seed\.ldif"):
        people_of(read_seed(path, settings), {})


def test_certificates_are_made_once_and_hold_for_their_names(tmp_path: Path) -> None:
    """Real handshakes: trusted with the CA under each name, refused under another."""
    host = Host("mail.example.org")
    assert ensure_certificates(tmp_path, ["postfix"], host) == ["ca", "postfix"]
    assert ensure_certificates(tmp_path, ["postfix"], host) == []
    certificate = x509.load_pem_x509_certificate((tmp_path / "postfix.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "postfix", "mail.example.org", "localhost",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "postfix.pem", tmp_path / "postfix.key")
    for name, trusted in (("127.0.0.1", True), ("localhost", True), ("127.0.0.2", False)):
        script = ["S: 220 ready", "C: ehlo .*", "S: 250 mail", "C: quit", "S: 221 bye"]
        with playing(script, "tls", context) as server:
            endpoint = Endpoint(
                name if name != "127.0.0.2" else "127.0.0.1", server.endpoint.port, "tls"
            )
            if trusted:
                SmtpConnection.open(
                    "s", endpoint, context=client_context(tmp_path / "ca.pem"), emit=lambda _: None
                ).close()
            else:
                with pytest.raises(LabNotReady):
                    SmtpConnection.open(
                        "s", endpoint, context=ssl.create_default_context(), emit=lambda _: None
                    )


@pytest.mark.parametrize(
    ("name", "by", "made"),
    [
        ("postfix.pem", "nonsense", ["postfix"]),
        ("postfix.key", "nonsense", ["postfix"]),
        ("postfix.pem", "dovecot.pem", ["postfix"]),
        ("ca.pem", "nonsense", ["ca", "postfix", "dovecot"]),
        ("ca.key", "dovecot.key", ["ca", "postfix", "dovecot"]),
    ],
)
def test_damaged_certificates_are_made_anew(
    tmp_path: Path, name: str, by: str, made: list[str]
) -> None:
    """Nonsense in a file, and what belongs to another one; with the CA all that it signed."""
    host = Host("mail.truenorth.local")
    servers = ["postfix", "dovecot"]
    ensure_certificates(tmp_path, servers, host)
    other = tmp_path / by
    (tmp_path / name).write_bytes(other.read_bytes() if other.is_file() else b"nonsense")
    assert ensure_certificates(tmp_path, servers, host) == made
    assert ensure_certificates(tmp_path, servers, host) == []


def test_certificates_near_their_end_are_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than 30 days before its end a server's certificate is made anew, by the same CA."""
    host = Host("mail.example.org")
    ensure_certificates(tmp_path, ["postfix"], host)
    ca = (tmp_path / "ca.pem").read_bytes()
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=certificates.SERVER_DAYS - 29)
    monkeypatch.setattr(certificates, "_now", lambda: later)
    assert ensure_certificates(tmp_path, ["postfix"], host) == ["postfix"]
    assert (tmp_path / "ca.pem").read_bytes() == ca


def test_another_host_name_makes_another_certificate(tmp_path: Path) -> None:
    """A lab whose domain or address changes gets certificates for it."""
    ensure_certificates(tmp_path, ["postfix"], Host("mail.example.org"))
    assert ensure_certificates(tmp_path, ["postfix"], Host("mail.example.net")) == ["postfix"]
    assert ensure_certificates(tmp_path, ["postfix"], Host("mail.example.net", "192.0.2.1")) == [
        "postfix"
    ]


def test_an_image_is_known_by_the_files_it_is_built_from(tmp_path: Path) -> None:
    """The tag changes with a file's content, name or x-bit, and not with its age."""
    context = tmp_path / "images" / "x"
    context.mkdir(parents=True)
    file = context / "entrypoint"
    file.write_text("a")
    tags = [image_of("x", tmp_path).tag]
    os.utime(file, (1, 1))
    assert image_of("x", tmp_path).tag == tags[0]
    file.chmod(0o755)
    tags.append(image_of("x", tmp_path).tag)
    file.write_text("b")
    tags.append(image_of("x", tmp_path).tag)
    file.rename(context / "other")
    tags.append(image_of("x", tmp_path).tag)
    assert len(set(tags)) == 4


@pytest.mark.parametrize("name", ["../x", "", "x" * 40])
def test_a_lab_cannot_leave_its_directory(settings: Settings, name: str) -> None:
    """A lab's name is no path."""
    with pytest.raises(UsageError):
        LabFiles.of(settings, name)


@pytest.mark.parametrize(
    ("name", "value"), [("LAB_BIND", "192.0.2.1"), ("LAB_RELAYHOST", "[192.0.2.1]:25")]
)
def test_whatever_opens_the_lab_further_is_warned_of(tmp_path: Path, name: str, value: str) -> None:
    """Ports for others, mail that leaves: `up` names the setting; without one it says nothing."""
    quiet = {"LAB_STATE_DIR": str(tmp_path)}
    assert Lab(load_settings(ROOT / "docs", quiet), "default").warnings() == []
    [warning] = Lab(load_settings(ROOT / "docs", {**quiet, name: value}), "default").warnings()
    assert warning.startswith(f"{name}={value}: ")
