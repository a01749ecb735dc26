"""The archive: a gzipped tar (POSIX.1-1988, ustar) of plain files, with a manifest.

The same members, name and time make the same tar, byte for byte, on every machine: no owner, no
mode, no order but the alphabet's. So whoever verifies one can make it anew and compare.
"""

import hashlib
import struct
import tarfile
import zlib
from collections.abc import Mapping
from typing import Final

MANIFEST: Final = "MANIFEST"
README: Final = "README.txt"
PREFIX: Final = "evidence-"
BLOCK: Final = tarfile.BLOCKSIZE
MAGIC: Final = b"\x1f\x8b\x08"  # gzip, deflate


def pack(name: str, members: Mapping[str, bytes], at: int) -> bytes:
    """Return a bundle: the members below the directory `evidence-name`, and their manifest.

    `at` is every file's time, in seconds since the epoch.
    """
    tar = archive(f"{PREFIX}{name}", {**members, MANIFEST: manifest(members)}, at)
    deflate = zlib.compressobj(zlib.Z_BEST_COMPRESSION, wbits=-zlib.MAX_WBITS)
    trailer = struct.pack("<II", zlib.crc32(tar), len(tar))
    return gzip_header(at) + deflate.compress(tar) + deflate.flush() + trailer


def gzip_header(at: int) -> bytes:
    """Return the header of a gzip file that holds a time and nothing else (RFC 1952 §2.3)."""
    return MAGIC + struct.pack("<BIBB", 0, at, 2, 255)


def manifest(members: Mapping[str, bytes]) -> bytes:
    """Return the members' checksums in the form that `sha256sum --check` reads."""
    rows = (f"{digest(members[name])}  {name}\n" for name in sorted(members))
    return "".join(rows).encode("ascii")


def digest(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def archive(top: str, members: Mapping[str, bytes], at: int) -> bytes:
    """Return the tar of the members below the directory `top`, in the order of their names.

    Raises ValueError for a name that is too long for the format.
    """
    parts: list[bytes] = []
    for name in sorted(members):
        content = members[name]
        parts += [header(f"{top}/{name}", len(content), at), content, bytes(-len(content) % BLOCK)]
    end = sum(map(len, parts)) + 2 * BLOCK
    return b"".join([*parts, bytes(2 * BLOCK + -end % tarfile.RECORDSIZE)])


def header(name: str, size: int, at: int) -> bytes:
    """Return the header of a plain file that anybody may read and that belongs to nobody."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, at, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
