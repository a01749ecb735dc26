"""What the value that an access table returned means (access(5))."""

import re

from labctl.errors import UsageError
from labctl.explain.configuration import Configuration
from labctl.explain.model import Said, Verdict
from labctl.protocols.smtp import Reply

_REPLY = re.compile(r"([45])\d\d(?:\s+|$)")
_DSN = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?:\s+|$)")
SERVER_ERROR = "451 4.3.5 Server configuration error"  # what smtpd takes for a failed lookup


def meaning(configuration: Configuration, value: str, what: str) -> Said:
    """Return what `value` says about `what` (`Sender address`, …).

    Raises UsageError for an action that explain does not know.
    """
    word, _, text = value.partition(" ")
    if word.upper() in {"OK", "RELAY"} or value.isdigit():
        return Said(Verdict.PERMITS, value)
    if word.upper() == "DUNNO":
        return Said(Verdict.SILENT, value)
    if word.upper() in {"REJECT", "DEFER"}:
        code = configuration.number(f"access_map_{word.lower()}_code")
        return refused(code, text, what, value)
    if match := _REPLY.match(value):
        return refused(int(value[:3]), value[match.end() :], what, value)
    raise UsageError(
        f"explain does not know what {value!r} of an access table means",
        "It knows OK, DUNNO, REJECT, DEFER and replies.",
    )


def refused(code: int, text: str, what: str, why: str) -> Said:
    """Return a refusal as smtpd words it, with the enhanced code that `text` begins with."""
    enhanced = f"{code // 100}.7.1"
    if match := _DSN.match(text):
        enhanced, text = match[0].strip(), text[match.end() :]
    worded = f"{what} rejected: {text.strip() or 'Access denied'}"
    return Said(Verdict.REFUSES, why, Reply(code, enhanced, worded))
