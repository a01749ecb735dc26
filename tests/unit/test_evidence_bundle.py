"""Bundles: the same members are the same bytes, and whatever is done to one is noticed."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.evidence.bundle import MANIFEST, archive, gzip_header, header, manifest, pack
from labctl.evidence.verify import examine

AT = 1_767_000_000
TOP = "evidence-r1"
MEMBERS = {
    "README.txt": b"Read me.\n",
    "before/people.ldif": b"dn: uid=alice\n",
    "transcripts/r1.jsonl": b'{"event": "run-started"}\n' * 40,
    "empty.txt": b"",
}
WHOLE = b"".join(pack("r1", MEMBERS, AT))
TAR = gzip.decompress(WHOLE)


def zipped(tar: bytes) -> bytes:
    """Return a tar, gzipped as ours are."""
    return gzip_header(AT) + gzip.compress(tar, mtime=0)[10:]


def tarred(change: Callable[[tarfile.TarFile], None], top: str = TOP, **members: bytes) -> bytes:
    """Return a bundle to which Python's tarfile has added something."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        whole = {**MEMBERS, **members}
        for name, content in sorted({**whole, MANIFEST: manifest(whole)}.items()):
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size, info.mtime = len(content), AT
            tar.addfile(info, io.BytesIO(content))
        change(tar)
    return zipped(stream.getvalue())


def adding(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """Return a bundle with one more member, of any kind."""

    def change(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    return tarred(change)


def altered(old: bytes, new: bytes) -> bytes:
    """Return the bundle with bytes of its tar replaced by as many others."""
    assert TAR.count(old) >= 1
    assert len(old) == len(new)
    return zipped(TAR.replace(old, new))


def test_a_bundle_is_whole_and_lists_its_members() -> None:
    """Every member but the manifest itself is there, as listed, with its digest."""
    found = examine(WHOLE)
    assert (found.whole, found.problems, found.name) == (True, [], TOP)
    assert found.sha256 == hashlib.sha256(WHOLE).hexdigest()
    assert {each.name: (each.sha256, each.state) for each in found.members} == {
        name: (hashlib.sha256(content).hexdigest(), "as listed")
        for name, content in MEMBERS.items()
    }
    assert {name: found.contents[name] for name in MEMBERS} == MEMBERS


def test_the_same_members_are_the_same_bytes() -> None:
    """Neither the order in which they come, nor the hour, nor the place plays a part."""
    assert b"".join(pack("r1", dict(reversed(MEMBERS.items())), AT)) == WHOLE
    assert b"".join(pack("r1", MEMBERS, AT + 1)) != WHOLE
    assert tarred(lambda _: None) == zipped(TAR), "as Python's own tarfile writes it"


def test_a_file_is_packed_as_its_bytes_are(tmp_path: Path) -> None:
    """Also one that is read in several pieces."""
    for size in (0, 511, 512, 200_000):
        content = b"0123456789" * (size // 10) + b"x" * (size % 10)
        (tmp_path / "file").write_bytes(content)
        of_file = pack("r1", {**MEMBERS, "x": tmp_path / "file"}, AT)
        assert b"".join(of_file) == b"".join(pack("r1", {**MEMBERS, "x": content}, AT))
        assert examine(b"".join(pack("r1", {**MEMBERS, "x": tmp_path / "file"}, AT))).whole


def test_ordinary_tools_verify_it(tmp_path: Path) -> None:
    """Tar and sha256sum unpack and check it, all files of one time, nobody's and readable."""
    (tmp_path / "b.tgz").write_bytes(WHOLE)
    listing = subprocess.run(
        ["tar", "--utc", "-tvzf", "b.tgz"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {line.split()[0] for line in listing} == {"-rw-r--r--"}
    assert {tuple(line.split()[3:5]) for line in listing} == {("2025-12-29", "09:20")}
    command = f"tar -xzf b.tgz && cd {TOP} && sha256sum --check --strict {MANIFEST}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK\n") == len(MEMBERS)


README_HEADER = header(f"{TOP}/README.txt", len(MEMBERS["README.txt"]), AT)
PAX = tarfile.TarInfo("x")
PAX.pax_headers = {"comment": "hidden"}

TAMPERED = {
    "a member changed": (altered(b"uid=alice", b"uid=carol"), "before/people.ldif: changed"),
    "the manifest changed": (
        altered(hashlib.sha256(b"").hexdigest().encode(), b"0" * 64),
        "empty.txt: changed",
    ),
    "a member missing": (
        zipped(
            b"".join(
                archive(TOP, {"README.txt": MEMBERS["README.txt"], MANIFEST: manifest(MEMBERS)}, AT)
            )
        ),
        "before/people.ldif: missing",
    ),
    "a member added": (adding(f"{TOP}/more.txt"), "more.txt: not listed"),
    "a member twice": (adding(f"{TOP}/README.txt"), "there twice"),
    "an absolute path": (adding("/etc/passwd"), "/etc/passwd: not a place below"),
    "a way up": (adding(f"{TOP}/../../x"), "not a place below"),
    "another directory": (adding("evidence-r2/x"), "not a place below"),
    "an empty part": (adding(f"{TOP}//x"), "not a place below"),
    "a symbolic link": (adding(f"{TOP}/l", tarfile.SYMTYPE, "/etc"), "not a plain file"),
    "a hard link": (adding(f"{TOP}/l", tarfile.LNKTYPE, f"{TOP}/README.txt"), "not a plain file"),
    "a device": (adding(f"{TOP}/d", tarfile.CHRTYPE), "not a plain file"),
    "a pipe": (adding(f"{TOP}/p", tarfile.FIFOTYPE), "not a plain file"),
    "a directory": (adding(f"{TOP}/dir", tarfile.DIRTYPE), "not a plain file"),
    "a long name's header": (
        zipped(PAX.tobuf(tarfile.PAX_FORMAT) + TAR),
        None,  # it does not even begin as one of ours
    ),
    "an owner's name": (
        altered(README_HEADER, README_HEADER.replace(b"0000000\0", b"0001750\0", 1)),
        "a header is damaged",  # its checksum does not fit
    ),
    "bytes behind the gzip": (WHOLE + b"x", "1 bytes follow the end"),
    "a second gzip": (WHOLE + gzip.compress(b"more", mtime=0), "bytes follow the end"),
    "bytes behind the last file": (
        zipped(TAR[:-512] + b"x" * 512),
        "something follows the last file",
    ),
    "more padding": (zipped(TAR + bytes(10240)), "something besides its files"),
    "a comment in the gzip": (
        b"\x1f\x8b\x08\x10" + WHOLE[4:10] + b"hidden\0" + WHOLE[10:],
        "something besides its files",
    ),
    "cut off": (WHOLE[:-30], "cut off"),
    "cut off in a member": (zipped(TAR[:1800]), "cut off"),
    "a row of the manifest unreadable": (
        tarred(lambda _: None, **{"x\ny": b""}),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_done_to_a_bundle_is_told(how: str) -> None:
    """Each kind of tampering has words of its own."""
    data, said = TAMPERED[how]
    if said is None:
        with pytest.raises(UsageError):
            examine(data)
        return
    found = examine(data)
    assert not found.whole
    assert any(said in problem for problem in found.problems), found.problems


def test_a_repacked_bundle_is_told_from_the_written_one() -> None:
    """The same files with an owner and other modes are not what labctl wrote."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in sorted({**MEMBERS, MANIFEST: manifest(MEMBERS)}.items()):
            info = tarfile.TarInfo(f"{TOP}/{name}")
            info.size, info.mtime, info.uname = len(content), AT, "mallory"
            tar.addfile(info, io.BytesIO(content))
    found = examine(zipped(stream.getvalue()))
    assert found.problems == ["the archive holds something besides its files"]


@settings(max_examples=100)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed_unnoticed(place: int, change: int) -> None:
    """With any byte another one it is not whole, or it unpacks to the very same files."""
    data = bytearray(WHOLE)
    data[place] ^= change
    try:
        found = examine(bytes(data))
    except UsageError:
        return
    assert not found.whole or found.contents == examine(WHOLE).contents


@settings(max_examples=40)
@given(st.integers(0, len(WHOLE) - 1))
def test_no_part_of_a_bundle_is_whole(length: int) -> None:
    """Wherever it is cut off."""
    try:
        assert not examine(WHOLE[:length]).whole
    except UsageError:
        assert length < 600, "enough is there to see what it is"


@settings(max_examples=40)
@given(st.binary(min_size=512, max_size=1536))
def test_anything_for_a_tar_is_an_answer_and_no_crash(tar: bytes) -> None:
    """Whatever stands behind the first header."""
    assert not examine(zipped(TAR[:1024] + tar)).whole


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        WHOLE[1:],
        gzip.compress(b"hello", mtime=0),
        zipped(bytes(1024)),
        tarred(lambda _: None, top="elsewhere"),
        json.dumps({}).encode(),
    ],
)
def test_what_is_no_bundle_is_told_from_one_that_is_not_whole(data: bytes) -> None:
    """The error says so, and what writes one."""
    with pytest.raises(UsageError, match="no evidence bundle") as caught:
        examine(data)
    assert "--evidence" in caught.value.hint


def test_what_unpacks_without_end_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kilobytes that hold gigabytes are given up early."""
    monkeypatch.setattr("labctl.evidence.verify.LARGEST", 1 << 20)
    bomb = {**MEMBERS, "zeros": bytes(1 << 24)}
    found = examine(b"".join(pack("r1", bomb, AT)))
    assert any("unpacks to more than" in problem for problem in found.problems)
    assert sum(map(len, found.contents.values())) < 1 << 22
