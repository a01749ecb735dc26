"""Breaking a server of the lab on purpose, and mending it."""

from typing import TYPE_CHECKING, Literal

from labctl.errors import LabNotReady
from labctl.protocols.poll import poll

if TYPE_CHECKING:
    from docker.models.containers import Container

    from labctl.lab.containers import LabContainers

Kind = Literal["stop", "kill", "pause", "deny", "cache", "shadow"]
_BY_PROGRAM = {"deny": ("hide-policy",), "cache": ("auth-cache",), "shadow": ("shadow",)}
_TAKEN_BACK = {
    "openldap": ("hide-policy", "off"),
    "dovecot": ("auth-cache", "off"),
    "postfix": ("shadow", "off"),
}
_GRACE = 5  # seconds that a server has to stop by itself


def inflict(containers: "LabContainers", container: "Container", service: str, kind: Kind) -> None:
    """Stop a server in an orderly way, kill it, freeze it in the middle of what it does, let the
    directory hide the policy from Postfix, let Dovecot remember sign-ins, or let Postfix only warn
    of whom the policy would refuse.
    """
    if kind in _BY_PROGRAM:
        containers.execute(service, [*_BY_PROGRAM[kind], "on"])
    elif kind == "stop":
        container.stop(timeout=_GRACE)
    elif kind == "kill":
        container.kill()
    else:
        container.pause()


def by_hand(name: str, kind: Kind) -> list[str]:
    """Return the command that does by hand to the container called `name` what `inflict` does."""
    if kind in _BY_PROGRAM:
        return ["docker", "exec", name, *_BY_PROGRAM[kind], "on"]
    return ["docker", kind, *(["-t", str(_GRACE)] if kind == "stop" else []), name]


def mended_by_hand(container: "Container", service: str) -> list[str]:
    """Return the command that does by hand what `mend` would do now."""
    container.reload()
    name = str(container.name)
    if container.status == "paused":
        return ["docker", "unpause", name]
    if container.status != "running":
        return ["docker", "start", name]
    return ["docker", "exec", name, *_TAKEN_BACK.get(service, ("healthcheck",))]


def mend(containers: "LabContainers", container: "Container", service: str, seconds: float) -> None:
    """Let a server run again, and see its own check pass; one that runs is left as it is.

    Raises DeadlinePassed when it does not come back within so many seconds.
    """
    container.reload()
    if container.status == "paused":
        container.unpause()
    elif container.status != "running":
        container.start()
    poll(
        lambda: containers.execute(service, ["healthcheck"]) is not None or None,
        what=f"{service} to be well again",
        seconds=seconds,
        retry=(LabNotReady,),
    )
    if service in _TAKEN_BACK:
        containers.execute(service, _TAKEN_BACK[service])
