"""The offboarding story told with plain clients and nothing of ours: the floor for `scenario`.

Usage: story_by_hand.py ENDPOINTS.json. Exits with 1 if a reply is not the one of the story.
"""

import imaplib
import json
import smtplib
import ssl
import sys
import time
import uuid
from pathlib import Path

import ldap3

ACCEPTED = 250


class Story:
    """Plain clients on the endpoints of a lab."""

    def __init__(self, stack: dict) -> None:
        self.stack = stack
        self.tls = ssl.create_default_context(cafile=stack["ca_file"])
        admin = stack["policy_admin"]
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=stack["ca_file"])
        server = ldap3.Server(
            stack["ldaps"]["host"],
            stack["ldaps"]["port"],
            use_ssl=True,
            tls=tls,
            get_info=ldap3.NONE,
        )
        self.directory = ldap3.Connection(server, admin["dn"], admin["password"], auto_bind=True)
        self.mailboxes: dict[str, imaplib.IMAP4_SSL] = {}

    def send(self, who: str, to: str, as_: str | None = None) -> tuple[int, str]:
        """Submit a message; returns the code that decided, and the Message-ID."""
        accounts = self.stack["accounts"]
        author = accounts[as_ or who]["address"]
        identity = f"<{uuid.uuid4()}@labctl.invalid>"
        where = self.stack["submission"]
        with smtplib.SMTP(where["host"], where["port"]) as client:
            client.starttls(context=self.tls)
            client.login(accounts[who]["login"], accounts[who]["password"])
            client.mail(author)
            code, _ = client.rcpt(accounts[to]["address"])
            if code == ACCEPTED:
                header = f"From: {author}\r\nMessage-ID: {identity}\r\nSubject: Story"
                client.data(f"{header}\r\n\r\nHello.\r\n")
        return code, identity

    def find(self, who: str, identity: str) -> None:
        """Wait until a message is in somebody's mailbox."""
        if who not in self.mailboxes:
            where, account = self.stack["imaps"], self.stack["accounts"][who]
            client = imaplib.IMAP4_SSL(where["host"], where["port"], ssl_context=self.tls)
            client.login(account["login"], account["password"])
            client.select("INBOX", readonly=True)
            self.mailboxes[who] = client
        client = self.mailboxes[who]
        for _ in range(1000):
            if client.uid("SEARCH", "HEADER", "Message-ID", identity)[1][0]:
                return
            time.sleep(0.005)
            client.noop()
        sys.exit(f"{identity} did not arrive")

    def set(self, who: str, flag: str, status: str) -> None:
        """Change both policy attributes."""
        self.directory.modify(
            f"uid={who},ou=users,{self.stack['base_dn']}",
            {
                "tnMailSendAllowed": [(ldap3.MODIFY_REPLACE, [flag])],
                "tnAccountStatus": [(ldap3.MODIFY_REPLACE, [status])],
            },
        )


def expect(seen: int, wanted: int) -> None:
    """End with 1 unless a reply is as the story has it."""
    if seen != wanted:
        sys.exit(f"{seen} in place of {wanted}")


def main() -> None:
    """Tell the story."""
    story = Story(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    code, identity = story.send("alice", "bob")
    expect(code, ACCEPTED)
    story.find("bob", identity)
    story.set("alice", "FALSE", "offboarded")
    try:
        expect(story.send("alice", "bob")[0], 554)
        code, identity = story.send("bob", "alice")
        expect(code, ACCEPTED)
        story.find("alice", identity)
        expect(story.send("bob", "bob", "alice")[0], 553)
    finally:
        story.set("alice", "TRUE", "active")
    code, identity = story.send("alice", "bob")
    expect(code, ACCEPTED)
    story.find("bob", identity)


if __name__ == "__main__":
    main()
