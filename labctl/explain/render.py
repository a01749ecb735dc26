"""An explanation as lines for people and as JSON for scripts."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from labctl.explain.evidence import shown
from labctl.explain.explanation import Explanation
from labctl.explain.model import Line, Transaction, Verdict
from labctl.explain.tables import Lookup, kind
from labctl.protocols.entry import Entry
from labctl.protocols.smtp import Outcome, Stage

DECIDES = "=>"


def text(explanation: Explanation) -> Iterator[str]:
    """Yield the lines for people; the one that decides begins with `=>`."""
    yield _headline(explanation.transaction, explanation.configuration.service.name)
    if explanation.person is not None:
        yield f"the directory says: {_entry(explanation, explanation.person)}"
    for note in explanation.prediction.notes:
        yield f"note: {note}"
    lists = groupby(explanation.prediction.lines, key=lambda line: (line.stage, line.parameter))
    for (stage, parameter), lines in lists:
        probed = "" if stage is not Stage.EOM else "  (predicted, not probed)"
        yield f"\n{stage}  {parameter}{probed}"
        for line in lines:
            yield from _line(explanation, line)
    yield ""
    yield f"predicted: {_outcome(explanation.prediction.at_probe)}"
    yield f"probed:    {_outcome(explanation.seen)}"
    yield "They agree." if explanation.agrees else "They DIFFER: the prediction is wrong."


def _headline(transaction: Transaction, service: str) -> str:
    who = f"signed in as {transaction.login}" if transaction.login else "without signing in"
    return (
        f"MAIL FROM:<{transaction.sender}> RCPT TO:<{transaction.recipient}> {who}, "
        f"port {transaction.port} (service {service} of master.cf)"
    )


def _line(explanation: Explanation, line: Line) -> Iterator[str]:
    mark = DECIDES if line is explanation.prediction.decides else ""
    said = line.said
    if said.verdict is Verdict.UNASKED:
        yield f"   {line.restriction}: {said.verdict} ({said.why})"
        return
    yield f"{mark:<3}{line.restriction}"
    for lookup in line.lookups:
        yield from _lookup(explanation, lookup)
    yield f"     {said.verdict}: {said.reply or said.why}"


def _lookup(explanation: Explanation, lookup: Lookup) -> Iterator[str]:
    found = explanation.evidence.get((lookup.table, lookup.key))
    note = f" ({found.note})" if found and found.note else ""
    table = lookup.table if ":/" in lookup.table else kind(lookup.table)
    yield f"       {table} {lookup.key}: {_answer(lookup)}{note}"
    if found is None or not found.query:
        return
    yield f"         filter  {found.query}"
    for entry in found.entries:
        yield f"         found   {_entry(explanation, entry)}"
    if not found.entries:
        yield "         found   no entry"


def _answer(lookup: Lookup) -> str:
    if lookup.answer.problem:
        return f"cannot be asked: {lookup.answer.problem}"
    return "no match" if lookup.answer.value is None else lookup.answer.value


def _entry(explanation: Explanation, entry: Entry) -> str:
    values = shown(explanation.endpoints, entry).items()
    return " ".join(f"{name}={','.join(given) or 'absent'}" for name, given in values)


def _outcome(outcome: Outcome) -> str:
    return f"{outcome.reply} at {outcome.stage}"


def data(explanation: Explanation) -> dict[str, Any]:
    """Return the same as an object for JSON, without its schema."""
    transaction, prediction = explanation.transaction, explanation.prediction
    return {
        "transaction": {
            "login": transaction.login,
            "from": transaction.sender,
            "to": transaction.recipient,
            "port": transaction.port,
            "service": explanation.configuration.service.name,
        },
        "account": explanation.person and _entry_data(explanation, explanation.person),
        "restrictions": [_line_data(explanation, line) for line in prediction.lines],
        "notes": list(prediction.notes),
        "predicted": _outcome_data(prediction.at_probe),
        "probed": _outcome_data(explanation.seen),
        "agrees": explanation.agrees,
    }


def _line_data(explanation: Explanation, line: Line) -> dict[str, Any]:
    return {
        "stage": str(line.stage),
        "list": line.parameter,
        "restriction": line.restriction,
        "verdict": line.said.verdict.name.lower(),
        "why": line.said.why,
        "reply": str(line.said.reply) if line.said.reply else None,
        "decides": line is explanation.prediction.decides,
        "probed": line.stage is not Stage.EOM and line.said.verdict is not Verdict.UNASKED,
        "lookups": [_lookup_data(explanation, lookup) for lookup in line.lookups],
    }


def _lookup_data(explanation: Explanation, lookup: Lookup) -> dict[str, Any]:
    found = explanation.evidence.get((lookup.table, lookup.key))
    return {
        "map": lookup.table,
        "key": lookup.key,
        "answer": lookup.answer.value,
        "problem": lookup.answer.problem or None,
        "filter": (found and found.query) or None,
        "note": (found and found.note) or None,
        "entries": [_entry_data(explanation, entry) for entry in found.entries] if found else [],
    }


def _entry_data(explanation: Explanation, entry: Entry) -> dict[str, Any]:
    return {"dn": entry.dn, "attributes": shown(explanation.endpoints, entry)}


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    reply = outcome.reply
    return {
        "stage": str(outcome.stage),
        "code": reply.code,
        "enhanced": reply.enhanced,
        "text": reply.text,
    }
