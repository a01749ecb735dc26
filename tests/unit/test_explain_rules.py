"""Configuration read from postconf's words, and predictions over maps that tests fill in."""

from collections.abc import Mapping

import pytest

from labctl.errors import LabNotReady, UsageError
from labctl.explain.access import meaning
from labctl.explain.addresses import access_keys, checked, owner_keys
from labctl.explain.configuration import (
    Configuration,
    Service,
    parse_parameters,
    service_of_port,
    split_items,
)
from labctl.explain.evaluation import predict
from labctl.explain.model import Prediction, Transaction, Verdict
from labctl.explain.postfix import ask_tables, predict_from, read_configuration, read_sources
from labctl.explain.tables import Answer, LdapSource
from labctl.protocols.smtp import Outcome, Reply, Stage

MASTER = """\
smtp       inet  n  -  n  -  -  smtpd -o smtpd_sasl_auth_enable=no
587        inet  n  -  n  -  -  smtpd
127.0.0.1:465 inet n - n  -  1  smtpd
pickup     unix  n  -  n  60 1  pickup
628        inet  n  -  n  -  -  qmqpd
"""
OVERRIDES = """\
smtp/inet/smtpd_sasl_auth_enable = no
smtp/inet/smtpd_client_restrictions =
127.0.0.1:465/inet/syslog_name = postfix/x=y
"""
MAIN = """\
access_map_defer_code = 450
access_map_reject_code = 554
append_at_myorigin = yes
canonical_maps =
default_transport = error:5.4.4 nothing leaves
local_recipient_maps =
local_transport = local
mydestination =
myorigin = host.example.org
parent_domain_matches_subdomains = relay_domains,smtpd_access_maps
recipient_canonical_maps =
recipient_delimiter = +
reject_code = 554
relay_domains =
relay_domains_reject_code = 554
relay_recipient_maps =
relay_transport = relay
sender_dependent_default_transport_maps =
smtpd_client_restrictions = check_sasl_access ldap:/yes.cf, check_sasl_access ldap:/no.cf,
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_delay_reject = yes
smtpd_end_of_data_restrictions =
smtpd_helo_restrictions =
smtpd_milters =
smtpd_null_access_lookup_key = <>
smtpd_recipient_restrictions =
smtpd_reject_unlisted_recipient = yes
smtpd_reject_unlisted_sender = no
smtpd_relay_before_recipient_restrictions = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_sender_login_maps = ldap:/logins.cf
smtpd_sender_restrictions = reject_sender_login_mismatch
soft_bounce = no
transport_maps =
unknown_virtual_alias_reject_code = 550
unknown_virtual_mailbox_reject_code = 550
virtual_alias_domains =
virtual_alias_maps = regexp:/role, ldap:/aliases.cf
virtual_mailbox_domains = example.org
virtual_mailbox_maps = ldap:/mailboxes.cf
virtual_transport = lmtp:inet:dovecot:24
"""
ALICE = Transaction("alice", "alice@example.org", "bob@example.org", 587)
ANSWERS = {
    ("ldap:/yes.cf", "alice"): "OK",
    ("ldap:/logins.cf", "alice@example.org"): "alice, carol",
    ("ldap:/aliases.cf", "bob@example.org"): "bob@example.org",
}


class Fake:
    """Maps that answer from a dict, and remember what they were asked."""

    def __init__(self, answers: Mapping[tuple[str, str], str]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def query(self, table: str, key: str) -> Answer:
        """Return the dict's answer; `!` stands for a table that fails."""
        self.asked.append((table, key))
        value = self.answers.get((table, key))
        return Answer(problem="away") if value == "!" else Answer(value)


def configured(**changed: str) -> Configuration:
    """Return the configuration above with some parameters changed."""
    return Configuration(Service("587"), {**parse_parameters(MAIN), **changed})


def predicted(
    transaction: Transaction = ALICE,
    answers: Mapping[tuple[str, str], str] = ANSWERS,
    **changed: str,
) -> Prediction:
    """Predict with the answers above."""
    return predict(configured(**changed), transaction, Fake(answers))


@pytest.mark.parametrize(
    ("port", "name", "overrides"),
    [
        (25, "smtp", {"smtpd_sasl_auth_enable": "no", "smtpd_client_restrictions": ""}),
        (587, "587", {}),
        (465, "127.0.0.1:465", {"syslog_name": "postfix/x=y"}),
    ],
)
def test_the_service_of_a_port_is_found_with_its_overrides(
    port: int, name: str, overrides: dict[str, str]
) -> None:
    """By number, by name or by address and number; values may be empty or hold an equals sign."""
    assert service_of_port(MASTER, OVERRIDES, port) == Service(name, overrides)


def test_a_port_without_an_smtpd_is_an_error() -> None:
    """Another program on the port does not count."""
    with pytest.raises(UsageError, match="port 628"):
        service_of_port(MASTER, OVERRIDES, 628)


def test_a_parameter_that_is_not_there_is_named() -> None:
    """Nothing is taken for granted that Postfix did not say."""
    with pytest.raises(UsageError, match="no_such_thing"):
        configured().value("no_such_thing")


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("", []),
        ("a, b c,d", ["a", "b", "c", "d"]),
        ("x static:{450 4.7.1 a, b} y", ["x", "static:{450 4.7.1 a, b}", "y"]),
        ("inline:{ {<> = 554 no, no} }", ["inline:{ {<> = 554 no, no} }"]),
    ],
)
def test_lists_are_split_outside_braces(value: str, items: list[str]) -> None:
    """Commas and spaces in braces belong to the item."""
    assert list(split_items(value)) == items


def test_access_tables_are_asked_from_the_whole_to_its_parts() -> None:
    """The order of access(5): address, without extension, domain and parents, local parts."""
    found = [key for key, _ in access_keys(configured(), "a+x@sub.example.org")]
    domains = ["sub.example.org", "example.org", "org"]
    assert found == ["a+x@sub.example.org", "a@sub.example.org", *domains, "a+x@", "a@"]
    dots = configured(parent_domain_matches_subdomains="")
    found = [key for key, _ in access_keys(dots, "a@sub.example.org")]
    assert found == ["a@sub.example.org", "sub.example.org", ".example.org", ".org", "a@"]


def test_owners_are_asked_from_the_whole_to_the_domain() -> None:
    """The order of mail_addr_find(3): local parts alone for this host's own addresses."""
    found = [key for key, _ in owner_keys(configured(), "a+x@host.example.org")]
    assert found == [
        "a+x@host.example.org",
        "a@host.example.org",
        "a+x",
        "a",
        "@host.example.org",
    ]
    found = [key for key, _ in owner_keys(configured(), "Postmaster@example.org")]
    assert found == ["Postmaster@example.org", "@example.org"]


@pytest.mark.parametrize("address", ["a@b@c", '"a b"@c', "a%b@c", "a!b", "a@c.", "a b", "@c"])
def test_forms_that_are_rewritten_otherwise_are_refused(address: str) -> None:
    """What explain cannot follow it does not predict."""
    with pytest.raises(UsageError, match="does not predict"):
        checked(address)


@pytest.mark.parametrize(
    ("value", "verdict", "reply"),
    [
        ("OK", Verdict.PERMITS, None),
        ("relay", Verdict.PERMITS, None),
        ("554", Verdict.PERMITS, None),
        ("DUNNO", Verdict.SILENT, None),
        ("REJECT", Verdict.REFUSES, "554 5.7.1 X rejected: Access denied"),
        ("DEFER later", Verdict.REFUSES, "450 4.7.1 X rejected: later"),
        ("450 4.3.2 busy", Verdict.REFUSES, "450 4.3.2 X rejected: busy"),
        ("550 no", Verdict.REFUSES, "550 5.7.1 X rejected: no"),
    ],
)
def test_what_an_access_value_means(value: str, verdict: Verdict, reply: str | None) -> None:
    """The values of access(5) that maps of ours return; a bare number permits."""
    said = meaning(configured(), value, "X")
    assert said.verdict is verdict
    assert (str(said.reply) if said.reply else None) == reply


@pytest.mark.parametrize("value", ["PREPEND X: y", "some_class", "WARN"])
def test_an_action_that_is_not_known_is_named(value: str) -> None:
    """It is never taken for no match."""
    with pytest.raises(UsageError, match=value):
        meaning(configured(), value, "X")


def test_an_accepted_transaction_shows_every_restriction_and_what_permitted() -> None:
    """A list ends with its first yes; what comes after it is shown, unasked."""
    prediction = predicted()
    assert prediction.at_probe == Outcome(Stage.DATA, Reply(354, "", ""))
    said = [(line.restriction, line.said.verdict) for line in prediction.lines]
    assert said == [
        ("check_sasl_access ldap:/yes.cf", Verdict.PERMITS),
        ("check_sasl_access ldap:/no.cf", Verdict.UNASKED),
        ("reject_sender_login_mismatch", Verdict.SILENT),
        ("permit_sasl_authenticated", Verdict.PERMITS),
        ("reject", Verdict.UNASKED),
        ("reject_unlisted_recipient", Verdict.SILENT),
        ("reject_unauth_pipelining", Verdict.SILENT),
    ]
    assert prediction.decides is prediction.lines[3]


CASES: dict[str, tuple[Transaction, dict[tuple[str, str], str], dict[str, str], str]] = {
    "no of the directory": (
        ALICE,
        {("ldap:/yes.cf", "alice"): "554 5.7.1 off"},
        {},
        "554 5.7.1 SASL login name rejected: off at RCPT",
    ),
    "somebody else's address": (
        ALICE,
        {("ldap:/logins.cf", "alice@example.org"): "bob"},
        {},
        "553 5.7.1 Sender address rejected: not owned by user alice at RCPT",
    ),
    "not signed in": (
        Transaction(None, "alice@example.org", "bob@example.org", 25),
        {},
        {},
        "553 5.7.1 Sender address rejected: not logged in at RCPT",
    ),
    "no AUTH offered: logins are not compared": (
        Transaction(None, "alice@example.org", "bob@example.org", 25),
        {},
        {"smtpd_sasl_auth_enable": "no", "smtpd_relay_restrictions": "reject_unauth_destination"},
        "354 at DATA",
    ),
    "relaying": (
        Transaction(None, "x@other.example", "y@other.example", 25),
        {},
        {"smtpd_relay_restrictions": "reject_unauth_destination"},
        "554 5.7.1 Relay access denied at RCPT",
    ),
    "no such mailbox": (
        Transaction("alice", "alice@example.org", "nobody@example.org", 587),
        {},
        {},
        "550 5.1.1 Recipient address rejected: User unknown in virtual mailbox table at RCPT",
    ),
    "the error mailer": (
        Transaction("alice", "alice@example.org", "y@other.example", 587),
        {},
        {},
        "550 5.4.4 Recipient address rejected: nothing leaves at RCPT",
    ),
    "an alias that no mailbox has": (
        Transaction("alice", "alice@example.org", "y@other.example", 587),
        {("regexp:/role", "y@other.example"): "outside@example.org"},
        {},
        "354 at DATA",
    ),
    "the null sender": (
        Transaction("alice", "", "bob@example.org", 587),
        {("inline:{x}", "<>"): "554 5.7.1 not from you"},
        {"smtpd_recipient_restrictions": "check_sender_access inline:{x}"},
        "554 5.7.1 Sender address rejected: not from you at RCPT",
    ),
    "a domain in an access table": (
        ALICE,
        {("inline:{x}", "example.org"): "REJECT"},
        {"smtpd_recipient_restrictions": "check_sender_access inline:{x}"},
        "554 5.7.1 Sender address rejected: Access denied at RCPT",
    ),
    "patterns see whole addresses alone": (
        ALICE,
        {("regexp:/x", "example.org"): "REJECT"},
        {"smtpd_recipient_restrictions": "check_sender_access regexp:/x"},
        "354 at DATA",
    ),
    "postmaster passes RCPT, not DATA": (
        Transaction("alice", "alice@example.org", "postmaster", 587),
        {("ldap:/yes.cf", "alice"): "REJECT"},
        {"smtpd_data_restrictions": "check_sasl_access ldap:/yes.cf"},
        "554 5.7.1 SASL login name rejected: Access denied at DATA",
    ),
    "data is rejected": (
        ALICE,
        {},
        {"smtpd_data_restrictions": "reject"},
        "554 5.7.1 Data command rejected: Access denied at DATA",
    ),
    "an access table fails": (
        ALICE,
        {("ldap:/yes.cf", "alice"): "!"},
        {},
        "451 4.3.5 SASL login name rejected: Server configuration error at RCPT",
    ),
    "an address table fails": (
        ALICE,
        {("ldap:/aliases.cf", "bob@example.org"): "!"},
        {},
        "451 4.3.0 Temporary lookup failure at RCPT",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_probe_must_see(case: str) -> None:
    """Stage, codes and text of the first refusal, or the go-ahead."""
    transaction, answers, changed, expected = CASES[case]
    outcome = predicted(transaction, {**ANSWERS, **answers}, **changed).at_probe
    assert f"{outcome.reply} at {outcome.stage}" == expected


def test_a_refusal_at_the_end_of_data_is_told_and_not_expected_of_the_probe() -> None:
    """The deciding line is the refusal; the probe, which sends no content, sees 354."""
    prediction = predicted(smtpd_end_of_data_restrictions="reject")
    assert prediction.decides is prediction.lines[-1]
    assert prediction.lines[-1].stage is Stage.EOM
    assert prediction.at_probe.reply.code == 354


def test_relay_and_recipient_lists_come_in_the_configured_order() -> None:
    """smtpd_relay_before_recipient_restrictions turns them round."""
    lists = {"smtpd_recipient_restrictions": "permit"}
    for before, first in (
        ("yes", "smtpd_relay_restrictions"),
        ("no", "smtpd_recipient_restrictions"),
    ):
        prediction = predicted(smtpd_relay_before_recipient_restrictions=before, **lists)
        asked = [line.parameter for line in prediction.lines if line.stage is Stage.RCPT]
        last = [name for name in asked if name in {"smtpd_relay_restrictions", *lists}]
        assert last[0] == first


def test_a_named_check_of_recipients_takes_the_place_of_the_implicit_one() -> None:
    """It is shown where it is named, once."""
    prediction = predicted(smtpd_recipient_restrictions="reject_unlisted_recipient")
    found = [x.parameter for x in prediction.lines if x.restriction == "reject_unlisted_recipient"]
    assert found == ["smtpd_recipient_restrictions"]


POLICY = "smtpd_client_restrictions"
WARNED: dict[str, tuple[dict[tuple[str, str], str], dict[str, str], str]] = {
    "the list goes on after a warning": (
        {("ldap:/yes.cf", "alice"): "554 5.7.1 off"},
        {POLICY: "warn_if_reject check_sasl_access ldap:/yes.cf"},
        "354 at DATA",
    ),
    "of one restriction, and of no other": (
        {("ldap:/yes.cf", "alice"): "554 5.7.1 off"},
        {POLICY: "warn_if_reject check_sasl_access ldap:/yes.cf, reject"},
        "554 5.7.1 Client host rejected: Access denied at RCPT",
    ),
    "of one that has nothing to say, and then no more": (
        {("ldap:/yes.cf", "alice"): "DUNNO"},
        {POLICY: "warn_if_reject check_sasl_access ldap:/yes.cf, reject"},
        "554 5.7.1 Client host rejected: Access denied at RCPT",
    ),
    "twice is once": (
        {},
        {POLICY: "warn_if_reject WARN_IF_REJECT reject"},
        "354 at DATA",
    ),
    "a yes is a yes": (
        {},
        {POLICY: "warn_if_reject check_sasl_access ldap:/yes.cf, reject"},
        "354 at DATA",
    ),
    "at the end of a list it is for nothing in the next": (
        {("ldap:/logins.cf", "alice@example.org"): "bob"},
        {POLICY: "check_sasl_access ldap:/no.cf, warn_if_reject"},
        "553 5.7.1 Sender address rejected: not owned by user alice at RCPT",
    ),
    "an access table that fails is warned of": (
        {("ldap:/yes.cf", "alice"): "!"},
        {POLICY: "warn_if_reject check_sasl_access ldap:/yes.cf"},
        "354 at DATA",
    ),
    "an address table that fails is not": (
        {("ldap:/logins.cf", "alice@example.org"): "!"},
        {"smtpd_sender_restrictions": "warn_if_reject reject_sender_login_mismatch"},
        "451 4.3.0 Temporary lookup failure at RCPT",
    ),
    "recipients are checked all the same": (
        {("ldap:/aliases.cf", "bob@example.org"): "!"},
        {"smtpd_recipient_restrictions": "warn_if_reject reject_unlisted_recipient"},
        "451 4.3.0 Temporary lookup failure at RCPT",
    ),
}


@pytest.mark.parametrize("case", WARNED)
def test_what_is_only_warned_of_does_not_decide(case: str) -> None:
    """`warn_if_reject` turns one restriction's refusal into a warning, as smtpd does it."""
    answers, changed, expected = WARNED[case]
    outcome = predicted(answers={**ANSWERS, **answers}, **changed).at_probe
    assert f"{outcome.reply} at {outcome.stage}".strip() == expected


def test_a_warning_shows_the_reply_that_would_have_been_given() -> None:
    """With its own verdict, never as the line that decides."""
    lists = {POLICY: "warn_if_reject check_sasl_access ldap:/yes.cf, permit"}
    prediction = predicted(answers={**ANSWERS, ("ldap:/yes.cf", "alice"): "554 5.7.1 no"}, **lists)
    line = prediction.lines[0]
    assert line.restriction == "warn_if_reject check_sasl_access ldap:/yes.cf"
    assert line.said.verdict is Verdict.WARNS
    assert str(line.said.reply) == "554 5.7.1 SASL login name rejected: no"
    assert prediction.decides is not line
    assert prediction.refusal is None


def test_recipients_are_checked_again_where_the_check_only_warns() -> None:
    """Postfix checks again, and then refuses (check_recipient_rcpt_maps)."""
    transaction = Transaction("alice", "alice@example.org", "nobody@example.org", 587)
    lists = {"smtpd_recipient_restrictions": "warn_if_reject reject_unlisted_recipient"}
    prediction = predicted(transaction, **lists)
    verdicts = {line.parameter: line.said.verdict for line in prediction.lines}
    assert verdicts["smtpd_recipient_restrictions"] is Verdict.WARNS
    assert verdicts["smtpd_reject_unlisted_recipient"] is Verdict.REFUSES


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            {"smtpd_end_of_data_restrictions": "defer_if_permit, reject"},
            "'defer_if_permit' in smtpd_e",
        ),
        (
            {"smtpd_end_of_data_restrictions": "warn_if_reject defer, reject"},
            "'defer' in smtpd_e",
        ),
        ({"smtpd_helo_restrictions": "check_helo_access hash:/x"}, "'check_helo_access'"),
        ({"smtpd_delay_reject": "no"}, "smtpd_delay_reject = no"),
        ({"soft_bounce": "yes"}, "soft_bounce = yes"),
        ({"transport_maps": "hash:/x"}, "transport_maps = hash:/x"),
        ({"mydestination": "hash:/x"}, "'hash:/x' in mydestination"),
    ],
)
def test_what_is_not_known_is_named_and_never_skipped(changed: dict[str, str], named: str) -> None:
    """Even in a list that the transaction never comes to."""
    with pytest.raises(UsageError, match=named):
        predicted(**changed)


def test_a_milter_is_a_note() -> None:
    """It is asked by Postfix and not predicted, and the explanation says so."""
    assert predicted(smtpd_milters="inet:milter:1").notes[0].startswith("smtpd_milters = inet:")
    assert predicted().notes == ()


@pytest.mark.parametrize(
    "seen",
    [
        Outcome(Stage.RCPT, Reply(354, "", "End data")),
        Outcome(Stage.DATA, Reply(354, "2.0.0", "End data")),
        Outcome(Stage.DATA, Reply(554, "5.7.1", "no")),
    ],
)
def test_a_probe_that_ends_otherwise_does_not_agree(seen: Outcome) -> None:
    """Another stage, another enhanced code, another code."""
    assert predicted().agrees(Outcome(Stage.DATA, Reply(354, "", "End data")))
    assert not predicted().agrees(seen)


def test_another_text_does_not_agree() -> None:
    """The same codes from another restriction are not the predicted refusal."""
    prediction = predicted(answers={**ANSWERS, ("ldap:/yes.cf", "alice"): "554 5.7.1 off"})
    worded = "<alice>: SASL login name rejected: "
    assert prediction.agrees(Outcome(Stage.RCPT, Reply(554, "5.7.1", f"{worded}off")))
    assert not prediction.agrees(Outcome(Stage.RCPT, Reply(554, "5.7.1", f"{worded}no")))


def test_an_ldap_filter_is_filled_folded_and_escaped() -> None:
    """%s, %u and %d, as ldap_table(5) escapes them (RFC 4515)."""
    source = LdapSource.of({"query_filter": "(|(m=%s)(u=%u)(d=%d)(p=%%))"})
    assert source.filled("A*(b)\\@C.org") == (
        r"(|(m=a\2a\28b\29\5c@c.org)(u=a\2a\28b\29\5c)(d=c.org)(p=%))"
    )
    with pytest.raises(UsageError, match="%1"):
        LdapSource.of({"query_filter": "(x=%1)"}).filled("a")


@pytest.mark.parametrize(
    ("domain", "key", "covered"),
    [
        ("", "alice", True),
        ("example.org", "alice@Example.org", True),
        ("example.org", "alice@other.example", False),
        ("example.org", "alice", False),
        ("example.org", "@example.org", False),
        ("static:all", "alice@other.example", True),
        ("static:all", "alice", False),
    ],
)
def test_the_domain_of_a_source_keeps_keys_away(domain: str, key: str, covered: bool) -> None:  # noqa: FBT001
    """With a domain only whole addresses of it are searched for."""
    assert LdapSource.of({"domain": domain}).covers(key) is covered


class Container:
    """A Postfix container that answers from a dict by a word in the command."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = answers
        self.commands: list[list[str]] = []

    def __call__(self, service: str, command: list[str], /) -> str:
        """Return the answer of the first word that the command contains."""
        assert service == "postfix"
        self.commands.append(command)
        line = " ".join(command)
        for word, answer in self.answers.items():
            if word in line:
                return answer
        raise LabNotReady(line)


def test_the_configuration_is_expanded_by_postfix_with_the_overrides_in_force() -> None:
    """The overrides of the port's service go back to postconf as options."""
    container = Container({"postconf -M": f"{MASTER}.\n{OVERRIDES}", "postconf -x": MAIN})
    found = read_configuration(container, 25)
    assert found.service.name == "smtp"
    assert found.value("myorigin") == "host.example.org"
    assert container.commands[1] == [
        "postconf", "-x", "-o", "smtpd_sasl_auth_enable=no", "-o", "smtpd_client_restrictions=",
    ]  # fmt: skip


def test_the_real_tables_are_asked_in_one_batch() -> None:
    """One command asks every question that may come up."""
    answers = {
        "ldap:/aliases.cf": "bob@example.org\tbob@example.org",
        "ldap:/logins.cf": "alice@example.org\talice",
        "ldap:/mailboxes.cf": "",
        "ldap:/no.cf": "",
        "ldap:/yes.cf": "alice\tOK",
        "regexp:/role": "",
    }
    container = Container({"postmap": "".join(f"{each}\n.\n" for each in answers.values())})
    prediction = predict_from(container, configured(), ALICE)
    assert len(container.commands) == 1
    assert [word for word in container.commands[0] if word in answers] == list(answers)
    assert prediction.refusal is None
    assert prediction.lines[0].lookups[0].answer == Answer("OK")


def test_a_table_that_fails_is_no_table_without_a_match() -> None:
    """The last words of postmap become the problem of every key without an answer."""
    output = "a\tOK\npostmap: fatal: table x: query error: try again\n.\n"
    answers = ask_tables(Container({"postmap": output}), [("x", "a"), ("x", "b")])
    assert answers["x", "a"] == Answer("OK")
    assert answers["x", "b"] == Answer(problem="table x: query error: try again")


def test_sources_are_read_for_ldap_tables_alone() -> None:
    """Each LDAP table's file says base, scope, filter and domain."""
    file = "search_base = ou=users\nscope = one\nquery_filter = (uid=%s)\n.\n"
    container = Container({"sed": file})
    assert read_sources(container, ["regexp:/x"]) == {}
    found = read_sources(container, ["ldap:/x.cf", "regexp:/x"])
    assert found == {"ldap:/x.cf": LdapSource("ou=users", "one", "(uid=%s)", ())}
