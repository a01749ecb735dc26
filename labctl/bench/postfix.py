"""Another configuration for the Postfix of a lab that is one's own; a start renders it anew."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from labctl.lab.containers import LabContainers
from labctl.prove.breaking import reload_postfix, write_file

MAIN = "/etc/postfix/main.cf"

# So many errors and resets in one session are what a measurement provokes on purpose.
PATIENT: Mapping[str, str] = {
    "smtpd_error_sleep_time": "0",
    "smtpd_soft_error_limit": "1000000",
    "smtpd_hard_error_limit": "1000000",
    "smtpd_junk_command_limit": "1000000",
}

# Everybody who signed in may send, as whomever he likes.
NO_POLICY: Mapping[str, str] = {
    "smtpd_client_restrictions": "permit_sasl_authenticated, reject",
    "smtpd_sender_restrictions": "",
    "smtpd_recipient_restrictions": "",
    "smtpd_data_restrictions": "reject_unauth_pipelining",
    "smtpd_end_of_data_restrictions": "",
    "smtpd_milters": "",
}


def with_parameters(text: str, values: Mapping[str, str]) -> str:
    """Return a main.cf in which parameters have these values, whatever it said of them before."""
    for name, value in values.items():
        # Lines that begin with a blank go on with the one before, see postconf(5).
        text = re.sub(rf"^{name}[ \t]*=.*\n(?:[ \t]+.*\n)*", "", text, flags=re.MULTILINE)
        text += f"{name} = {value}\n"
    return text


@contextmanager
def configured(containers: LabContainers, values: Mapping[str, str]) -> Iterator[None]:
    """Let Postfix have these parameters for new sessions meanwhile, and after it its own again."""
    before = containers.execute("postfix", ["cat", MAIN])
    write_file(containers, "postfix", MAIN, with_parameters(before, values))
    reload_postfix(containers)
    try:
        yield
    finally:
        write_file(containers, "postfix", MAIN, before)
        reload_postfix(containers)
