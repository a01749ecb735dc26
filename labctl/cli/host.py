"""The commands about this host and this tool: doctor, version, completion."""

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import click

from labctl import __version__
from labctl.cli.app import App, output_option, pass_app
from labctl.cli.output import show
from labctl.errors import Exit, LabctlError, LabNotReady


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` says what to do if it is not well."""

    what: str
    ok: bool
    seen: str
    advice: str = ""
    exit_code: int = int(Exit.HOST)


@click.command()
@output_option
@pass_app
def doctor(app: App, *, output: str) -> int:
    """Look at everything the lab needs, on this host and in the lab, and say what is wrong."""
    findings = list(_findings(app))
    rows = [
        ("ok" if row.ok else "WRONG", row.what, row.seen, "" if row.ok else row.advice)
        for row in findings
    ]
    data = {"findings": [asdict(row) for row in findings], "ok": all(row.ok for row in findings)}
    show(output, data, ("", "WHAT", "SEEN", "WHAT TO DO"), rows)
    return next((row.exit_code for row in findings if not row.ok), int(Exit.OK))


def _findings(app: App) -> Iterator[Finding]:
    yield Finding("python", sys.version_info >= (3, 11), platform.python_version())
    yield _look("engine", lambda: _engine(app))
    yield _look("compose", lambda: _compose(app))
    yield _look("settings", lambda: f"domain {app.settings.domain}")
    yield _look("images", lambda: _images(app))
    if app.lab.files.record() is None:
        yield Finding("lab", ok=True, seen=f"{app.name!r} has not been brought up yet")
        return
    yield _look("services", lambda: _services(app))
    yield _look("directory", lambda: _directory(app))
    yield _look("policy attributes", lambda: _policy_is_visible(app))
    yield _look("enforcement", lambda: _policy_is_enforced(app))


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, ok=True, seen=look())
    except LabctlError as error:
        return Finding(
            what, ok=False, seen=error.what, advice=error.hint, exit_code=error.exit_code
        )


def _engine(app: App) -> str:
    info = app.lab.engine.client.version()
    return f"Docker Engine {info['Version']}, API {info['ApiVersion']}"


def _compose(app: App) -> str:
    compose = app.lab.engine.compose
    return f"{compose.origin} {compose.version}"


def _images(app: App) -> str:
    from labctl.lab.images import SERVICES, image_of, is_present

    built = [is_present(app.lab.engine, image_of(name, app.root).reference) for name in SERVICES]
    return "built" if all(built) else "`labctl up` will build them"


def _services(app: App) -> str:
    states = app.lab.containers.states()
    ill = [f"{row.service} is {row.state}, {row.health}" for row in states if not row.well]
    if ill or not states:
        text = "; ".join(ill) or f"the lab {app.name!r} is not up"
        raise LabNotReady(text, "Bring it up with `labctl up`; `labctl logs` tells more.")
    return ", ".join(row.service for row in states)


def _directory(app: App) -> str:
    with app.lab.directory() as directory:
        return f"{len(directory.people())} people below ou=users,{directory.base_dn}"


def _policy_is_visible(app: App) -> str:
    """See as Postfix sees: a deny list would fail open in silence if it could not."""
    from labctl.lab.visibility import unseen_policies

    unseen = unseen_policies(app.lab)
    if unseen:
        raise LabNotReady(
            f"Postfix's account cannot see the policy attributes of {', '.join(unseen)}",
            "Mend the directory's access rules; `labctl down` and `labctl up` restore the lab's.",
        )
    return "seen by Postfix's account wherever they are set"


def _policy_is_enforced(app: App) -> str:
    from labctl.lab import shadow

    if shadow.is_on(app.lab.containers):
        raise LabNotReady(
            "shadow is on: Postfix warns of whom the policy would refuse, and takes his mail",
            f"`{app.lab.files.command} shadow --off` lets it refuse again.",
        )
    return "whom the policy refuses is refused"


@click.command()
@output_option
@pass_app
def version(app: App, *, output: str) -> None:
    """Print the versions of labctl and of what it runs on."""
    rows = [("labctl", __version__), ("python", platform.python_version())]
    for name, look in (("engine", _engine), ("compose", _compose)):
        try:
            rows.append((name, look(app)))
        except LabctlError as error:
            rows.append((name, f"none: {error.what}"))
    show(output, {"versions": dict(rows)}, ("WHAT", "VERSION"), rows)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: `eval "$(labctl completion bash)"`."""
    from click.shell_completion import get_completion_class

    from labctl.cli import cli

    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(cli, {}, "labctl", "_LABCTL_COMPLETE").source())
