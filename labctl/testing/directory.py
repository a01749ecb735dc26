"""The policy attributes of people, changed as the policy-admin would, and put back."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from labctl.endpoints import Endpoints
    from labctl.protocols.directory import Directory
    from labctl.protocols.entry import Policy, PolicyChange

_ABSENT = "absent"


class PolicyDirectory:
    """The directory of a stack, as far as the policy goes; each call binds anew. A change counts
    when it returns, also where the directory has replicas.

    All of them raise UsageError for somebody whom the directory does not have, or where the
    endpoints name no policy-admin, and LabNotReady when the directory does not answer.
    """

    def __init__(
        self, endpoints: "Callable[[], Endpoints]", follow: Callable[[], object] = lambda: None
    ) -> None:
        self._endpoints = endpoints
        self._follow = follow
        self._before: dict[str, Policy] = {}

    def policy(self, name: str) -> "Policy":
        """Return somebody's policy: `send_allowed`, `status`, and what they come to, `may_send`."""
        with self._open() as directory:
            return directory.policy(directory.person(name))

    def disable(self, name: str) -> None:
        """Forbid somebody to send; the status stays as it is."""
        from labctl.protocols.entry import DISABLE

        self._change(name, DISABLE)

    def enable(self, name: str) -> None:
        """Reinstate somebody: active, and allowed to send."""
        from labctl.protocols.entry import ENABLE

        self._change(name, ENABLE)

    def offboard(self, name: str) -> None:
        """Offboard somebody: the status says so, and sending is over."""
        from labctl.protocols.entry import OFFBOARD

        self._change(name, OFFBOARD)

    def set(
        self,
        name: str,
        *,
        send_allowed: Literal["TRUE", "FALSE", "absent"] | None = None,
        status: str | None = None,
    ) -> None:
        """Set either attribute, or both; `absent` removes one, and None leaves it as it is.

        Raises ExpectationFailed when the directory refuses the value.
        """
        given: PolicyChange = {"send_allowed": send_allowed, "status": status}
        change: PolicyChange = {
            key: None if value == _ABSENT else value
            for key, value in given.items()
            if value is not None
        }
        self._change(name, change)

    def restore(self) -> None:
        """Put back what was changed here since the last time, or in this `changed`: each of them,
        also if one cannot be.
        """
        before, self._before = self._before, {}
        with ExitStack() as undoing:
            for name, policy in before.items():
                back: PolicyChange = {
                    "send_allowed": policy.send_allowed,
                    "status": policy.status,
                }
                undoing.callback(self._set, name, back)

    @contextmanager
    def changed(self, *names: str) -> Iterator[None]:
        """Put back at the end what is changed within: through this object, and for those who are
        named whoever changes it.
        """
        outer, self._before = self._before, {name: self.policy(name) for name in names}
        try:
            yield
        finally:
            try:
                self.restore()
            finally:
                self._before = outer

    def _change(self, name: str, change: "PolicyChange") -> None:
        if name not in self._before:
            self._before[name] = self.policy(name)
        self._set(name, change)

    def _set(self, name: str, change: "PolicyChange") -> None:
        with self._open() as directory:
            directory.set_policy(directory.person(name).dn, change)
        self._follow()

    def _open(self) -> "Directory":
        from labctl.protocols.directory import Directory

        endpoints = self._endpoints()
        return Directory.open(endpoints, endpoints.policy_admin, emit=lambda _: None)
