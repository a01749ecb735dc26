"""The lab's images: built when their files have changed, found again when they have not."""

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labctl.errors import HostProblem
from labctl.lab.engine import Engine
from labctl.settings import dotenv

SERVICES = ("openldap", "postfix", "dovecot", "milter")
CERTIFIED = ("openldap", "postfix", "dovecot")  # who have certificates
PREFIX = "mail-policy-lab"
Say = Callable[[str], None]


class Progress(Protocol):
    """Whom to tell how it goes."""

    def step(self, text: str) -> None:
        """Tell that a step begins, or was seen to be done."""

    def detail(self, text: str) -> None:
        """Tell the last line of what the step prints."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of ours; its tag is the digest of the files it is built from."""

    service: str
    context: Path
    tag: str

    @property
    def reference(self) -> str:
        """The name by which the engine knows it."""
        return f"{PREFIX}/{self.service}:{self.tag}"


def image_of(service: str, root: Path) -> Image:
    """Return the image of a service as its files are now."""
    return image_in(root / "images" / service)


def image_in(context: Path) -> Image:
    """Return the image that is built from a directory, as its files are now."""
    digest = hashlib.sha256()
    for path in sorted(_files(context)):
        mode = "x" if path.stat().st_mode & 0o100 else "-"
        digest.update(f"{path.relative_to(context)}\0{mode}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Image(context.name, context, digest.hexdigest()[:12])


def _files(context: Path) -> list[Path]:
    """Return the files that an image is built from; byte code that was left there is none."""
    return [p for p in context.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def ensure_images(engine: Engine, root: Path, progress: Progress) -> dict[str, Image]:
    """Build those images that this engine does not have; returns all by service.

    Raises HostProblem with the builder's last lines when a build fails.
    """
    images = {service: image_of(service, root) for service in SERVICES}
    ensure(engine, root, images.values(), progress)
    return images


def ensure(engine: Engine, root: Path, images: Iterable[Image], progress: Progress) -> None:
    """Build those of some images that this engine does not have, on the lab's base image.

    Raises HostProblem with the builder's last lines when a build fails.
    """
    missing = [image for image in images if not is_present(engine, image.reference)]
    if missing:
        progress.step("base image: looking for debian:12-slim")
        base = _base_image(root, progress.detail)
        for image in missing:
            progress.step(f"building {image.reference}")
            _build(image, base, progress.detail)


def _base_image(root: Path, say: Say) -> str:
    """Return the base image, pulled or built; `.env` may say from which mirror."""
    environment = {**dotenv(root), **os.environ}
    lines = _stream([str(root / "images" / "base" / "build")], say, environment)
    return lines.strip().splitlines()[-1]


def is_present(engine: Engine, reference: str) -> bool:
    """Say whether the engine has the image."""
    from docker.errors import ImageNotFound

    try:
        engine.client.images.get(reference)
    except ImageNotFound:
        return False
    return True


def _build(image: Image, base: str, say: Say) -> None:
    command = ["docker", "build", "--build-arg", f"BASE={base}", "--tag", image.reference]
    _stream([*command, str(image.context)], say)


def _stream(command: list[str], say: Say, env: Mapping[str, str] | None = None) -> str:
    """Run a command, telling its lines as they come; returns them."""
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            say(line.rstrip())
    if process.returncode != 0:
        tail = "".join(lines[-15:]).rstrip()
        raise HostProblem(f"{' '.join(command[:2])} … failed; it last said:\n{tail}")
    return "".join(lines)
