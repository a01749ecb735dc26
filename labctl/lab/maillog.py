"""Postfix's log: the transactions in it, and what was only warned of in each (`reject_warning`).

Every line is one of Postfix's own, its program and process before it. What a client said stands in
it quoted as on the wire (RFC 5321 §4.1.2), and is read so; who signed in, Postfix says by itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from labctl.protocols.smtp import Outcome, Reply, Stage

# The engine's time (UTC), Postfix's own, the host; program and process; the message.
_LINE = re.compile(
    r"(?P<at>\S+) \w{3} [ \d]\d [\d:]{8} \S+ "
    r"postfix/(?:(?P<service>[\w-]+)/)?(?P<program>[\w-]+)\[(?P<process>\d+)\]: (?P<message>.*)"
)
_NO_ID = "NOQUEUE"
_ABOUT = re.compile(rf"(?P<id>{_NO_ID}|[0-9A-F]{{6,}}): (?P<said>.*)")
_ANSWER = re.compile(
    r"(?P<kind>reject|reject_warning): (?P<stage>[A-Z-]+) from \S+: (?P<code>\d{3}) (?P<text>.*)"
)
_CLIENT = re.compile(r"client=[^,]+(?:, sasl_method=[^,]*, sasl_username=(?P<login>[^,]*))?")
_ADDRESS = r'(?:"(?:\\.|[^"\\])*"|[^"\\<>\s])*'  # no quote or backslash outside a quoted string
_ENVELOPE = re.compile(
    rf"; from=<(?P<sender>{_ADDRESS})>(?: to=<(?P<recipient>{_ADDRESS})>)?"
    r" proto=\S+ helo=<[^<>\s]*>$"
)
_STAGES = {"RCPT": Stage.RCPT, "DATA": Stage.DATA, "BDAT": Stage.DATA, "END-OF-MESSAGE": Stage.EOM}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log: when it came (RFC 3339, UTC), which program said it, for which service
    (`submission`; empty where there is none), in which process, and what.
    """

    at: str
    service: str
    program: str
    process: str
    message: str

    @classmethod
    def of(cls, text: str) -> "Line | None":
        """Read a line, the engine's time before it; None if it is none of Postfix's."""
        match = _LINE.fullmatch(text)
        if match is None:
            return None
        rest = (match["program"], match["process"], match["message"])
        return cls(match["at"], match["service"] or "", *rest)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a restriction answered, or would have. The recipient is None where there are several;
    both addresses are where the line does not tell.
    """

    at: str
    service: str
    outcome: Outcome
    sender: str | None
    recipient: str | None

    @property
    def command(self) -> tuple[Stage, str | None]:
        """What was answered, within a transaction."""
        return self.outcome.stage, self.recipient


@dataclass(slots=True)
class Transaction:
    """A transaction that Postfix took up: who signed in (empty: nobody), what it was warned of,
    and whether the message was taken in the end.
    """

    login: str
    warnings: list[Answer] = field(default_factory=list)
    message_id: str = ""
    taken: bool = False

    def refusals(self) -> tuple[Answer, ...]:
        """Return what the client would have been told: at RCPT the first refusal of each
        recipient, and where there was none, the first of all.
        """
        of_recipients: dict[str | None, Answer] = {}
        for answer in self.warnings:
            if answer.outcome.stage is Stage.RCPT:
                of_recipients.setdefault(answer.recipient, answer)
        return tuple(of_recipients.values()) or tuple(self.warnings[:1])


def transactions(lines: Iterable[Line]) -> list[Transaction]:
    """Return the transactions in the order in which they began; a recipient who was refused after
    all has no part in them.
    """
    reader = _Reader()
    for line in lines:
        reader.read(line)
    return reader.found


@dataclass(slots=True)
class _Reader:
    """Follows the queue ids, each of which may come again when its message is gone, and what
    processes say before a transaction has one.
    """

    found: list[Transaction] = field(default_factory=list)
    by_id: dict[str, Transaction] = field(default_factory=dict)
    early: dict[str, list[Answer]] = field(default_factory=dict)

    def read(self, line: Line) -> None:
        about = _ABOUT.fullmatch(line.message)
        if line.program == "smtpd" and about:
            self._smtpd(line, about["id"], about["said"])
        elif line.program == "smtpd" and line.message.startswith("connect from "):
            self.early.pop(line.process, None)
        elif about and about["id"] in self.by_id:
            self._later(line.program, about["id"], about["said"])

    def _smtpd(self, line: Line, queue_id: str, said: str) -> None:
        if client := _CLIENT.match(said):
            begun = Transaction(client["login"] or "", self.early.pop(line.process, []))
            self.found.append(begun)
            self.by_id[queue_id] = begun
            return
        match = _ANSWER.fullmatch(said)
        if match is None or match["stage"] not in _STAGES:
            return
        answer, answers = _answer(line, match), self._answers(line.process, queue_id)
        if match["kind"] == "reject_warning":
            answers.append(answer)
            return
        while answers and answers[-1].command == answer.command:
            answers.pop()

    def _answers(self, process: str, queue_id: str) -> list[Answer]:
        """Return what the transaction has been warned of so far."""
        if queue_id == _NO_ID:
            return self.early.setdefault(process, [])
        return self.by_id[queue_id].warnings if queue_id in self.by_id else []

    def _later(self, program: str, queue_id: str, said: str) -> None:
        if program == "cleanup" and said.startswith("message-id="):
            self.by_id[queue_id].message_id = said.removeprefix("message-id=")
        elif program == "qmgr" and said.startswith("from=<"):
            self.by_id[queue_id].taken = True
        elif said == "removed":
            del self.by_id[queue_id]


def _answer(line: Line, match: re.Match[str]) -> Answer:
    envelope = _ENVELOPE.search(match["text"])
    text = match["text"][: envelope.start()] if envelope else match["text"]
    outcome = Outcome(_STAGES[match["stage"]], Reply.of(int(match["code"]), text))
    if envelope is None:
        return Answer(line.at, line.service, outcome, None, None)
    return Answer(line.at, line.service, outcome, envelope["sender"], envelope["recipient"])
