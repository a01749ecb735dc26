"""The mail stack of another make that tests/foreign builds, in a container of the tests' own."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import FIRST_SLOT, ROOT, LiveLab, docker_do, environment
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from labctl.protocols.poll import poll

IMAGE = "mail-policy-lab/elsewhere:test"
PORTS = {"smtp": 25, "imap": 143, "ldap": 389, "submission": 587}
SECRET = "correct-horse"
ALIASES = {
    "alice": ["alice.north", "reports"],
    "bob": ["sales"],
    "carol": ["sales", "postmaster", "abuse"],
    "dave": [],
    "erin": [],
    "outside": [],
}
HEAD = """
schema = "labctl/v1"
lab = "elsewhere"
domain = "elsewhere.example"
base_dn = "o=Elsewhere"
policy = "hardened"
ca_file = "ca.pem"
"""
PEOPLE = """
[people]
login = "{address}"
dn = "mail={address},{base_dn}"
"""
ATTRIBUTES = """
[attributes.send_allowed]
name = "mailPermission"
allowed = "granted"
blocked = "revoked"

[attributes.status]
name = "employmentState"
active = "current"
disabled = "suspended"
offboarded = "left"
"""


@dataclass(frozen=True)
class Elsewhere:
    """The running stack, and a folder that holds its CA and the files that describe it."""

    container: DockerContainer
    folder: Path
    state: Path

    def describe(
        self,
        name: str = "stack.toml",
        *,
        people: str = PEOPLE,
        attributes: str = ATTRIBUTES,
        admin: str = "provisioning",
        extra: str = "",
    ) -> Path:
        """Write an endpoints file: Alice's password is in the environment, Bob's in a file."""
        parts = [HEAD, people, attributes, *map(self._service, PORTS)]
        parts.append(f'[policy_admin]\ndn = "cn={admin},o=Elsewhere"\n{self._password(admin)}\n')
        parts += (self._account(name) for name in ALIASES)
        file = self.folder / name
        file.write_text("\n".join([*parts, extra]))
        file.chmod(0o600)
        return file

    def _service(self, name: str) -> str:
        port = self.container.get_exposed_port(PORTS[name])
        return f'[{name}]\nhost = "127.0.0.1"\nport = {port}\n'

    def _account(self, name: str) -> str:
        aliases = [f"{local}@elsewhere.example" for local in ALIASES[name]]
        return f"[accounts.{name}]\naliases = {aliases}\n{self._password(name)}\n"

    def _password(self, name: str) -> str:
        if name == "alice":
            return 'password_env = "ALICE_PASSWORD"'
        if name == "bob":
            file = self.folder / "bob.password"
            file.write_text(f"bob-{SECRET}\n")
            file.chmod(0o600)
            return 'password_file = "bob.password"'
        return f'password = "{name}-{SECRET}"'

    @property
    def labctl(self) -> LiveLab:
        """The command line, with no lab of its own and Alice's password in its environment."""
        secret = {"ALICE_PASSWORD": f"alice-{SECRET}"}
        return LiveLab("elsewhere", {**environment(self.state, 3), **secret})

    def inside(self, *command: str, stdin: str = "") -> str:
        """Run a command in the container, which must succeed; returns its output."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.container.get_container_id(), *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def policies(self) -> dict[str, list[str]]:
        """Return everybody's policy attributes, by address, as they are in the database."""
        entries = self.inside("slapcat", "-f", "/etc/ldap/slapd.conf", "-a", "(mail=*)")
        return dict(_policy(entry.splitlines()) for entry in entries.strip().split("\n\n"))

    def policy(self, name: str) -> list[str]:
        """Return somebody's policy attributes."""
        return self.policies()[f"{name}@elsewhere.example"]

    def mail(self) -> set[str]:
        """Return the messages of all mailboxes, by what Maildir calls each for good."""
        found = self.inside("find", "/var/vmail", "-type", "f", "-path", "*/[nc][eu][wr]/*")
        return {line.rpartition("/")[2].partition(":")[0] for line in found.splitlines()}

    def is_ready(self) -> bool | None:
        """Say whether Postfix and Dovecot greet; slapd is there before they are started."""
        greetings = (self._greeting(port) for port in (25, 587, 143))
        return all(text.startswith((b"220 ", b"* OK")) for text in greetings) or None

    def _greeting(self, port: int) -> bytes:
        try:
            address = ("127.0.0.1", self.container.get_exposed_port(port))
            with socket.create_connection(address, timeout=5) as connection:
                return connection.recv(512)
        except OSError:
            return b""

    def configure(self, setting: str) -> None:
        """Change Postfix's configuration, and let it be read."""
        self.inside("postconf", "-e", setting)
        self.inside("postfix", "reload")


def _policy(entry: list[str]) -> tuple[str, list[str]]:
    address = next(line for line in entry if line.startswith("mail:")).removeprefix("mail: ")
    wanted = ("mailPermission:", "employmentState:")
    return address, sorted(line for line in entry if line.startswith(wanted))


@contextmanager
def running(folder: Path, state: Path) -> Iterator[Elsewhere]:
    """Build the image, start a container of it on ports of loopback, and remove it at the end."""
    label = ("mail-policy-lab.elsewhere", str(FIRST_SLOT))
    left = docker_do("ps", "-aq", "--filter", f"label={'='.join(label)}").split()
    if left:  # by a session that was killed
        docker_do("rm", "-f", "-v", *left)
    _build()
    # Its reaper would be pulled from a registry; a `with` block and the label do.
    testcontainers_config.ryuk_disabled = True
    container = DockerContainer(IMAGE).with_env("ELSEWHERE_SECRET", SECRET)
    container.with_kwargs(labels=dict([label]))
    for port in PORTS.values():
        container.ports[str(port)] = ("127.0.0.1", None)  # any free one, and not on the network
    with container:
        elsewhere = Elsewhere(container, folder, state)
        poll(elsewhere.is_ready, what="all four servers", seconds=60, pause=0.1)
        (folder / "ca.pem").write_text(elsewhere.inside("cat", "/srv/tls/ca.pem"))
        yield elsewhere


def _build() -> None:
    base = subprocess.run(
        [ROOT / "images" / "base" / "build"], capture_output=True, text=True, check=True
    ).stdout.strip()
    command = ["docker", "build", "--build-arg", f"BASE={base}", "--tag", IMAGE]
    done = subprocess.run(
        [*command, ROOT / "tests" / "foreign"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
