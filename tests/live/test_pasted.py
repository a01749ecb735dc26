"""What `-v` prints can be pasted: each command gives the reply that its step had."""

import contextlib
import imaplib
import json
import os
import re
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import LABCTL, ROOT, LiveLab, Ran, docker_do
from ldap3.core.results import RESULT_CODES

from labctl.protocols.poll import poll
from labctl.scenario.loader import load_all
from labctl.scenario.model import Step
from labctl.scenario.steps import TABLE
from labctl.scenario.steps.authenticate import Authenticate
from labctl.scenario.steps.directory import AsSomebody
from labctl.scenario.steps.log import Log

# What people paste; in the other scenarios it is the values that differ.
SHIPPED = ["offboarding", "send-disabled", "anti-spoofing", "cache"]
# Verbs that no command does by hand here, each with the reason.
WITHOUT = {
    "lag": "the directory is single; test_replicated pastes it",
    "note": "it is said to the room",
    "pause": "it waits for the presenter",
}

EVERY_VERB = r"""
title: Every verb
accounts: [alice, bob, carol, dave]
steps:
  - send: {from: alice, to: [bob, dave], subject: It's "quoted" $HOME, as: first, session: desk}
  - send: {from: stranger@example.org, to: alice, header_from: other@example.org, as: outside}
  - send: {from: dave, to: bob, via: submissions, expect: {stage: RCPT, reply: 554 5.7.1}}
  - send: {from: alice, envelope_from: "", to: bob, expect: {stage: RCPT, reply: 554 5.7.1}}
  - receive: {account: bob, message: first}
  - receive: {account: alice, message: outside}
  - authenticate: {account: dave, with: [submission, submissions, imap, imaps]}
  - authenticate: {account: alice, with: [submission, imap], password: a wrong one, expect: refused}
  - kick: {account: alice}
  - disable: {account: alice}
  - resend: {message: first, expect: {stage: RCPT, reply: 554 5.7.1}}
  - set: {account: alice, send_allowed: absent, status: disabled}
  - offboard: {account: alice}
  - enable: {account: alice}
  - directory: {as: alice, entry: alice}
  - directory: {as: stranger, entry: alice, via: starttls, expect: refused}
  - directory: {as: dave, entry: dave, via: clear, expect: refused}
  - directory: {as: postfix, entry: bob, sees: [mail, status], hidden: [userPassword, cn]}
  - directory: {as: bob, entry: bob, via: starttls, sees: [cn], hidden: [userPassword]}
  - directory: {as: policy-admin, entry: bob, change: {send_allowed: "FALSE", status: []}}
  - directory: {as: bob, entry: bob, change: {telephoneNumber: "1", title: " é"}, expect: refused}
  - directory: {as: bob, entry: "cn=x,uid=bob,ou=users,BASE",
                add: {objectClass: organizationalRole, cn: x}, expect: refused}
  - directory: {as: dovecot, entry: bob, delete: true, expect: refused}
  - ldif: |
      dn: uid=bob,ou=users,BASE
      changetype: modify
      replace: send_allowed
      send_allowed: TRUE
      -
      replace: status
  - ldif:
      as: alice
      change: "dn: uid=bob,ou=users,BASE\nchangetype: modrdn\nnewrdn: uid=é\ndeleteoldrdn: 1"
      expect: refused
  - ldif:
      as: directory-admin
      change: "dn: cn=x,BASE\nchangetype: add\nobjectClass: organizationalRole\ncn: x\ncn: é"
  - ldif: {as: directory-admin, change: "dn: cn=x,BASE\nchangetype: delete"}
  - smtp:
      account: dave
      dialogue: ['-> MAIL FROM:<dave@\d>', <- 250, '-> RCPT TO:<bob@\d>', <- 554 5.7.1]
  - smtp:
      account: carol
      dialogue: ['-> MAIL FROM:<carol@\d>', '-> RCPT TO:<alice@\d>', -> DATA, <- 250, <- 250,
                 <- 354, '-> Subject: without From\r\n\r\n.', <- 550]
  - smtp: {account: alice, session: own, dialogue: []}
  - smtp:
      session: own
      dialogue: ['-> MAIL FROM:<alice@\d>', '-> RCPT TO:<bob@\d>', -> DATA, <- 250, <- 250, <- 354,
                 '-> From: alice@\d\r\nSubject: \x41\r\n\r\n\m(3,it''s )\r\n.', <- 250,
                 -> QUIT, <- 221, <- closed]
  - smtp:
      via: submissions
      dialogue: ['-> AUTH PLAIN \b(\0bob\0\p(bob))', <- 235, -> AUTH PLAIN, <- 503]
  - smtp:
      via: relay
      greet: false
      dialogue: ['-> EH\c', -> LO x, <- 250, -> STARTTLS, <- 220, === TLS, -> NOOP, <- 250]
  - sendmail: {from: alice, to: bob, options: [-F, Alice North]}
  - send: {from: alice, to: bob, as: box, session: box}
  - receive: {account: bob, message: box}
  - fault: {service: dovecot}
  - resend: {message: box, as: waiting}
  - hold: {account: alice}
  - queue: {holds: waiting}
  - release: {account: alice}
  - heal: {service: dovecot}
  - fault: {service: dovecot, kind: cache}
  - flush:
  - heal: {service: dovecot}
  - fault: {service: openldap, kind: deny}
  - heal: {service: openldap}
  - fault: {service: openldap, kind: stop}
  - heal: {service: openldap}
  - fault: {service: milter, kind: kill}
  - heal: {service: milter}
  - fault: {service: milter, kind: pause}
  - heal: {service: milter}
  - fault: {service: milter, kind: cut}
  - heal: {service: milter}
  - fault: {service: openldap, kind: full}
  - heal: {service: openldap}
  - log: {message: first, matches: sasl_username=alice}
  - note: That is all but the rehearsal.
  - pause: 1s
  - unchanged:
  - lag: {replica: replica1, below: 5s}
  - fault: {service: postfix, kind: shadow}
  - send: {from: dave, to: bob, as: blocked}
  - warned: {message: blocked, expect: {stage: RCPT, reply: 554 5.7.1}}
  - heal: {service: postfix}
"""


@dataclass
class Played:
    """A step as the transcript tells it."""

    verb: str
    undo: bool
    step: Step
    events: dict[str, list[dict]] = field(default_factory=dict)

    def __getitem__(self, kind: str) -> list[dict]:
        """Return its events of one kind."""
        return self.events.get(kind, [])

    @property
    def commands(self) -> list[str]:
        """The commands that do the same by hand."""
        return [event["line"] for event in self["command"]]

    @property
    def typed(self) -> str:
        """What to type where a password is asked for that labctl does not know."""
        if isinstance(self.step, Authenticate):
            return f"{self.step.password}\n"
        given = self.step.change if isinstance(self.step, AsSomebody) else None
        return f"{(given or {}).get('userPassword')}\n"

    @property
    def seen(self) -> dict[str, str]:
        """What was seen, by what was checked."""
        return {event["what"]: event["seen"] for event in self["check"]}


def play(lab: LiveLab, path: Path) -> list[Played]:
    """Run a scenario on a fresh lab; returns its steps as played, those included that undo."""
    (scenario,) = load_all([path])
    steps: list[Played] = []
    lab.run("reset")
    for event in lab.verdicts(str(path), code=0):
        if event["event"] == "step-started":
            step = scenario.steps[event["number"] - 1]
            steps.append(Played(event["verb"], event["undo"], step))
        elif steps:
            steps[-1].events.setdefault(event["event"], []).append(event)
    return steps


def paste(lab: LiveLab, line: str, typed: str = "", path: str = "") -> Ran:
    """Paste a command into a shell in the project's root; who is asked, types `typed`."""
    env = {**lab.env, "PATH": f"{path}{LABCTL.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env=env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,  # no terminal to ask at
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_every_verb_prints_a_command_or_says_why_not(every_verb: list[Played]) -> None:
    """Whatever verb the table has is played, and prints a command unless it is on the list."""
    verbs = {step.verb for step in every_verb}
    assert verbs == set(TABLE)
    assert {step.verb for step in every_verb if step.commands} == verbs - set(WITHOUT)


def test_the_commands_of_every_verb_give_the_same_replies(
    lab: LiveLab, every_verb: list[Played]
) -> None:
    """Pasted in their order on a lab that is as seeded, what takes back included."""
    replay(lab, every_verb)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_commands_of_a_shipped_scenario_give_the_same_replies(lab: LiveLab, name: str) -> None:
    """Each command of each scenario but the catalogue."""
    replay(lab, play(lab, ROOT / "scenarios" / f"{name}.yaml"))


@pytest.fixture(scope="module")
def every_verb(lab: LiveLab, tmp_path_factory: pytest.TempPathFactory) -> list[Played]:
    """The steps of EVERY_VERB, played."""
    path = tmp_path_factory.mktemp("scenario") / "every-verb.yaml"
    path.write_text(EVERY_VERB)
    return play(lab, path)


def replay(lab: LiveLab, steps: list[Played]) -> None:
    """Paste all commands of a run into a fresh lab, and compare each with its step."""
    lab.run("reset")
    pasted = 0
    for step in steps:
        before = None if step.undo else BEFORE.get(step.verb)
        with before(lab, step) if before else contextlib.nullcontext():
            for line in step.commands:
                compare(lab, step, line)
                pasted += 1
    assert pasted >= sum(not step.undo for step in steps) / 2
    lab.run("reset")


def compare(lab: LiveLab, step: Played, line: str) -> None:
    """Paste a command, which must tell what its step saw, as soon as servers and mail are there."""
    expected = seen = ""

    def look() -> bool | None:
        nonlocal expected, seen
        done = paste(lab, line, typed=step.typed)
        expected, seen = HOW[step.verb](lab, step, line, done)
        early = not seen or (seen.startswith("4") and not expected.startswith("4"))
        assert seen == expected or early, f"{line}\n{expected=} {seen=}\n{done.out}\n{done.err}"
        return True if seen == expected else None

    poll(look, what=f"{line} to tell {step.seen}", seconds=20, pause=0.1)


Told = tuple[str, str]
"""What the step saw, and what the command tells: nothing, while it is too early to tell."""


def mail_sent(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """The reply that decided."""
    return step.seen["reply"], outcome(done.out)


def outcome(swaks: str) -> str:
    """Return the first refusal that swaks tells, or else the last reply before it quits."""
    stage, told = "CONNECT", ""
    for line in swaks.splitlines():
        said = re.match(r"(?: [-~]>  ?|<[-~*]+ +)(.*)", line)
        if line.startswith((" ->", " ~>")) and said:
            word = said[1].split(" ")[0]
            stage = {".": "EOM"}.get(word, word if word in STAGES else stage)
            if word == "QUIT":
                break
        elif said and (reply := re.match(r"(\d{3}) (?:(\d\.\d+\.\d+) )?", said[1])):
            told = f"{' '.join(filter(None, reply.groups()))} at {stage}"
            if told >= "4":
                break
    return told


STAGES = ("EHLO", "AUTH", "MAIL", "RCPT", "DATA")


def signed_in(_lab: LiveLab, step: Played, line: str, done: Ran) -> Told:
    """The reply to AUTH, or whether curl was let in; one command a service."""
    seen = step["check"][step.commands.index(line)]["seen"]
    if " swaks " in line:
        return seen, outcome(done.out)
    login_denied = 67  # curl(1), exit codes
    return ("in" if seen == "OK" else "refused"), {0: "in", login_denied: "refused"}[done.code]


def received(_lab: LiveLab, step: Played, line: str, done: Ran) -> Told:
    """One message by IMAP, one file. What a reset took away may show until the next look."""
    if " curl " in line:
        assert step.seen["imap"].startswith("UID ")
        return "one", "one" if re.search(r"^\* SEARCH \d+\r?$", done.out, re.MULTILINE) else ""
    return step.seen["maildir"].split()[0], str(len(done.out.split())) if done.out else ""


def changed(lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """The values that the account has now."""
    assert done.code == 0, done
    values = dict.fromkeys(re.findall(r"^replace: (\S+)$", step["change"][0]["ldif"], re.MULTILINE))
    values |= dict(re.findall(r"^(tn\S+): (.*)$", step["change"][0]["ldif"], re.MULTILINE))
    name = re.search(r"uid=(\w+)", step["change"][0]["ldif"])
    assert name
    user = lab.json("user", "show", name[1])["user"]
    return str(values), str({attribute: user[attribute] for attribute in values})


def directory(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """The result's code (RFC 4511 §4.1.9), or which attributes show."""
    seen = step.seen
    (who, result), looks = next(iter(reversed(seen.items()))), dict(list(seen.items())[:-1])
    if looks:
        shown = {name.lower() for name in re.findall(r"^(\w+):", done.out, re.MULTILINE)}
        told = {name: "seen" if name.lower() in shown else "hidden" for name in looks}
        return str(looks), str(told)
    refused = re.match(r"refused: (\w+)(?: \(|$)", result)
    expected = refused[1] if refused else "invalidCredentials" if "name or" in result else result
    told = "allowed" if done.code == 0 else RESULT_CODES.get(done.code, "")
    return f"{who}: {expected}", f"{who}: {told}" if told else ""


STATES = {"stop": "exited", "kill": "exited"}


def broken_or_mended(lab: LiveLab, _step: Played, line: str, done: Ran) -> Told:
    """How the container is, and that what came back is well; what runs inside exits with 0; whose
    processes were stopped does not answer.
    """
    verb, name = line.split()[1], re.search(r"mail-policy-lab-\d+-(\w+)-1", line)
    assert name, line
    if verb == "exec":
        return "exit 0", "exit 0" if done.code == 0 else ""
    well = lab.inside(name[1], "healthcheck").code == 0
    if "--signal=STOP" in line:
        return "hangs", "" if well else "hangs"
    expected = STATES.get(verb, "running") if "--signal" not in line else "running"
    if expected == "running" and not well:
        return "running", ""
    return expected, docker_do("inspect", "-f", "{{.State.Status}}", name[0]).strip()


def kicked(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """How many sessions were closed. More of SMTP may be: Postfix keeps processes whose session is
    over, and one that Alice was the last to sign in to is ended, too.
    """
    imap, smtp = re.findall(r"\d+", step.seen["kick"])
    closed = re.fullmatch(r"alice: (\d+) IMAP and (\d+) SMTP sessions closed\.\n", done.out)
    assert closed, done
    return f"{imap}, {smtp}", f"{closed[1]}, {min(closed[2], smtp, key=int)}"


def spoken(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """The replies; by hand the session begins anew, so there may be others before them."""
    heard = [wire["line"] for wire in step["wire"] if wire["mark"] == "<-"]
    told = re.findall(r"^(?:<-|<\*\*) (?!closed)(.*)$", done.out, re.MULTILINE)
    assert done.code == 0, done
    return str(codes(heard)), str(codes(told)[-len(heard) :])


def codes(replies: list[str]) -> list[str]:
    """Return the codes and enhanced codes of replies."""
    return [match[0] for each in replies if (match := re.match(r"\d+(?:[ -]\d\.\d+\.\d+)?", each))]


def unchanged(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """The fingerprint, as far as the step shows it, but for what a reload replaces: the rehearsal
    that was played after it has reloaded Postfix.
    """
    told = dict(line.split("=", 1) for line in done.out.splitlines())
    seen = {name: value for name, value in step.seen.items() if not name.startswith("qmgr.")}
    assert len(seen) < len(step.seen) == len(told)
    return str(seen), str({name: told[name][:16] for name in seen})


def held_back(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """How many messages; what takes it back at the end finds none."""
    seen = next(iter(step.seen.values()), "none")
    told = len(done.out.split())
    return seen.split()[0], str(told) if told else "none" if seen == "none" else ""


def submitted(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """What sendmail said, and its exit status."""
    return step.seen["sendmail"], f"{(done.out + done.err).strip()[:72]} ({done.code})"


def queued(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """In which queue there is a message, under another queue id."""
    rows = [json.loads(line) for line in done.out.splitlines()]
    told = {row["queue_name"] for row in rows}
    return step.seen["queue"].split()[1].rstrip(":"), " ".join(told)


def logged(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """The line that matches, among those of all messages."""
    assert isinstance(step.step, Log)
    found = re.search(step.step.matches, done.out)
    return step.seen["log"], found[0] if found else ""


def rehearsed(_lab: LiveLab, step: Played, _line: str, done: Ran) -> Told:
    """Who would have been refused, and how."""
    account, reply = step.seen["account"], step.seen["reply"]
    told = re.search(rf"^{account} .* (\d{{3}} \d\.\d\.\d at \w+): ", done.out, re.MULTILINE)
    return reply, told[1] if told else ""


HOW: dict[str, Callable[[LiveLab, Played, str, Ran], Told]] = {
    "send": mail_sent,
    "resend": mail_sent,
    "receive": received,
    "authenticate": signed_in,
    "kick": kicked,
    **dict.fromkeys(("disable", "enable", "offboard", "set"), changed),
    **dict.fromkeys(("directory", "ldif"), directory),
    "queue": queued,
    "log": logged,
    "warned": rehearsed,
    **dict.fromkeys(("fault", "heal", "flush"), broken_or_mended),
    "smtp": spoken,
    **dict.fromkeys(("hold", "release"), held_back),
    "sendmail": submitted,
    "unchanged": unchanged,
}


@contextlib.contextmanager
def open_sessions(lab: LiveLab, step: Played) -> Iterator[None]:
    """Hold open what the step found open: sessions of Alice."""
    stack = lab.json("endpoints", "--secrets")
    context = ssl.create_default_context(cafile=stack["ca_file"])
    who, (imaps, smtps) = stack["accounts"]["alice"], re.findall(r"\d+", step.seen["kick"])
    held: list[imaplib.IMAP4 | smtplib.SMTP] = []
    for _ in range(int(imaps)):
        mailbox = imaplib.IMAP4_SSL(*at(stack, "imaps"), ssl_context=context, timeout=10)
        mailbox.login(who["login"], who["password"])
        held.append(mailbox)
    for _ in range(int(smtps)):
        client = smtplib.SMTP_SSL(*at(stack, "submissions"), context=context, timeout=10)
        client.login(who["login"], who["password"])
        held.append(client)
    yield
    for each in held:
        try:
            assert each.sock.recv(99)[:5] in (b"* BYE", b"")
        except ConnectionError:
            pass  # closed in another way
        finally:
            each.sock.close()


@contextlib.contextmanager
def mail_in_queue(lab: LiveLab, _step: Played) -> Iterator[None]:
    """Submit as Alice what stays in the queue while Dovecot is away, in a session opened before."""
    stack, dovecot = lab.json("endpoints", "--secrets"), lab.container("dovecot")
    context = ssl.create_default_context(cafile=stack["ca_file"])
    who = stack["accounts"]["alice"]
    docker_do("start", dovecot)
    poll(lambda: lab.inside("dovecot", "healthcheck").code == 0, what="Dovecot", seconds=20)
    with smtplib.SMTP_SSL(*at(stack, "submissions"), context=context, timeout=30) as client:
        client.login(who["login"], who["password"])
        docker_do("stop", dovecot)
        address = who["address"]
        client.sendmail(address, stack["accounts"]["bob"]["address"], f"From: {address}\n\nx\n")
    yield


BEFORE: dict[str, Callable[[LiveLab, Played], contextlib.AbstractContextManager[None]]] = {
    "kick": open_sessions,
    "hold": mail_in_queue,
}


def at(stack: dict, service: str) -> tuple[str, int]:
    """Return where a service is."""
    return stack[service]["host"], stack[service]["port"]


def test_no_password_is_in_a_command_or_in_what_it_starts(
    lab: LiveLab, every_verb: list[Played], tmp_path: Path
) -> None:
    """Neither the transcript nor the argument list of any process that a command starts has one,
    though the tools did sign in.
    """
    stack = lab.json("endpoints", "--secrets")
    passwords = {who["password"] for who in stack["accounts"].values()}
    passwords |= {who["password"] for who in stack["service_accounts"].values()}
    passwords |= {stack[name]["password"] for name in ("directory_admin", "policy_admin")}
    log = tmp_path / "arguments"
    for program in ("docker", "labctl"):
        real = shutil.which(program, path=f"{LABCTL.parent}:{os.environ['PATH']}")
        spy = tmp_path / program
        spy.write_text(f'#!/bin/sh\necho "{program} $*" >>{log}\nexec {real} "$@"\n')
        spy.chmod(0o755)
    told = json.dumps([step.events for step in every_verb])
    for verb in ("send", "receive", "authenticate", "directory", "smtp"):
        line = next(step.commands[0] for step in every_verb if step.verb == verb)
        assert paste(lab, line, path=f"{tmp_path}:").code == 0, line
    assert "--as dave submission" in log.read_text()
    assert [each for each in passwords if each in told or each in log.read_text()] == []
