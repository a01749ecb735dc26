"""The verb `ldif`."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from labctl.endpoints import PROGRAMS, Endpoints
from labctl.errors import ExpectationFailed
from labctl.protocols.directory import Directory, written
from labctl.protocols.dn import parts
from labctl.protocols.ldif import Add, Modify, Record, Rename, parse
from labctl.scenario.durations import Duration
from labctl.scenario.effect import seen_within
from labctl.scenario.entries import (
    NO_RIGHTS,
    Answer,
    attribute_of,
    check_answer,
    login_of,
    put_back_later,
    reason_of,
    touched,
    values_there,
    whole,
)
from labctl.scenario.model import Line, Pattern, Planned, Step, Touch
from labctl.scenario.names import PROGRAM_NAMES
from labctl.scenario.session import Session, Skipped


def _record(value: str) -> str:
    parse(value)
    return value


ChangeRecord = Annotated[str, AfterValidator(_record), Field(title="LDIF")]


class Ldif(Step):
    """Make a change in the directory that is written as LDIF (RFC 2849): one record that adds,
    modifies, deletes or renames (`modrdn`) an entry.

    In a DN, BASE at the end stands for the stack's base; the attributes `send_allowed` and `status`
    stand for the policy attributes as they are called there. Whatever is changed is put back at the
    end. `- ldif: |` with the record beneath is short for `change`.
    """

    verb: ClassVar[str] = "ldif"
    short: ClassVar[str | None] = "change"

    change: ChangeRecord = Field(description="the change record")
    who: Line = Field("policy-admin", alias="as", description=f"an account, {PROGRAM_NAMES}")
    expect: Answer = Field("allowed", description="the answer")
    reason: Pattern | None = Field(None, description="why it is refused, if not for want of rights")
    effect_within: Duration | None = Field(
        None, description="how soon the account's transactions show it, see [Effects](#effects)"
    )

    @model_validator(mode="after")
    def _whose_effect(self) -> "Ldif":
        if self.effect_within is not None and (self._whose() is None or self.expect == "refused"):
            raise ValueError("an effect is seen on an account: `dn: uid=alice,ou=users,BASE`")
        return self

    def _whose(self) -> str | None:
        """Return the account whose entry changes, or None if it is no account's."""
        match parts(parse(self.change).dn):
            case [name, "ou=users", "BASE"] if name.startswith("uid="):
                return name.removeprefix("uid=")
        return None

    def accounts(self) -> Iterable[str]:
        """Return who makes the change, if that is an account, and whose effect is watched."""
        if self.who not in PROGRAMS:
            yield self.who
        if self.effect_within is not None and (account := self._whose()) is not None:
            yield account

    def touches(self, endpoints: Endpoints) -> Iterable[Touch]:
        """Return what a modification changes, where the endpoints name who can put it back."""
        with suppress(Skipped):
            record = _there(endpoints, parse(self.change))
            return touched(endpoints, record.dn, record)
        return ()

    def logs(self) -> Iterable[str]:
        """Return who answers."""
        return ("openldap",)

    def summary(self) -> str:
        """Say who does what to which entry."""
        record = parse(self.change)
        changed = record.modifications if isinstance(record, Modify) else ()
        names = ", ".join(dict.fromkeys(each.attribute for each in changed))
        target = f" to {record.new_rdn}" if isinstance(record, Rename) else ""
        doing = f"{type(record).__name__.lower()}s".replace("ys", "ies")
        return f"{self.who} {doing} {parts(record.dn)[0]}{target}{f': {names}' if names else ''}"

    def plan(self, endpoints: Endpoints) -> Iterator[Planned]:
        """Tell the LDIF and the answer."""
        yield "ldif", written(_there(endpoints, parse(self.change)))
        yield "expects", self.expect

    def perform(self, session: Session) -> None:
        """Make it; before, see to it that it is taken back."""
        record = _there(session.endpoints, parse(self.change))
        login, whose = login_of(session, self.who), self._whose() or ""
        undo = put_back_later(session, self.verb, record)
        session.show_command(session.by_hand.change(self.who, login.name, record))
        with (
            Directory.open(session.endpoints, login, emit=session.emit) as directory,
            seen_within(session, whose, self.effect_within) as seen,
        ):
            refusal = _refusal(directory, record)
            if refusal is not None:
                session.undos.remove(undo)
            wanted = self.reason or (NO_RIGHTS if self.expect == "refused" else "")
            check_answer(session, self.who, self.expect, wanted, refusal)
            seen(directory.answered)


def _refusal(directory: Directory, record: Record) -> str | None:
    """Return why the directory refuses a change, or None if it does not."""
    try:
        directory.perform(record)
    except ExpectationFailed as error:
        return reason_of(error)
    return None


def _there(endpoints: Endpoints, record: Record) -> Record:
    """Return a record with the base filled in, and the policy as this directory calls it."""
    dn = whole(endpoints, record.dn)
    match record:
        case Add(values=values):
            named = {
                attribute_of(endpoints, name): values_there(endpoints, name, each)
                for name, each in values.items()
            }
            return Add(dn, named)
        case Modify(modifications=modifications):
            changes = (
                replace(
                    each,
                    attribute=attribute_of(endpoints, each.attribute),
                    values=values_there(endpoints, each.attribute, each.values),
                )
                for each in modifications
            )
            return Modify(dn, tuple(changes))
        case Rename(new_superior=str(superior)):
            return replace(record, dn=dn, new_superior=whole(endpoints, superior))
    return replace(record, dn=dn)
