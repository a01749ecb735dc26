"""The verb `directory`."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, StrictBool, model_validator

from labctl.endpoints import PROGRAMS, Endpoints
from labctl.errors import ExpectationFailed
from labctl.protocols.directory import Directory, written
from labctl.protocols.entry import Via
from labctl.protocols.ldif import Add, Delete, Modification, Modify, Record
from labctl.scenario.entries import (
    NO_RIGHTS,
    Answer,
    attribute_of,
    check_answer,
    dn_of,
    is_account,
    login_of,
    planned_dn,
    put_back_later,
    reason_of,
    touched,
    values_there,
)
from labctl.scenario.model import Line, Pattern, Planned, Step, Touch
from labctl.scenario.names import PROGRAM_NAMES
from labctl.scenario.session import Session, Skipped
from labctl.scenario.shapes import at_most_one, has

Attribute = Annotated[str, Field(title="attribute", pattern=r"^[A-Za-z_][A-Za-z0-9_;-]{0,63}$")]
Values = Mapping[Attribute, Line | tuple[Line, ...]]
_SIGHT = {True: "seen", False: "hidden"}


class AsSomebody(Step):
    """Bind to the directory as somebody, and check what he sees or may change there.

    A step looks (`sees`, `hidden`), or does one of `change`, `add` and `delete`, or just binds.
    The attributes `send_allowed` and `status` stand for the policy attributes as they are called
    there. What is changed is put back at the end.
    """

    model_config = ConfigDict(
        json_schema_extra=at_most_one(
            {"anyOf": [has("sees", minItems=1), has("hidden", minItems=1)]},
            has("change", type="object"),
            has("add", type="object"),
            has("delete", const=True),
        )
    )

    verb: ClassVar[str] = "directory"

    who: Line = Field(alias="as", description=f"an account, {PROGRAM_NAMES}")
    entry: Line = Field(description="an account, or a DN, in which BASE is the stack's base")
    sees: tuple[Attribute, ...] = Field((), description="attributes that must be seen")
    hidden: tuple[Attribute, ...] = Field((), description="attributes that must not be seen")
    change: Values | None = Field(
        None, description="attributes and their new values; `[]` removes one"
    )
    add: Values | None = Field(None, description="the attributes of a new entry")
    delete: StrictBool = Field(default=False, description="deletes the entry")
    via: Via | None = Field(None, description="how; without it `ldaps` where there is one")
    expect: Answer = Field("allowed", description="the answer")
    reason: Pattern | None = Field(
        None, description="why a change is refused, if not for want of rights"
    )

    @model_validator(mode="after")
    def _one_thing(self) -> "AsSomebody":
        looks = bool(self.sees or self.hidden)
        acts = sum((looks, self.change is not None, self.add is not None, self.delete))
        if acts > 1:
            raise ValueError("a step looks (sees, hidden), or does one of change, add and delete")
        return self

    def accounts(self) -> Iterable[str]:
        """Return who binds and whose entry it is, as far as they are accounts."""
        people = [] if self.who in PROGRAMS else [self.who]
        return [*people, self.entry] if is_account(self.entry) else people

    def touches(self, endpoints: Endpoints) -> Iterable[Touch]:
        """Return what a change changes, where the endpoints name who can put it back."""
        dn = planned_dn(endpoints, self.entry)
        with suppress(Skipped):
            whose = self.entry if is_account(self.entry) else dn
            return touched(endpoints, whose, self._record(endpoints, dn))
        return ()

    def summary(self) -> str:
        """Say who tries what."""
        names = ", ".join((*self.sees, *self.hidden, *(self.change or ())))
        what = "deletes" if self.delete else "adds" if self.add else "changes"
        act = what if self.delete or self.add or self.change else "looks at" if names else "binds"
        return f"{self.who} {act} {self.entry}{f': {names}' if names else ''}"

    def further(self, session: Session) -> str:
        """Return what shows the entry, in a lab as root of the directory's container sees it."""
        if session.containers is None:
            named = self.entry in session.endpoints.accounts
            show = ("user", "show", self.entry)
            return session.by_hand.labctl(*show) if named else super().further(session)
        root = ("ldapsearch", "-Q", "-Y", "EXTERNAL", "-H", "ldapi:///", "-LLL")
        dn = dn_of(session, self.entry)
        return session.by_hand.inside("openldap", *root, "-s", "base", "-b", dn)

    def plan(self, endpoints: Endpoints) -> Iterator[Planned]:
        """Tell the LDIF, if there is any, and the answer."""
        record = self._record(endpoints, planned_dn(endpoints, self.entry))
        if record is not None:
            yield "ldif", written(record)
        names = (*self.sees, *(f"no {name}" for name in self.hidden))
        wants_rights = record and self.expect == "refused" and not self.reason
        why = f", for want of rights ({NO_RIGHTS})" if wants_rights else ""
        yield "expects", ", ".join(names) or f"{self.expect}{why}"

    def reads(self) -> bool:
        """Say whether it only binds and looks."""
        return self.change is None and self.add is None and not self.delete

    def perform(self, session: Session) -> None:
        """Bind, look or change, and compare with what is expected."""
        dn = dn_of(session, self.entry)
        record = self._record(session.endpoints, dn)
        undo = None if record is None else put_back_later(session, self.verb, record)
        self._show_command(session, dn, record)
        why_not = self._refusal(session, dn, record)
        if undo is not None and why_not is not None:
            session.undos.remove(undo)
        wanted = self.reason or (NO_RIGHTS if record and self.expect == "refused" else "")
        check_answer(session, self.who, self.expect, wanted, why_not)

    def _show_command(self, session: Session, dn: str, record: Record | None) -> None:
        """Tell the command that does the same."""
        name = login_of(session, self.who).name
        if record is not None:
            command = session.by_hand.change(self.who, name, record, via=self.via)
        elif self.sees or self.hidden:
            look = ("-LLL", "-s", "base", "-b", dn)
            command = session.by_hand.ldap("ldapsearch", self.who, name, look, via=self.via)
        else:
            command = session.by_hand.ldap("ldapwhoami", self.who, name, via=self.via)
        session.show_command(command)

    def _record(self, endpoints: Endpoints, dn: str) -> Record | None:
        """Return what is to be changed, if anything is."""
        if self.change is not None:
            values = _values(endpoints, self.change).items()
            return Modify(dn, tuple(Modification("replace", *each) for each in values))
        if self.add is not None:
            return Add(dn, _values(endpoints, self.add))
        return Delete(dn) if self.delete else None

    def _refusal(self, session: Session, dn: str, record: Record | None) -> str | None:
        """Return why the directory refuses it, or None if it does not."""
        login = login_of(session, self.who)
        try:
            opened = Directory.open(session.endpoints, login, emit=session.emit, via=self.via)
        except ExpectationFailed as error:
            return reason_of(error)
        with opened as directory:
            if record is None:
                self._look(session, directory, dn)
                return None
            try:
                directory.perform(record)
            except ExpectationFailed as error:
                return reason_of(error)
        return None

    def _look(self, session: Session, directory: Directory, dn: str) -> None:
        if not (self.sees or self.hidden):
            return
        found = directory.read(dn)
        present = {name.lower() for name in found.values} if found else set()
        for wanted, names in ((True, self.sees), (False, self.hidden)):
            for name in (attribute_of(session.endpoints, each) for each in names):
                seen = name.lower() in present
                ok = seen == wanted
                session.check(name, expected=_SIGHT[wanted], seen=_SIGHT[seen], ok=ok)


def _values(endpoints: Endpoints, given: Values) -> dict[str, tuple[bytes, ...]]:
    """Return the values as this directory calls them, and the attributes, too."""
    return {
        attribute_of(endpoints, name): values_there(
            endpoints, name, ((value,) if isinstance(value, str) else value)
        )
        for name, value in given.items()
    }
