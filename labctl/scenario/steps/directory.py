"""The verb `directory`."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from labctl.errors import ExpectationFailed
from labctl.protocols.directory import Directory, Via
from labctl.scenario.by_hand import ldif_to_add, ldif_to_replace
from labctl.scenario.entries import attribute_of, dn_of, login_of, put_back_later
from labctl.scenario.model import Line, Pattern, Step
from labctl.scenario.names import PROGRAMS
from labctl.scenario.session import Session

Attribute = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_;-]{0,63}$")]
Values = Mapping[Attribute, Line | tuple[Line, ...]]
_NO_RIGHTS = "insufficientAccessRights"  # RFC 4511 §4.1.9
_SIGHT = {True: "seen", False: "hidden"}


class AsSomebody(Step):
    """Bind to the directory as somebody, and check what he sees or may change there.

    `as` is an account, `postfix`, `dovecot`, `policy-admin`, or `stranger`, who gives no name.
    `entry` is an account or a DN, in which BASE stands for the lab's base; the attributes
    `send_allowed` and `status` stand for the policy attributes as they are called there. A change
    that is refused must be so for want of rights, unless `reason` is a pattern that says why else.
    What is changed is put back at the end.
    """

    verb: ClassVar[str] = "directory"

    who: Line = Field(alias="as")
    entry: Line
    sees: tuple[Attribute, ...] = ()
    hidden: tuple[Attribute, ...] = ()
    change: Values | None = None
    add: Values | None = None
    delete: bool = False
    via: Via | None = None
    expect: Literal["allowed", "refused"] = "allowed"
    reason: Pattern | None = None

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
        return people if "=" in self.entry or self.entry == "BASE" else [*people, self.entry]

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
        dn = dn_of(session.endpoints, self.entry)
        return session.by_hand.inside("openldap", *root, "-s", "base", "-b", dn)

    def perform(self, session: Session) -> None:
        """Bind, look or change, and compare with what is expected."""
        dn = dn_of(session.endpoints, self.entry)
        self._show_command(session, dn)
        names = None if self.change is None else tuple(self._values(session, self.change))
        undo = put_back_later(session, self.verb, dn, names) if self._writes else None
        refusal = self._refusal(session, dn)
        if undo is not None and refusal is not None:
            session.undos.remove(undo)
        session.check(
            self.who,
            expected=f"{self.expect} {self._why}".strip(),
            seen="allowed" if refusal is None else f"refused: {refusal}",
            ok=self._as_expected(refusal),
        )

    def _show_command(self, session: Session, dn: str) -> None:
        """Tell the command that does the same."""
        given = self._values(session, self.change or self.add or {})
        tool, arguments, ldif = "ldapwhoami", list[str](), list[str]()
        if self.change is not None:
            tool, ldif = "ldapmodify", ldif_to_replace(dn, given)
        elif self.add is not None:
            tool, ldif = "ldapadd", ldif_to_add(dn, given)
        elif self.delete:
            tool, arguments = "ldapdelete", [dn]
        elif self.sees or self.hidden:
            tool, arguments = "ldapsearch", ["-LLL", "-s", "base", "-b", dn]
        name = login_of(session, self.who).name
        command = session.by_hand.ldap(tool, self.who, name, arguments, via=self.via, ldif=ldif)
        session.show_command(command)

    def _as_expected(self, refusal: str | None) -> bool:
        if self.expect == "allowed" or refusal is None:
            return self.expect == "allowed" and refusal is None
        return re.search(self._why, refusal) is not None

    @property
    def _why(self) -> str:
        """The pattern that a refusal must fit."""
        needed = _NO_RIGHTS if self._writes and self.expect == "refused" else ""
        return self.reason or needed

    @property
    def _writes(self) -> bool:
        return self.change is not None or self.add is not None or self.delete

    def _refusal(self, session: Session, dn: str) -> str | None:
        """Return why the directory refuses it, or None if it does not."""
        login = login_of(session, self.who)
        try:
            opened = Directory.open(session.endpoints, login, emit=session.emit, via=self.via)
        except ExpectationFailed as error:
            return _short(error)
        with opened as directory:
            if self.sees or self.hidden:
                self._look(session, directory, dn)
                return None
            try:
                self._write(session, directory, dn)
            except ExpectationFailed as error:
                return _short(error)
        return None

    def _look(self, session: Session, directory: Directory, dn: str) -> None:
        found = directory.read(dn)
        present = {name.lower() for name in found.values} if found else set()
        for wanted, names in ((True, self.sees), (False, self.hidden)):
            for name in (attribute_of(session.endpoints, each) for each in names):
                seen = name.lower() in present
                ok = seen == wanted
                session.check(name, expected=_SIGHT[wanted], seen=_SIGHT[seen], ok=ok)

    def _write(self, session: Session, directory: Directory, dn: str) -> None:
        if self.change is not None:
            directory.replace(dn, self._values(session, self.change))
        elif self.add is not None:
            directory.add(dn, self._values(session, self.add))
        elif self.delete:
            directory.delete(dn)

    @staticmethod
    def _values(session: Session, given: Values) -> dict[str, tuple[str, ...]]:
        """Return the values under the names that the attributes have in this directory."""
        return {
            attribute_of(session.endpoints, name): (value,) if isinstance(value, str) else value
            for name, value in given.items()
        }


def _short(error: ExpectationFailed) -> str:
    return error.what.rpartition(" is refused: ")[2]
