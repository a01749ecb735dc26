"""The verb `smtp`."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from textwrap import shorten
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StrictBool

from labctl.endpoints import Endpoints
from labctl.errors import DeadlinePassed, UsageError
from labctl.protocols.smtp import TIMEOUT, SmtpConnection
from labctl.scenario.durations import Duration, shown
from labctl.scenario.model import Name, Planned, Step, Touch
from labctl.scenario.session import Session
from labctl.scenario.steps.send import SERVICES, Via
from labctl.scenario.wire import (
    CLOSED,
    LINE_PATTERN,
    Spoken,
    Words,
    heard,
    passwords,
    split,
    spoken,
)

_RECIPIENT = re.compile(r"^-> *RCPT +TO: *<([^<>]+)>", re.IGNORECASE)
_SHOWN = 56  # characters of a reply: the transcript has the whole of it


def _line(value: str) -> str:
    split(value)
    return value


Said = Annotated[
    str,
    AfterValidator(_line),
    Field(title="dialogue line", json_schema_extra={"pattern": LINE_PATTERN}),
]


class Smtp(Step):
    """Speak SMTP, byte by byte (see [A dialogue](#a-dialogue)), and hold each reply against the
    expected one.
    """

    verb: ClassVar[str] = "smtp"

    via: Via = Field("submission", description="where")
    account: Name | None = Field(
        None, description="who signs in before the dialogue; without it nobody does"
    )
    greet: StrictBool = Field(
        default=True, description="EHLO and STARTTLS come first; `false`: nothing is said before"
    )
    session: Name | None = Field(
        None, description="an SMTP session that stays open; a later step of that name goes on"
    )
    within: Duration = Field(TIMEOUT, description="until when each reply must have come")
    dialogue: tuple[Said, ...] = Field((), description="the lines, in order")

    def accounts(self) -> Iterable[str]:
        """Return who signs in, and whose password is said."""
        said = [name for line in self.dialogue for name in passwords(line)]
        return said if self.account is None else [self.account, *said]

    def touches(self, endpoints: Endpoints) -> Iterable[Touch]:
        """Return the recipients that are named in brackets."""
        for line in self.dialogue:
            for address in _RECIPIENT.findall(line):
                yield Touch(address.replace(r"\d", endpoints.domain))

    def summary(self) -> str:
        """Say who speaks where, and the first line."""
        said = next((split(line)[1] for line in self.dialogue if line.startswith("->")), "")
        again = f"session {self.session}" if self.session else "nobody"
        return f"{self.account or again} on {self.via}: {said}".removesuffix(": ")

    def logs(self) -> Iterable[str]:
        """Return who answers."""
        return ("postfix",)

    def plan(self, _: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        yield "dialogue", "\n".join(self.dialogue)

    def perform(self, session: Session) -> None:
        """Open the session or go on with it, and speak."""
        connection = session.left(self.session) if self.session else None
        if self.session and connection and self.account:
            session.require_own(self.session, connection, self.account)
        self._show_command(session, connection)
        connection = connection or self._opened(session)
        try:
            self._speak(session, connection)
        finally:
            if self.session:
                session.hold(self.session, connection)
            else:
                connection.close()

    def _show_command(self, session: Session, left: SmtpConnection | None) -> None:
        """Tell the command that speaks the same; none where the session has heard lines before."""
        if session.containers is None or not (left is None or left.fresh):
            return
        name, greet = (left.login, left.greeted) if left else (self.account, self.greet)
        account = None if name is None else session.account(name)
        hands, service = session.by_hand, SERVICES[self.via]
        session.show_command(hands.dialogue(service, account, self.dialogue, greet=greet))

    def _opened(self, session: Session) -> SmtpConnection:
        connection = session.smtp(SERVICES[self.via], greet=self.greet)
        if self.account is not None:
            account = session.account(self.account)
            outcome = connection.sign_in(account.login, account.password)
            if not outcome.reply.ok:
                connection.close()
                said = shorten(str(outcome.reply), _SHOWN, placeholder=" …")
                what = f"the sign-in of {self.account}"
                session.check(what, expected="accepted", seen=said, ok=False)
        return connection

    def _speak(self, session: Session, connection: SmtpConnection) -> None:
        words = Words(
            session.endpoints.domain, lambda name: session.account(name).password.reveal()
        )
        last = "the greeting"
        for mark, lines in groupby(map(split, self.dialogue), key=lambda line: line[0]):
            texts = [text for _, text in lines]
            if mark == "->":
                said = _said(connection, texts, words)
                connection.write(said.data, said.shown)
                last = texts[-1]
            elif mark == "===":
                connection.begin_tls(session.tls)
            else:
                for expected in texts:
                    self._hear(session, connection, expected, f"the reply to {last}")

    def _hear(self, session: Session, connection: SmtpConnection, expected: str, what: str) -> None:
        try:
            reply = connection.reply(self.within)
        except DeadlinePassed:
            seen = f"nothing within {shown(self.within)}"
            session.check(what, expected=expected, seen=seen, ok=False)
            return
        seen = CLOSED if reply is None else shorten(str(reply), _SHOWN, placeholder=" …")
        session.check(what, expected=expected, seen=seen, ok=heard(expected, reply))


def _said(connection: SmtpConnection, texts: Iterable[str], words: Words) -> Spoken:
    """Return what is sent in one piece; raises UsageError where a password may be in a message, or
    in another command that a part of a line before it has begun.
    """
    said = Spoken()
    for text in texts:
        if any(passwords(text)):
            if connection.content_after(said.shown):
                raise UsageError(
                    "no password is said where DATA or BDAT was: it could be in a message",
                    "Give the sign-in a session of its own.",
                )
            if not connection.begins_line(said.shown):
                raise UsageError(
                    "a password is said at the beginning of a line, or after AUTH alone",
                    r"End the line before without `\c`.",
                )
        said += spoken(text, words)
    return said
