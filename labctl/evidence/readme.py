"""README.txt: the verdicts, what each file is, and how to verify the bundle by hand."""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from labctl.evidence.bundle import MANIFEST, PREFIX
from labctl.report.wording import MARKS, count, visible

if TYPE_CHECKING:
    from labctl.evidence.statement import Statement

_WIDTH: Final = 88

_WHEN: Final = ("before", "after")

# The first that fits explains a file.
_FILES: Final = (
    ("README.txt", "this file"),
    ("verdicts.json", "the verdicts, what differs and what was left out, for programs"),
    ("report.html", "the runs as one page for any browser, without network or script"),
    ("scenarios/*", "what was to happen: the scenario's file as it was read"),
    ("transcripts/*", "what happened: every event as it came, secrets as ***"),
    ("people.ldif", "everybody in the directory, with the policy attributes"),
    ("endpoints.json", "where the stack is reached, and its policy profile"),
    ("versions.json", "versions of the servers, labctl, Docker and the kernel"),
    ("clocks.json", "each container's clock beside the host's, in seconds"),
    ("containers.json", "which containers of which images, by their ids"),
    ("*/packages.txt", "the Debian packages of the image"),
    ("openldap/config.ldif", "who may read and write what in the directory"),
    ("postfix/postconf-n.txt", "every parameter that is not at its default"),
    ("postfix/postconf-M.txt", "its services"),
    ("postfix/files.txt", "the files of its configuration"),
    ("postfix/ldap_*.cf", "a question to the directory, the password as ***"),
    ("postfix/*.regexp", "a table"),
    ("postfix/*.pem", "the certificate of the authority that it trusts"),
    ("dovecot/dovecot-ldap.*", "its question to the directory, the password as ***"),
    ("*", "configuration as it stood in the container"),
)


def readme(statement: "Statement", names: Sequence[str]) -> str:
    """Return the text; `names` are the files of the bundle."""
    return "\n".join([*_head(statement), *_files(names), *_verification(statement, names)]) + "\n"


def _head(statement: "Statement") -> Iterator[str]:
    yield "EVIDENCE OF THE MAIL-POLICY LAB"
    yield ""
    yield "Verdict"
    for run in statement.runs:
        yield f"  {MARKS[run.outcome]} {run.outcome}: {visible(run.started.title)}"
        yield f"      {run.tally}"
        if run.reason != run.outcome:
            yield from _indented(visible(run.reason), 6)
    yield ""
    yield "When and where"
    for run in statement.runs:
        at = f"{run.began:%Y-%m-%d %H:%M:%S} UTC"
        where = f"lab {visible(run.started.lab)}, policy {visible(run.started.policy)}"
        yield f"  {at}, {where}, run {visible(run.started.run)}"
    yield ""
    yield "What differs after it"
    yield from _listed(statement.differs, "nothing: all that was looked at is as before")
    yield ""
    yield "What was left out, and why"
    yield from _listed(
        [f"{each.what}: {each.why}" for each in statement.left_out], "nothing that was looked for"
    )
    if statement.masked:
        yield "  Passwords were found in these files, and stand there as ***:"
        yield from _listed(
            [f"{name}: {count(n, 'time')}" for name, n in statement.masked.items()], ""
        )
    yield ""


def _listed(texts: Iterable[str], nothing: str) -> Iterator[str]:
    rows = [line for text in texts for line in _indented(visible(text), 2)]
    yield from rows or [f"  {nothing}"]


def _indented(text: str, columns: int) -> list[str]:
    first, rest = " " * columns, " " * (columns + 2)
    return wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest)


def _files(names: Sequence[str]) -> Iterator[str]:
    taken = {when: {_below(name) for name in names if _top(name) == when} for when in _WHEN}
    before, after = taken.values()
    yield "The files"
    yield from _explained([name for name in names if _top(name) not in _WHEN])
    yield f"  {MANIFEST}: the SHA-256 checksum of every other file"
    for title, found in (
        (
            "In before/, as it was before the first run, and in after/, after the last",
            before & after,
        ),
        ("In before/ alone", before - after),
        ("In after/ alone", after - before),
    ):
        if found:
            yield title
            yield from _explained(sorted(found))
    yield ""


def _top(name: str) -> str:
    return name.partition("/")[0]


def _below(name: str) -> str:
    return name.partition("/")[2]


def _explained(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield f"  {name}: {next(about for pattern, about in _FILES if fnmatchcase(name, pattern))}"


def _verification(statement: "Statement", names: Sequence[str]) -> Iterator[str]:
    top = f"{PREFIX}{statement.name}"
    yield "How to verify it"
    yield "  With labctl:     labctl evidence verify FILE.tgz"
    yield f"  Without labctl:  tar -xzf FILE.tgz && cd {top}"
    yield f"                   sha256sum --check --strict {MANIFEST}"
    yield f"                   find . ! -type d | wc -l     # {len(names) + 1}: nothing was added"
    yield ""
    yield "  The manifest shows damage and tampering with single files. It cannot show that the"
    yield "  whole bundle was made by somebody else: for that, keep the checksum of FILE.tgz, which"
    yield "  labctl prints when it writes the file and when it verifies it, in another place."
    yield ""
    yield "What it shows, and what not"
    yield "  A transcript is what the servers answered to labctl over the network, at that time."
    yield "  Configuration is what stood in the containers. Neither says anything about other"
    yield "  servers, or about a time at which nobody looked. Times are those of the host's clock."
