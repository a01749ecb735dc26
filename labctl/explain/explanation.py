"""An explanation put together: configuration, prediction, evidence, probe."""

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.endpoints import Account, Endpoints
from labctl.events import Emit
from labctl.explain.configuration import Configuration
from labctl.explain.evidence import Evidence, gather
from labctl.explain.model import Prediction, Transaction
from labctl.explain.postfix import Execute, predict_from, read_configuration, read_sources
from labctl.explain.probe import probe
from labctl.protocols.entry import Entry
from labctl.protocols.smtp import Outcome


@dataclass(frozen=True, slots=True)
class Explanation:
    """All there is to tell about one transaction."""

    endpoints: Endpoints
    transaction: Transaction
    configuration: Configuration
    prediction: Prediction
    person: Entry | None
    evidence: Evidence
    seen: Outcome

    @property
    def agrees(self) -> bool:
        """Say whether the probe ended as predicted."""
        return self.prediction.agrees(self.seen)


def explain(
    endpoints: Endpoints,
    account: Account,
    transaction: Transaction,
    execute: Execute,
    *,
    emit: Emit,
) -> Explanation:
    """Predict, then probe.

    Raises UsageError for what explain does not know, LabNotReady when Postfix does not answer.
    """
    configuration = read_configuration(execute, transaction.port)
    prediction = predict_from(execute, configuration, transaction)
    sources = read_sources(execute, _tables(prediction))
    seen = probe(endpoints, account, transaction, emit=emit)
    person, evidence = gather(endpoints, prediction, sources, account.login)
    return Explanation(endpoints, transaction, configuration, prediction, person, evidence, seen)


def _tables(prediction: Prediction) -> Sequence[str]:
    return sorted({each.table for line in prediction.lines for each in line.lookups})
