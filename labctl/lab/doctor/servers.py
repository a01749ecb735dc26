"""Looks at the lab's servers: that they run, answer where they should, and as whom."""

import datetime as dt
import socket
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from labctl.endpoints import Endpoint
from labctl.errors import LabNotReady
from labctl.lab.broken import left
from labctl.lab.doctor.finding import Finding, warn, well, wrong
from labctl.lab.doctor.listeners import TABLES, ending, listener, listening
from labctl.lab.images import CERTIFIED
from labctl.lab.project import STANDARD_PORTS
from labctl.lab.provenance import clock
from labctl.protocols.tls import client_context

if TYPE_CHECKING:
    from labctl.lab.containers import ServiceState
    from labctl.lab.lab import Lab

SERVER_OF: Final[Mapping[str, str]] = {
    "ldap": "openldap",
    "ldaps": "openldap",
    "smtp": "postfix",
    "submission": "postfix",
    "submissions": "postfix",
    "imap": "dovecot",
    "imaps": "dovecot",
}
_SECONDS = 5.0
_REFUSES = 78  # how an entrypoint ends that refuses to start (EX_CONFIG of sysexits(3))
# A bind as nobody (RFC 4511 §4.2), which any directory answers, be it with a no.
_LDAP_HELLO = bytes.fromhex("300c020101600702010304008000")
_SKEW = 1.0  # seconds
_NEARLY, _FULL = 0.9, 0.95  # of a limit, of a disk


def services(lab: "Lab", states: "Sequence[ServiceState]") -> Finding:
    """See that each server runs, and says that it is well; if not, whether that is on purpose."""
    command, by_name = lab.files.command, {row.service: row for row in states}
    broken = [f"{service} ({', '.join(how)})" for service, how in left(lab.files.broken).items()]
    if broken:
        said = f"broken on purpose, by a command that was killed: {', '.join(broken)}"
        return wrong(said, f"{command} heal")
    all_of_them = lab.project.record.servers
    there = {row.service for row in states if row.state not in {"created", "exited"}}
    away = [name for name in all_of_them if name not in there]
    if away:
        said = "; ".join(f"{name} does not run" for name in away)
        known = _had_by_others(lab, away, said) or _damaged(lab, away)
        return known or wrong(said, f"{command} up")
    paused = [name for name in all_of_them if by_name[name].state == "paused"]
    if paused:
        said = "; ".join(f"{name} is paused" for name in paused)
        return wrong(said, f"docker unpause {_containers(lab, paused)}")
    cut = [row.service for row in states if row.health == "cut off"]
    if cut:
        said = "; ".join(f"{name} is not on the lab's network by its name" for name in cut)
        return wrong(said, f"docker rm --force {_containers(lab, cut)} && {command} up")
    ill = [row for row in states if not row.well]
    if ill:
        said = "; ".join(f"{row.service} is {row.state}, {row.health}" for row in ill)
        return wrong(said, f"docker restart {_containers(lab, [row.service for row in ill])}")
    return well(", ".join(all_of_them))


def _had_by_others(lab: "Lab", away: Collection[str], said: str) -> Finding | None:
    """Return who listens where a server that does not run would."""
    for name, endpoint in lab.endpoints().services.items():
        if SERVER_OF[name] not in away:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((endpoint.host, endpoint.port))
            except OSError:
                who = listener(lab.engine, endpoint.port)
                seen = f"{said}; {who} listens on {endpoint}, its port for {name}"
                return wrong(seen, f"{ending(who)}{lab.files.command} up")
    return None


def _damaged(lab: "Lab", away: Collection[str]) -> Finding | None:
    """Return that slapd refused its own database, and how the entries are made anew."""
    if "openldap" not in away or lab.containers.exit_code("openldap") != _REFUSES:
        return None
    last = lab.containers.last_lines("openldap", 2)
    if "damaged" not in last:
        return None
    replicas = lab.project.record.replicas  # which have what is lost
    containers = _containers(lab, ["openldap", *replicas])
    volumes = " ".join(f"{lab.containers.project}_{name}" for name in ("directory", *replicas))
    return wrong(
        f"openldap does not run: {' '.join(last.split())} Anew, the entries are those of the seed",
        f"docker rm --force {containers} && docker volume rm {volumes} && {lab.files.command} up",
    )


def _containers(lab: "Lab", names: Iterable[str]) -> str:
    return " ".join(map(lab.containers.container_name, names))


def _restart(lab: "Lab", service: str) -> str:
    return f"docker restart {lab.containers.container_name(service)}"


def ports(lab: "Lab", ill: Collection[str]) -> Finding:
    """See a server speak at each of the lab's ports, but those of servers that are ill anyway."""
    found = lab.endpoints().services.items()
    endpoints = {name: where for name, where in found if SERVER_OF[name] not in ill}
    with ThreadPoolExecutor(len(endpoints) or 1) as pool:
        answers = pool.map(lambda item: _answer(*item), endpoints.items())
    for (name, endpoint), answer in zip(endpoints.items(), answers, strict=True):
        if answer:
            service = SERVER_OF[name]
            return wrong(
                f"{name} at {endpoint}: {answer}; {_who_listens(lab, service, name)}",
                _restart(lab, service),
            )
    return well(", ".join(str(endpoint.port) for endpoint in endpoints.values()))


def _answer(name: str, endpoint: Endpoint) -> str:
    """Return what is wrong there; empty where a server speaks."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), _SECONDS) as plain:
            connection = _blind().wrap_socket(plain) if endpoint.tls == "tls" else plain
            if name.startswith("ldap"):
                connection.sendall(_LDAP_HELLO)
            said = connection.recv(1)
    except TimeoutError:
        return f"no word within {_SECONDS:g} s"
    except OSError as error:
        return f"{error.strerror or error}"
    return "" if said else "the connection is closed at once"


def _blind() -> ssl.SSLContext:
    """Return a context that trusts anybody: certificates are looked at by themselves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _who_listens(lab: "Lab", service: str, name: str) -> str:
    wanted = STANDARD_PORTS[name]
    try:
        text = lab.containers.execute(service, ["cat", *TABLES])
    except LabNotReady:
        return f"{service} does not run"
    found = sorted(listening(text.splitlines()))
    if wanted in found:
        return f"{service} listens on {wanted} and does not answer"
    others = ", ".join(map(str, found)) or "nothing"
    return f"in {service}'s container nobody listens on {wanted} (on {others})"


def certificates(lab: "Lab") -> Finding:
    """See that clients accept each server's certificate, and will for a month more."""
    from cryptography import x509

    from labctl.lab.certificates import RENEW_DAYS, is_damaged

    up = f"{lab.files.command} up"
    names = ("ca", *CERTIFIED, *lab.project.record.replicas)
    for name in names:
        if is_damaged(lab.files.secrets, name):
            where = lab.files.secrets / f"{name}.pem"
            return wrong(f"{where}, or the key beside it, is missing or damaged", up)
    context = client_context(lab.files.ca)
    for name in ("ldaps", "submissions", "imaps"):
        endpoint = lab.endpoints().services[name]
        try:
            with socket.create_connection((endpoint.host, endpoint.port), _SECONDS) as plain:
                context.wrap_socket(plain, server_hostname=endpoint.host).close()
        except ssl.SSLCertVerificationError as error:
            return wrong(f"{SERVER_OF[name]}'s certificate: {error.verify_message}", up)
        except OSError:
            continue  # that nobody answers there is another line
    ends = {
        name: x509.load_pem_x509_certificate(
            (lab.files.secrets / f"{name}.pem").read_bytes()
        ).not_valid_after_utc
        for name in names
    }
    name, end = min(ends.items(), key=lambda item: item[1])
    left = (end - dt.datetime.now(dt.UTC)).days
    if left < RENEW_DAYS:
        return warn(f"{name}'s certificate ends in {left} days, on {end:%Y-%m-%d}", up)
    return well(f"accepted; the first ends on {end:%Y-%m-%d}")


def clocks(lab: "Lab") -> Finding:
    """See that the containers take the time to be what we do."""
    for service in lab.containers.running():
        try:
            seen = clock(lab.containers, service)
        except LabNotReady:
            continue  # that it cannot be asked is another line
        if abs(seen.ahead) > _SKEW + seen.within:
            return wrong(f"{service}'s clock is {seen.ahead:+.1f} s off", _restart(lab, service))
    return well("the servers' are this host's")


def space(lab: "Lab") -> Finding:
    """See that there is room where the servers write."""
    fullest = (0.0, "")
    for service in lab.containers.running():
        for device, place, used, room in _places(lab, service):
            share = used / (used + room)
            if share > _FULL:
                text = f"{place} of {service} is full: {room // 1024} kB free"
                mend = _restart(lab, service) if device == "tmpfs" else "docker system df"
                return wrong(text, mend)
            fullest = max(fullest, (share, f"{place} of {service}"))
    return well(f"at most {fullest[0]:.0%} used, of {fullest[1]}")


def _places(lab: "Lab", service: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield where a server writes: device, directory, bytes used, bytes free."""
    try:
        report = lab.containers.execute(service, ["df", "-P", "-B1", "-x", "overlay"])
    except LabNotReady:
        return
    for line in report.splitlines()[1:]:
        device, _size, used, free, _, place = line.split(maxsplit=5)
        if _is_written(device, place) and int(used) + int(free):
            yield device, place, int(used), int(free)


def _is_written(device: str, place: str) -> bool:
    """Say whether it is a volume, or memory that a server writes to."""
    return place.startswith(("/var/", "/home", "/run/", "/etc/", "/tmp")) and not (  # noqa: S108
        place.startswith("/run/secrets")
        or (device != "tmpfs" and place.startswith(("/etc/", "/run/")))
    )


def limits(lab: "Lab") -> Finding:
    """See whether a server is near what it may use of memory or processes, or was ended for it."""
    present = [row.service for row in lab.containers.states()]
    with ThreadPoolExecutor(len(present) or 1) as pool:
        all_found = pool.map(lambda service: list(_used(lab, service)), present)
    shares = sorted((share, text) for found in all_found for share, text in found)
    if not shares:
        return well("not known: the engine does not count here")
    share, text = shares[-1]
    restart = _restart(lab, text.partition(" ")[0])
    if share > 1:
        return wrong(text, restart)
    return warn(text, restart) if share >= _NEARLY else well(f"at most {share:.0%} of a limit")


def _used(lab: "Lab", service: str) -> Iterator[tuple[float, str]]:
    """Yield how much of each limit is used, and in words; 2 where it was ended for it."""
    if lab.containers.was_killed_for_memory(service):
        yield 2.0, f"{service} was ended because it used more memory than it may"
    counted = lab.containers.usage(service)
    memory, pids = _memory(counted.get("memory_stats", {})), counted.get("pids_stats", {})
    for what, (used, limit) in {
        "memory": memory,
        "processes": (pids.get("current", 0), pids.get("limit", 0)),
    }.items():
        if limit:
            yield used / limit, f"{service} uses {used / limit:.0%} of the {what} that it may use"


def _memory(counted: Mapping[str, Any]) -> tuple[int, int]:
    """Return the bytes in use, without what the kernel could give back at once, and the limit."""
    details = counted.get("stats", {})
    spare = details.get("total_inactive_file", details.get("inactive_file", 0))
    return counted.get("usage", 0) - spare, counted.get("limit", 0)
