"""The commands to paste: where they run, what feeds them, and that they hold no password."""

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.endpoints import Account, Endpoint, Endpoints, Login, Secret
from labctl.protocols.ldif import Add, Delete, Modification, Modify, Record, Rename, parse
from labctl.protocols.smtp import Envelope
from labctl.scenario.by_hand import ByHand, ldif_line, ldif_of
from labctl.scenario.messages import Draft, Route, Sent, compose

SECRET = "never-shown"
ALICE = Account("alice", "alice", "alice@x.org", Secret(SECRET))
BOB = Account("bob", "bob", "bob@x.org", Secret(SECRET))
STACK = Endpoints(
    "blue",
    1,
    "x.org",
    "dc=x",
    "hardened",
    None,
    {
        "smtp": Endpoint("h", 25, "starttls"),
        "submission": Endpoint("h", 587, "starttls"),
        "submissions": Endpoint("h", 465, "tls"),
        "imap": Endpoint("h", 143, "starttls"),
        "imaps": Endpoint("h", 993, "tls"),
        "ldap": Endpoint("h", 389, "starttls"),
        "ldaps": Endpoint("h", 636, "tls"),
    },
    policy_admin=Login("cn=policy-admin,ou=services,dc=x", Secret(SECRET)),
    accounts={"alice": ALICE, "bob": BOB},
)
LAB = ByHand(STACK, lambda service: f"lab-{service}-1")
AFAR = ByHand(replace(STACK, file=Path("my stack.json")))
SENT = Sent(
    compose("<m.r@labctl.invalid>", Draft("bob@x.org", ("bob@x.org",), "It's", "text\n")),
    Envelope("", ("bob@x.org", "alice@x.org")),
    Route("submissions", "alice"),
)
NEW = Modify("uid=bob", (Modification("replace", "userPassword", (SECRET.encode(),)),))
ALICE_DN = "uid=alice,ou=users,dc=x"


def all_of(hands: ByHand) -> list[str]:
    """Return a command of each kind."""
    return [
        hands.send(SENT, ALICE),
        hands.sign_in("imap", ALICE, known=True),
        hands.find("imaps", ALICE, "<m.r@labctl.invalid>"),
        hands.change_policy(ALICE_DN, {"tnMailSendAllowed": ["FALSE"], "tnAccountStatus": []}),
        hands.ldap("ldapsearch", "alice", ALICE_DN, ["-LLL"], via="starttls"),
        hands.ldap("ldapwhoami", "stranger", "", via="clear"),
        hands.change("bob", "uid=bob", NEW),
        hands.dialogue("smtp", None, [r"-> \b(\0\p(bob))", "<- 5"], greet=False),
    ]


@pytest.mark.parametrize("hands", [LAB, AFAR], ids=["lab", "afar"])
def test_no_command_holds_a_password(hands: ByHand) -> None:
    """Not even one that a step writes into the directory: whoever pastes is asked for that."""
    commands = all_of(hands)
    assert not [line for line in commands if SECRET in line]
    assert commands[6].startswith("read -rsp 'userPassword: ' new; ")
    assert '"userPassword: $new"' in commands[6]


def test_in_a_lab_each_tool_runs_beside_its_server_and_labctl_tells_it_the_password() -> None:
    """The pipe comes first, and breaks the line, where a shell goes on."""
    send, sign_in, find, change, look, stranger, _, dialogue = all_of(LAB)
    alice = "labctl -n blue user show alice --password |\n"
    assert send == (
        f"{alice}docker exec -i lab-postfix-1 swaks --server localhost:465 --tls-on-connect"
        " --from '<>' --to bob@x.org,alice@x.org --h-From bob@x.org --h-Subject 'It'\"'\"'s'"
        " --h-Message-Id '<m.r@labctl.invalid>'"
        " --auth PLAIN --auth-user alice --auth-hide-password"
    )
    curl = "docker exec -i lab-dovecot-1 curl -sS -u alice --cacert /run/secrets/ca.pem"
    assert sign_in == f"{alice}{curl} --ssl-reqd --url imap://localhost"
    assert find.startswith(f"{alice}{curl} --url imaps://localhost/INBOX -X 'UID SEARCH")
    assert change.endswith(
        "-D cn=policy-admin,ou=services,dc=x -y /run/secrets/policy-admin.password"
    )
    ldap = "docker exec -i lab-openldap-1"
    assert look == f"{alice}{ldap} ldapsearch -x -H ldap://openldap -ZZ -D {ALICE_DN} -W -LLL"
    assert stranger == f"{ldap} ldapwhoami -x -H ldap://openldap"
    assert dialogue == (
        "{ labctl -n blue user show bob --password; "
        r"printf '%s\n' '-> \b(\0\p(bob))' '<- 5'; } |"
        "\ndocker exec -i lab-postfix-1 dialogue --bare --knows bob relay"
    )


def test_on_a_foreign_stack_the_tools_are_this_hosts_and_ask() -> None:
    """No container, no pipe from labctl, and the endpoints file where labctl is meant."""
    commands = all_of(AFAR)[:-1]
    assert not [line for line in commands if "docker" in line or "labctl " in line]
    assert commands[0].startswith("swaks --server h:465 ")
    assert commands[1] == "curl -sS -u alice --ssl-reqd --url imap://h:143"
    assert commands[3].endswith("|\nldapmodify -x -H ldaps://h:636 -D " + LAB_ADMIN + " -W")
    assert AFAR.labctl("inbox", "bob") == "labctl inbox bob --endpoints 'my stack.json'"


LAB_ADMIN = "cn=policy-admin,ou=services,dc=x"


def test_what_signs_in_as_somebody_is_told_his_password_before_all_others() -> None:
    """One line each, in the order of the options; nobody is asked for twice."""
    line = LAB.dialogue("submission", ALICE, [r"-> \p(bob)\p(alice)"], greet=True)
    assert line.startswith(
        "{ labctl -n blue user show alice --password; labctl -n blue user show bob --password; "
    )
    assert line.endswith("dialogue --as alice --knows bob submission")


def test_the_default_lab_needs_no_name() -> None:
    """`labctl` alone means it."""
    hands = ByHand(replace(STACK, lab="default"), LAB.container)
    assert hands.labctl("user", "kick", "alice") == "labctl user kick alice"


def test_ldif_is_what_rfc_2849_wants() -> None:
    """Values that are no safe string are in base64; several changes are parted by a hyphen."""
    changes = (Modification("replace", "a", (b"1", b"2")), Modification("delete", "b"))
    assert ldif_of(Modify("uid=é", changes)) == [
        "dn:: dWlkPcOp",
        "changetype: modify",
        "replace: a",
        "a: 1",
        "a: 2",
        "-",
        "delete: b",
    ]
    assert ldif_of(Add("uid=x", {"a": (b" 1", b"\xff"), "userPassword;x-y": (b"z",)})) == [
        "dn: uid=x",
        "changetype: add",
        "a:: IDE=",
        "a:: /w==",
        "userPassword;x-y: \0",
    ]
    for value in (":x", "<x", "x ", " x", "é", "a\nb"):
        assert ldif_line("a", value).startswith("a:: ")
    for value in ("", "x", "x: y <z>", "TRUE"):
        assert ldif_line("a", value) == f"a: {value}"


@pytest.mark.parametrize(
    "record",
    [
        Add("uid=x,dc=x", {"objectClass": (b"a", b"b"), "cn": (" é\n".encode(), b"\xff")}),
        Modify("uid=x", (Modification("add", "a", (b"1",)), Modification("delete", "b"))),
        Delete("uid=é"),
        Rename("uid=x,dc=x", "uid=y", delete_old=True),
        Rename("uid=x,dc=x", "uid=y", delete_old=False, new_superior="ou=é,dc=x"),
    ],
)
def test_the_ldif_of_a_record_means_the_record(record: Record) -> None:
    """Whatever is done: written and read again, it is the same."""
    assert parse("\n".join(ldif_of(record))) == record


def test_a_shell_reads_the_lines_as_they_are() -> None:
    """Quotes, dollars and backslashes in a dialogue reach the tool's input unchanged."""
    lines = ["-> It's $HOME \\\\ \\x41 `x` \"", "<- 5"]
    feed = LAB.dialogue("smtp", None, lines, greet=True).partition(" |\n")[0]
    done = subprocess.run(["bash", "-c", feed], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == lines
    assert shlex.split(feed)[:2] == ["printf", "%s\\n"]
