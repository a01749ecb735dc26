"""The verbs. One file each; a new one is a line in this table."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from labctl.scenario.model import Step

# Where each verb's class is; its module is imported when a scenario uses the verb.
_CLASSES: Mapping[str, str] = {
    "send": "send.Send",
    "resend": "resend.Resend",
    "receive": "receive.Receive",
    "queue": "queue.Queue",
    "log": "log.Log",
    "authenticate": "authenticate.Authenticate",
    "kick": "kick.Kick",
    "hold": "hold.Hold",
    "release": "hold.Release",
    "disable": "policy.Disable",
    "enable": "policy.Enable",
    "offboard": "policy.Offboard",
    "set": "policy.Set",
    "ldif": "ldif.Ldif",
    "directory": "directory.AsSomebody",
    "fault": "fault.Fault",
    "heal": "fault.Heal",
    "flush": "fault.Flush",
    "lag": "lag.Lag",
    "warned": "warned.Warned",
    "smtp": "smtp.Smtp",
    "sendmail": "sendmail.Sendmail",
    "unchanged": "unchanged.Unchanged",
    "note": "note.Note",
    "pause": "pause.Pause",
}


class _Steps(Mapping[str, type[Step]]):
    """The steps by their verbs."""

    def __getitem__(self, verb: str) -> type[Step]:
        module, name = _CLASSES[verb].split(".")
        step: type[Step] = getattr(import_module(f"{__name__}.{module}"), name)
        return step

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


TABLE: Mapping[str, type[Step]] = _Steps()
