"""How entries were before a run changed them, kept outside of the process that will put them back.

A run that is killed cannot undo; whoever finds its journal can: `ldapmodify -f FILE`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from labctl.protocols.entry import Values


@dataclass(frozen=True, slots=True)
class Journal:
    """An LDIF file that is there as long as something is to be put back."""

    path: Path
    _noted: set[tuple[str, str]] = field(default_factory=set)  # attributes of entries

    def note(self, dn: str, values: Values) -> None:
        """Add an entry with the values to put back; on return it is on the disk. The first values
        of an attribute are those before the run: what is noted of it later is left out.
        """
        new = {each: given for each, given in values.items() if self._is_new(dn, each)}
        if not new:
            return
        from labctl.protocols.directory import as_ldif

        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(f"{as_ldif(dn, new)}\n\n")
            file.flush()
            os.fsync(file.fileno())
        self._noted.update((dn.lower(), each.lower()) for each in new)

    def _is_new(self, dn: str, attribute: str) -> bool:
        return (dn.lower(), attribute.lower()) not in self._noted

    def forget(self) -> None:
        """Remove the file: all is as it was."""
        self.path.unlink(missing_ok=True)
