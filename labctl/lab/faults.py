"""Breaking a server of the lab on purpose, and mending it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from labctl.errors import HostCannot, HostProblem, LabNotReady
from labctl.lab.engine import run
from labctl.lab.project import BESIDE
from labctl.lab.replicas import PROVIDER
from labctl.protocols.poll import poll

if TYPE_CHECKING:
    from docker.models.containers import Container

    from labctl.lab.containers import LabContainers

Kind = Literal[
    "stop", "kill", "pause", "slow", "cut", "behind", "full", "deny", "cache", "shadow", "tight"
]

_PROGRAMS: Mapping[tuple[str, Kind], str] = {
    ("openldap", "full"): "read-only",
    ("openldap", "deny"): "hide-policy",
    ("dovecot", "cache"): "auth-cache",
    ("postfix", "shadow"): "shadow",
    ("postfix", "tight"): "tight",
}
# On every interface but loopback, by whatever name it has.
_EACH = "for d in /sys/class/net/eth*; do tc qdisc {} dev ${{d##*/}} root{}; done"
_DELAYED = _EACH.format("add", " netem delay 300ms")
_IN_TIME = _EACH.format("del", " 2>/dev/null || true")  # a start has done it already
# A replica that cannot hear its provider, and may be asked as before: nothing goes from the one to
# the other. The route for each replica has a mark of its own (`proto`, see ip-route(8)).
_AWAY = "ip route replace blackhole {} proto {}"
_BACK = "ip route flush type blackhole proto {}"
HEAL_FIRST = "Let `heal` come before it."
_GRACE = 5  # seconds that a server has to stop by itself

_EACH_OTHER = "kill -{} -1 2>/dev/null || true"  # there may be none

# Where what is new is written first, and what fills that: a file system of one page, and a file of
# one page. What was written there before is hidden meanwhile.
_STORES = {"postfix": "/var/spool/postfix/incoming", "dovecot": "/home/*/Maildir/tmp"}
_FILL = (
    "for d in {}; do o=$(stat -c uid=%u,gid=%g $d)"
    " && mount -t tmpfs -o size=4k,mode=0700,$o full $d"
    " && head -c 4096 /dev/zero >$d/full || exit; done"
)
# Also where a file there is open just then, of a delivery that fails; a start has done it already.
_EMPTY = "umount -l {} 2>/dev/null || true"


def inflict(containers: "LabContainers", container: "Container", service: str, kind: Kind) -> None:
    """Break a server, as the step `fault` says.

    Raises HostCannot where this host's kernel or engine lacks what that takes, LabNotReady where
    the server does not run.
    """
    if program := _PROGRAMS.get((service, kind)):
        containers.execute(service, [program, "on"])
    elif kind == "stop":
        container.stop(timeout=_GRACE)
    elif kind == "kill":
        container.kill()
    else:
        try:
            for command in by_hand(containers, service, kind):
                run(command)
        except HostProblem as error:
            container.reload()
            if container.status != "running":
                raise LabNotReady(
                    f"{service} cannot be broken so: it does not run", HEAL_FIRST
                ) from error
            for command in _back(containers, service, kind):  # what there was before it refused
                with suppress(HostProblem):
                    run(command)
            raise HostCannot(f"this host cannot make {service} {kind}: {error.what}") from error


def by_hand(containers: "LabContainers", service: str, kind: Kind) -> list[list[str]]:
    """Return the commands that do by hand what `inflict` does.

    Raises LabNotReady where a replica cannot be kept behind: it is cut off, or its provider away.
    """
    name = containers.container_name(service)
    if program := _PROGRAMS.get((service, kind)):
        return [["docker", "exec", name, program, "on"]]
    match kind:
        case "pause":
            return _signalled(containers, service, "STOP")
        case "cut":
            command = ["docker", "network", "disconnect", containers.network, name]
        case "behind":
            if not containers.runs(PROVIDER):
                raise LabNotReady(
                    f"{service} cannot be kept from hearing: {PROVIDER} does not run", HEAL_FIRST
                )
            away = _AWAY.format(_address(containers, service), _mark(service))
            command = _on_the_wire(containers, PROVIDER, away)
        case "slow":
            command = _on_the_wire(containers, service, _DELAYED)
        case "full":
            command = _among_files(containers, service, _FILL.format(_STORES[service]))
        case "stop":
            command = ["docker", "stop", "-t", str(_GRACE), name]
        case _:
            command = ["docker", kind, name]
    return [command]


def mended_by_hand(
    containers: "LabContainers", container: "Container", service: str, kinds: Sequence[str]
) -> list[list[str]]:
    """Return the commands that do by hand what `mend` would do now; there is at least one."""
    outside = _outside(containers, container, service, kinds)
    inside = [["docker", "exec", str(container.name), *each] for each in _inside(service, kinds)]
    return outside or inside or [["docker", "exec", str(container.name), "healthcheck"]]


def mend(
    containers: "LabContainers",
    container: "Container",
    service: str,
    kinds: Sequence[str],
    seconds: float,
) -> None:
    """Let a server run again that was broken in these ways, and see its own check pass; one that is
    still being ended, as a fault that was interrupted leaves it, is started when it has.

    Raises DeadlinePassed when it does not come back within so many seconds.
    """
    for command in _outside(containers, container, service, kinds):
        run(command)

    def well() -> bool:
        container.reload()
        if container.status == "exited":
            run(["docker", "start", str(container.name)])
        return containers.execute(service, ["healthcheck"]) is not None

    poll(well, what=f"{service} to be well again", seconds=seconds, retry=(LabNotReady,))
    for command in _inside(service, kinds):
        containers.execute(service, command)


def _outside(
    containers: "LabContainers", container: "Container", service: str, kinds: Sequence[str]
) -> list[list[str]]:
    """Return the commands that let a server run, on its network, at its pace, with space."""
    container.reload()
    name, found = str(container.name), []
    if not container.attrs["NetworkSettings"]["Networks"]:
        found.append(["docker", "network", "connect", "--alias", service, containers.network, name])
    if container.status == "paused":
        found.append(["docker", "unpause", name])
    elif container.status != "running":
        found.append(["docker", "start", name])
    for kind in dict.fromkeys(kinds):
        if kind != "pause" or container.status == "running":
            found += _back(containers, service, kind)
    return found


def _back(containers: "LabContainers", service: str, kind: str) -> list[list[str]]:
    """Return the commands that take back what commands beside a server have done."""
    match kind:
        case "pause":
            return _signalled(containers, service, "CONT")
        case "slow":
            return [_on_the_wire(containers, service, _IN_TIME)]
        case "behind" if containers.runs(PROVIDER):  # a start has done it already
            return [_on_the_wire(containers, PROVIDER, _BACK.format(_mark(service)))]
        case "full" if service in _STORES:
            return [_among_files(containers, service, _EMPTY.format(_STORES[service]))]
    return []


def _inside(service: str, kinds: Sequence[str]) -> list[list[str]]:
    """Return the commands that take back what programs in a container have done, the last of what
    may stand on another first.
    """
    return [
        [program, "off"]
        for (where, kind), program in _PROGRAMS.items()
        if where == service and kind in kinds
    ]


def _address(containers: "LabContainers", service: str) -> str:
    """Return a server's address on the lab's network; raises LabNotReady where it has none."""
    networks = containers.inspected(service)["NetworkSettings"]["Networks"]
    address = networks.get(containers.network, {}).get("IPAddress")
    if not address:
        raise LabNotReady(f"{service} is not on the lab's network", HEAL_FIRST)
    return str(address)


def _mark(service: str) -> int:
    return 200 + int(service[-1])


def _signalled(containers: "LabContainers", service: str, signal: str) -> list[list[str]]:
    """Return the commands that signal every process of a server: the first, who starts the others,
    can be stopped from outside its namespace alone, and the others from inside.

    Not the engine's pause: in Docker 20.10 it hangs for good if a health check begins just then.
    """
    name = containers.container_name(service)
    rights = ["--network=none", "--pid", f"container:{name}", "--cap-add=KILL"]
    inside = ["--entrypoint=bash", containers.helper, "-c", _EACH_OTHER.format(signal)]
    return [
        ["docker", "kill", f"--signal={signal}", name],
        [*_beside(containers), *rights, *inside],
    ]


def _on_the_wire(containers: "LabContainers", service: str, line: str) -> list[str]:
    """Return the command that runs a line of shell in the namespace of a server's network."""
    rights = ["--network", f"container:{containers.container_name(service)}", "--cap-add=NET_ADMIN"]
    return [*_beside(containers), *rights, "--entrypoint=sh", containers.helper, "-c", line]


def _among_files(containers: "LabContainers", service: str, line: str) -> list[str]:
    """Return the command that runs a line of shell in the namespace of a server's mounts, with the
    right to mount, which the server itself does not have.
    """
    rights = ["--network=none", "--pid", f"container:{containers.container_name(service)}"]
    rights += ["--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--security-opt=apparmor=unconfined"]
    inside = ["-t", "1", "-m", "sh", "-c", line]
    return [*_beside(containers), *rights, "--entrypoint=nsenter", containers.helper, *inside]


def _beside(containers: "LabContainers") -> list[str]:
    """Return how a container is run that is there for one command, and is found by its label where
    that was cut short.
    """
    return ["docker", "run", "--rm", "--label", f"{BESIDE}={containers.project}"]
