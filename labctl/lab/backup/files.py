"""The files of a lab's volumes: out of a container's archive into a backup, and back."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Final

from labctl.lab.backup.form import LOWEST_UID, File

SERVICE: Final[Mapping[str, str]] = {"mail": "dovecot", "queue": "postfix"}
ROOT: Final[Mapping[str, str]] = {"mail": "/home", "queue": "/var/spool/postfix"}
_QUEUES: Final = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush"),
    *("hold", "incoming", "maildrop", "saved", "trace"),
)
MESSAGES: Final = frozenset({"active", "corrupt", "deferred", "hold", "incoming", "maildrop"})
_WHOLE = 0o100  # a message that is not yet accepted lacks it
_POSTFIX = 902  # fixed in the image, and the group is root's
_PIECE = 1 << 20


def collect(place: str, archive: IO[bytes], contents: IO[bytes]) -> Iterator[File]:
    """Yield the files of an archive as the engine makes it, their contents written one after the
    other. Sockets and the like, which servers make anew, are left out.
    """
    owners: dict[str, int] = {}
    with tarfile.open(fileobj=archive, mode="r|", errors="surrogateescape") as tar:
        for info in tar:
            path = info.name.partition("/")[2]
            if not path or not (info.isreg() or info.isdir()) or not _is_kept(place, path, info):
                continue
            home = path.partition("/")[0]
            owners.setdefault(home, info.uid)
            owner = info.uid if info.uid >= LOWEST_UID else owners[home]
            size, digest = _kept(tar, info, contents) if info.isreg() else (0, "")
            mode, modified = info.mode & 0o777, int(info.mtime)
            yield File(place, path, mode, owner, modified, size, digest)


def _is_kept(place: str, path: str, info: tarfile.TarInfo) -> bool:
    if place == "mail":
        return True
    queue = PurePosixPath(path).parts[0]
    whole = queue not in MESSAGES or bool(info.mode & _WHOLE)
    return info.isreg() and queue in _QUEUES and whole


def _kept(tar: tarfile.TarFile, info: tarfile.TarInfo, contents: IO[bytes]) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    source = tar.extractfile(info) or io.BytesIO()
    while piece := source.read(_PIECE):
        digest.update(piece)
        size += contents.write(piece)
    return size, digest.hexdigest()


def pack(place: str, files: Iterable[File], contents: IO[bytes], archive: IO[bytes]) -> None:
    """Write the archive that the engine unpacks in the root of a volume; the contents are read from
    where they stand.
    """
    made: set[str] = set()
    with tarfile.open(fileobj=archive, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            if file.place != place:
                contents.seek(file.size, io.SEEK_CUR)
                continue
            if place == "queue":
                _add_parents(tar, file, made)
            tar.addfile(_info(file), contents if not file.is_directory else None)


def _add_parents(tar: tarfile.TarFile, file: File, made: set[str]) -> None:
    """Add the directories of a queue file that the image does not bring."""
    for parent in reversed(PurePosixPath(file.path).parents[:-2]):
        if str(parent) not in made:
            made.add(str(parent))
            tar.addfile(_info(File("queue", str(parent), 0o700, _POSTFIX, file.modified)))


def _info(file: File) -> tarfile.TarInfo:
    info = tarfile.TarInfo(file.path)
    info.mode, info.mtime, info.size = file.mode, file.modified, file.size
    info.type = tarfile.DIRTYPE if file.is_directory else tarfile.REGTYPE
    info.uid, info.gid = (_POSTFIX, 0) if file.place == "queue" else (file.owner, file.owner)
    return info


def is_message(file: File) -> bool:
    """Say whether it is a message in a mailbox."""
    parts = file.path.split("/")
    return file.place == "mail" and not file.is_directory and parts[-2] in {"new", "cur"}


def is_queued(file: File) -> bool:
    """Say whether it is a message in the queue."""
    return file.place == "queue" and file.path.partition("/")[0] in MESSAGES


def count(files: Iterable[File], what: Callable[[File], bool]) -> int:
    """Return how many files are that."""
    return sum(map(what, files))
