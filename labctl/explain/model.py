"""The words of an explanation: the transaction, each restriction asked, and the prediction."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from labctl.explain.tables import Lookup
from labctl.protocols.smtp import Outcome, Reply, Stage

GO_AHEAD = 354  # RFC 5321 §3.3: the reply to DATA


@dataclass(frozen=True, slots=True)
class Transaction:
    """One sender, one recipient, one port; `login` is None where nobody signs in."""

    login: str | None
    sender: str
    recipient: str
    port: int


class Verdict(StrEnum):
    """What a restriction says."""

    PERMITS = "permits"
    REFUSES = "refuses"
    WARNS = "would refuse, and only warns"
    SILENT = "has nothing to say"
    UNASKED = "is not asked"


@dataclass(frozen=True, slots=True)
class Said:
    """A restriction's verdict and why; for a refusal, or one that is only warned of, the reply,
    whose text ends so.
    """

    verdict: Verdict
    why: str
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One restriction of one list, with all that was looked up for it."""

    stage: Stage
    parameter: str
    restriction: str
    said: Said
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """Every restriction in the order of smtpd, and what it comes to."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def refusal(self) -> Line | None:
        """The line that refuses, if one does."""
        return _first_refusal(self.lines)

    @property
    def decides(self) -> Line | None:
        """The line that decides: the refusal, or else the last that permits or was asked."""
        asked = [line for line in self.lines if line.said.verdict is not Verdict.UNASKED]
        permits = [line for line in asked if line.said.verdict is Verdict.PERMITS]
        return self.refusal or next(reversed(permits or asked), None)

    @property
    def at_probe(self) -> Outcome:
        """What a client sees that goes as far as DATA and sends no content."""
        refusal = _first_refusal(line for line in self.lines if line.stage is not Stage.EOM)
        if refusal is None or refusal.said.reply is None:
            return Outcome(Stage.DATA, Reply(GO_AHEAD, "", ""))
        return Outcome(refusal.stage, refusal.said.reply)

    def agrees(self, seen: Outcome) -> bool:
        """Say whether a probe's outcome is the predicted one, codes, stage and text."""
        expected = self.at_probe
        return (
            expected.stage is seen.stage
            and expected.reply.codes() == seen.reply.codes()
            and seen.reply.text.endswith(expected.reply.text)
        )


def _first_refusal(lines: Iterable[Line]) -> Line | None:
    return next((line for line in lines if line.said.verdict is Verdict.REFUSES), None)
