"""A backup that is damaged, somebody else's or hostile is refused before anything is made of it."""

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.errors import UsageError
from labctl.lab.backup.entries import count_people
from labctl.lab.backup.examining import Examined, examine
from labctl.lab.backup.files import collect, pack
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
    listing,
    require_settings,
    settings_of,
)
from labctl.lab.backup.keys import PASSWORDS, Keys
from labctl.lab.certificates import Host, ensure_certificates
from labctl.lab.people import Person
from labctl.settings import load_settings

BASE = "dc=truenorth,dc=local"
LDIF = f"""dn: {BASE}
objectClass: dcObject
dc: truenorth

dn: uid=bob,ou=users,{BASE}
objectClass: inetOrgPerson
uid: bob
description:: w6Q=
cn: a long
 er line
""".encode()
ALICE = Person("bob", "bob@truenorth.local", ("b@truenorth.local",), 2002, "secret", "{ARGON2}x")
MAIL, LETTER, QUEUED = b"uidlist", b"From: x\r\n\r\nHello\r\n", b"a queue file"


def plain(place: str, path: str, content: bytes) -> File:
    """Return a file with this content."""
    digest = hashlib.sha256(content).hexdigest()
    return File(place, path, 0o600, 2002, 1_700_000_000, len(content), digest)


def folder(path: str) -> File:
    """Return a directory of Bob's."""
    return File("mail", path, 0o700, 2002, 1_700_000_000)


FILES = (
    folder("bob"),
    folder("bob/Maildir"),
    folder("bob/Maildir/cur"),
    plain("mail", "bob/Maildir/dovecot-uidlist", MAIL),
    plain("mail", "bob/Maildir/cur/17.M6P3.host,S=18:2,S", LETTER),
    plain("queue", "deferred/B/B4FE9", QUEUED),
)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Secrets with a CA that is one."""
    where = tmp_path_factory.mktemp("ca")
    ensure_certificates(where, [], Host("mail.truenorth.local"))
    passwords = dict.fromkeys(PASSWORDS, "secret")
    ca, key = ((where / name).read_text() for name in ("ca.pem", "ca.key"))
    return Keys(passwords, {"bob": ALICE}, ca, key)


@pytest.fixture(scope="session")
def members(keys: Keys) -> dict[str, bytes]:
    """The files of a backup that is well."""
    return {
        SECRETS: keys.to_json(),
        DIRECTORY: LDIF,
        LISTING: listing(FILES),
        CONTENTS: MAIL + LETTER + QUEUED,
    }


def statement(members: dict[str, bytes]) -> Statement:
    """Return what a backup with these files says of itself."""
    facts = {n: Member(hashlib.sha256(c).hexdigest(), len(c)) for n, c in members.items()}
    own = settings_of(load_settings(Path("/nowhere"), {}))
    return Statement("default", "hardened", "2026", "0.1.0", own, 1, 1, 1, facts)


def archive(parts: list[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a gzipped tar of these."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in parts:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if content is parts[-1][1]:
                info.type = kind
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(raw.getvalue())


def made(members: dict[str, bytes], told: Statement | None = None) -> bytes:
    """Return a backup."""
    text = (told or statement(members)).to_json()
    return archive([(STATEMENT, text), *members.items()])


def examined(data: bytes, where: Path) -> Examined:
    """Examine a backup with these bytes."""
    path, work = where / "backup.tgz", where / "work"
    path.write_bytes(data)
    work.mkdir(exist_ok=True)
    return examine(path, work)


def refused(data: bytes, where: Path) -> str:
    """Return why a backup is refused; nothing is to be outside of the directory for unpacking."""
    with pytest.raises(UsageError) as error:
        examined(data, where)
    assert sorted(path.name for path in where.iterdir()) == ["backup.tgz", "work"]
    assert {path.name for path in (where / "work").iterdir()} <= set(MEMBERS)
    return error.value.what


def test_a_backup_that_is_whole_is_taken(members: dict[str, bytes], tmp_path: Path) -> None:
    """All that is in it comes out."""
    found = examined(made(members), tmp_path)
    assert found.statement == statement(members)
    assert found.keys.people == {"bob": ALICE}
    assert tuple(found.files) == FILES
    assert found.contents.read_bytes() == members[CONTENTS]
    assert found.sha256 == hashlib.sha256((tmp_path / "backup.tgz").read_bytes()).hexdigest()


@pytest.mark.parametrize("blocks", range(tarfile.RECORDSIZE // tarfile.BLOCKSIZE))
def test_it_is_taken_wherever_its_last_file_ends(
    members: dict[str, bytes], tmp_path: Path, blocks: int
) -> None:
    """What fills up the last record of the tar is then longer or shorter."""
    longer = {**members, DIRECTORY: LDIF + b"\n" * tarfile.BLOCKSIZE * blocks}
    assert examined(made(longer), tmp_path).statement.people == 1


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    """Nothing, text, a gzip of nothing, an archive of something else, JSON of something else."""
    for data in (
        b"",
        b"hello",
        gzip.compress(b""),
        archive([("etc/passwd", b"root")]),
        archive([(STATEMENT, b"{}")]),
        archive([(STATEMENT, b"[]")]),
        archive([(STATEMENT, b'{"schema": "labctl/v1", "kind": "evidence"}')]),
        archive([(STATEMENT, b"[" * 60_000)]),
    ):
        assert "cannot be restored" in refused(data, tmp_path)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_fell_over_is_noticed(
    members: dict[str, bytes], tmp_path: Path, place: float, bit: int
) -> None:
    """Wherever in the file, unless all that it holds is the same with and without that bit, as in
    the header of gzip, or where zeros are copied from one place in place of another.
    """
    whole = made(members)
    data = bytearray(whole)
    data[10 + int(place * (len(data) - 10))] ^= 1 << bit
    with suppress(zlib.error, EOFError, gzip.BadGzipFile):
        if gzip.decompress(data) == gzip.decompress(whole):
            assert examined(bytes(data), tmp_path).statement == statement(members)
            return
    refused(bytes(data), tmp_path)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_backup_that_was_cut_off_is_noticed(
    members: dict[str, bytes], tmp_path: Path, share: float
) -> None:
    """Wherever it ends."""
    data = made(members)
    refused(data[: int(share * len(data))], tmp_path)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_file_that_was_changed_is_noticed(
    members: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    """Its digest stands in the statement, which stays as it was."""
    other = {**members, name: members[name][:-1] + b"\n!"[-1:]}
    assert f"{name} was changed" in refused(made(other, statement(members)), tmp_path)


def test_other_files_and_other_orders_are_refused(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    """One missing, one more, two of a name, one behind the end."""
    told = statement(members).to_json()
    rows = [(STATEMENT, told), *members.items()]
    for parts in (rows[:-1], [rows[0], *rows[:0:-1]], [rows[0], *rows], rows[1:]):
        refused(archive(parts), tmp_path)
    assert "follows" in refused(archive([*rows, ("more", b"more")]), tmp_path)
    assert "follows" in refused(made(members) + gzip.compress(b"more"), tmp_path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE]
)
def test_a_link_or_a_device_is_refused(
    members: dict[str, bytes], tmp_path: Path, kind: bytes
) -> None:
    """In place of one of the files."""
    parts = [(STATEMENT, statement(members).to_json()), *members.items()]
    assert "should be" in refused(archive(parts, kind), tmp_path)


def test_zeros_without_end_are_not_read(members: dict[str, bytes], tmp_path: Path) -> None:
    """What fills up a tar's last record is bounded: a few kilobytes may unpack to gigabytes."""
    endless = b"".join(gzip.compress(bytes(1 << 20)) for _ in range(3))
    assert "something follows its last file" in refused(made(members) + endless, tmp_path)


def test_a_size_that_is_not_there_takes_no_room(members: dict[str, bytes], tmp_path: Path) -> None:
    """A bomb: what it says is more than the disk has, or than may be read into memory."""
    told = statement(members)
    huge = {**told.members, CONTENTS: Member("0" * 64, 1 << 60)}
    with pytest.raises(Exception, match="no room"):
        examined(made(members, replace(told, members=huge)), tmp_path)
    zeros = {**members, SECRETS: bytes((1 << 24) + 1)}
    assert "not as large" in refused(made(zeros), tmp_path)


def hostile_path(path: str, place: str = "mail") -> Callable[[list[File]], list[File]]:
    """Return what puts a file with this path among the others."""
    return lambda files: [*files, plain(place, path, b"")]


HOSTILE: dict[str, Callable[[list[File]], list[Any]]] = {
    "above": hostile_path("bob/../../etc/passwd"),
    "absolute": hostile_path("/etc/passwd"),
    "above, in the queue": hostile_path("deferred/../../etc/passwd", "queue"),
    "not in a queue": hostile_path("etc/main.cf", "queue"),
    "a file of the spool": hostile_path("pid/master.pid", "queue"),
    "no home": hostile_path("bob"),
    "a home of an odd name": hostile_path("Bob$(id)/x"),
    "the root itself": lambda files: [*files, folder(".")],
    "in no directory": hostile_path("bob/elsewhere/x"),
    "in a file": hostile_path("bob/Maildir/dovecot-uidlist/x"),
    "another place": hostile_path("x", "secrets"),
    "NUL": hostile_path("bob/a\0b"),
    "a name too long": hostile_path(f"bob/{'x' * 256}"),
    "too deep": lambda files: [
        *files,
        *(folder("/".join(["bob", *"x" * depth])) for depth in range(1, 60)),
    ],
    "twice": lambda files: [*files, files[-1]],
    "root's": lambda files: [replace(files[0], owner=0), *files[1:]],
    "set-user-id": lambda files: [*files[:-1], replace(files[-1], mode=0o4755)],
    "a size below nothing": lambda files: [*files[:-1], replace(files[-1], size=-1)],
    "a directory with contents": lambda files: [replace(files[0], size=3), *files[1:]],
    "a number for a path": lambda files: [*files[:-1], replace(files[-1], path=7)],
    "a directory in the queue": lambda files: [*files, replace(folder("hold"), place="queue")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_no_lab_has_is_refused(
    members: dict[str, bytes], tmp_path: Path, case: str
) -> None:
    """Digests and sizes agree, as whoever is hostile would see to."""
    other = {**members, LISTING: listing(HOSTILE[case](list(FILES)))}
    refused(made(other), tmp_path)


def test_a_listing_that_says_other_things_is_refused(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    """Keys that are not known, or none."""
    for line in (b"{}", b"7", b'{"place": "mail", "link": "x"}', b"\xff"):
        refused(made({**members, LISTING: line}), tmp_path)


def test_contents_that_are_not_the_files_are_refused(
    members: dict[str, bytes], tmp_path: Path
) -> None:
    """More, less, or in another order."""
    for content in (MAIL + LETTER + QUEUED + b"x", MAIL + LETTER, LETTER + MAIL + QUEUED):
        refused(made({**members, CONTENTS: content}), tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b"include: file:///run/secrets/ca.pem",
        b"description:< file:///run/secrets/ca.pem",
        b"inc\n lude: file:///x",
        b"dn: uid=x,dc=elsewhere",
        b"",
        b"changetype: delete",
        b"no line",
        b"# a comment",
    ],
)
def test_an_entry_that_reads_files_or_is_elsewhere_is_refused(line: bytes) -> None:
    """Slapadd would follow an `include:` and a URL."""
    tail = b"description: x" if line == b"" else line
    text = LDIF + (b"\n" if line[:2] in {b"dn", b""} else b"") + tail + b"\n"
    with pytest.raises(Unfit):
        count_people(text, BASE)


def test_people_are_counted_whatever_is_in_their_entries() -> None:
    """Folded lines, base64, empty values; the base in other letters."""
    assert count_people(LDIF, BASE.upper()) == 1
    assert count_people(LDIF + b"title:\nsn:: \n", BASE) == 1


def test_secrets_that_no_lab_has_are_refused(
    members: dict[str, bytes], keys: Keys, tmp_path: Path
) -> None:
    """Another CA's key, a password of two lines, a login that is a path, passwords missing."""
    others = {
        "two lines": replace(keys, passwords={**keys.passwords, "postfix": "a\nb"}),
        "a path": replace(keys, people={"../x": replace(ALICE, login="../x")}),
        "another name": replace(keys, people={"eve": ALICE}),
        "missing": replace(keys, passwords={}),
        "one more": replace(keys, passwords={**keys.passwords, "../x": "y"}),
        "no CA": replace(keys, ca="x"),
    }
    for other in others.values():
        refused(made({**members, SECRETS: other.to_json()}), tmp_path)
    text = json.loads(keys.to_json()) | {"more": 1}
    refused(made({**members, SECRETS: json.dumps(text).encode()}), tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data(), value=JSON, which=st.sampled_from([STATEMENT, SECRETS, LISTING]))
def test_whatever_stands_where_something_should_is_refused_in_words(
    members: dict[str, bytes], tmp_path: Path, data: st.DataObject, value: Any, which: str
) -> None:
    """Any value at any place of the JSON, with digests that agree: taken or refused, no crash."""
    texts = {STATEMENT: statement(members).to_json(), **members}
    rows = [json.loads(texts[which])] if which != LISTING else _rows(texts[which])
    place, key = _anywhere(data, data.draw(st.sampled_from(rows)))
    place[key] = value
    changed = ("\n" if which == LISTING else "").join(map(json.dumps, rows)).encode()
    if which == STATEMENT:
        backup = archive([(STATEMENT, changed), *members.items()])
    else:
        backup = made({**members, which: changed})
    try:
        examined(backup, tmp_path)
    except UsageError as error:
        assert "cannot be restored" in error.what  # noqa: PT017


def _rows(text: bytes) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _anywhere(data: st.DataObject, inner: Any) -> tuple[Any, Any]:
    """Return something that holds values, and a key of it, at any depth."""
    keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
    key = data.draw(st.sampled_from(keys))
    deeper = isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans())
    return _anywhere(data, inner[key]) if deeper else (inner, key)


@settings(max_examples=150)
@given(ldif=st.binary() | st.text().map(str.encode), at=st.integers(0, len(LDIF)))
def test_whatever_stands_among_the_entries_is_read_or_refused_in_words(
    ldif: bytes, at: int
) -> None:
    """No crash, whatever the bytes."""
    with suppress(Unfit):
        count_people(LDIF[:at] + ldif + LDIF[at:], BASE)


def test_a_lab_of_other_settings_is_not_made(members: dict[str, bytes]) -> None:
    """It would be another lab: the lines for `.env` are told."""
    require_settings(statement(members), load_settings(Path("/nowhere"), {}))
    for name, value in {"LAB_DOMAIN": "x.example", "LAB_NULL_SENDER": "allow"}.items():
        with pytest.raises(UsageError, match=f"{name}="):
            require_settings(statement(members), load_settings(Path("/nowhere"), {name: value}))


def test_files_come_back_as_they_were_taken() -> None:
    """Out of the engine's archive and into one for it: owners, modes, times, contents; no socket,
    and nothing of the spool but queues.
    """
    names = ("home/", "home/bob/", "home/bob/Maildir/", "home/bob/Maildir/cur/")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.mtime = tarfile.DIRTYPE, 0o700, 2002, 1.7e9
            tar.addfile(info)
        for name, uid in (("cur/a\udcff:2,S", 2002), ("dovecot.index", 0)):
            info = tarfile.TarInfo(f"home/bob/Maildir/{name}")
            info.mode, info.uid, info.size, info.mtime = 0o600, uid, 3, 1.7e9
            tar.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("home/bob/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    raw.seek(0)
    contents = io.BytesIO()
    files = list(collect("mail", raw, contents))
    assert [file.path for file in files][-2:] == ["bob/Maildir/cur/a\udcff:2,S", MAIL_INDEX]
    assert {file.owner for file in files} == {2002}  # what was root's is his
    assert contents.getvalue() == b"abcabc"
    contents.seek(0)
    again = io.BytesIO()
    pack("mail", files, contents, again)
    again.seek(0)
    with tarfile.open(fileobj=again, errors="surrogateescape") as tar:
        assert [info.name for info in tar] == [file.path for file in files]


MAIL_INDEX = "bob/Maildir/dovecot.index"
