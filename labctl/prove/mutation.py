"""What a mutation is made of: edits of rendered files, and changes of cn=config."""

import re
from dataclasses import dataclass
from typing import Literal

from labctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement in a rendered file of Postfix or Dovecot; `pattern` is a regular expression,
    its `^` and `$` a line's ends.
    """

    path: str
    pattern: str
    replacement: str

    @property
    def service(self) -> Literal["postfix", "dovecot"]:
        """Whose file it is."""
        return "dovecot" if self.path.startswith("/etc/dovecot/") else "postfix"

    def applied(self, text: str) -> str:
        """Return the text with the replacement; raises UsageError where it changes nothing, since
        a mutation that does not take place would look like one that nobody noticed.
        """
        changed = re.sub(self.pattern, self.replacement, text, flags=re.MULTILINE)
        if changed == text:
            raise UsageError(
                f"the mutation of {self.path} changes nothing: {self.pattern!r} is not there",
                "Correct it in labctl/prove/catalogue.py.",
            )
        return changed


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A change of slapd's running configuration, as LDIF (slapd-config(5)). BASE is the lab's."""

    ldif: str

    @property
    def service(self) -> Literal["openldap"]:
        """Whose configuration it is."""
        return "openldap"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the lab. `scenario` is the one likeliest to notice: it is run first."""

    name: str
    changes: tuple[Edit | ConfigChange, ...]
    scenario: str
    profile: Literal["hardened", "baseline"] = "hardened"

    @property
    def services(self) -> tuple[str, ...]:
        """Which servers it changes."""
        return tuple(dict.fromkeys(change.service for change in self.changes))
