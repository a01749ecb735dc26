"""Looks at the directory and the policy in it: that it is there, is seen, and is enforced."""

from typing import TYPE_CHECKING

from labctl.errors import SignInRefused
from labctl.lab import shadow
from labctl.lab.doctor.finding import Finding, well, wrong
from labctl.lab.visibility import unseen_policies

if TYPE_CHECKING:
    from labctl.lab.lab import Lab


def directory(lab: "Lab") -> Finding:
    """See the directory answer its administrator."""
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
    return well("seen by Postfix's account wherever they are set")


def enforced(lab: "Lab") -> Finding:
    """See whether Postfix refuses whom the policy refuses, or only warns."""
    if shadow.is_on(lab.containers):
        return wrong(
            "shadow is on: Postfix warns of whom the policy would refuse, and takes his mail",
            f"{lab.files.command} shadow --off",
        )
    return well("whom the policy refuses is refused")


def _restart(lab: "Lab") -> str:
    """Return what has slapd render its own rules and passwords again."""
    return f"docker restart {lab.containers.container_name('openldap')}"
