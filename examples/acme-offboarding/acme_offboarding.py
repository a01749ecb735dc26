"""What Acme runs when somebody leaves: the directory says so, and mail stops at the next message.

ACME_LDAP=ldaps://… ACME_CA=ca.pem ACME_BIND_DN=… ACME_PASSWORD=… python acme_offboarding.py alice
"""

import os
import ssl
import sys

import ldap3


def offboard(connection: ldap3.Connection, dn: str) -> None:
    """Offboard the person with this DN, as the one who may change nothing but the policy."""
    changes = {"tnAccountStatus": "offboarded", "tnMailSendAllowed": "FALSE"}
    connection.modify(dn, {name: [(ldap3.MODIFY_REPLACE, [to])] for name, to in changes.items()})


def connect(uri: str, ca_file: str, bind_dn: str, password: str) -> ldap3.Connection:
    """Bind to the directory; the first error raises."""
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=ca_file)
    server = ldap3.Server(uri, tls=tls, get_info=ldap3.NONE)
    return ldap3.Connection(server, bind_dn, password, auto_bind=True, raise_exceptions=True)


def main() -> None:
    """Offboard whom the command line names."""
    env = os.environ
    base = env.get("ACME_BASE", "dc=truenorth,dc=local")
    with connect(
        env["ACME_LDAP"], env["ACME_CA"], env["ACME_BIND_DN"], env["ACME_PASSWORD"]
    ) as connection:
        for name in sys.argv[1:]:
            offboard(connection, f"uid={name},ou=users,{base}")


if __name__ == "__main__":
    main()
