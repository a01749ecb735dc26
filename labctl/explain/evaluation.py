"""The order in which smtpd asks its lists, and what that comes to. Pure: no server is asked here
but through `Maps`.
"""

from collections.abc import Iterator, Mapping

from labctl.errors import UsageError
from labctl.explain.configuration import Configuration
from labctl.explain.model import Line, Prediction, Said, Transaction, Verdict
from labctl.explain.restrictions import UNLISTED, Asked, Restriction, ask, parse_restrictions
from labctl.explain.tables import Maps, Recorder
from labctl.protocols.smtp import Stage

# What smtpd calls the thing that a list judges.
_JUDGED: Mapping[str, str] = {
    "smtpd_client_restrictions": "Client host",
    "smtpd_helo_restrictions": "Helo command",
    "smtpd_sender_restrictions": "Sender address",
    "smtpd_relay_restrictions": "Recipient address",
    "smtpd_recipient_restrictions": "Recipient address",
    "smtpd_data_restrictions": "Data command",
    "smtpd_end_of_data_restrictions": "End-of-data",
}
IMPLICIT = "smtpd_reject_unlisted_recipient"
# What changes the order or the addresses in ways that are not followed here: only these values.
_ASSUMED: Mapping[str, str] = {
    "smtpd_delay_reject": "yes",
    "smtpd_reject_unlisted_sender": "no",
    "soft_bounce": "no",
    "append_at_myorigin": "yes",
    "transport_maps": "",
    "sender_dependent_default_transport_maps": "",
}
_MENTIONED = {
    "smtpd_milters": "asked at every stage and at the end of data; not predicted",
    "smtpd_proxy_filter": "asked at the end of data; not predicted",
}


def predict(
    configuration: Configuration, transaction: Transaction, maps: Maps, *, exhaustive: bool = False
) -> Prediction:
    """Say what becomes of a transaction, restriction by restriction; `exhaustive` asks those too
    that an earlier one makes needless, which shows every question that may come up.

    Raises UsageError for a restriction or a setting that explain does not know.
    """
    _check_assumptions(configuration)
    lines: list[Line] = []
    for stage, parameter, restrictions in _lists(configuration):
        passed = stage is Stage.RCPT and transaction.recipient.lower() == "postmaster"
        over = "RCPT TO:<postmaster> passes every list by" if passed else _over(lines)
        what = _JUDGED.get(parameter, "")
        for restriction in restrictions:
            recorder = Recorder(maps)
            said = Said(Verdict.UNASKED, over)
            if exhaustive or not over:
                said = ask(restriction, Asked(configuration, transaction, recorder, what))
            lines.append(Line(stage, parameter, str(restriction), said, tuple(recorder.lookups)))
            over = over or _over(lines[-1:], in_list=True)
    return Prediction(tuple(lines), tuple(_notes(configuration)))


def _over(lines: list[Line], *, in_list: bool = False) -> str:
    verdicts = {line.said.verdict for line in lines}
    if Verdict.REFUSES in verdicts:
        return "already refused"
    if in_list and Verdict.PERMITS in verdicts:
        return "the list has permitted"
    return ""


def _lists(
    configuration: Configuration,
) -> Iterator[tuple[Stage, str, tuple[Restriction, ...]]]:
    at_rcpt = ["smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions"]
    last = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"]
    if not configuration.yes("smtpd_relay_before_recipient_restrictions"):
        last.reverse()
    named = [_read(configuration, parameter) for parameter in (*at_rcpt, *last)]
    for parameter, restrictions in zip((*at_rcpt, *last), named, strict=True):
        yield Stage.RCPT, parameter, restrictions
    if configuration.yes(IMPLICIT) and not any(UNLISTED in each for each in named):
        yield Stage.RCPT, IMPLICIT, (UNLISTED,)
    for stage, parameter in (
        (Stage.DATA, "smtpd_data_restrictions"),
        (Stage.EOM, "smtpd_end_of_data_restrictions"),
    ):
        yield stage, parameter, _read(configuration, parameter)


def _read(configuration: Configuration, parameter: str) -> tuple[Restriction, ...]:
    return parse_restrictions(parameter, configuration.items(parameter))


def _check_assumptions(configuration: Configuration) -> None:
    for name, assumed in _ASSUMED.items():
        value = configuration.value(name)
        if value != assumed:
            raise UsageError(
                f"explain does not know {name} = {value}", f"It knows {name} = {assumed}."
            )


def _notes(configuration: Configuration) -> Iterator[str]:
    for name, note in _MENTIONED.items():
        value = configuration.parameters.get(name, "")
        if value:
            yield f"{name} = {value}: {note}"
