"""Reading a backup that may be damaged, somebody else's or hostile: nothing is made of it before
all of it was seen to be as it should.
"""

import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from labctl.errors import HostProblem, UsageError
from labctl.lab.backup.entries import count_people
from labctl.lab.backup.files import count, is_message, is_queued
from labctl.lab.backup.form import (
    CONTENTS,
    DIRECTORY,
    LISTING,
    MEMBERS,
    SECRETS,
    STATEMENT,
    File,
    Member,
    Statement,
    Unfit,
    read_listing,
)
from labctl.lab.backup.keys import Keys

_BLOCK: Final = tarfile.BLOCKSIZE
_PIECE: Final = 1 << 20
# Bytes; what is read into memory. The contents are as large as there is room on the disk.
_LARGEST: Final = {STATEMENT: 1 << 16, SECRETS: 1 << 24, DIRECTORY: 1 << 28, LISTING: 1 << 28}


@dataclass(frozen=True, slots=True)
class Examined:
    """A backup that is whole, unpacked into a directory: its five files, checked."""

    statement: Statement
    keys: Keys
    files: Sequence[File]
    directory: Path
    contents: Path
    sha256: str


def examine(path: Path, work: Path) -> Examined:
    """Unpack a backup into an empty directory, and see that it is whole.

    Raises UsageError saying what is wrong with it, HostProblem where there is no room for it.
    """
    try:
        return _examined(path, work)
    except Unfit as error:
        raise UsageError(
            f"{path} cannot be restored: {error}", "Nothing was changed; take another backup."
        ) from error


def _opened(path: Path) -> tuple[BinaryIO, str]:
    """Return a file that was read once, and its SHA-256."""
    try:
        raw = path.open("rb")
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
        raw.seek(0)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    return raw, sha256


def _examined(path: Path, work: Path) -> Examined:
    raw, sha256 = _opened(path)
    with raw:
        try:
            with gzip.GzipFile(fileobj=raw) as packed:
                statement = _unpack(packed, work)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise Unfit(f"it is damaged, or no backup: {error}") from error
    keys = Keys.read((work / SECRETS).read_bytes())
    files = read_listing((work / LISTING).read_bytes())
    base_dn = statement.settings.get("LAB_BASE_DN", "")
    seen = (
        count_people((work / DIRECTORY).read_bytes(), base_dn),
        count(files, is_message),
        count(files, is_queued),
    )
    if seen != (statement.people, statement.messages, statement.queued):
        raise Unfit("it does not hold what it says it holds")
    _check_contents(files, work / CONTENTS)
    return Examined(statement, keys, files, work / DIRECTORY, work / CONTENTS, sha256)


def _unpack(packed: gzip.GzipFile, work: Path) -> Statement:
    """Unpack the files in their order; nothing else may be there, nor come after."""
    size = _header(packed, STATEMENT)
    if size > _LARGEST[STATEMENT]:
        raise Unfit(f"{STATEMENT} is too long")
    statement = Statement.of(_read(packed, size))
    _skip(packed, size)
    needed = sum(member.size for member in statement.members.values())
    if needed > shutil.disk_usage(work).free:
        raise HostProblem(
            f"there is no room for the backup: {needed:,} bytes at {work.parent}",
            "Set LAB_STATE_DIR to where there is.",
        )
    for name in MEMBERS:
        _unpack_member(packed, name, statement.members[name], work / name)
    # Two blocks of zeros end a tar, and more fill up its last record, which the first of the two
    # may have filled; no more: packed, they may be without end.
    most = _BLOCK + tarfile.RECORDSIZE
    rest = packed.read(most + 1)
    if len(rest) > most or rest.strip(b"\0"):
        raise Unfit("something follows its last file")
    return statement


def _header(packed: gzip.GzipFile, name: str) -> int:
    """Read the header of the next file, which must be this one; returns its size."""
    block = _read(packed, _BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "backslashreplace")
    except tarfile.HeaderError as error:
        raise Unfit(f"there is no {name} where it should be") from error
    if info.name != name or info.type != tarfile.REGTYPE or info.size < 0:
        raise Unfit(f"there is no {name} where it should be")
    return info.size


def _unpack_member(packed: gzip.GzipFile, name: str, member: Member, path: Path) -> None:
    if _header(packed, name) != member.size or member.size > _LARGEST.get(name, member.size):
        raise Unfit(f"{name} is not as large as it should be")
    digest, left = hashlib.sha256(), member.size
    with path.open("wb") as file:
        while left:
            piece = _read(packed, min(left, _PIECE))
            digest.update(piece)
            file.write(piece)
            left -= len(piece)
    _skip(packed, member.size)
    if digest.hexdigest() != member.sha256:
        raise Unfit(f"{name} was changed: its digest is another one")


def _skip(packed: gzip.GzipFile, size: int) -> None:
    _read(packed, -size % _BLOCK)


def _read(packed: gzip.GzipFile, size: int) -> bytes:
    found = packed.read(size)
    if len(found) != size:
        raise Unfit("it is cut off")
    return found


def _check_contents(files: Sequence[File], path: Path) -> None:
    """See that the contents are those of the files, one after the other, and nothing else."""
    with path.open("rb") as contents:
        for file in files:
            digest, left = hashlib.sha256(), file.size
            while left and (piece := contents.read(min(left, _PIECE))):
                digest.update(piece)
                left -= len(piece)
            if not file.is_directory and (left or digest.hexdigest() != file.sha256):
                raise Unfit(f"{file.path!r} was changed: its digest is another one")
            if file.is_directory and file.size:
                raise Unfit(f"{file.path!r} is a directory with contents")
        if contents.read(1):
            raise Unfit(f"{CONTENTS} holds more than its files")
