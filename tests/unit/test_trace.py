"""The log lines that one message caused, and no others."""

import pytest

from labctl.scenario.messages import Trace, queue_id_of

TRACE = Trace("<report.r1@labctl.invalid>", "dave@x.org", "2.r1.labctl.invalid", 0.0, "4DC1A1802D6")
REFUSED = Trace("<no.r1@labctl.invalid>", "dave@x.org", "3.r1.labctl.invalid", 0.0, "")
POSTFIX = """\
mail postfix/submission/smtpd[1]: connect from unknown[10.0.0.1]
mail postfix/submission/smtpd[1]: 4DC1A1802D6: client=unknown[10.0.0.1], sasl_username=dave
mail postfix/cleanup[2]: 4DC1A1802D6: message-id=<report.r1@labctl.invalid>
mail postfix/cleanup[2]: 5DC1A1802D6: message-id=<another.r1@labctl.invalid>
mail postfix/lmtp[3]: 4DC1A1802D6: to=<bob@x.org>, relay=dovecot[10.0.0.2]:24, status=sent (ok)
mail postfix/lmtp[3]: 5DC1A1802D6: to=<bob@x.org>, relay=dovecot[10.0.0.2]:24, status=sent (ok)
mail postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[10.0.0.1]: 554 5.7.1 <dave>: no; \
from=<dave@x.org> to=<bob@x.org> proto=ESMTP helo=<3.r1.labctl.invalid>
mail postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[10.0.0.1]: 554 5.7.1 <dave>: no; \
from=<dave@x.org> to=<bob@x.org> proto=ESMTP helo=<13.r1.labctl.invalid>
mail postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[10.0.0.1]: 554 5.7.1 <erin>: no; \
from=<erin@x.org> to=<bob@x.org> proto=ESMTP helo=<3.r1.labctl.invalid>
mail postfix/cleanup[2]: 6DC1A1802D6: message-id=<no.r1@labctl.invalid>
mail postfix/cleanup[2]: 6DC1A1802D6: milter-reject: END-OF-MESSAGE from unknown: 5.7.1 not his
lmtp(bob)<7><x>: Info: msgid=<report.r1@labctl.invalid>: saved mail to INBOX
""".splitlines()


def test_a_message_that_was_taken_is_known_by_its_ids() -> None:
    """By queue id and by Message-ID; what another message caused is none of its lines."""
    assert TRACE.own(POSTFIX) == [POSTFIX[i] for i in (1, 2, 4, 11)]


def test_a_message_that_was_refused_is_known_by_its_session_and_sender() -> None:
    """And by the queue id, where it had come so far; sessions differ by their names."""
    assert REFUSED.own(POSTFIX) == [POSTFIX[i] for i in (6, 9, 10)]


@pytest.mark.parametrize(
    ("reply", "queue_id"),
    [
        ("Ok: queued as 4DC1A1802D6", "4DC1A1802D6"),
        ("2.0.0 Ok: queued as 4XyZbC2dWqz1kJ", "4XyZbC2dWqz1kJ"),
        ("Ok", ""),
        ("<dave>: SASL login name rejected", ""),
    ],
)
def test_the_reply_names_the_queue_id(reply: str, queue_id: str) -> None:
    """Short or long ids, or none."""
    assert queue_id_of(reply) == queue_id
