"""Whether the names that steps use exist: accounts announced, messages sent before."""

from collections.abc import Sequence

from labctl.endpoints import PROGRAMS
from labctl.scenario.document import Document, Path_, nearest
from labctl.scenario.model import Step


def check_references(document: Document, steps: Sequence[tuple[int, Step]]) -> None:
    """Add a problem to the document for each name that leads nowhere or is taken."""
    accounts = _announced(document)
    sent: list[str] = []
    for number, step in steps:
        path: Path_ = ("steps", number, step.verb)
        for name in step.accounts():
            if accounts is not None and name not in accounts:
                binds = getattr(step, "who", None) == name  # who binds may be a program, too
                near = nearest(name, [*accounts, *PROGRAMS] if binds else accounts)
                text = f"account {name!r} is not among `accounts`{near}"
                document.problem(document.place(path), f"{step.verb}: {text}")
        _check_message(document, path, step, sent)


def _announced(document: Document) -> list[str] | None:
    """Return the accounts that the header names; None if it names none, which is told already."""
    given = document.data.get("accounts") if isinstance(document.data, dict) else None
    return [name for name in given if isinstance(name, str)] if isinstance(given, list) else None


def _check_message(document: Document, path: Path_, step: Step, sent: list[str]) -> None:
    wanted, given = step.refers_to(), step.names()
    if wanted is not None and wanted not in sent:
        text = f"no earlier step sends a message as {wanted!r}{nearest(wanted, sent)}"
        document.problem(document.place((*path, "message")), f"{step.verb}: {text}")
    if given is not None and given in sent:
        text = f"the name {given!r} is already taken"
        document.problem(document.place((*path, "as")), f"{step.verb}: {text}")
    elif given is not None:
        sent.append(given)
