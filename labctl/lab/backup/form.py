"""What a backup is: a gzipped tar (ustar) of five files, and what may stand in each.

`backup.json` comes first and has the digest and the size of the others: `secrets.json`, passwords
and CA; `directory.ldif`, all entries; `files.json`, the files of mailboxes and queue, one a line,
each with its own digest; `files.data`, their contents one after the other. No file of a lab is a
link or a device, so a backup has no way to say one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from labctl.endpoints import SCHEMA
from labctl.errors import UsageError
from labctl.settings import Settings

KIND: Final = "backup"
VERSION: Final = 1
STATEMENT: Final = "backup.json"
SECRETS: Final = "secrets.json"
DIRECTORY: Final = "directory.ldif"
LISTING: Final = "files.json"
CONTENTS: Final = "files.data"
MEMBERS: Final = (SECRETS, DIRECTORY, LISTING, CONTENTS)

LOWEST_UID: Final = 1000  # first_valid_uid in dovecot.conf
_HIGHEST_UID = 2**31
_HEX = re.compile(r"[0-9a-f]{64}")
_HOME = re.compile(r"[a-z0-9._-]{1,64}")  # as images/dovecot/maildirs has it
_QUEUED = re.compile(
    r"(?:active|bounce|corrupt|defer|deferred|flush|hold|incoming|maildrop|saved|trace)"
    r"(?:/[0-9A-Za-z]){0,3}/[0-9A-Za-z_]{5,40}"
)
_DEEPEST, _LONGEST = 40, 255  # parts of a path, bytes of a part


class Unfit(Exception):
    """Something in a backup that no backup of ours would hold; the text says what."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a file of the backup must be."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What a backup says of itself. `settings` are those of `.env` that make the lab what it is."""

    lab: str
    policy: str
    made: str
    labctl: str
    settings: Mapping[str, str]
    people: int
    messages: int
    queued: int
    members: Mapping[str, Member]
    directory: str = "single"

    def to_json(self) -> bytes:
        """Return it as it stands in the backup."""
        data = {"schema": SCHEMA, "kind": KIND, "version": VERSION, **asdict(self)}
        return (json.dumps(data, indent=1) + "\n").encode()

    @classmethod
    def of(cls, text: bytes) -> "Statement":
        """Read it; raises Unfit if it is none, or one of another version."""
        data = an_object(text)
        if data.pop("schema", None) != SCHEMA or data.pop("kind", None) != KIND:
            raise Unfit("it is none of labctl's backups")
        if data.pop("version", None) != VERSION:
            raise Unfit("it was made by another version of labctl")
        try:
            members = {name: Member(**given) for name, given in data.pop("members").items()}
            found = cls(**data, members=members)
            found._check()
        except (AttributeError, KeyError, TypeError) as error:
            raise Unfit(f"{STATEMENT}: {error}") from error
        return found

    def _check(self) -> None:
        texts = (self.lab, self.policy, self.made, self.labctl, *self.settings.values())
        numbers = (self.people, self.messages, self.queued)
        sizes = [each.size for each in self.members.values()]
        if not (
            isinstance(self.settings, dict)
            and all(isinstance(each, str) and each.isprintable() for each in texts)
            and all(type(each) is int and each >= 0 for each in (*numbers, *sizes))
            and tuple(self.members) == MEMBERS
            and all(_HEX.fullmatch(str(each.sha256)) for each in self.members.values())
            and self.policy in {"hardened", "baseline"}
            and self.directory in {"single", "replicated"}
        ):
            raise Unfit(f"{STATEMENT} does not say what it has to")


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a directory (without digest), of mailboxes (`mail`) or queue (`queue`); `modified`
    in seconds since the epoch.
    """

    place: str
    path: str
    mode: int
    owner: int
    modified: int
    size: int = 0
    sha256: str = ""

    @property
    def is_directory(self) -> bool:
        """Say whether it is a directory."""
        return not self.sha256


def listing(files: Sequence[File]) -> bytes:
    """Return the files as they stand in the backup."""
    return "".join(json.dumps(asdict(each)) + "\n" for each in files).encode()


def read_listing(text: bytes) -> list[File]:
    """Read the files; raises Unfit at the first that a lab could not have."""
    found: dict[tuple[str, str], File] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            file = File(**an_object(line))
            _check_file(file)
        except (TypeError, Unfit) as error:
            raise Unfit(f"{LISTING}: line {number}: {error}") from error
        parent = found.get((file.place, file.path.rpartition("/")[0]))
        if (file.place, file.path) in found:
            raise Unfit(f"{LISTING}: line {number}: {file.path!r} is there twice")
        if file.place == "mail" and "/" in file.path and not (parent and parent.is_directory):
            raise Unfit(f"{LISTING}: line {number}: {file.path!r} is in no directory")
        found[file.place, file.path] = file
    return list(found.values())


def _check_file(file: File) -> None:
    numbers = (file.mode, file.owner, file.modified, file.size)
    texts = (file.place, file.path, file.sha256)
    if not all(type(each) is int for each in numbers) or not all(
        isinstance(each, str) for each in texts
    ):
        raise Unfit("it does not say what it has to")
    if file.mode & ~0o777 or not 0 <= file.modified < 2**33 or file.size < 0:
        raise Unfit(f"{file.path!r} has a mode, time or size that no file of a lab has")
    if file.sha256 and not _HEX.fullmatch(file.sha256):
        raise Unfit(f"{file.path!r} has no digest")
    if file.place == "queue":
        fits = not file.is_directory and bool(_QUEUED.fullmatch(file.path))
    else:
        fits = file.place == "mail" and _is_of_a_home(file)
    if not fits:
        raise Unfit(f"{file.path!r} is no place that a lab has mail in")


def _is_of_a_home(file: File) -> bool:
    home, *rest = parts = file.path.split("/")
    return (
        bool(_HOME.fullmatch(home))
        and (bool(rest) or file.is_directory)
        and len(parts) <= _DEEPEST
        and not {"", ".", ".."} & set(parts)
        and "\0" not in file.path
        and all(len(part.encode("utf-8", "surrogateescape")) <= _LONGEST for part in parts)
        and LOWEST_UID <= file.owner < _HIGHEST_UID
    )


def an_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object; raises Unfit if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Unfit("this is no JSON object")
    return found


def settings_of(settings: Settings) -> dict[str, str]:
    """Return the settings that make a lab what it is, as they stand in `.env`; those of its host
    (ports, addresses, waits) are not among them.
    """
    return {
        "LAB_DOMAIN": settings.domain,
        "LAB_BASE_DN": settings.base_dn,
        "LAB_ATTR_SEND_ALLOWED": settings.attributes.send_allowed,
        "LAB_ATTR_STATUS": settings.attributes.status,
        "LAB_POLICY_ABSENT": settings.policy_absent,
        "LAB_NULL_SENDER": settings.null_sender,
        "LAB_MILTER": settings.milter,
        "LAB_STATUS_FREE": "1" if settings.status_free else "0",
        "LAB_AUTH_PENALTY": settings.auth_penalty,
        "LAB_RELAYHOST": settings.relayhost,
    }


def require_settings(statement: Statement, settings: Settings) -> None:
    """Raise UsageError, with the lines for `.env`, where the lab would be another one."""
    ours = settings_of(settings)
    differ = [f"{n}={v}" for n, v in statement.settings.items() if ours.get(n) != v]
    if set(statement.settings) != set(ours):
        raise UsageError("the backup has other settings than this labctl knows")
    if differ:
        raise UsageError(
            f"the lab was made with other settings than those of this host: {' '.join(differ)}",
            "Set them in .env, or before the command, and restore it again.",
        )
