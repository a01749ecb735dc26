"""Looks at this host: what a lab needs before it is up."""

import ipaddress
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import Exit
from labctl.lab.doctor.finding import Finding, warn, well, wrong
from labctl.lab.doctor.listeners import listener
from labctl.lab.images import PREFIX, SERVICES, image_of, is_present
from labctl.lab.project import containers_in, owner, services_of, subnet_of
from labctl.lab.state import free_slot
from labctl.settings import MAX_SLOT

if TYPE_CHECKING:
    from docker.models.containers import Container

    from labctl.lab.lab import Lab

_FEW, _LITTLE = 64 * 2**20, 512 * 2**20  # bytes: nothing works without, and soon will not
_AHEAD = 5.0  # seconds that a file may be ahead of the clock


def engine(lab: "Lab") -> Finding:
    """See whether an engine answers."""
    info = lab.engine.client.version()
    return well(f"Docker Engine {info['Version']}, API {info['ApiVersion']}")


def compose(lab: "Lab") -> Finding:
    """See whether there is a Compose."""
    return well(f"{lab.engine.compose.origin} {lab.engine.compose.version}")


def images(lab: "Lab") -> Finding:
    """See whether the images are built as their files are now."""
    root = lab.settings.root
    built = [is_present(lab.engine, image_of(name, root).reference) for name in SERVICES]
    return well("built" if all(built) else "`labctl up` will build them")


def disk(lab: "Lab") -> Finding:
    """See whether there is room for the lab's files and the engine's."""
    state = _existing(lab.settings.state)
    if not os.access(state, os.W_OK):
        return wrong(
            f"{state}, where the lab's files are, cannot be written to",
            "Set LAB_STATE_DIR in .env to a directory that can.",
            Exit.HOST,
        )
    places = {"the lab's files": state}
    root = Path(str(lab.engine.client.info()["DockerRootDir"]))
    if root.is_dir():  # the engine is on this host
        places["the engine's"] = root
    free = {whose: (shutil.disk_usage(path).free, path) for whose, path in places.items()}
    room, whose = min((each[0], whose) for whose, each in free.items())
    text = f"{room // 2**20} MB free for {whose} ({free[whose][1]})"
    if room >= _LITTLE:
        return well(text)
    mend = "docker system df" if whose == "the engine's" else f"du -sh {free[whose][1]}/*"
    return wrong(text, mend, Exit.HOST) if room < _FEW else warn(text, mend)


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def clock(lab: "Lab") -> Finding:
    """See whether this host's clock has gone back: certificates would not be valid yet."""
    now = time.time()
    files = [path for path in lab.files.directory.rglob("*") if path.is_file()]
    ahead = max((path.stat().st_mtime - now for path in files), default=0.0)
    if ahead > _AHEAD:
        return wrong(
            f"this host's clock has gone back: files of the lab are {ahead:.0f} s ahead of it",
            "timedatectl set-ntp true",
            Exit.HOST,
        )
    return well("no file of the lab is ahead of it")


def leftovers(lab: "Lab") -> Finding:
    """See whether there are containers of labs whose state directory is gone."""
    found = lab.engine.client.containers.list(
        all=True, filters={"label": f"{PREFIX}.state"}, ignore_removed=True
    )
    for container in found:
        gone = not Path(container.labels[f"{PREFIX}.state"]).is_dir()
        if gone and _is_there(container):  # else it goes just now, too
            return _left(lab, container)
    projects = {container.labels.get("com.docker.compose.project") for container in found}
    return well(f"{len(projects)} labs on this host, each with its files")


def _is_there(container: "Container") -> bool:
    from docker.errors import NotFound

    try:
        container.reload()
    except NotFound:
        return False
    return True


def _left(lab: "Lab", container: "Container") -> Finding:
    project = container.labels.get("com.docker.compose.project", "unknown")
    name, state = (container.labels.get(f"{PREFIX}.{what}") for what in ("name", "state"))
    command = " ".join(lab.engine.compose.command)
    return warn(
        f"the lab {name!r} was left in {project}: its directory {state} is gone",
        f"{command} --project-name {project} down --volumes",
    )


def _slot(lab: "Lab") -> int:
    record = lab.files.record()
    return record.slot if record else free_slot(lab.settings, lab.name)


def subnet(lab: "Lab") -> Finding:
    """See that the subnet is the lab's own: no other network of the engine, no route has it."""
    slot = _slot(lab)
    ours = subnet_of(lab.settings, slot)
    bridge, others = "", dict[str, str]()
    for network in lab.engine.client.networks.list():
        mine = network.name == f"{PREFIX}-{slot}_lab"
        if mine:
            bridge = f"br-{str(network.id)[:12]}"
        for config in network.attrs["IPAM"]["Config"] or ():
            if not mine and config.get("Subnet"):
                others[f"the network {network.name} of the engine"] = config["Subnet"]
    others |= {whose: there for whose, there in _routes() if whose != f"a route through {bridge}"}
    for whose, where in others.items():
        there = ipaddress.ip_network(where, strict=False)
        if there.version == ours.version and there.overlaps(ours):
            return wrong(
                f"{ours}, the subnet of slot {slot}, is {whose}'s, too ({where})",
                f"LAB_SUBNETS=10.214.0.0/16 {lab.files.command} up",
                Exit.HOST,
            )
    return well(f"{ours}, and no other network or route of this host has it")


def _routes() -> Iterator[tuple[str, str]]:
    """Yield this host's routes but the default ones, as Linux has them (proc(5), net/route)."""
    table = Path("/proc/net/route")
    for line in table.read_text(encoding="ascii").splitlines()[1:] if table.is_file() else ():
        interface, destination, *_, mask = line.split()[:8]
        parts = (int(each, 16).to_bytes(4, "little") for each in (destination, mask))
        address, netmask = map(ipaddress.IPv4Address, parts)
        if int(netmask):
            yield f"a route through {interface}", f"{address}/{netmask}"


def is_up(lab: "Lab") -> bool:
    """Say whether the lab has containers."""
    record = lab.files.record()
    return record is not None and bool(containers_in(lab.engine, record.slot))


def is_mine(lab: "Lab", slot: int) -> bool:
    """Say whether this lab has containers in a slot."""
    mine = (lab.name, str(lab.files.directory.resolve()))
    return mine in map(owner, containers_in(lab.engine, slot))


def not_up(lab: "Lab") -> Finding:
    """Say that there is no lab, or that its own record of it is gone, which `up` makes anew."""
    if lab.files.record() is None:
        if is_mine(lab, slot := _slot(lab)):
            said = f"the lab {lab.name!r} has containers in slot {slot}, and its lab.json is gone"
            return wrong(said, f"{lab.files.command} up")
        return well(f"the lab {lab.name!r} has not been brought up yet")
    return wrong(f"the lab {lab.name!r} is not up", f"{lab.files.command} up")


def ports_are_free(lab: "Lab") -> Finding:
    """See that nobody else listens where the lab will."""
    slot = _slot(lab)
    if is_mine(lab, slot):
        return well(f"those of slot {slot} are the lab's own")
    for service, endpoint in services_of(lab.settings, slot).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((endpoint.host, endpoint.port))
            except OSError as error:
                return wrong(
                    f"{endpoint} ({service}) cannot be had: {error.strerror}; "
                    f"{listener(lab.engine, endpoint.port)} listens there",
                    f"LAB_SLOT={(slot + 1) % (MAX_SLOT + 1)} {lab.files.command} up",
                    Exit.HOST,
                )
    return well(f"those of slot {slot} are free")
