"""LDIF change records: what is read, what is refused, and what takes a change back."""

import base64
from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labctl.protocols.dn import pairs, parent, parts
from labctl.protocols.ldif import Add, Delete, Modification, Modify, Record, Rename, Values, parse
from labctl.protocols.restoring import restore

DN = "uid=alice,ou=users,BASE"


@pytest.mark.parametrize(
    ("text", "record"),
    [
        (f"dn: {DN}\nchangetype: delete\n", Delete(DN)),
        (f"version: 1\n# a comment\n\ndn: {DN}\nchangetype: DELETE\n", Delete(DN)),
        (f"DN: {DN}\r\nChangeType: delete\r\n", Delete(DN)),
        (
            f"dn:: {base64.b64encode(DN.encode()).decode()}\nchangetype: add\n"
            "cn: Ali\n ce\ncn:: AP8=\nsn:  x \nobjectClass: person\n",
            Add(DN, {"cn": (b"Alice", b"\0\xff"), "sn": (b"x ",), "objectClass": (b"person",)}),
        ),
        (
            f"dn: {DN}\nchangetype: modify\nreplace: mail\nmail: a@x.org\nMail: b@x.org\n-\n"
            "delete: sn\n-\nadd: cn\ncn: A",
            Modify(
                DN,
                (
                    Modification("replace", "mail", (b"a@x.org", b"b@x.org")),
                    Modification("delete", "sn"),
                    Modification("add", "cn", (b"A",)),
                ),
            ),
        ),
        (
            f"dn: {DN}\nchangetype: moddn\nnewrdn: uid=bob\ndeleteoldrdn: 0\nnewsuperior: BASE",
            Rename(DN, "uid=bob", delete_old=False, new_superior="BASE"),
        ),
    ],
)
def test_a_record_is_read(text: str, record: Record) -> None:
    """Folded lines, comments, base64, any case of the keywords, either kind of line end."""
    assert parse(text) == record


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with `dn"),
        ("mail: x", "begins with `dn"),
        ("dn: alice\nchangetype: delete", "no name of an entry"),
        (f"dn: {DN}", "after the `dn:`"),
        (f"dn: {DN}\nmail: x", "after the `dn:`"),
        (f"dn: {DN}\ncontrol: 1.2.3 true\nchangetype: delete", "after the `dn:`"),
        (f"dn: {DN}\nchangetype: rename", "'rename' is none"),
        (f"dn: {DN}\nchangetype: delete\n\ndn: {DN}\nchangetype: delete", "a second record"),
        (f"dn: {DN}\nchangetype: delete\nmail: x", "line 3: nothing follows"),
        (f"dn: {DN}\nchangetype: add", "an entry has attributes"),
        (f"dn: {DN}\nchangetype: add\nmail", "line 3: 'mail' is no"),
        (f"dn: {DN}\nchangetype: add\nmail: x\n-", "line 4: `-` ends"),
        (f"dn: {DN}\nchangetype: add\njpegPhoto:< file:///etc/passwd", "not read from a URL"),
        (f"dn: {DN}\nchangetype: add\ncn:: ???", "line 3: cn is not base64"),
        ("dn:: /w==\nchangetype: delete", "line 1: dn is not UTF-8"),
        (f"dn: {DN}\nchangetype: modify", "a modification is missing"),
        (f"dn: {DN}\nchangetype: modify\nmail: x", "line 3: 'mail' is no modification"),
        (f"dn: {DN}\nchangetype: modify\nadd: mail\n-", "no value to add"),
        (f"dn: {DN}\nchangetype: modify\nadd: mail\nmail: x\nadd: cn", "a `-` ends each"),
        (f"dn: {DN}\nchangetype: modrdn\nnewrdn: uid=b", "a modrdn has"),
        (f"dn: {DN}\nchangetype: modrdn\nnewrdn: b\ndeleteoldrdn: 1", "no name of an entry"),
        (f"dn: {DN}\nchangetype: modrdn\nnewrdn: uid=b\ndeleteoldrdn: yes", "a modrdn has"),
    ],
)  # fmt: skip
def test_what_is_no_record_says_why(text: str, why: str) -> None:
    """Each error tells its line where it has one; nothing is read from elsewhere."""
    with pytest.raises(ValueError, match=why.replace("`", ".")):
        parse(text)


@given(st.text())
def test_whatever_the_text_it_is_a_record_or_says_why(text: str) -> None:
    """No text gives anything but a record or a ValueError."""
    for given_text in (text, f"dn: {DN}\nchangetype: modify\n{text}", f"dn: {text}"):
        with suppress(ValueError):
            assert parse(given_text).dn


def test_a_name_is_taken_apart_where_it_is_not_escaped() -> None:
    """RFC 4514: commas and plus signs after a backslash belong to the value."""
    dn = r"cn=A\, B+uid=a\2Cb , ou=users,dc=x"
    assert parts(dn) == [r"cn=A\, B+uid=a\2Cb", "ou=users", "dc=x"]
    assert parent(dn) == "ou=users,dc=x"
    assert pairs(parts(dn)[0]) == [("cn", b"A, B"), ("uid", b"a,b")]


class Model:
    """A directory as RFC 4511 describes it, in memory; attributes and values have one spelling."""

    def __init__(self, entries: Mapping[str, Values]) -> None:
        self.entries = {dn: dict(values) for dn, values in entries.items()}

    def raw(self, dn: str) -> Values | None:
        """Return a copy of an entry."""
        return None if dn not in self.entries else dict(self.entries[dn])

    def perform(self, record: Record) -> None:
        """Make a change; KeyError or ValueError if the directory would refuse it."""
        match record:
            case Add(dn, values) if dn not in self.entries:
                self.entries[dn] = dict(values)
            case Delete(dn):
                del self.entries[dn]
            case Modify(dn, modifications):
                changed = dict(self.entries[dn])
                for each in modifications:
                    self._modify(changed, each)
                self.entries[dn] = changed
            case Rename(dn, rdn, delete_old) if record.new_dn not in self.entries:
                entry = dict(self.entries.pop(dn))
                for name, value in pairs(parts(dn)[0]) if delete_old else ():
                    self._modify(entry, Modification("delete", name, (value,)))
                for name, value in pairs(rdn):
                    if value not in entry.get(name, ()):
                        self._modify(entry, Modification("add", name, (value,)))
                self.entries[record.new_dn] = entry
            case _:
                raise ValueError(record)

    @staticmethod
    def _modify(entry: dict[str, tuple[bytes, ...]], change: Modification) -> None:
        has, given = entry.pop(change.attribute, ()), change.values
        match change.operation:
            case "add" if not set(has) & set(given):
                left = (*has, *given)
            case "delete" if has and set(given) <= set(has):
                left = tuple(value for value in has if given and value not in given)
            case "replace":
                left = given
            case _:
                raise ValueError(change)
        if left:
            entry[change.attribute] = left


NAMES = ("cn", "uid", "mail")
VALUE = st.sampled_from([b"a", b"b", b"c", b"\xff\0"])
MANY = st.lists(VALUE, min_size=1, max_size=3, unique=True).map(tuple)
ENTRY = st.dictionaries(st.sampled_from(NAMES), MANY, max_size=3)
PLACES = ("ou=users,BASE", "ou=others,BASE")
RDN = st.sampled_from(["uid=a", "uid=b", "uid=c", "cn=a", "uid=a+cn=b"])


@st.composite
def directories(draw: st.DrawFn) -> Model:
    """Return a directory whose entries have, as they must, the values of their names."""
    entries: dict[str, Values] = {}
    for rdn in draw(st.lists(RDN, max_size=3, unique=True)):
        entry = dict(draw(ENTRY))
        for name, value in pairs(rdn):
            entry[name] = tuple(dict.fromkeys((*entry.get(name, ()), value)))
        entries[f"{rdn},{PLACES[0]}"] = entry
    return Model(entries)


@st.composite
def changes(draw: st.DrawFn) -> Record:
    """Return a change of an entry that may be there or not."""
    dn = f"{draw(RDN)},{PLACES[0]}"
    one = st.builds(
        Modification, st.sampled_from(["add", "delete", "replace"]), st.sampled_from(NAMES), MANY
    )
    return draw(
        st.one_of(
            st.builds(Add, st.just(dn), ENTRY),
            st.just(Delete(dn)),
            st.builds(Modify, st.just(dn), st.lists(one, min_size=1, max_size=3).map(tuple)),
            st.builds(Rename, st.just(dn), RDN, st.booleans(), st.sampled_from([None, *PLACES])),
        )
    )


def sets(model: Model) -> dict[str, dict[str, set[bytes]]]:
    """Return the entries with their values, which have no order, as sets."""
    return {
        dn: {name: set(values) for name, values in entry.items()}
        for dn, entry in model.entries.items()
    }


@given(directories(), st.lists(changes(), min_size=1, max_size=4))
def test_changes_are_taken_back_whatever_they_were(model: Model, records: list[Record]) -> None:
    """Last in, first out, each by the entry as it was before: the directory is what it was.

    What the directory refuses is not made, and then there is nothing to take back.
    """
    before, made = sets(model), []
    for record in records:
        entry = model.raw(record.dn)
        try:
            model.perform(record)
        except (KeyError, ValueError):
            continue
        made.append((record, entry))
    for record, entry in reversed(made):
        restore(model, record, entry)
    assert sets(model) == before


@given(directories(), changes())
@example(Model({DN: {"uid": (b"alice",)}}), Rename(DN, "uid=alice", delete_old=True))
def test_a_change_that_was_not_made_is_not_taken_back(model: Model, record: Record) -> None:
    """Where the answer was lost before the change, nothing is done to the entry or to others."""
    before = sets(model)
    if isinstance(record, Add) and record.dn not in model.entries:
        return  # nobody else adds it in between
    restore(model, record, model.raw(record.dn))
    assert sets(model) == before
