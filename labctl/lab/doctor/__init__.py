"""What is wrong with a lab or its host: one look a line, each with the cause and what mends it."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from labctl.lab.doctor import host, mail, policy, replicas, servers
from labctl.lab.doctor.finding import Finding, Level, looked
from labctl.lab.images import SERVICES
from labctl.lab.replicas import PROVIDER, REPLICAS

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

Look = Callable[["Lab"], Finding]

ON_THE_HOST: Final[Mapping[str, Look]] = {
    "compose": host.compose,
    "images": host.images,
    "disk": host.disk,
    "clock": host.clock,
    "leftovers": host.leftovers,
    "subnet": host.subnet,
}
IN_THE_LAB: Final[Mapping[str, Look]] = {
    "certificates": servers.certificates,
    "clocks": servers.clocks,
    "space": servers.space,
    "limits": servers.limits,
    "directory": policy.directory,
    "policy attributes": policy.visible,
    "enforcement": policy.enforced,
    "domains": mail.domains,
    "sign-in": mail.sign_in,
    "refused sign-ins": mail.refused,
    "queue": mail.queue,
    "mailboxes": mail.mailboxes,
}
WITH_REPLICAS: Final[Mapping[str, Look]] = {"replicas": replicas.in_step}
# The servers that a look asks, where it is not each one that runs; Postfix asks the replicas, where
# there are any, about each transaction.
ASKS: Final[Mapping[str, frozenset[str]]] = {
    "certificates": frozenset({"openldap", "postfix", "dovecot"}),
    "directory": frozenset({"openldap"}),
    "policy attributes": frozenset({"openldap", *REPLICAS}),
    "enforcement": frozenset({*SERVICES, *REPLICAS}),
    "domains": frozenset({"postfix"}),
    "replicas": frozenset({PROVIDER, *REPLICAS}),
    "sign-in": frozenset({*SERVICES, *REPLICAS}),
    "refused sign-ins": frozenset({"openldap", "postfix", "dovecot"}),
    "queue": frozenset({"postfix"}),
    "mailboxes": frozenset({"openldap", "dovecot"}),
}


def examine(lab: "Lab") -> Iterator[Finding]:
    """Look at the host, then at the lab; of one that is not up, only at the host, and of a host
    without an engine at that alone: nothing is known of the lab.

    What a server that is not well would be asked is left out: it might never answer.
    """
    engine = looked(lab, "engine", host.engine)
    yield engine
    if engine.level is Level.FAIL:
        return
    yield from _side_by_side(lab, ON_THE_HOST)
    if not host.is_up(lab):
        yield from _side_by_side(lab, {"ports": host.ports_are_free})
        yield looked(lab, "services", host.not_up)
        return
    states = lab.containers.states()
    yield looked(lab, "services", lambda lab: servers.services(lab, states))
    record, healthy = lab.project.record, {s.service for s in states if s.well}
    ill = {service for service in record.servers if service not in healthy}
    reached = False
    if not ill.issuperset(servers.SERVER_OF.values()):
        ports = looked(lab, "ports", lambda lab: servers.ports(lab, ill))
        yield ports
        reached = ports.level is Level.OK
    looks = {**IN_THE_LAB, **(WITH_REPLICAS if record.replicas else {})}
    askable = {n: look for n, look in looks.items() if not ASKS.get(n, frozenset()) & ill}
    if not reached:  # what is told of the ports explains it
        askable.pop("enforcement", None)
    yield from _side_by_side(lab, askable)


def _side_by_side(lab: "Lab", looks: Mapping[str, Look]) -> list[Finding]:
    with ThreadPoolExecutor(len(looks)) as pool:
        return list(pool.map(lambda item: looked(lab, *item), looks.items()))
