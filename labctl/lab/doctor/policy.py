"""Looks at the directory and the policy in it: that it is there, is seen, and is enforced."""

from typing import TYPE_CHECKING

from labctl.endpoints import Account
from labctl.errors import LabNotReady, SignInRefused
from labctl.lab import shadow
from labctl.lab.doctor.finding import Finding, well, wrong
from labctl.lab.doctor.mail import directory_refuses
from labctl.lab.ready import unheard
from labctl.lab.replicas import PROVIDER
from labctl.lab.visibility import unseen_policies
from labctl.protocols.directory import Directory
from labctl.protocols.smtp import Envelope, Outcome, SmtpConnection, Stage
from labctl.protocols.tls import client_context

if TYPE_CHECKING:
    from labctl.lab.lab import Lab


_STRANGER = Envelope("stranger@example.net", ("nobody@example.org",))


def directory(lab: "Lab") -> Finding:
    """See the directory answer its administrator, and take the passwords of the services."""
    endpoints = lab.endpoints()
    logins = {"policy-admin": endpoints.policy_admin, **endpoints.service_accounts}
    for name, login in logins.items():
        try:
            Directory.open(endpoints, login, emit=unheard).close()
        except SignInRefused as error:
            return wrong(f"{name}: {error.what}", _restart(lab))
    try:
        opened = lab.directory()
    except SignInRefused as error:
        return wrong(error.what, _restart(lab))
    with opened:
        return well(f"{len(opened.people())} people below ou=users,{opened.base_dn}")


def visible(lab: "Lab") -> Finding:
    """See as Postfix sees: a deny list would fail open in silence if it could not."""
    try:
        unseen = unseen_policies(lab)
    except SignInRefused as error:
        return wrong(error.what, _restart(lab))
    if unseen:
        return wrong(
            f"Postfix's account cannot see the policy attributes of {', '.join(unseen)}",
            _restart(lab),
        )
    for replica in lab.project.record.replicas:
        try:
            lab.containers.execute(replica, ["hide-policy", "is-off"])
        except LabNotReady:
            return wrong(
                f"{replica} hides the policy attributes from Postfix's account",
                f"docker restart {lab.containers.container_name(replica)}",
            )
    return well("seen by Postfix's account wherever they are set")


def enforced(lab: "Lab") -> Finding:
    """See Postfix refuse one whom the policy refuses, and a stranger who would relay; nothing is
    submitted. A rehearsal would only warn.
    """
    if shadow.is_on(lab.containers):
        return wrong(
            "shadow is on: Postfix warns of whom the policy would refuse, and takes his mail",
            f"{lab.files.command} shadow --off",
        )
    outcome = _told(lab, "smtp", _STRANGER)
    if outcome.reply.ok:
        return wrong(f"port 25 relays for anybody: {outcome}", _restart(lab, "postfix"))
    who = _blocked(lab)
    return well("port 25 relays nothing; nobody is blocked") if who is None else _refused(lab, who)


def _refused(lab: "Lab", who: Account) -> Finding:
    """See one who may not send be refused for that."""
    if directory_refuses(lab, who):  # `sign-in` says so, and Postfix would have one more to tell of
        return well(f"port 25 relays nothing; {who.name}, who may not send, cannot sign in")
    outcome = _told(lab, "submission", Envelope(who.address, (who.address,)), who)
    if outcome.reply.ok:
        said = f"{who.name} may not send, and Postfix answers {outcome}"
        return wrong(said, _restart(lab, "postfix"))
    if not _is_the_policys(outcome):
        said = f"{who.name}, who may not send, is told {outcome}: not the policy's refusal"
        asked = lab.project.record.replicas  # by Postfix; who signs in is Dovecot's to say
        return wrong(said, _restart(lab, *(("dovecot",) if outcome.stage is Stage.AUTH else asked)))
    return well(f"port 25 relays nothing; {who.name}, who may not send, is told {outcome}")


def _is_the_policys(outcome: Outcome) -> bool:
    """Say whether that is a refusal for good, once it is known who asks: neither a sign-in that
    fails, nor a directory that does not tell.
    """
    return outcome.stage is Stage.RCPT and not (outcome.reply.ok or outcome.reply.temporary)


def _blocked(lab: "Lab") -> Account | None:
    """Return the first of the people known here who may not send."""
    endpoints = lab.endpoints()
    with Directory.open(endpoints, endpoints.policy_admin, emit=unheard) as directory:
        for who in directory.endpoints.accounts.values():
            entry = directory.read(directory.dn(who.name))
            if entry is not None and not directory.policy(entry).may_send:
                return who
    return None


def _told(lab: "Lab", service: str, envelope: Envelope, who: Account | None = None) -> Outcome:
    """Return what comes of a transaction up to its recipient."""
    endpoints = lab.endpoints()
    context = client_context(endpoints.ca_file)
    with SmtpConnection.open(
        service, endpoints.services[service], context=context, emit=unheard
    ) as connection:
        if who is not None:
            outcome = connection.sign_in(who.login, who.password)
            if not outcome.reply.ok:
                return outcome
        return connection.address(envelope)


def _restart(lab: "Lab", *services: str) -> str:
    """Return what has the directory, or these, render their own rules and passwords again."""
    names = map(lab.containers.container_name, services or (PROVIDER,))
    return " ".join(["docker restart", *names])
