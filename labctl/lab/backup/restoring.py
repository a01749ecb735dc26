"""Making a lab of a backup: an empty one of any name and slot, or none at all."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from labctl.errors import HostProblem, UsageError
from labctl.lab.backup.examining import Examined
from labctl.lab.backup.files import ROOT, SERVICE, pack
from labctl.lab.backup.form import require_settings
from labctl.lab.images import Progress
from labctl.lab.project import require_unused
from labctl.lab.state import LabRecord, free_slot

if TYPE_CHECKING:
    from labctl.lab.lab import Lab

_SLAPD = 901  # fixed in the image


def require_empty(lab: "Lab") -> int:
    """Return the slot that the lab will have; raises UsageError if there is such a lab already, and
    SlotTaken if there is another one in its slot.
    """
    if lab.files.record() is not None:
        raise UsageError(
            f"there is a lab {lab.name!r} already, and it stays as it is",
            "Give the restored one another name: `labctl -n NAME restore FILE`.",
        )
    slot = free_slot(lab.settings, lab.name)
    require_unused(lab.engine, slot)
    return slot


def restore(lab: "Lab", backup: Examined, work: Path, progress: Progress) -> None:
    """Bring up an empty lab that is the one in the backup; its lock is the caller's.

    Raises UsageError where settings of this host would make another lab of it, and what `up`
    raises; whatever was made until then is removed.
    """
    require_settings(backup.statement, lab.settings)
    slot = require_empty(lab)
    statement = backup.statement
    record = LabRecord(slot, statement.policy, statement.directory).bounded(lab.settings)
    with _all_or_nothing(lab):
        lab.files.half_restored.touch()
        lab.files.write_record(record)
        backup.keys.write(lab.files)
        lab.prepare(progress)
        progress.step("filling the volumes")
        lab.project.create()
        _fill(lab, "openldap", "/var/lib/ldap", _entries(backup, work))
        for place, service in SERVICE.items():
            _fill(lab, service, ROOT[place], _volume(place, backup, work))
        lab.start(progress)
        lab.files.half_restored.unlink()


@contextmanager
def _all_or_nothing(lab: "Lab") -> Iterator[None]:
    try:
        yield
    except BaseException:
        if lab.files.compose_env.is_file():
            lab.project.down(volumes=True)
        lab.files.remove()
        raise


def _entries(backup: Examined, work: Path) -> Path:
    """Pack the entries as the file from which slapd's first start makes its database."""
    path = work / "openldap.tar"
    with tarfile.open(path, "w") as tar, backup.directory.open("rb") as ldif:
        info = tarfile.TarInfo("restore.ldif")
        info.size, info.mode = backup.statement.members[backup.directory.name].size, 0o600
        info.uid = info.gid = _SLAPD
        tar.addfile(info, ldif)
    return path


def _volume(place: str, backup: Examined, work: Path) -> Path:
    path = work / f"{place}.tar"
    with path.open("wb") as archive, backup.contents.open("rb") as contents:
        pack(place, backup.files, contents, archive)
    return path


def _fill(lab: "Lab", service: str, root: str, archive: Path) -> None:
    from docker.errors import DockerException

    name = lab.containers.container_name(service)
    try:
        with archive.open("rb") as file:
            done = lab.engine.client.api.put_archive(name, root, _stream(file))
    except DockerException as error:
        raise HostProblem(f"the engine does not take {root} of {service}: {error}") from error
    if not done:
        raise HostProblem(f"the engine does not take {root} of {service}")


def _stream(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file piece by piece: it may be larger than memory."""
    while piece := file.read(io.DEFAULT_BUFFER_SIZE):
        yield piece
