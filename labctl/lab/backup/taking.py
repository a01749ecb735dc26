"""Taking a backup: mail stands still for as long as it is copied, and goes on however that ends."""

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from labctl import __version__
from labctl.errors import HostProblem, LabNotReady
from labctl.lab.backup.entries import count_people
from labctl.lab.backup.files import ROOT, SERVICE, collect, count, is_message, is_queued
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
    settings_of,
)
from labctl.lab.backup.keys import Keys
from labctl.lab.held import Held
from labctl.lab.images import SERVICES, Progress
from labctl.lab.state import LabRecord

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

_SLAPCAT: Final = (
    *("setpriv", "--reuid=openldap", "--regid=openldap", "--clear-groups"),
    *("bash", "-c", "slapcat -n 1 -F /run/slapd/slapd.d 2>/dev/null"),
)
_MODE = 0o600


def take(lab: "Lab", path: Path, progress: Progress) -> tuple[Statement, str]:
    """Write a backup of a lab that is up: whole or not at all, readable by its owner alone.

    Returns what it says of itself, and the SHA-256 of the file. Raises LabNotReady when the lab is
    not well, HostProblem when the file cannot be written.
    """
    from docker.errors import DockerException

    lab.files.require()
    with lab.files.locked("labctl backup"):
        record = lab.files.require()
        _require_well(lab)
        try:
            with lab.files.workplace() as work:
                files = _copied(lab, work, progress)
                statement = _statement(lab, record, files, work)
                progress.step(f"writing {path}")
                return statement, _write(work, statement, path)
        except DockerException as error:
            raise HostProblem(f"the engine cannot copy the lab: {error}") from error
        except (OSError, ValueError, Unfit) as error:
            raise HostProblem(f"{path} cannot be written: {error}") from error


def _require_well(lab: "Lab") -> None:
    well = {row.service for row in lab.containers.states() if row.well}
    if missing := set(SERVICES) - well:
        raise LabNotReady(
            f"{', '.join(sorted(missing))} of the lab {lab.name!r} cannot be asked",
            f"`{lab.files.command} doctor` says why.",
        )


def _statement(lab: "Lab", record: LabRecord, files: Sequence[File], work: Path) -> Statement:
    (work / LISTING).write_bytes(listing(files))
    return Statement(
        lab=lab.name,
        policy=record.policy,
        made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        labctl=__version__,
        settings=settings_of(lab.settings),
        people=count_people((work / DIRECTORY).read_bytes(), lab.settings.base_dn),
        messages=count(files, is_message),
        queued=count(files, is_queued),
        members={name: _member(work / name) for name in MEMBERS},
        directory=record.directory,
    )


def _copied(lab: "Lab", work: Path, progress: Progress) -> list[File]:
    """Copy all of a lab while its mail stands still."""
    progress.step("copying, while Dovecot and Postfix stand still")
    with _still(lab):
        ldif = lab.containers.execute("openldap", list(_SLAPCAT))
        for place in SERVICE:
            _fetch(lab, place, work / f"{place}.tar")
    (work / DIRECTORY).write_text(ldif, encoding="utf-8")
    (work / SECRETS).write_bytes(Keys.of(lab.files).to_json())
    with (work / CONTENTS).open("wb") as contents:
        return [file for place in SERVICE for file in _collected(place, work, contents)]


def _collected(place: str, work: Path, contents: IO[bytes]) -> Iterator[File]:
    with (work / f"{place}.tar").open("rb") as archive:
        yield from collect(place, archive, contents)


@contextmanager
def _still(lab: "Lab") -> Iterator[None]:
    """Stop every process of Dovecot's, then of Postfix's, and let all go on at the end.

    In this order, so that what Dovecot has said to have, Postfix has heard, and keeps it no more.
    Not with the engine's pause: it hangs for good if a health check begins at that moment. It is
    noted as a fault, as a process that is killed in between lets nobody go on.
    """
    api, broken = lab.engine.client.api, lab.containers.broken
    with ExitStack() as stack:
        for service in ("dovecot", "postfix"):
            name = lab.containers.container_name(service)
            stack.callback(broken.forget, service, "pause")
            broken.note(service, "pause")
            program = Held(name, "still")
            stack.callback(api.kill, name, "SIGCONT")
            stack.callback(program.end)
            if ready := program.says("ready"):
                # The first process, who starts the others, can be stopped from outside alone.
                api.kill(name, "SIGSTOP")
            if not (ready and program.says("on")):
                raise LabNotReady(
                    f"{service} does not stand still", f"`{lab.files.command} doctor` says why."
                )
        yield


def _fetch(lab: "Lab", place: str, to: Path) -> None:
    name = lab.containers.container_name(SERVICE[place])
    pieces, _ = lab.engine.client.api.get_archive(name, ROOT[place])
    with to.open("wb") as file:
        file.writelines(pieces)


def _member(path: Path) -> Member:
    with path.open("rb") as file:
        return Member(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def _write(work: Path, statement: Statement, path: Path) -> str:
    """Write the archive, and return its digest."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    try:
        _pack(work, statement, descriptor)
        digest = _member(fresh).sha256
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return digest


def _pack(work: Path, statement: Statement, descriptor: int) -> None:
    with (
        os.fdopen(descriptor, "wb") as file,
        gzip.GzipFile("", "wb", 6, file) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, STATEMENT, io.BytesIO(text := statement.to_json()), len(text))
        for name, member in statement.members.items():
            with (work / name).open("rb") as content:
                _add(tar, name, content, member.size)


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    tar.addfile(info, content)
