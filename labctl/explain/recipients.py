"""Does a recipient exist: the check at the end of RCPT that no list needs to name."""

from labctl.explain.access import refused
from labctl.explain.addresses import AddressClass, class_of, completed, owner_keys
from labctl.explain.configuration import Configuration
from labctl.explain.model import Said, Verdict
from labctl.explain.tables import Recorder, is_pattern

_ALIASES = ("recipient_canonical_maps", "canonical_maps", "virtual_alias_maps")
# class: (its tables, the code of a refusal, what the refusal says)
_MAILBOXES = {
    AddressClass.LOCAL: (
        "local_recipient_maps",
        "unknown_local_recipient_reject_code",
        "User unknown in local recipient table",
    ),
    AddressClass.MAILBOX: (
        "virtual_mailbox_maps",
        "unknown_virtual_mailbox_reject_code",
        "User unknown in virtual mailbox table",
    ),
    AddressClass.RELAY: (
        "relay_recipient_maps",
        "unknown_relay_recipient_reject_code",
        "User unknown in relay recipient table",
    ),
}
_TRANSPORTS = {
    AddressClass.LOCAL: "local_transport",
    AddressClass.MAILBOX: "virtual_transport",
    AddressClass.RELAY: "relay_transport",
    AddressClass.DEFAULT: "default_transport",
}


def find(
    configuration: Configuration, recorder: Recorder, parameter: str, address: str
) -> str | None:
    """Look an address up in the tables of a parameter, part by part (mail_addr_find(3))."""
    tables = configuration.items(parameter)
    for key, partial in owner_keys(configuration, address):
        for table in tables:
            if partial and is_pattern(table):
                continue
            value = recorder.ask(table, key)
            if value is not None:
                return value
    return None


def unlisted_recipient(configuration: Configuration, recorder: Recorder, recipient: str) -> Said:
    """Return what `reject_unlisted_recipient` says of a recipient (check_rcpt_maps)."""
    address = completed(configuration, recipient)
    for parameter in _ALIASES:
        value = find(configuration, recorder, parameter, address)
        if value is not None:
            return Said(Verdict.SILENT, f"{parameter} has it: {value}")
    found = class_of(configuration, address)
    transport, _, says = _transport(configuration, found).partition(":")
    if transport == "error":
        code = 550
        if found is AddressClass.ALIAS:
            code = configuration.number("unknown_virtual_alias_reject_code")
        text = says if says[:1].isdigit() else f"5.1.1 {says}"
        return refused(code, text, "Recipient address", f"{found} domain, {transport}:{says}")
    return _in_its_class(configuration, recorder, found, address)


def _transport(configuration: Configuration, found: AddressClass) -> str:
    if found is AddressClass.ALIAS:
        return "error:5.1.1 User unknown in virtual alias table"
    return configuration.value(_TRANSPORTS[found])


def _in_its_class(
    configuration: Configuration, recorder: Recorder, found: AddressClass, address: str
) -> Said:
    tables, code, text = _MAILBOXES.get(found, ("", "", ""))
    if not tables or not configuration.items(tables):
        return Said(Verdict.SILENT, f"{found} domain: no list of recipients")
    if find(configuration, recorder, tables, address) is not None:
        return Said(Verdict.SILENT, f"{tables} has it")
    refusal = f"5.1.1 {text}"
    return refused(
        configuration.number(code), refusal, "Recipient address", f"{tables} does not have it"
    )
