"""How a scenario writes a time: `500ms`, `2s`, and a plain number is seconds."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

LONGEST = 600.0  # seconds

# What the key `within` says of itself.
UNTIL = "until when it is waited for; without it `LAB_WAIT_SECONDS`, ten seconds"
RETRIED = (
    "a temporary refusal (4xx), or no answer, is tried again until then; "
    "without it there is one attempt"
)

_FORM = re.compile(r"(?=.*[1-9])([0-9]{1,6}(?:\.[0-9]{1,6})?)(ms|s)")
_BOUNDS = f"above 0 and at most {LONGEST:g} s"
_UNITS = {"ms": 1000, "s": 1}


def seconds_of(value: object) -> float:
    """Return a duration in seconds; raises ValueError, which says why, if it is none."""
    if isinstance(value, str) and (match := _FORM.fullmatch(value)):
        seconds = float(match[1]) / _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError(f"a duration is `500ms`, `2s`, or a number of seconds; {_BOUNDS}")
    if not 0 < seconds <= LONGEST:  # NaN neither
        raise ValueError(f"a duration is {_BOUNDS}")
    return seconds


def shown(seconds: float) -> str:
    """Return a duration as a scenario would write it: milliseconds below one second."""
    below = seconds < 0.9995  # noqa: PLR2004  what is above rounds to a second
    return f"{seconds * 1000:.3g}ms" if below else f"{seconds:.4g}s"


Duration = Annotated[
    float,
    BeforeValidator(seconds_of),
    WithJsonSchema(
        {
            "title": "duration",
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST},
                {"type": "string", "pattern": f"^{_FORM.pattern}$"},
            ],
        },
    ),
]
"""Seconds, above 0 and at most ten minutes."""
