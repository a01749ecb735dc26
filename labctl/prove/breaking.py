"""Putting a mutation into running servers; a start renders all anew, so to mend is to restart."""

from collections.abc import Sequence

from labctl.lab.containers import LabContainers
from labctl.prove.mutation import ConfigChange, Edit, Mutation

_SECONDS = 30.0  # to start
# Postfix waits for files that are younger than two seconds.
_WRITE = 'printf %s "$1" >"$2" && touch -d "5 seconds ago" "$2"'


def break_lab(containers: LabContainers, mutation: Mutation, base_dn: str) -> None:
    """Make the changes, and let the servers read them.

    Raises UsageError where one changes nothing, LabNotReady where a server does not take it.
    """
    for change in mutation.changes:
        if isinstance(change, ConfigChange):
            _configure(containers, change.ldif.replace("BASE", base_dn))
        else:
            _edit(containers, change)
    if "dovecot" in mutation.services:
        containers.execute("dovecot", ["doveadm", "reload"])
    if "postfix" in mutation.services:
        reload_postfix(containers)


def mend_lab(containers: LabContainers, services: Sequence[str]) -> None:
    """Start the servers anew, with what their images say, and see their own checks pass."""
    for service in services:
        containers.restart(service)
        containers.mend(service, _SECONDS)


def reload_postfix(containers: LabContainers) -> None:
    """Reload, and close what is open: what comes after meets the new configuration."""
    containers.execute("postfix", ["read-anew"])


def _edit(containers: LabContainers, edit: Edit) -> None:
    text = containers.execute(edit.service, ["cat", edit.path])
    write_file(containers, edit.service, edit.path, edit.applied(text))


def write_file(containers: LabContainers, service: str, path: str, text: str) -> None:
    """Write a file in a container, as if it had been there for a while."""
    containers.execute(service, ["sh", "-c", _WRITE, "write", text, path])


def _configure(containers: LabContainers, ldif: str) -> None:
    modify = "printf '%s\\n' \"$1\" | ldapmodify -Q -Y EXTERNAL -H ldapi:///"
    containers.execute("openldap", ["sh", "-c", modify, "modify", ldif])
