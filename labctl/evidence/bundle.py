"""The archive: a gzipped tar (POSIX.1-1988, ustar) of plain files, with a manifest.

The same members, name and time make the same tar, byte for byte, on every machine: no owner, no
mode, no order but the alphabet's. So whoever verifies one can make it anew and compare.
"""

import hashlib
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

MANIFEST: Final = "MANIFEST"
README: Final = "README.txt"
PREFIX: Final = "evidence-"
BLOCK: Final = tarfile.BLOCKSIZE
MAGIC: Final = b"\x1f\x8b\x08"  # gzip, deflate
_PIECE: Final = 1 << 16  # bytes of a file that are read at once

Content = bytes | Path
"""What is in a member: bytes, or those of a file, which is read as it is packed."""


def pack(name: str, members: Mapping[str, Content], at: int) -> Iterator[bytes]:
    """Yield a bundle, piece by piece: the members below the directory `evidence-name`, and their
    manifest.

    `at` is every file's time, in seconds since the epoch.
    """
    deflate = zlib.compressobj(zlib.Z_BEST_COMPRESSION, wbits=-zlib.MAX_WBITS)
    crc = size = 0
    yield gzip_header(at)
    for piece in archive(f"{PREFIX}{name}", {**members, MANIFEST: manifest(members)}, at):
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        yield deflate.compress(piece)
    yield deflate.flush() + struct.pack("<II", crc, size % (1 << 32))  # RFC 1952 §2.3.1


def gzip_header(at: int) -> bytes:
    """Return the header of a gzip file that holds a time and nothing else (RFC 1952 §2.3)."""
    return MAGIC + struct.pack("<BIBB", 0, at, 2, 255)


def manifest(members: Mapping[str, Content]) -> bytes:
    """Return the members' checksums in the form that `sha256sum --check` reads."""
    rows = (f"{digest(members[name])}  {name}\n" for name in sorted(members))
    return "".join(rows).encode("ascii")


def digest(content: Content) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    found = hashlib.sha256()
    for piece in _pieces(content):
        found.update(piece)
    return found.hexdigest()


def archive(top: str, members: Mapping[str, Content], at: int) -> Iterator[bytes]:
    """Yield the tar of the members below the directory `top`, in the order of their names.

    Raises ValueError for a name that is too long for the format.
    """
    written = 0
    for name in sorted(members):
        content = members[name]
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        yield header(f"{top}/{name}", size, at)
        yield from _pieces(content)
        yield bytes(-size % BLOCK)
        written += BLOCK + size + -size % BLOCK
    end = written + 2 * BLOCK
    yield bytes(2 * BLOCK + -end % tarfile.RECORDSIZE)


def _pieces(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def header(name: str, size: int, at: int) -> bytes:
    """Return the header of a plain file that anybody may read and that belongs to nobody."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, at, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
