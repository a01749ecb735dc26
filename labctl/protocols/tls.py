"""TLS as every conversation of ours begins it: 1.2 and up, certificates verified."""

import ssl
from functools import lru_cache
from pathlib import Path

from labctl.errors import UsageError


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts `ca_file`, or the system's authorities without one; it is made
    anew only when the file was.

    Raises UsageError if the file cannot be read as certificates.
    """
    written = ca_file.stat().st_mtime_ns if ca_file and ca_file.is_file() else 0
    return _context(ca_file, written)


@lru_cache(maxsize=8)
def _context(ca_file: Path | None, _written: int) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the CA file {ca_file} cannot be used: {error}",
            "Set ca_file in the endpoints to the PEM file of the stack's CA.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
