"""What a stack is like at one moment, as files: entries, configuration, versions, clocks.

What cannot be had is left out and told, with the reason: a snapshot never fails a run.
"""

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ldif import LDIFWriter

from labctl.endpoints import SCHEMA, Endpoints
from labctl.errors import LabctlError
from labctl.evidence.masking import without_passwords
from labctl.lab import provenance
from labctl.lab.replicas import PROVIDER, REPLICAS
from labctl.protocols.directory import Directory
from labctl.protocols.entry import Entry

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

PEOPLE: Final = "people.ldif"
CLOCKS: Final = "clocks.json"
FOREIGN: Final = "an endpoints file describes this stack: its servers cannot be looked into"

# Asked for by name, so that no password's hash ever leaves the directory.
_READ: Final = ("objectClass", "uid", "cn", "mail", "mailLocalAddress", "uidNumber")
_HISTORY: Final = ("entryUUID", "entryCSN", "createTimestamp", "modifyTimestamp", "modifiersName")
_PASSING: Final = (*_HISTORY, '"health":')
_NEVER_FOLDED: Final = 1 << 30  # columns: a fold could hide a word from a search

_PACKAGES: Final = "packages.txt"
_SLAPD: Final = ("slapcat", "-o", "ldif-wrap=no", "-n", "0", "-F", "/run/slapd/slapd.d")
_COMMANDS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    **{each: {"config.ldif": _SLAPD} for each in (PROVIDER, *REPLICAS)},
    "postfix": {
        "postconf-n.txt": ("postconf", "-n"),
        "postconf-M.txt": ("postconf", "-M"),
    },
    "dovecot": {
        "doveconf-n.txt": ("doveconf", "-n"),
        "dovecot-ldap.conf.ext": ("cat", "/etc/dovecot/dovecot-ldap.conf.ext"),
    },
}
_FILES: Final = ("ls", "/etc/postfix")


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that is not in the evidence, and why."""

    what: str
    why: str


@dataclass(slots=True)
class Snapshot:
    """Files by name, and what is missing among them."""

    files: dict[str, str] = field(default_factory=dict)
    left_out: list[Omission] = field(default_factory=list)

    def take(self, name: str, look: Callable[[], str]) -> str:
        """Add a file, or the reason why there is none; returns its content."""
        try:
            self.files[name] = look()
        except LabctlError as error:
            self.left_out.append(Omission(name, error.what))
        return self.files.get(name, "")


def snapshot(endpoints: Endpoints, lab: "Lab | None") -> Snapshot:
    """Look at a stack; without a lab, only at its directory, as its policy-admin."""
    taken = Snapshot()
    taken.take(PEOPLE, partial(_people, endpoints))
    taken.take("endpoints.json", lambda: _json(_endpoints(endpoints)))
    if lab is None:
        taken.take("versions.json", lambda: _json({"versions": provenance.host_versions()}))
        taken.left_out.append(Omission("configuration, images, server versions, clocks", FOREIGN))
    else:
        _look_into(lab, taken)
    return taken


def _look_into(lab: "Lab", taken: Snapshot) -> None:
    told = taken.take("containers.json", lambda: _json({"services": provenance.identities(lab)}))
    services = json.loads(told)["services"] if told else {}
    servers = lab.project.record.servers
    states = {service: services.get(service, {}).get("state", "not there") for service in servers}
    running = [service for service, state in states.items() if state == "running"]
    for service, state in states.items():
        if service in running:
            _look_at(lab, service, taken)
        else:
            taken.left_out.append(Omission(f"all of {service}", f"it is {state}"))
    packages = {service: taken.files.get(f"{service}/{_PACKAGES}", "") for service in running}
    taken.take("versions.json", lambda: _json({"versions": _versions(lab, packages)}))
    taken.take(CLOCKS, lambda: _json(_clocks(lab, running)))


def _look_at(lab: "Lab", service: str, taken: Snapshot) -> None:
    """Take what is to be had from a container, with what is named like a password left out."""

    def said(command: Sequence[str]) -> str:
        return without_passwords(lab.containers.execute(service, command))

    commands = {_PACKAGES: provenance.PACKAGES, **_COMMANDS.get(service, {})}
    if service == "postfix":
        files = taken.take("postfix/files.txt", partial(said, _FILES)).split()
        commands |= {name: ("cat", f"/etc/postfix/{name}") for name in files}
    for name, command in sorted(commands.items()):
        taken.take(f"{service}/{name}", partial(said, command))


def _versions(lab: "Lab", packages: Mapping[str, str]) -> dict[str, str]:
    return {**provenance.server_versions(packages), **provenance.tool_versions(lab)}


def _clocks(lab: "Lab", running: Sequence[str]) -> dict[str, Any]:
    """Return this host's time, and each container's beside it; differences are in seconds."""
    here = _utc(time.time())
    clocks = {name: provenance.clock(lab.containers, name) for name in running}
    beside = {
        name: {
            "container_utc": _utc(each.container),
            "host_utc": _utc(each.host),
            "ahead": round(each.ahead, 6),
            "within": round(each.within, 6),
        }
        for name, each in clocks.items()
    }
    return {"host_utc": here, "clocks": beside}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _people(endpoints: Endpoints) -> str:
    wanted = (*_READ, *endpoints.attributes.names, *_HISTORY)
    with Directory.open(endpoints, endpoints.policy_admin, emit=lambda _: None) as directory:
        return ldif(directory.people_with(wanted), wanted)


def ldif(people: Sequence[Entry], attributes: Sequence[str]) -> str:
    """Return entries as LDIF (RFC 2849), of each the attributes that are named, in their order."""
    written = io.BytesIO()
    writer = LDIFWriter(written, cols=_NEVER_FOLDED)
    for entry in people:
        held = {name: list(entry.values[name]) for name in attributes if entry.values.get(name)}
        writer.unparse(entry.dn, held)
    return written.getvalue().decode("ascii")


def _endpoints(endpoints: Endpoints) -> dict[str, Any]:
    """Return the endpoints without passwords, and without a path of this host."""
    return {**endpoints.to_dict(secrets=False), "ca_file": None}


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, **data}, indent=2) + "\n"


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the names of the files that are not the same after as before, clocks left aside.

    A person's history, which every change and its undoing go into, does not count, nor does how
    well a server was at that moment.
    """
    both = (before.files.keys() | after.files.keys()) - {CLOCKS}
    return sorted(
        name
        for name in both
        if _comparable(before.files.get(name)) != _comparable(after.files.get(name))
    )


def _comparable(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [line for line in text.splitlines() if not line.lstrip().startswith(_PASSING)]
