"""What Postfix's log says of a policy that is only rehearsed, whatever clients wrote into it."""

from collections.abc import Iterator

import pytest

from labctl.lab.maillog import Answer, Line, Transaction, transactions
from labctl.lab.shadow import Blocked, rehearsal
from labctl.protocols.smtp import Outcome, Reply, Stage

CLIENT = "unknown[10.213.0.1]"
OFF = "Sending is disabled for this account by directory policy"
LOGIN = f"554 5.7.1 <dave>: SASL login name rejected: {OFF}"
DAVE, BOB, ALICE = "dave@x.org", "bob@x.org", "alice@x.org"


def line(message: str, program: str = "submission/smtpd", process: int = 7, second: int = 0) -> str:
    """Return a line as Postfix writes it, with the engine's time before it."""
    at = f"2026-11-26T08:00:{second:02}.5Z"
    return f"{at} Nov 26 08:00:{second:02} mail postfix/{program}[{process}]: {message}"


def envelope(sender: str, recipient: str | None, helo: str = "desk") -> str:
    """Return what a line ends with; no recipient where there are several."""
    to = "" if recipient is None else f" to=<{recipient}>"
    return f"from=<{sender}>{to} proto=ESMTP helo=<{helo}>"


def warning(
    stage: str = "RCPT",
    *,
    about: str = "NOQUEUE",
    reply: str = LOGIN,
    sender: str = DAVE,
    recipient: str | None = BOB,
    kind: str = "reject_warning",
) -> str:
    """Return a warning, or a refusal."""
    return f"{about}: {kind}: {stage} from {CLIENT}: {reply}; {envelope(sender, recipient)}"


def client(about: str = "A1B2C3", login: str = "dave") -> str:
    """Return the line that says who signed in."""
    return f"{about}: client={CLIENT}, sasl_method=PLAIN, sasl_username={login}"


def taken(about: str = "A1B2C3", message_id: str = "<m@x>") -> Iterator[str]:
    """Yield what is logged once a message has been taken."""
    yield line(f"{about}: message-id={message_id}", "cleanup", 8)
    yield line(f"{about}: from=<{DAVE}>, size=9, nrcpt=1 (queue active)", "qmgr", 9)


def read(*texts: str) -> list[Transaction]:
    """Return the transactions of a log."""
    return transactions(map(parsed, texts))


def parsed(text: str) -> Line:
    """Return a line, which must be one."""
    found = Line.of(text)
    assert found is not None, text
    return found


def only(*texts: str) -> tuple[Answer, ...]:
    """Return the refusals of the one transaction in a log."""
    [found] = read(*texts)
    return found.refusals()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-26T08:00:00Z ",
        "2026-11-26T08:00:00Z postfix: the secret /run/secrets/ca.pem is missing or empty.",
        line("x").removeprefix("2026-11-26T08:00:00.5Z "),
        line("x").replace("postfix/", "postfox/"),
    ],
)
def test_a_line_that_is_none_of_postfixs_is_passed_over(text: str) -> None:
    """What the entrypoint says, half lines, other programs."""
    assert Line.of(text) is None


def test_a_line_is_read_with_its_service_program_and_process() -> None:
    """Services have a name in front, Postfix's own programs have none."""
    expected = Line("2026-11-26T08:00:03.5Z", "submissions", "smtpd", "12", "hello: you")
    assert Line.of(line("hello: you", "submissions/smtpd", 12, 3)) == expected
    assert Line.of(line("on", "shadow", 12, 3)) == Line(expected.at, "", "shadow", "12", "on")


def test_the_refusal_is_the_first_that_would_have_been_given() -> None:
    """At RCPT, and not again by another list there, at DATA or at the end of the data."""
    [found] = read(
        line(warning()),
        line(warning(reply=f"554 5.7.1 <{DAVE}>: Sender address rejected: {OFF}")),
        line(client()),
        line(warning("DATA", about="A1B2C3")),
        line(warning("END-OF-MESSAGE", about="A1B2C3")),
        *taken(),
    )
    reply = Reply(554, "5.7.1", f"<dave>: SASL login name rejected: {OFF}")
    refusal = Answer("2026-11-26T08:00:00.5Z", "submission", Outcome(Stage.RCPT, reply), DAVE, BOB)
    assert found.refusals() == (refusal,)
    assert (found.login, found.message_id, found.taken) == ("dave", "<m@x>", True)


def test_each_recipient_would_have_been_refused() -> None:
    """The first before the transaction has a queue id, the others after; DATA adds nothing."""
    refusals = only(
        line(warning()),
        line(client()),
        line(warning(about="A1B2C3", recipient=ALICE)),
        line(warning("DATA", about="A1B2C3", recipient=None)),
    )
    assert [each.recipient for each in refusals] == [BOB, ALICE]


@pytest.mark.parametrize(
    ("where", "stage"),
    [("DATA", Stage.DATA), ("BDAT", Stage.DATA), ("END-OF-MESSAGE", Stage.EOM)],
)
def test_a_policy_that_changed_in_between_shows_at_a_later_stage(where: str, stage: Stage) -> None:
    """Nothing was warned of at RCPT: the refusal would have come later, once, for all."""
    [refusal] = only(
        line(client()),
        line(warning(where, about="A1B2C3", recipient=None)),
        line(warning("END-OF-MESSAGE", about="A1B2C3", recipient=None)),
    )
    assert (refusal.outcome.stage, refusal.sender, refusal.recipient) == (stage, DAVE, None)


def test_a_recipient_who_was_refused_all_the_same_would_have_been_told_nothing_else() -> None:
    """Before there is a queue id and after; the others stay."""
    unknown = "550 5.1.1 <no@x.org>: Recipient address rejected: User unknown"
    refusals = only(
        line(warning(recipient="no@x.org")),
        line(warning(recipient="no@x.org", reply=unknown, kind="reject")),
        line(warning()),
        line(client()),
        line(warning(about="A1B2C3", recipient="no@x.org")),
        line(warning(about="A1B2C3", recipient="no@x.org", reply=unknown, kind="reject")),
    )
    assert [each.recipient for each in refusals] == [BOB]


def test_what_another_client_was_warned_of_is_another_transaction() -> None:
    """The same process serves the next client; other processes speak in between."""
    first, second = read(
        line(warning(recipient="lost@x.org")),
        line(f"connect from {CLIENT}"),
        line(warning(recipient=ALICE), process=6),
        line(client("B2C3D4", "erin"), process=6),
        line(client("A1B2C3", "alice")),
    )
    assert [each.recipient for each in first.refusals()] == [ALICE]
    assert (first.login, second.login, second.refusals()) == ("erin", "alice", ())


def test_a_queue_id_comes_again_when_its_message_is_gone() -> None:
    """A bounce under the same id changes nothing of the transaction before."""
    first, second = read(
        line(client()),
        *taken(),
        line("A1B2C3: removed", "qmgr", 9),
        line("A1B2C3: message-id=<bounce@x>", "cleanup", 8),
        line(client(login="alice")),
    )
    assert (first.message_id, first.taken) == ("<m@x>", True)
    assert (second.login, second.message_id, second.taken) == ("alice", "", False)


def test_nobody_signed_in_is_nobody() -> None:
    """Mail from outside has no login, whatever its client calls itself."""
    [found] = read(line(f"A1B2C3: client={CLIENT}"))
    assert found.login == ""


QUOTED = r'"dave+x> to=<alice@x.org> reject_warning: \"RCPT\\"@x.org'
# In the reply an address stands as it was meant, unquoted; in the envelope as on the wire.
MEANT = "dave+; from=<alice@x.org> to=<erin@x.org> proto=ESMTP helo=<h@x.org"
HOSTILE = {
    "spaces, brackets and quotes in the sender": (LOGIN, QUOTED, BOB),
    "the same in the recipient": (LOGIN, DAVE, QUOTED),
    "the end of a line in the sender, which the reply repeats": (
        f"554 5.7.1 <{MEANT}>: Sender address rejected: {OFF}",
        f'"{MEANT.removesuffix("@x.org")}"@x.org',
        BOB,
    ),
    "the end of a line in the recipient": (
        LOGIN,
        DAVE,
        r'"a; from=<alice@x.org> to=<\"erin"@x.org',
    ),
    "quotes that close those before": (
        '554 5.7.1 <dave+; from=<"@x.org>: Sender address rejected: no',
        r'"dave+; from=<\""@x.org',
        BOB,
    ),
    "quotes that open where others close": (
        '554 5.7.1 <dave+"; from=<"y@x.org>: Sender address rejected: no',
        r'"dave+\"; from=<\"y"@x.org',
        BOB,
    ),
    "another line's words": (
        LOGIN,
        '"dave+A1B2C3: client=x, sasl_method=PLAIN, sasl_username=alice"@x.org',
        BOB,
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_client_wrote_is_no_part_of_the_line(case: str) -> None:
    """Sender and recipient are whole, the reply ends before them, the account is who signed in."""
    reply, sender, recipient = HOSTILE[case]
    [found] = read(
        line(warning(reply=reply, sender=sender, recipient=recipient)), line(client()), *taken()
    )
    [refusal] = found.refusals()
    assert (refusal.sender, refusal.recipient, found.login) == (sender, recipient, "dave")
    assert f"{refusal.outcome.reply}" == reply


def test_a_line_that_does_not_tell_counts_for_its_account() -> None:
    """Cut off, or of a form that is not known: the reply is there, the addresses are open."""
    [found] = read(line(warning()[:-9]), line(client()))
    [refusal] = found.refusals()
    assert (refusal.sender, refusal.recipient, refusal.outcome.reply.code) == (None, None, 554)


def test_words_of_a_warning_in_another_line_are_none() -> None:
    """In a subject, a message-id, a queue manager's line, or another program's."""
    [found] = read(
        line(client()),
        line(f"A1B2C3: message-id=<{warning()}>", "cleanup", 8),
        line(f"A1B2C3: from=<{warning(about='A1B2C3')}>, size=1", "qmgr", 9),
        line(warning(about="A1B2C3"), "cleanup", 8),
        line(f"warning: {warning()}"),
        line(f"lost connection after RCPT from {warning()}"),
    )
    assert found.refusals() == ()


def switched(on: str, second: int) -> str:
    """Return the line that shadow writes."""
    return line(on, "shadow", 3, second)


def mail(
    second: int, login: str = "dave", recipient: str = BOB, about: str = "A1B2C3"
) -> list[str]:
    """Return the lines of a message that was taken."""
    return [
        line(warning(recipient=recipient), second=second),
        line(client(about, login)),
        *taken(about),
        line(f"{about}: removed", "qmgr", 9),
    ]


def report(*texts: str) -> tuple[str, str, list[tuple[str, str | None, int, str]]]:
    """Return since when, until when, and account, recipient, count and second of each row."""
    found = rehearsal(map(parsed, texts))
    rows = [(row.account, row.recipient, row.count, _second(row.last)) for row in found.blocked]
    return _second(found.since), _second(found.until), rows


def _second(at: str) -> str:
    return at[17:19]


def test_the_report_counts_what_is_alike_and_says_when_last() -> None:
    """By account, sender, recipient, service and reply; the newest comes last."""
    log = [switched("on", 1), *mail(2), *mail(3, recipient=ALICE), *mail(4), *mail(5, "erin")]
    rows = [("dave", ALICE, 1, "03"), ("dave", BOB, 2, "04"), ("erin", BOB, 1, "05")]
    assert report(*log) == ("01", "", rows)


def test_a_row_has_all_that_the_refusal_would_have_had() -> None:
    """The service, the stage, code, enhanced code and text."""
    [row] = rehearsal(map(parsed, [switched("on", 1), *mail(2)])).blocked
    reply = Reply(554, "5.7.1", f"<dave>: SASL login name rejected: {OFF}")
    outcome = Outcome(Stage.RCPT, reply)
    at = "2026-11-26T08:00:02.5Z"
    assert row == Blocked("dave", DAVE, BOB, "submission", outcome, count=1, last=at)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("shadow", "off"),
        ("master", "daemon started -- version 3.7.11, configuration /etc/postfix"),
        ("master", "terminating on signal 15"),
    ],
)
def test_the_report_is_of_the_last_time_only(program: str, message: str) -> None:
    """What came before it was on, or after it was over, is not counted; a start ends it, too."""
    over = line(message, program, 1, 6)
    log = [switched("on", 1), *mail(2), switched("off", 3), switched("on", 4), *mail(5, "erin")]
    assert report(*log, over, *mail(7, "carol")) == ("04", "06", [("erin", BOB, 1, "05")])


@pytest.mark.parametrize("log", [[], mail(1), [switched("off", 1), *mail(2)]])
def test_where_it_never_was_on_there_is_no_report(log: list[str]) -> None:
    """Warnings of a configuration of somebody's own are no rehearsal."""
    assert report(*log) == ("", "", [])


def test_mail_that_was_not_taken_is_not_counted() -> None:
    """The client gave up after RCPT, or something else refused the data."""
    assert report(switched("on", 1), *mail(2)[:2]) == ("01", "", [])
