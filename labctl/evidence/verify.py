"""Whether a bundle is whole: every member listed and as listed, and nothing else in the file.

Nothing is unpacked to disk, and nothing that the archive says of itself is trusted. After the
checks that say what is wrong, the tar is made anew from its members and has to be the same.
"""

import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from labctl.errors import UsageError
from labctl.evidence.bundle import BLOCK, MAGIC, MANIFEST, PREFIX, archive, digest, gzip_header

LARGEST: Final = 1 << 28  # bytes unpacked; far more than any run leaves
_ROW = re.compile(r"([0-9a-f]{64})  (\S.*)")
_AS_LISTED: Final = "as listed"
_HINT: Final = "`labctl scenario NAME --evidence FILE.tgz` writes one."


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the bundle, and how it is: `as listed`, `changed`, `missing` or `not listed`."""

    name: str
    sha256: str
    state: str


@dataclass(slots=True)
class Examination:
    """What was found: the digest of the whole file, its members, and everything that is wrong."""

    sha256: str
    name: str = ""
    members: list[Member] = field(default_factory=list)
    contents: Mapping[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.problems


def examine(data: bytes) -> Examination:
    """Look at a file's bytes. Raises UsageError when they are no evidence bundle at all."""
    if not data.startswith(MAGIC):
        raise UsageError("this is no evidence bundle: it is not gzipped", _HINT)
    found = Examination(digest(data))
    tar = _unpacked(data, found.problems)
    first = _header(tar[:BLOCK])
    top, _, name = first.name.partition("/") if first else ("", "", "")
    if first is None or not top.startswith(PREFIX) or name != MANIFEST:
        raise UsageError("this is no evidence bundle: it does not begin with a manifest", _HINT)
    found.name = top
    found.contents = dict(_contents(tar, top, found.problems))
    found.members = _compared(found.contents, found.problems)
    if found.whole and not _made_by_us(found, data, tar, int(first.mtime)):
        found.problems.append("the archive holds something besides its files")
    return found


def _unpacked(data: bytes, problems: list[str]) -> bytes:
    """Return what is in the gzip, as far as it goes."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    tar, place = bytearray(), 0
    try:
        # Piece by piece, so that what comes before a damage is still looked at.
        while place < len(data) and not unpacker.eof and len(tar) <= LARGEST:
            tar += unpacker.decompress(data[place : place + BLOCK])
            place += BLOCK
    except zlib.error as error:
        problems.append(f"it is damaged: {error}")
        return bytes(tar)
    if len(tar) > LARGEST:
        problems.append(f"it unpacks to more than {LARGEST:,} bytes")
    elif not unpacker.eof:
        problems.append("it is cut off: the end of the archive is missing")
    elif behind := len(unpacker.unused_data) + len(data[place:]):
        problems.append(f"{behind} bytes follow the end of the archive")
    return bytes(tar)


def _header(block: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(block, "ascii", "backslashreplace")
    except tarfile.HeaderError:
        return None


def _contents(tar: bytes, top: str, problems: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the plain files of a tar by their names below `top`, and note what else it holds."""
    place, last, seen = 0, "its beginning", set[str]()
    while any(block := tar[place : place + BLOCK]):
        info = _header(block)
        if info is None or info.size < 0:
            problems.append(f"a header is damaged, after {last}")
            return
        content = tar[place + BLOCK : place + BLOCK + info.size]
        if len(content) < info.size:
            problems.append(f"{info.name}: cut off")
        elif oddity := _oddity(info, top, seen):
            problems.append(f"{info.name}: {oddity}")
        else:
            yield info.name.removeprefix(f"{top}/"), content
        seen.add(info.name)
        last = info.name
        place += BLOCK + info.size + -info.size % BLOCK
    if len(tar) < place + BLOCK:
        problems.append(f"it is cut off, after {last}")
    elif any(tar[place:]):
        problems.append("something follows the last file")


def _oddity(info: tarfile.TarInfo, top: str, seen: set[str]) -> str:
    """Return what is wrong with a member that labctl would not have written."""
    if info.type != tarfile.REGTYPE:
        return "not a plain file but a link, a device or the like"
    below = info.name.removeprefix(f"{top}/")
    if below == info.name or not {"", ".", ".."}.isdisjoint(below.split("/")):
        return f"not a place below {top}"
    return "there twice" if info.name in seen else ""


def _compared(contents: Mapping[str, bytes], problems: list[str]) -> list[Member]:
    """Return the members, those that are there and those that are listed, and note what differs."""
    listed: dict[str, str] = {}
    text = contents.get(MANIFEST, b"").decode("ascii", "backslashreplace")
    for number, line in enumerate(text.splitlines(), 1):
        row = _ROW.fullmatch(line)
        if row is None or row[2] in listed:
            problems.append(f"{MANIFEST}: line {number} cannot be read, or is there twice")
        else:
            listed[row[2]] = row[1]
    digests = {name: digest(content) for name, content in contents.items() if name != MANIFEST}
    members = [
        Member(name, digests.get(name, ""), _state(listed.get(name), digests.get(name)))
        for name in sorted(listed.keys() | digests.keys())
    ]
    problems += [f"{each.name}: {each.state}" for each in members if each.state != _AS_LISTED]
    return members


def _state(listed: str | None, seen: str | None) -> str:
    if listed is None:
        return "not listed"
    if seen is None:
        return "missing"
    return _AS_LISTED if listed == seen else "changed"


def _made_by_us(found: Examination, data: bytes, tar: bytes, at: int) -> bool:
    """Say whether the members alone, packed again, make the same headers and the same tar."""
    try:
        again = b"".join(archive(found.name, found.contents, at))
    except ValueError:
        return False
    header = gzip_header(at) if 0 <= at < 1 << 32 else b""
    return again == tar and bool(header) and data.startswith(header)
