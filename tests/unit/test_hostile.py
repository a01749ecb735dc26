"""Whatever a parser of ours is given, it answers, or refuses with an error of ours: no traceback.

`LAB_TEST_EXAMPLES=200000` gives each parser so many inputs; without it they are few.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.endpoints import Endpoint, Secret
from labctl.endpoints.reading import read_file
from labctl.errors import LabctlError
from labctl.lab.broken import left
from labctl.lab.maillog import Line, transactions
from labctl.protocols.imap import ImapConnection
from labctl.protocols.ldif import parse as parse_ldif
from labctl.protocols.smtp import Envelope, SmtpConnection
from labctl.protocols.tls import client_context
from labctl.report.jsonl import parse as parse_transcript
from labctl.scenario.loader import load
from labctl.scenario.wire import Words, passwords, split, spoken
from labctl.settings import load_settings

EXAMPLES = int(os.environ.get("LAB_TEST_EXAMPLES", "40"))
TLS = client_context(None)
hostile = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)

SCENARIO = b"""title: t
why: "x"
accounts: [alice, bob]
needs: [imap, policy: hardened]
defaults: {to: bob}
cases: [{name: a, from: alice}, {name: b, from: bob, open: baseline}]
steps:
  - send: {from: "{from}", to: "{to}", as: m, within: 2s, expect: {stage: EOM, reply: "250"}}
  - smtp: {account: alice, dialogue: [-> MAIL FROM:<alice@\\d>, <- 250, -> \\m(3,x)\\x41]}
  - ldif: "dn: uid=alice,BASE\\nchangetype: modify\\nreplace: sn\\nsn: x\\n"
  - fault: {service: openldap, kind: cut, for: 500ms}
"""
DOTENV = (
    b"LAB_DOMAIN=x.org\nLAB_SLOT=3\nLAB_BIND=127.0.0.1\nLAB_SUBNETS=10.0.0.0/16\nexport X='y'\n"
)
STACK_JSON = b"""{"domain": "x.org", "base_dn": "dc=x", "submission": {"host": "h", "port": 587},
"accounts": {"alice": {"login": "a", "address": "a@x.org", "password_env": "P"}}}"""
STACK_TOML = b"""domain = "x.org"
base_dn = "dc=x"
[submission]
host = "h"
port = 587
[accounts.alice]
password_env = "P"
"""
LDIF = b"dn: uid=a,dc=x\nchangetype: modify\nreplace: cn\ncn:: w6k=\n-\nadd: sn\nsn: x\n y\n-\n"
TRANSCRIPT = b"""{"schema": "labctl/v1", "event": "step-ended", "number": 1, "verdict": "passed", \
"reason": "", "seconds": 0.1, "undo": false}
{"schema": "labctl/v1", "event": "wire", "peer": "imap", "mark": "<-", "line": "x", "at": 1.0}
"""
DIALOGUE = rb"-> AUTH PLAIN \b(\0alice\0\p(alice))\r\n\m(3,x\x41)\c"
LOG = b"""2026-11-26T13:01:50.5Z Nov 26 13:01:50 mail postfix/submission/smtpd[21]: A1: client=x\
[10.0.0.1], sasl_method=PLAIN, sasl_username=alice
2026-11-26T13:01:50.6Z Nov 26 13:01:50 mail postfix/cleanup[2]: A1: message-id=<m@x>
"""
BROKEN = b'{"dovecot": ["full", "pause"]}\n{"dovecot": ["full", "pause"], "postfix": ["stop"]}\n'
SMTP = b"250-x\r\n250 SIZE 10\r\n250 2.1.0 ok\r\n354 go\r\n451 4.3.0 later\r\n221 bye\r\n"
IMAP = b"* CAPABILITY IMAP4rev1\r\n* SEARCH 1 2\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n"
NASTY = [
    b"\0",
    b"\r",
    b"\n",
    b"\xff\xfe",
    b"\xc3",
    b"\x1b[2J",
    b"{",
    b"}",
    b'"',
    b"\\",
    b"*",
    b"&a ",
]
NASTY += [b"!!python/object ", b"<<: *a\n", b"9" * 400, b"x" * 20000, b"\xe2\x80\xae", b"-" * 99]


@st.composite
def near(draw: st.DrawFn, sample: bytes) -> bytes:
    """Draw the sample with some pieces taken out, doubled, or replaced by what hurts."""
    text = sample
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        piece = draw(
            st.one_of(st.sampled_from(NASTY), st.binary(max_size=12), st.just(text[start:end] * 2))
        )
        text = text[:start] + piece + text[end:]
    return text


def inputs(sample: bytes) -> st.SearchStrategy[bytes]:
    """Return what a parser is given: near its language, or anything at all."""
    return st.one_of(near(sample), st.binary(max_size=300))


@contextmanager
def a_file(name: str, content: bytes) -> Iterator[Path]:
    """Write a file of this content."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(content)
        path.chmod(0o600)
        yield path


def of_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a parser of bytes by one of files."""

    def parser(content: bytes) -> object:
        with a_file(name, content) as path:
            return read(path)

    return parser


def dialogue(content: bytes) -> None:
    """Read a line of a dialogue as the model does, and say it."""
    line = content.decode("utf-8", "replace")
    try:
        mark, text = split(line)
        list(passwords(line))
    except ValueError:
        return  # the model tells it with its place
    if mark == "->":
        spoken(text, Words("x.org", lambda name: name))


def log(content: bytes) -> None:
    """Read a mail log as it comes from the engine."""
    lines = map(Line.of, content.decode("utf-8", "backslashreplace").split("\n"))
    for each in transactions([line for line in lines if line is not None]):
        each.refusals()


def ldif(content: bytes) -> None:
    """Read a change record; what is wrong is a ValueError, which the model tells with its place."""
    with suppress(ValueError):
        parse_ldif(content.decode("utf-8", "replace"))


def transcript(content: bytes) -> None:
    """Read a transcript; what is wrong is a ValueError, which the command tells with its file."""
    with suppress(ValueError):
        list(parse_transcript(content.splitlines(keepends=True), "t"))


PARSERS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "scenario": (SCENARIO, of_file("s.yaml", load)),
    "dotenv": (DOTENV, of_file(".env", lambda path: load_settings(path.parent, {}))),
    "json": (STACK_JSON, of_file("s.json", lambda path: read_file(path, {"P": "p"}))),
    "toml": (STACK_TOML, of_file("s.toml", lambda path: read_file(path, {"P": "p"}))),
    "ldif": (LDIF, ldif),
    "transcript": (TRANSCRIPT, transcript),
    "dialogue": (DIALOGUE, dialogue),
    "log": (LOG, log),
    "what is broken": (BROKEN, of_file("1-x.json", lambda path: left(path.parent))),
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_answers_or_refuses(name: str) -> None:
    """Any input is read, or is an error of ours."""
    sample, parser = PARSERS[name]

    @hostile
    @given(inputs(sample))
    def holds(content: bytes) -> None:
        with suppress(LabctlError):
            parser(content)

    holds()


@contextmanager
def saying(content: bytes, pieces: int) -> Iterator[Endpoint]:
    """Serve one connection: say this, in so many pieces, whatever is asked, and hang up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                size = max(1, len(content) // pieces)
                for start in range(0, len(content), size):
                    connection.sendall(content[start : start + size])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint("127.0.0.1", server.getsockname()[1], "none")
        thread.join()


@hostile
@given(inputs(SMTP), st.integers(1, 40))
def test_an_smtp_server_may_say_anything(content: bytes, pieces: int) -> None:
    """Replies in fragments, of any length and bytes: an outcome, or an error of ours."""
    with (
        saying(b"220 x\r\n" + content, pieces) as endpoint,
        suppress(LabctlError),
        SmtpConnection.open("smtp", endpoint, context=TLS, emit=lambda _: None) as connection,
    ):
        connection.submit(Envelope("a@x.org", ("b@x.org",)), b"Subject: x\r\n\r\nx")


@hostile
@given(inputs(IMAP), st.integers(1, 40))
def test_an_imap_server_may_say_anything(content: bytes, pieces: int) -> None:
    """Responses in fragments, of any length and bytes: an answer, or an error of ours."""
    with (
        saying(b"* OK x\r\n" + content, pieces) as endpoint,
        suppress(LabctlError),
        ImapConnection.open("imap", endpoint, context=TLS, emit=lambda _: None) as connection,
    ):
        connection.sign_in("alice", Secret("p"))
        connection.newest(2)
