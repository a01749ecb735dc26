"""The verb `authenticate`."""

import time
from collections.abc import Iterable, Iterator
from secrets import token_hex
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, StrictBool, model_validator

from labctl.endpoints import Account, Endpoints, Secret
from labctl.errors import SignInRefused
from labctl.scenario.durations import Duration, shown
from labctl.scenario.model import Name, Planned, Step
from labctl.scenario.session import Session, Skipped
from labctl.scenario.shapes import at_most_one, has

Service = Literal["submission", "submissions", "imap", "imaps"]


class Authenticate(Step):
    """Sign in to services, on a connection of its own each, and check whether it is accepted."""

    model_config = ConfigDict(
        json_schema_extra=at_most_one(has("password", type="string"), has("guessed", const=True))
    )

    verb: ClassVar[str] = "authenticate"

    account: Name = Field(description="who signs in")
    services: tuple[Service, ...] = Field(
        ("submission", "imap"), alias="with", min_length=1, description="the services"
    )
    password: str | None = Field(None, description="another password than the account's own")
    guessed: StrictBool = Field(
        default=False,
        description="with a wrong password, another one each time: servers count those",
    )
    expect: Literal["accepted", "refused"] = Field("accepted", description="how all of them answer")
    at_least: Duration | None = Field(
        None, description="how long each answer takes at least: what guessing costs"
    )

    @model_validator(mode="after")
    def _one_password(self) -> "Authenticate":
        if self.guessed and self.password is not None:
            raise ValueError("a password is given or guessed")
        return self

    def accounts(self) -> Iterable[str]:
        """Return who signs in."""
        return (self.account,)

    def logs(self) -> Iterable[str]:
        """Return who asks for the password, and who checks it."""
        return ("postfix", "dovecot")

    def summary(self) -> str:
        """Say who signs in where."""
        how = " with a guessed password" if self.guessed else ""
        return f"{self.account} signs in to {', '.join(self.services)}{how}"

    def plan(self, endpoints: Endpoints) -> Iterator[Planned]:
        """Tell what is sent and expected."""
        login = endpoints.accounts[self.account].login
        yield (
            "signs in",
            f"as {login}{'' if self._known else ' with a wrong password'}",
        )
        slow = f", after {shown(self.at_least)} at least" if self.at_least else ""
        yield "expects", f"{self.expect}{slow}"

    def reads(self) -> bool:
        """Say yes: it signs in, and hangs up."""
        return True

    @property
    def _known(self) -> bool:
        return self.password is None and not self.guessed

    def _wrong(self) -> str:
        """Return the password of the file, which may be empty, or a new guess."""
        return _new_guess() if self.password is None else self.password

    def perform(self, session: Session) -> None:
        """Sign in to each service that there is, on a connection of its own."""
        account = session.account(self.account)
        for service in self._present(session):
            password = account.password if self._known else Secret(self._wrong())
            session.show_command(session.by_hand.sign_in(service, account, known=self._known))
            sign_in = _imap if service.startswith("imap") else _smtp
            accepted, said, seconds = sign_in(session, service, account, password)
            session.check(
                service,
                expected=f"sign-in {self.expect}",
                seen=said,
                ok=accepted == (self.expect == "accepted"),
            )
            if self.at_least is not None:
                session.check(
                    f"{service}, how long",
                    expected=f"{shown(self.at_least)} at least",
                    seen=shown(seconds),
                    ok=seconds >= self.at_least,
                )

    def _present(self, session: Session) -> list[Service]:
        """Return those services that the stack has, and remark on the others."""
        known = session.endpoints.services
        lacking = ", ".join(service for service in self.services if service not in known)
        present = [service for service in self.services if service in known]
        if not present:
            raise Skipped(f"the stack has no {lacking}")
        if lacking:
            session.remarks.append(f"the stack has no {lacking}")
        return present


def _new_guess() -> str:
    """Return a password that nobody has, nor had: of the same one twice a server may count one."""
    return f"guessed-{token_hex(8)}"


_Answer = tuple[bool, str, float]
"""Whether it was accepted, the answer, and how many seconds it took."""


def _smtp(session: Session, service: str, account: Account, password: Secret) -> _Answer:
    with session.smtp(service) as connection:
        begun = time.monotonic()
        outcome = connection.sign_in(account.login, password)
        return outcome.reply.ok, str(outcome), time.monotonic() - begun


def _imap(session: Session, service: str, account: Account, password: Secret) -> _Answer:
    with session.imap(service) as connection:
        begun = time.monotonic()
        try:
            connection.sign_in(account.login, password)
        except SignInRefused as refusal:
            return False, refusal.what, time.monotonic() - begun
        return True, "OK", time.monotonic() - begun
