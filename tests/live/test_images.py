"""The images and how they are run: no secret in them, no right too many, each usable."""

import imaplib
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, LiveLab, bring_up, docker_do
from ruamel.yaml import YAML

SERVICES = ("openldap", "postfix", "dovecot", "milter")
COMPOSE = YAML(typ="safe").load((ROOT / "compose" / "compose.yaml").read_text())["services"]
CAPABILITIES = [
    (service, capability) for service in SERVICES for capability in COMPOSE[service]["cap_add"]
]


def passwords(lab: LiveLab) -> list[str]:
    """Return every password of a lab, and the first lines of every private key."""
    stack = lab.json("endpoints", "--secrets")
    logins = [stack["directory_admin"], stack["policy_admin"], *stack["service_accounts"].values()]
    keys = [
        path.read_text().splitlines()[1] for path in Path(stack["ca_file"]).parent.glob("*.key")
    ]
    return [row["password"] for row in [*logins, *stack["accounts"].values()]] + keys


def test_no_secret_shows_in_inspect_history_or_arguments(lab: LiveLab) -> None:
    """Neither the containers' settings nor the images nor any argument list holds a password."""
    shown = docker_do("inspect", *(lab.container(service) for service in SERVICES))
    for service in SERVICES:
        image = docker_do("inspect", "-f", "{{.Image}}", lab.container(service)).strip()
        shown += docker_do("history", "--no-trunc", image) + docker_do("inspect", image)
        shown += docker_do("top", lab.container(service), "-eo", "pid,args")
    shown += lab.run("logs")
    found = [secret for secret in passwords(lab) if secret in shown]
    assert len(passwords(lab)) >= 10
    assert found == []


def test_state_is_readable_by_its_owner_alone(lab: LiveLab) -> None:
    """Every file that holds a secret has mode 0600, in a directory of mode 0700."""
    secrets = Path(lab.json("endpoints")["ca_file"]).parent
    assert secrets.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in secrets.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert {"accounts.json", "ca.key", "policy-admin.password"} <= set(modes)


@pytest.mark.parametrize("service", SERVICES)
def test_containers_run_confined(lab: LiveLab, service: str) -> None:
    """Root file system read-only, no new privileges, limits, and only the listed capabilities."""
    [found] = json.loads(docker_do("inspect", lab.container(service)))
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    added = {name.removeprefix("CAP_") for name in host["CapAdd"]}
    assert added == set(COMPOSE[service]["cap_add"])
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert [limit["Name"] for limit in host["Ulimits"]] == ["nofile"]
    bindings = [row["HostIp"] for rows in host["PortBindings"].values() for row in rows]
    assert set(bindings) == ({"127.0.0.1"} if "ports" in COMPOSE[service] else set())


def test_slapd_does_not_run_as_root(lab: LiveLab) -> None:
    """The directory server is an ordinary user once it runs."""
    rows = docker_do("top", lab.container("openldap"), "-eo", "pid,user,comm").splitlines()[1:]
    slapd = [row.split()[1] for row in rows if row.split()[2] == "slapd"]
    assert slapd
    assert "root" not in slapd


@pytest.fixture(scope="module")
def owned_by_another(state: Path) -> Iterator[LiveLab]:
    """A lab whose secrets belong to a user who is not root, as where somebody else runs labctl."""
    lab = bring_up(state, 12, "less")
    lab.run("down")
    for path in (state / "labs" / "less" / "secrets").iterdir():
        os.chown(path, 12345, 12345)
    yield lab
    lab.run("down", "--volumes")


def works_with(lab: LiveLab, extra: Path) -> bool:
    """Say whether the lab with one more compose file comes up, works, and survives a restart."""
    names = [lab.container(service) for service in SERVICES]
    env = {"LAB_COMPOSE_EXTRA": str(extra), "LAB_READY_SECONDS": "6", "LAB_WAIT_SECONDS": "3"}
    try:
        if lab.ran("up", **env).code or lab.ran("scenario", "delivery", **env).code:
            return False
        if lab.inside("postfix", "postfix", "reload").code or not kicks(lab):
            return False
        docker_do("restart", "-t", "3", *names)
        return not (lab.ran("up", **env).code or lab.ran("scenario", "delivery", **env).code)
    finally:
        project = lab.project
        lab.ran("down")
        docker_do("volume", "rm", *(f"{project}_{name}" for name in ("queue", "mail", "directory")))


def kicks(lab: LiveLab) -> bool:
    """Say whether an open IMAP session ends when its owner is kicked."""
    stack = lab.json("endpoints", "--secrets")
    client = imaplib.IMAP4_SSL(
        stack["imaps"]["host"],
        stack["imaps"]["port"],
        ssl_context=ssl.create_default_context(cafile=stack["ca_file"]),
        timeout=3,
    )
    client.login("alice", stack["accounts"]["alice"]["password"])
    lab.inside("dovecot", "doveadm", "kick", "alice")
    try:
        return client.readline() in (b"", b"* BYE Server shutting down.\r\n")
    except TimeoutError:
        return False
    finally:
        client.shutdown()


def less(tmp_path: Path, service: str, kept: list[str]) -> Path:
    """Write a compose file that leaves a service only these capabilities."""
    file = tmp_path / "less.yaml"
    file.write_text(f"services:\n  {service}:\n    cap_add: !override [{', '.join(kept)}]\n")
    return file


def test_the_capabilities_suffice(owned_by_another: LiveLab, tmp_path: Path) -> None:
    """With just the listed capabilities everything works (else the next test proves nothing)."""
    full = less(tmp_path, "postfix", COMPOSE["postfix"]["cap_add"])
    assert works_with(owned_by_another, full)


@pytest.mark.parametrize(("service", "capability"), CAPABILITIES)
def test_each_capability_is_needed(
    owned_by_another: LiveLab, tmp_path: Path, service: str, capability: str
) -> None:
    """Without any one of the listed capabilities the lab does not come up or does not work."""
    kept = [name for name in COMPOSE[service]["cap_add"] if name != capability]
    assert not works_with(owned_by_another, less(tmp_path, service, kept))


def test_images_are_little_more_than_their_packages(lab: LiveLab) -> None:
    """All layers together are at most 1.3 times the Debian packages installed in them."""
    layers: dict[str, int] = {}
    packages: dict[str, int] = {}
    for service in SERVICES:
        image = docker_do("inspect", "-f", "{{.Image}}", lab.container(service)).strip()
        layers |= layers_of(image)
        rows = lab.must(service, "dpkg-query", "-W", "-f", "${Package} ${Installed-Size}\n")
        packages |= {name: int(size) * 1024 for name, size in map(str.split, rows.splitlines())}
    assert sum(layers.values()) <= 1.3 * sum(packages.values())


def layers_of(image: str) -> dict[str, int]:
    """Return the bytes of each layer that is not empty; the base's is the same in all images."""
    sizes = docker_do("history", "--human=false", "--format", "{{.Size}}", image).split()
    filled = [int(size) for size in reversed(sizes) if int(size) > 0]
    layers = json.loads(docker_do("inspect", "-f", "{{json .RootFS.Layers}}", image))
    assert len(filled) <= len(layers)
    return dict(zip(layers, filled, strict=False))


def test_the_lab_cannot_reach_the_outside(lab: LiveLab) -> None:
    """No container has a way to another network than its own: packets find no answer."""
    gateway = docker_do(
        "network",
        "inspect",
        "-f",
        '{{index .Options "com.docker.network.bridge.enable_ip_masquerade"}}',
        f"{lab.project}_lab",
    )
    assert gateway.strip() == "false"
