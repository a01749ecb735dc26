"""Each step of the language sees real servers, and goes red when what it claims is not so."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import LABCTL, LiveLab

HEADER = "title: t\nwhy: For the room.\naccounts: [alice, bob, carol, dave, outside]\n"


@pytest.fixture
def story(tmp_path: Path) -> Iterator:
    """Return what writes a scenario with these steps, and gives its path."""

    def write(steps: str, header: str = "") -> str:
        path = tmp_path / "story.yaml"
        path.write_text(f"{HEADER}{header}steps:\n{steps}")
        return str(path)

    return write


def of_kind(events: list[dict], kind: str) -> list[dict]:
    """Return the events of a kind."""
    return [event for event in events if event["event"] == kind]


def unmet(events: list[dict]) -> list[tuple[str, str, str]]:
    """Return the expectations that were not met: what, expected, seen."""
    checks = of_kind(events, "check")
    return [(each["what"], each["expected"], each["seen"]) for each in checks if not each["ok"]]


# queue


def test_a_queue_that_still_holds_the_message_is_seen(lab: LiveLab, story) -> None:
    """While Dovecot hangs, `lacks` goes red and says where the message is; `holds` is met."""
    path = story("""\
  - fault: {service: dovecot, kind: pause}
  - send:  {from: stranger@example.org, to: bob, as: m}
  - queue: {holds: m}
  - queue: {lacks: m, within: 300ms}
""")
    [(what, expected, seen)] = unmet(lab.verdicts(path, code=1))
    assert (what, expected) == ("queue", "lacks m")
    assert seen.endswith(" active")


def test_a_message_on_hold_is_seen(lab: LiveLab, story) -> None:
    """It stays there while Dovecot is well: `lacks` goes red, and says that it is on hold."""
    path = story("""\
  - send:    {from: alice, to: bob, as: first, session: desk}
  - fault:   {service: dovecot}
  - resend:  {message: first, as: m}
  - hold:    {account: alice}
  - heal:    {service: dovecot}
  - queue:   {lacks: m, within: 300ms}
""")
    [(what, expected, seen)] = unmet(lab.verdicts(path, code=1))
    assert (what, expected) == ("queue", "lacks m")
    assert " hold" in seen


def test_a_queue_that_is_not_empty_is_seen(lab: LiveLab, story) -> None:
    """Any message in it is told, also one that no later step knows by name."""
    path = story("""\
  - fault: {service: dovecot, kind: pause}
  - send:  {from: stranger@example.org, to: bob}
  - queue: {within: 300ms}
""")
    [(what, expected, seen)] = unmet(lab.verdicts(path, code=1))
    assert (what, expected) == ("queue", "is empty")
    assert seen.partition(" ")[2].startswith("active")


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("queue: {holds: taken, within: 300ms}", "expected holds taken, seen nothing"),
        ("queue: {holds: refused}", "refused was never in the queue"),
        ("queue: {lacks: refused}", "refused was never in the queue"),
    ],
)
def test_a_message_that_is_not_there_is_not_held(
    lab: LiveLab, story, step: str, reason: str
) -> None:
    """One that was delivered is gone; of one that was refused nothing can be said."""
    path = story(f"""\
  - send:    {{from: alice, to: bob, as: taken}}
  - receive: {{account: bob, message: taken}}
  - queue:   {{lacks: taken}}
  - send:    {{from: dave, to: bob, as: refused, expect: {{stage: RCPT, reply: 554}}}}
  - {step}
""")
    ended = lab.verdicts(path, code=1)[-1]
    assert reason in ended["reason"]


# log


@pytest.mark.parametrize(
    "step",
    [
        r"log: {message: first, matches: status=bounced, within: 300ms}",
        r"log: {message: first, matches: 'to=<carol', within: 300ms}",
        r"log: {message: first, matches: reject, within: 300ms}",
        r"log: {message: refused, matches: 'to=<carol', within: 300ms}",
        r"log: {message: refused, matches: status=sent, within: 300ms}",
    ],
)
def test_a_line_that_the_message_did_not_cause_is_none_of_its_own(
    lab: LiveLab, story, step: str
) -> None:
    """What the log has of other messages of the same run does not count, nor what it lacks."""
    path = story(f"""\
  - send: {{from: alice, to: bob, as: first}}
  - send: {{from: alice, to: carol, as: second}}
  - send: {{from: dave, to: bob, as: refused, expect: {{stage: RCPT, reply: 554}}}}
  - send: {{from: dave, to: carol, as: again, expect: {{stage: RCPT, reply: 554}}}}
  - log:  {{message: first, matches: status=sent}}
  - log:  {{message: second, matches: 'to=<carol.*status=sent'}}
  - log:  {{message: refused, matches: 'reject: RCPT .* to=<bob'}}
  - log:  {{message: again, matches: 'reject: RCPT .* to=<carol'}}
  - {step}
""")
    events = lab.verdicts(path, code=1)
    [(what, _, seen)] = unmet(events)
    assert what == "log"
    assert "none that matches" in seen
    assert events[-1]["passed"] == 8


# effect_within


def test_a_pattern_that_is_never_done_ends_the_run(lab: LiveLab, story) -> None:
    """As a stranger may write one: with what is wrong, and the lab as it was."""
    path = story(f"""\
  - offboard: {{account: alice}}
  - send: {{from: bob, to: bob, as: {"a" * 60}}}
  - log:  {{message: {"a" * 60}, matches: "(a|a)+!"}}
""")
    step = of_kind(lab.verdicts(path, code=6), "step-ended")[2]
    assert "/(a|a)+!/ repeats what repeats itself" in step["reason"]
    assert lab.ran("send", "--from", "alice", "--to", "bob").code == 0


def test_a_change_that_a_stale_map_hides_is_missed(scratch: LiveLab, story) -> None:
    """Postfix asks a copy of what the directory once answered: no effect is seen."""
    edits = (
        "s/^hardened_yes = .*/hardened_yes = check_sasl_access inline:{ alice=OK, bob=OK }/",
        "s/, check_sender_access ldap:.*reject_disabled.cf//",
    )
    for edit in edits:
        scratch.must("postfix", "sed", "-i", edit, "/etc/postfix/main.cf")
    scratch.must("postfix", "postfix", "reload")
    path = story("  - disable: {account: alice, effect_within: 300ms}\n")
    [(what, expected, seen)] = unmet(scratch.verdicts(path, code=1))
    assert (what, expected) == ("effect", "refused, unlike before, within 300ms")
    assert seen.startswith("still 250 2.1.5 at RCPT after ")


def test_a_change_that_makes_no_difference_has_no_effect(lab: LiveLab, story) -> None:
    """Dave may not send already: what shows after the change was there before."""
    path = story("  - offboard: {account: dave, effect_within: 300ms}\n")
    [(_, expected, seen)] = unmet(lab.verdicts(path, code=1))
    assert expected.startswith("accepted, unlike before")
    assert seen.startswith("still 554 5.7.1 at RCPT after ")


def test_the_time_until_it_shows_is_told(lab: LiveLab, story) -> None:
    """For each kind of change, in the transcript, with the transaction that shows it."""
    record = r"dn: uid=alice,ou=users,BASE\nchangetype: modify\nreplace: status\nstatus: disabled"
    path = story(f"""\
  - offboard: {{account: alice, effect_within: 5s}}
  - enable:   {{account: alice, effect_within: 5s}}
  - ldif:     {{change: "{record}", effect_within: 5s}}
  - set:      {{account: alice, status: absent, effect_within: 5s}}
""")
    events = lab.verdicts(path, code=0)
    seen = [each["seen"] for each in of_kind(events, "check") if each["what"] == "effect"]
    assert [text.partition(" after ")[0] for text in seen] == [
        "554 5.7.1 at RCPT",
        "250 2.1.5 at RCPT",
    ] * 2
    lines = [each["line"] for each in of_kind(events, "wire")]
    assert not {"DATA", "data"} & set(lines), "nothing is sent"


# ldif


def entries(lab: LiveLab) -> list[str]:
    """Return the directory's entries, without what it keeps for itself and without an order."""
    dump = ("slapcat", "-F", "/run/slapd/slapd.d", "-n", "1", "-o", "ldif-wrap=no")
    text = lab.must("openldap", *dump)
    own = ("entry", "create", "modif", "pwdChanged")
    blocks = text.strip().split("\n\n")
    return sorted(
        "\n".join(sorted(x for x in b.splitlines() if not x.startswith(own))) for b in blocks
    )


def ldif(name: str, record: str, **keys: str) -> str:
    """Return a step that changes somebody's entry."""
    change = f"dn: uid={name},ou=users,BASE\nchangetype: {record}"
    return f"  - ldif: {json.dumps({'change': change, **keys})}\n"


ADMIN = {"as": "directory-admin"}
EVERYTHING = (
    ldif("bob", "modrdn\nnewrdn: uid=robert\ndeleteoldrdn: 1", **ADMIN),
    ldif("robert", "modify\nadd: jpegPhoto\njpegPhoto:: /9j/", **ADMIN),
    ldif("robert", "delete", **ADMIN),
    ldif("bob", "add\nobjectClass: account\nuid: bob", **ADMIN),
    ldif("carol", "modify\nreplace: userPassword\nuserPassword: new", **{"as": "carol"}),
    ldif("alice", "modify\nadd: status\nstatus: x", expect="refused", reason="constraint|exists"),
    ldif("alice", "modify\ndelete: send_allowed"),
    ldif("alice", "delete", **{"as": "alice"}, expect="refused"),
)


@pytest.mark.parametrize(
    ("last", "code"), [("", 0), ("  - authenticate: {account: alice, expect: refused}\n", 1)]
)
def test_whatever_an_ldif_step_changed_is_put_back(
    lab: LiveLab, story, last: str, code: int
) -> None:
    """Added, modified, deleted, renamed, twice: each entry is what it was, after a failure too."""
    before = entries(lab)
    events = lab.verdicts(story("".join(EVERYTHING) + last), code=code)
    assert entries(lab) == before
    assert len([each for each in of_kind(events, "step-started") if each["undo"]]) == 6
    hashes = [x.partition(": ")[2] for x in "\n".join(before).splitlines() if "userPassword" in x]
    told = json.dumps(events)
    assert len(hashes) > 5
    assert not any(part[i : i + 20] in told for part in hashes for i in (0, 30, 60) if part[i:])


@pytest.mark.parametrize(
    ("step", "seen"),
    [
        (r'{change: "dn: uid=bob,ou=users,BASE\nchangetype: delete"}', "insufficientAccessRights"),
        (r'{change: "dn: uid=no,ou=users,BASE\nchangetype: delete"}', "noSuchObject"),
        (
            r'{as: directory-admin, change: "dn: uid=no,ou=users,BASE\nchangetype: delete",'
            " expect: refused}",
            "noSuchObject",
        ),
    ],
)
def test_a_change_that_is_refused_is_a_failure(lab: LiveLab, story, step: str, seen: str) -> None:
    """Where it was to be allowed, and where it is refused for another reason than its rights."""
    [(_, _, told)] = unmet(lab.verdicts(story(f"  - ldif: {step}\n"), code=1))
    assert f"refused: {seen}" in told


# receive, needs, note, pause


def test_receive_gives_up_when_it_is_told_to(lab: LiveLab, story) -> None:
    """`within` is its deadline, and the message says so."""
    path = story("""\
  - send:    {from: alice, to: bob, as: m}
  - receive: {account: carol, message: m, within: 200ms}
""")
    assert "waited 0.2 s for" in lab.verdicts(path, code=5)[-1]["reason"]


def test_what_the_stack_lacks_is_skipped_with_its_reason(
    lab: LiveLab, story, tmp_path: Path
) -> None:
    """Without IMAP a scenario that needs it is skipped; without containers a step that does."""
    stack = lab.json("endpoints", "--secrets")
    for service in ("imap", "imaps"):
        del stack[service]
    file = tmp_path / "stack.json"
    file.touch(0o600)
    file.write_text(json.dumps(stack))
    foreign = ("--endpoints", str(file), "--yes")
    path = story("  - send: {from: alice, to: bob}\n", "needs: [submission, imap]\n")
    events = lab.verdicts(path, *foreign, code=1)
    assert events[-1]["verdict"] == "skipped"
    [ended] = of_kind(events, "step-ended")
    assert ended["reason"] == "needs imap; the stack has no such service"

    path = story("""\
  - send:  {from: alice, to: bob, as: m}
  - queue: {lacks: m}
  - log:   {message: m, matches: sent}
""")
    events = lab.verdicts(path, *foreign, code=0)
    reasons = [each["reason"] for each in of_kind(events, "step-ended")]
    assert reasons == ["", *["needs the lab's own containers"] * 2]


TOLD = """\
  - note: |
      Watch the stage.
  - pause: 600
  - send: {from: alice, to: bob}
"""


def test_why_and_notes_are_in_the_transcript_and_a_pause_waits_for_nobody(
    lab: LiveLab, story
) -> None:
    """At no terminal ten minutes are over at once."""
    events = lab.verdicts(story(TOLD), code=0)
    assert events[0]["why"] == "For the room."
    assert [each["text"] for each in of_kind(events, "note")] == ["Watch the stage."]
    assert events[-1]["passed"] == 3


def test_at_a_terminal_a_pause_waits_for_enter(lab: LiveLab, story) -> None:
    """The step stays open until Enter is pressed, and then the run goes on."""
    keys, screen = pty.openpty()
    path = story("  - pause:\n  - send: {from: alice, to: bob}\n")
    env = {**lab.env, "TERM": "xterm", "COLUMNS": "100"}
    del env["NO_COLOR"]
    process = subprocess.Popen(
        [LABCTL, "-n", lab.name, "scenario", path],
        env=env, stdin=screen, stdout=screen, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.close(screen)
    shown, pressed = b"", 0
    while True:
        readable, _, _ = select.select([keys], [], [], 0.2)
        if readable:
            try:
                shown += os.read(keys, 65536)
            except OSError:  # the other end is closed
                break
        elif b"until Enter" in shown and b"send" not in shown:
            pressed += os.write(keys, b"\n")
    os.close(keys)
    sys.stderr.write(shown.decode())
    assert process.wait() == 0
    assert pressed, "it did not wait"
    assert b"\xe2\x9c\x93 passed" in shown
