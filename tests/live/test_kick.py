"""Kicking closes a person's open sessions, all of them, and nobody else's."""

import imaplib
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from conftest import LiveLab

from labctl.endpoints import Endpoints
from labctl.errors import ExpectationFailed
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.scenario.session import Session
from labctl.scenario.steps.kick import Kick


class Desk:
    """Somebody's mail program: an SMTP and an IMAP session, both signed in."""

    def __init__(self, stack: dict, account: str, login: str | None = None) -> None:
        tls = ssl.create_default_context(cafile=stack["ca_file"])
        who = stack["accounts"][account]
        name = login or who["login"]
        self.smtp = smtplib.SMTP("127.0.0.1", stack["submission"]["port"])
        self.smtp.starttls(context=tls)
        self.smtp.login(name, who["password"])
        self.imap = imaplib.IMAP4_SSL("127.0.0.1", stack["imaps"]["port"], ssl_context=tls)
        self.imap.login(name, who["password"])

    def open(self) -> tuple[bool, bool]:
        """Say whether SMTP and IMAP still answer."""
        return self._answers(self.smtp.noop, 250), self._answers(self.imap.noop, "OK")

    @staticmethod
    def _answers(noop: object, well: object) -> bool:
        try:
            return noop()[0] == well
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
            return False

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError, smtplib.SMTPException):
            self.smtp.quit()
        with suppress(OSError, imaplib.IMAP4.error):
            self.imap.logout()


@pytest.fixture
def stack(lab: LiveLab) -> dict:
    """Return the endpoints, with secrets."""
    return lab.json("endpoints", "--secrets")


@pytest.fixture
def desks(stack: dict) -> Iterator[dict[str, Desk]]:
    """Open two desks of Alice's, one signed in by address, and one of Bob's."""
    with ExitStack() as stack_of_desks:
        found = {
            "alice": Desk(stack, "alice"),
            "alice, by address": Desk(stack, "alice", stack["accounts"]["alice"]["address"]),
            "bob": Desk(stack, "bob"),
        }
        for desk in found.values():
            stack_of_desks.callback(desk.close)
        yield found


def test_kick_closes_all_of_ones_sessions_and_no_others(
    lab: LiveLab, desks: dict[str, Desk]
) -> None:
    """Both desks of Alice's are closed, Bob's is not, and Postfix was not reloaded."""
    before = lab.must("postfix", "fingerprint")
    said = lab.run("user", "kick", "alice")
    assert said.startswith("alice: 2 IMAP and ")
    assert desks["alice"].open() == (False, False)
    assert desks["alice, by address"].open() == (False, False)
    assert desks["bob"].open() == (True, True)
    assert lab.must("postfix", "fingerprint") == before


def test_who_was_kicked_may_sign_in_again(lab: LiveLab, stack: dict) -> None:
    """Kicking is no lock: what a password opens stays open."""
    Desk(stack, "alice").close()
    lab.run("user", "kick", "alice")
    desk = Desk(stack, "alice")
    assert desk.open() == (True, True)
    desk.close()


@pytest.mark.parametrize("name", ["nobody", "*", "alice)(uid=*", "alice; id", "../alice"])
def test_a_name_that_is_nobodys_kicks_nobody(
    lab: LiveLab, desks: dict[str, Desk], name: str
) -> None:
    """It is told with exit code 2, and every session goes on."""
    done = lab.ran("user", "kick", "--", name)
    assert done.code == 2
    assert "has no account" in done.err
    assert all(desk.open() == (True, True) for desk in desks.values())


def test_the_step_notices_a_kick_that_does_nothing(lab: LiveLab, stack: dict) -> None:
    """If the sessions of a run stay open, the step fails: it does not believe what it is told."""

    class Idle(LabContainers):
        def kick(self, login: str) -> tuple[int, int]:  # noqa: ARG002 - it does nothing
            return 1, 1

    session = Session(
        Endpoints.from_dict(stack),
        "r",
        lambda _: None,
        wait_seconds=0.5,
        containers=Idle(Engine(), lab.project),
    )
    session.mailbox("alice")
    with pytest.raises(ExpectationFailed, match="IMAP session: expected closed by the server"):
        Kick(account="alice").perform(session)
    session.close()
