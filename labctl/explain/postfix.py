"""The running Postfix: its configuration, and its own tables asked with its own `postmap`."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Protocol

from labctl.errors import UsageError
from labctl.explain.configuration import Configuration, parse_parameters, service_of_port
from labctl.explain.evaluation import predict
from labctl.explain.model import Prediction, Transaction
from labctl.explain.tables import Answer, LdapSource, Remembered, kind

_END = "."  # a line that neither postmap nor a configuration file prints
_TROUBLE = "postmap: fatal: "
_READ_MASTER = f"postconf -M && echo {_END} && postconf -P"
# TABLE COUNT KEY…, again and again. Keys are read from a pipe, so that none is taken for an option.
_ASK = f"""
while [ $# -gt 0 ]; do
    table=$1 count=$2; shift 2
    printf '%s\\n' "${{@:1:count}}" | postmap -q - "$table" 2>&1 || :
    echo {_END}; shift "$count"
done
"""
_READ_FILES = f"""
for file; do sed '/^[[:space:]]*bind_pw/d' "$file" 2>/dev/null || :; echo {_END}; done
"""
_ROUNDS = 8  # each one finds at least one answer more; one does as a rule

Question = tuple[str, str]


class Execute(Protocol):
    """Runs a command in a service's container and returns its output."""

    def __call__(self, service: str, command: list[str], /) -> str:
        """Raise LabNotReady when the container does not run or the command fails."""


def read_configuration(execute: Execute, port: int) -> Configuration:
    """Return what the service on a port has, its overrides in force, expanded by Postfix itself.

    Raises UsageError when no smtpd listens there.
    """
    master, overrides = _sections(execute("postfix", ["bash", "-c", _READ_MASTER]))
    service = service_of_port(master, overrides, port)
    options = [part for name, value in service.overrides.items() for part in _option(name, value)]
    output = execute("postfix", ["postconf", "-x", *options])
    return Configuration(service, parse_parameters(output))


def _option(name: str, value: str) -> tuple[str, str]:
    return "-o", f"{name}={value}"


def _sections(output: str) -> list[str]:
    sections: list[list[str]] = [[]]
    for line in output.splitlines():
        if line == _END:
            sections.append([])
        else:
            sections[-1].append(line)
    return ["\n".join(lines) for lines in sections]


def predict_from(
    execute: Execute, configuration: Configuration, transaction: Transaction
) -> Prediction:
    """Predict with the answers of the real tables, asked in a few batches."""
    maps = Remembered()
    prediction = predict(configuration, transaction, maps, exhaustive=True)
    for _ in range(_ROUNDS):
        if maps.missing:
            maps.answers.update(ask_tables(execute, maps.missing))
            maps.missing.clear()
        prediction = predict(configuration, transaction, maps)
        if not maps.missing:
            return prediction
    raise UsageError("explain does not come to an end of asking Postfix's tables")


def ask_tables(execute: Execute, questions: Iterable[Question]) -> dict[Question, Answer]:
    """Ask tables for keys, all in one command."""
    by_table = [
        (table, [key for _, key in group])
        for table, group in groupby(sorted(questions), key=lambda question: question[0])
    ]
    arguments = [part for table, keys in by_table for part in (table, str(len(keys)), *keys)]
    sections = _sections(execute("postfix", ["bash", "-c", _ASK, "ask", *arguments]))
    return {
        (table, key): answer
        for (table, keys), section in zip(by_table, sections, strict=False)
        for key, answer in _answers(keys, section)
    }


def _answers(keys: list[str], section: str) -> Iterator[tuple[str, Answer]]:
    lines = section.splitlines()
    found = dict(line.split("\t", 1) for line in lines if "\t" in line)
    trouble = next((line for line in lines if line.startswith(_TROUBLE)), "")
    for key in keys:
        problem = "" if key in found else trouble.removeprefix(_TROUBLE)
        yield key, Answer(found.get(key), problem)


def read_sources(execute: Execute, tables: Iterable[str]) -> Mapping[str, LdapSource]:
    """Return where the LDAP tables among these look; passwords stay in the container."""
    named = [table for table in tables if kind(table) == "ldap"]
    if not named:
        return {}
    files = [table.partition(":")[2] for table in named]
    output = execute("postfix", ["bash", "-c", _READ_FILES, "read", *files])
    sections = _sections(output)
    return {
        table: LdapSource.of(parse_parameters(section))
        for table, section in zip(named, sections, strict=False)
    }
