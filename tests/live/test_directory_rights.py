"""What a person, a service, the policy-admin and a stranger may read and write."""

import pytest
from conftest import LiveLab

from labctl.endpoints import Endpoints, Login

BASE = "dc=truenorth,dc=local"
ALICE, BOB = (f"uid={name},ou=users,{BASE}" for name in ("alice", "bob"))
HIDDEN_FROM_ALL = {"userPassword"}
POSTFIX_SEES = {
    "objectClass",
    "uid",
    "mail",
    "mailLocalAddress",
    "tnMailSendAllowed",
    "tnAccountStatus",
}
DOVECOT_SEES = {"objectClass", "uid", "mail", "uidNumber", "gidNumber", "homeDirectory"}


@pytest.fixture(scope="module")
def endpoints(lab: LiveLab) -> Endpoints:
    """Return the lab's endpoints with all logins."""
    return Endpoints.from_dict(lab.json("endpoints", "--secrets"))


def login_of(endpoints: Endpoints, who: str) -> Login:
    """Return the DN and password of a person, a service or an administrator."""
    if who in endpoints.accounts:
        return Login(f"uid={who},ou=users,{BASE}", endpoints.accounts[who].password)
    if who in endpoints.service_accounts:
        return endpoints.service_accounts[who]
    found = {"policy-admin": endpoints.policy_admin, "admin": endpoints.directory_admin}[who]
    assert found is not None
    return found


def ldap(lab: LiveLab, endpoints: Endpoints, who: str, tool: str, *arguments: str, ldif: str = ""):
    """Run an OpenLDAP client over STARTTLS as somebody, its password never an argument."""
    login = login_of(endpoints, who)
    script = (
        'umask 077; f=$(mktemp -p /tmp); read -r p; printf %s "$p" >"$f"; '
        'LDAPTLS_CACERT=/run/secrets/ca.pem "$@" -y "$f"; c=$?; rm -f "$f"; exit $c'
    )
    command = (tool, "-x", "-ZZ", "-H", "ldap://openldap", "-D", login.name, *arguments)
    stdin = f"{login.password.reveal()}\n{ldif}"
    return lab.inside("openldap", "bash", "-c", script, "-", *command, stdin=stdin)


def attributes(lab: LiveLab, endpoints: Endpoints, who: str, dn: str) -> set[str]:
    """Return the attributes of an entry that somebody sees."""
    query = ("ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", dn, "-s", "base")
    found = ldap(lab, endpoints, who, *query)
    lines = [line for line in found.out.splitlines() if ":" in line and not line.startswith("dn:")]
    return {line.partition(":")[0] for line in lines}


def modify(lab: LiveLab, endpoints: Endpoints, who: str, attribute: str, value: str) -> int:
    """Replace an attribute of Alice's entry as somebody; returns the LDAP result code."""
    ldif = f"dn: {ALICE}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"
    return ldap(lab, endpoints, who, "ldapmodify", ldif=ldif).code


INSUFFICIENT = 50  # RFC 4511 §4.1.9, insufficientAccessRights


def test_services_see_what_they_need_and_no_more(lab: LiveLab, endpoints: Endpoints) -> None:
    """Postfix sees addresses and policy, Dovecot ids and homes; neither sees a password hash."""
    assert attributes(lab, endpoints, "postfix", ALICE) == POSTFIX_SEES
    assert attributes(lab, endpoints, "dovecot", ALICE) == DOVECOT_SEES


@pytest.mark.parametrize("who", ["alice", "bob", "postfix", "dovecot", "policy-admin"])
def test_nobody_but_the_administrator_reads_a_hash(
    lab: LiveLab, endpoints: Endpoints, who: str
) -> None:
    """No account reads another's password hash; the administrator's view shows there is one."""
    assert not HIDDEN_FROM_ALL & attributes(lab, endpoints, who, ALICE if who != "alice" else BOB)
    assert attributes(lab, endpoints, "admin", ALICE) >= HIDDEN_FROM_ALL


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("tnMailSendAllowed", "TRUE"),
        ("tnAccountStatus", "active"),
        ("mail", "director@truenorth.local"),
        ("mailLocalAddress", "bob@truenorth.local"),
        ("uid", "zoe"),
        ("uidNumber", "2777"),
        ("homeDirectory", "/home/bob"),
        ("objectClass", "person"),
    ],
)
@pytest.mark.parametrize("who", ["alice", "bob", "postfix", "dovecot"])
def test_people_and_services_cannot_change_policy_or_addresses(
    lab: LiveLab, endpoints: Endpoints, who: str, attribute: str, value: str
) -> None:
    """Neither the person herself, nor another, nor a service writes what decides over mail."""
    assert modify(lab, endpoints, who, attribute, value) == INSUFFICIENT


def test_the_policy_admin_writes_the_policy_and_nothing_else(
    lab: LiveLab, endpoints: Endpoints
) -> None:
    """The policy-admin changes both policy attributes, and is refused everything else."""
    assert modify(lab, endpoints, "policy-admin", "tnAccountStatus", "active") == 0
    assert modify(lab, endpoints, "policy-admin", "tnMailSendAllowed", "TRUE") == 0
    for attribute, value in (("mail", "x@truenorth.local"), ("userPassword", "x"), ("sn", "X")):
        assert modify(lab, endpoints, "policy-admin", attribute, value) == INSUFFICIENT


def test_people_cannot_add_entries_below_themselves(lab: LiveLab, endpoints: Endpoints) -> None:
    """A child entry, which a subtree search might find, is refused."""
    ldif = f"dn: cn=child,{ALICE}\nchangetype: add\nobjectClass: organizationalRole\ncn: child\n"
    assert ldap(lab, endpoints, "alice", "ldapmodify", ldif=ldif).code == INSUFFICIENT


@pytest.mark.parametrize(
    "arguments",
    [
        ("ldapsearch", "-x", "-ZZ", "-H", "ldap://openldap", "-b", BASE),
        ("ldapsearch", "-x", "-H", "ldaps://openldap", "-b", BASE, "(uid=alice)"),
        ("ldapwhoami", "-x", "-H", "ldap://openldap"),
    ],
)
def test_strangers_find_nothing(lab: LiveLab, arguments: tuple[str, ...]) -> None:
    """Without a bind there is no search, with TLS or without."""
    done = lab.inside("openldap", "env", "LDAPTLS_CACERT=/run/secrets/ca.pem", *arguments)
    assert done.code != 0
    assert "alice" not in done.out


def test_no_password_goes_over_the_wire_in_clear(lab: LiveLab) -> None:
    """A simple bind without TLS is refused before the password is looked at."""
    arguments = ("-x", "-H", "ldap://openldap", "-D", ALICE, "-w", "whatever")
    done = lab.inside("openldap", "ldapwhoami", *arguments)
    assert "confidentiality required" in (done.out + done.err).lower()


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        ("tnMailSendAllowed", ["maybe"]),
        ("tnMailSendAllowed", ["TRUE", "FALSE"]),
        ("tnAccountStatus", ["retired"]),
        ("tnAccountStatus", ["active", "disabled"]),
    ],
)
def test_the_directory_refuses_values_outside_the_contract(
    lab: LiveLab, endpoints: Endpoints, attribute: str, values: list[str]
) -> None:
    """A second value, a non-boolean and an unknown status are refused by the directory itself."""
    lines = "\n".join(f"{attribute}: {value}" for value in values)
    ldif = f"dn: {ALICE}\nchangetype: modify\nreplace: {attribute}\n{lines}\n"
    assert ldap(lab, endpoints, "policy-admin", "ldapmodify", ldif=ldif).code in (19, 21)
