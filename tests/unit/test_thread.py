"""One account's or one message's lines, found among everybody's, and nobody else's with them."""

from itertools import count

import pytest

from labctl.lab.spoken import Said, Subject
from labctl.lab.thread import Strand, Thread

ALICE = Subject.account("alice", ["alice@x.org", "a.north@x.org"], "uid=alice,ou=users,dc=x,dc=org")
CLIENT = "unknown[10.213.0.1]"
_numbers = count()


def said(service: str, text: str) -> Said:
    """Return a line, later than those before."""
    return Said(f"2026-11-26T08:00:00.{next(_numbers):09}Z", service, text)


def postfix(message: str, program: str = "submission/smtpd", process: int = 7) -> Said:
    """Return a line of Postfix's."""
    return said("postfix", f"Nov 26 08:00:00 mail postfix/{program}[{process}]: {message}")


def dovecot(text: str) -> Said:
    """Return a line of Dovecot's."""
    return said("dovecot", f"Nov 26 08:00:00 {text}")


def slapd(text: str) -> Said:
    """Return a line of slapd's."""
    return said("openldap", f"slapd[1]: {text}")


def joined(subject: Subject, *lines: Said) -> list[Strand]:
    """Return the thread, in the order in which it was told."""
    thread = Thread(subject)
    return [strand for line in lines for strand in thread.read(line)]


def texts(subject: Subject, *lines: Said) -> list[str]:
    """Return the thread's texts, in the order of time."""
    return [each.text for each in sorted(joined(subject, *lines), key=lambda each: each.at)]


def search(about: str, wanted: str) -> list[Said]:
    """Return the lines of a search by filter."""
    return [
        slapd(f'{about} SRCH base="ou=users,dc=x,dc=org" scope=1 deref=0 filter="{wanted}"'),
        slapd(f"{about} SRCH attr=uid"),
        slapd(f"{about} SEARCH RESULT tag=101 err=0 qtime=0.1 etime=0.1 nentries=1 text="),
    ]


def submission(login: str, to: str, queue_id: str, message_id: str, process: int) -> list[Said]:
    """Return what the servers say of a message that somebody submits and that is delivered."""
    return [
        postfix(f"connect from {CLIENT}", process=process),
        *search(f"conn=1 op={next(_numbers)}", f"(uid={login})"),
        dovecot(f"sasl-gate: Info: smtpd[{process}]: user=<{login}> signed in"),
        *search(f"conn=2 op={next(_numbers)}", f"(|(mail={to})(mailLocalAddress={to}))"),
        postfix(
            f"{queue_id}: client={CLIENT}, sasl_method=PLAIN, sasl_username={login}",
            process=process,
        ),
        postfix(f"{queue_id}: message-id={message_id}", "cleanup", 8),
        postfix(f"{queue_id}: from=<{login}@x.org>, size=9, nrcpt=1 (queue active)", "qmgr", 9),
        postfix(f"disconnect from {CLIENT} ehlo=1 commands=1", process=process),
        dovecot(f"lmtp({to.partition('@')[0]})<33><qGCGAj8k>: Info: msgid={message_id}: saved"),
        postfix(f"{queue_id}: to=<{to}>, relay=dovecot, dsn=2.0.0, status=sent (x)", "lmtp", 10),
        postfix(f"{queue_id}: removed", "qmgr", 9),
    ]


MAIL = submission("alice", "bob@x.org", "A1B2C3", "<one@x>", 7)
OTHERS = submission("carol", "dave@x.org", "B1B2C3", "<two@x>", 6)


def mixed(one: list[Said], other: list[Said]) -> list[Said]:
    """Return both, their lines by turns, with times in that order."""
    turns = [line for pair in zip(one, other, strict=True) for line in pair]
    return [said(line.service, line.text) for line in turns]


def test_all_of_an_account_is_found_among_others_of_the_same_time() -> None:
    """Its session, its queue id, its delivery, what the directory was asked about it: once each."""
    found = joined(ALICE, *mixed(MAIL, OTHERS))
    text = "\n".join(each.text for each in found)
    assert not any(name in text for name in ("carol", "dave", "B1B2C3", "<two@x>"))
    # All but the lookup of the recipient, three lines, which says nothing of her.
    assert len(found) == len({each.at for each in found}) == len(MAIL) - 3
    whys = {each.why for each in found}
    assert whys == {"named", "same session", "same message", "same operation"}


def test_all_of_a_message_is_found_with_what_was_asked_meanwhile() -> None:
    """By Message-ID, with or without brackets, or by queue id; lookups by name and time."""
    for name in ("<one@x>", "one@x", "A1B2C3"):
        found = joined(Subject.mail(name), *mixed(MAIL, OTHERS))
        assert len(found) == len({each.at for each in found}) == len(MAIL)
        assert {each.service for each in found if each.why == "name and time"} == {"openldap"}
        assert sum(each.why == "name and time" for each in found) == 6


def test_what_was_asked_before_and_after_a_message_is_not_its_own() -> None:
    """The window is from the beginning of its session until it left the queue."""
    before, after = search("conn=9 op=1", "(uid=alice)"), search("conn=9 op=2", "(uid=alice)")
    found = joined(Subject.mail("one@x"), *before, *retold(MAIL), *after)
    assert len(found) == len(MAIL)


def retold(lines: list[Said]) -> list[Said]:
    """Return the lines anew, as said now."""
    return [said(line.service, line.text) for line in lines]


def test_a_refusal_brings_its_session() -> None:
    """It has no queue id; who signed in says whose it is, and what was before it is told then."""
    answer = (
        "NOQUEUE: reject: RCPT from x[1]: 554 5.7.1 <alice>: SASL login name rejected: no; "
        "from=<alice@x.org> to=<bob@x.org> proto=ESMTP helo=<h>"
    )
    lines = [
        postfix(f"connect from {CLIENT}"),
        dovecot("sasl-gate: Info: smtpd[7]: user=<alice> signed in"),
        postfix(answer),
        postfix(f"disconnect from {CLIENT}"),
    ]
    assert len(texts(ALICE, *lines)) == 4
    # Of another's session only the line that names her.
    lines[1] = dovecot("sasl-gate: Info: smtpd[7]: user=<bob> signed in")
    assert texts(ALICE, *lines) == [answer]


def test_the_next_client_of_a_process_is_another_session() -> None:
    """What the same process of smtpd does next is not hers."""
    lines = [
        postfix(f"connect from {CLIENT}"),
        dovecot("sasl-gate: Info: smtpd[7]: user=<alice> signed in"),
        postfix(f"disconnect from {CLIENT}"),
        postfix(f"connect from {CLIENT}"),
        postfix("warning: something of the next one"),
    ]
    assert len(texts(ALICE, *lines)) == 3


def test_a_queue_id_that_comes_again_is_another_message() -> None:
    """After `removed` it belongs to whoever gets it next."""
    again = submission("carol", "dave@x.org", "A1B2C3", "<two@x>", 6)
    found = joined(Subject.mail("one@x"), *retold(MAIL), *again)
    assert len(found) == len(MAIL)


def test_mail_to_her_comes_with_its_message_and_without_its_senders_session() -> None:
    """Also under another address of hers, or with an extension."""
    for address in ("alice@x.org", "A.North@x.org", "alice+list@x.org"):
        lines = retold(submission("bob", address, "C1B2C3", "<three@x>", 5))
        found = texts(ALICE, *lines)
        assert "C1B2C3: message-id=<three@x>" in found
        assert not any("connect from" in text for text in found)


def test_a_notification_belongs_to_the_message_it_is_about() -> None:
    """The bounce has a queue id of its own."""
    lines = [
        *retold(MAIL[:-1]),
        postfix("A1B2C3: sender non-delivery notification: D1D2D3", "bounce", 11),
        postfix("D1D2D3: from=<>, size=9, nrcpt=1 (queue active)", "qmgr", 9),
    ]
    assert texts(Subject.mail("one@x"), *lines)[-1].startswith("D1D2D3: from=<>")


def test_who_asked_the_directory_is_told_where_his_bind_was_seen() -> None:
    """A connection that was opened before has no name."""
    bind = 'conn=5 op=1 BIND dn="cn=policy-admin,ou=services,dc=x" mech=SIMPLE bind_ssf=0 ssf=256'
    modify = 'conn=5 op=2 MOD dn="uid=Alice,ou=users,dc=x,dc=org"'
    found = joined(ALICE, slapd(bind), slapd(modify), slapd(modify.replace("=5", "=6")))
    assert [each.program for each in found] == ["slapd for policy-admin", "slapd"]


def test_an_imap_session_and_a_failed_sign_in_are_hers() -> None:
    """Dovecot names her in one line of a session; Postfix in the failure's."""
    found = texts(
        ALICE,
        dovecot("imap-login: Info: Login: user=<alice>, method=PLAIN, session=<RyUm+yxh>"),
        dovecot("imap(bob)<35><SyUm+yxh>: Info: Disconnected: Logged out"),
        dovecot("imap(alice)<34><RyUm+yxh>: Info: Disconnected: Logged out"),
        dovecot("imap-login: Info: Disconnected: proxied, session=<RyUm+yxh>"),
        postfix(f"warning: {CLIENT}: SASL PLAIN authentication failed: no, sasl_username=alice"),
        postfix(f"warning: {CLIENT}: SASL PLAIN authentication failed: no, sasl_username=bob"),
        said("milter", "milter: 'alice': 550 5.7.1 Header From names another"),
        said("milter", "milter: 'bob': 550 5.7.1 Header From names another"),
    )
    assert len(found) == 6  # bob's failure was in a session of hers
    assert not any(text.startswith("milter") for text in found)


@pytest.mark.parametrize(
    "line",
    [
        postfix("A1B2C3: message-id=<alice@x.org>", "cleanup", 8),
        postfix('A1B2C3: from=<"x to=<alice@x.org>, relay="@x.org>, size=1', "qmgr", 9),
        postfix("A1B2C3: from=<alice@x.org.example>, size=1", "qmgr", 9),
        postfix("A1B2C3: from=<malice@x.org>, size=1", "qmgr", 9),
        postfix("warning: sasl_username=alice"),
        dovecot("imap-login: Info: Login: user=<malice>, session=<RyUm+yxh>"),
        dovecot("lmtp(bob)<33><qGCGAj8k>: Info: msgid=<alice@x.org>: saved"),
        slapd('conn=1 op=1 SRCH base="ou=users,dc=x" scope=1 deref=0 filter="(cn=x alice)"'),
        said("postfix", "postfix: the secret /run/secrets/ca.pem is missing: alice"),
        said("openldap", "alice"),
    ],
)
def test_a_name_elsewhere_in_a_line_is_no_sign(line: Said) -> None:
    """In a Message-ID, in quotes, as a part of another name, in what cannot be read."""
    assert joined(ALICE, line) == []


def test_a_gap_in_what_slapd_told_is_told_to_everybody() -> None:
    """Whose lines are missing nobody knows."""
    gap = "7 lines were missed"
    for subject in (ALICE, Subject.mail("m@x.org")):
        assert texts(subject, said("openldap", f"slapd: {gap}")) == [gap]


def test_nothing_names_nobody() -> None:
    """An account that is an address alone has no DN, and a message no names."""
    anonymous = slapd('conn=1 op=1 BIND dn="" method=163')
    assert joined(Subject.account("", ["x@y"], ""), anonymous) == []
    assert joined(Subject.mail("one@x"), postfix("A1B2C3: message-id=", "cleanup", 8)) == []
