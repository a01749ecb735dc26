"""Whether Postfix's service account sees the policy attributes that are set."""

from typing import TYPE_CHECKING

from labctl.protocols.directory import Directory

if TYPE_CHECKING:
    from labctl.lab.lab import Lab


def unseen_policies(lab: "Lab") -> list[str]:
    """Return the names of people whose policy the administrator sees and Postfix does not."""
    endpoints = lab.endpoints()
    postfix = endpoints.service_accounts["postfix"]
    with (
        lab.directory() as whole,
        Directory.open(endpoints, postfix, emit=lambda _: None) as narrow,
    ):
        true = {entry.first("uid"): whole.policy(entry) for entry in whole.people()}
        seen = {entry.first("uid"): narrow.policy(entry) for entry in narrow.people()}
    return sorted(str(name) for name, policy in true.items() if seen.get(name) != policy)
