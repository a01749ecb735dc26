"""The text of a dialogue, and the step that speaks it, against a real socket."""

import base64
from collections.abc import Sequence

import pytest
from dialogue import Server, playing

from labctl.endpoints import Account, Endpoints, Secret
from labctl.errors import ExpectationFailed, UsageError
from labctl.events import Check, Event, Wire
from labctl.protocols.smtp import Reply
from labctl.scenario.session import Session
from labctl.scenario.steps.authenticate import Authenticate
from labctl.scenario.steps.smtp import Smtp
from labctl.scenario.wire import Words, heard, split, spoken

WORDS = Words("x.org", {"dave": "geheim"}.__getitem__)
DAVE = Account("dave", "dave", "dave@x.org", Secret("geheim"), ())
HELLO = ["S: 220 mail ready", "C: ehlo .*", "S: 250-mail", "S: 250 SIZE 1000"]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("MAIL FROM:<>", b"MAIL FROM:<>\r\n"),
        ("", b"\r\n"),
        (r"x\n.\n\c", b"x\n.\n"),
        (r"\c", b""),
        (r"\x00\xFF\0\r\\", b"\x00\xff\0\r\\\r\n"),
        (r"<dave@\d>", b"<dave@x.org>\r\n"),
        ("(x) {y} é", "(x) {y} é\r\n".encode()),
        (r"\b(a\)\(b)", base64.b64encode(b"a)(b") + b"\r\n"),
        (r"\b(\0dave\0\p(dave))", base64.b64encode(b"\0dave\0geheim") + b"\r\n"),
        (r"\m(3,ab)", b"ababab\r\n"),
        (r"\m(2,\m(2,\x41))\c", b"AAAA"),
    ],
)
def test_a_text_is_exactly_these_bytes(text: str, data: bytes) -> None:
    """Escapes are bytes, CRLF is added unless the text ends in a backslash and c."""
    assert spoken(text, WORDS).data == data


@pytest.mark.parametrize("text", [r"\p(dave)", r"\b(\p(dave))", r"\m(2,\b(x\p(dave)y))"])
def test_a_password_is_never_shown(text: str) -> None:
    """As itself it is masked, and base64 that holds it is masked as a whole."""
    said = spoken(text, WORDS)
    assert said.shown.replace(b"***", b"") == b"\r\n"
    assert said.data != said.shown


@pytest.mark.parametrize(
    ("expected", "reply", "met"),
    [
        ("554 5.7.1", Reply(554, "5.7.1", "no"), True),
        ("554 5.7.1", Reply(554, "5.7.0", "no"), False),
        ("554", Reply(554, "5.7.1", "no"), True),
        ("554", Reply(553, "5.7.1", "no"), False),
        ("5", Reply(500, "", "no"), True),
        ("5", Reply(450, "", "no"), False),
        ("closed", None, True),
        ("closed", Reply(221, "", "bye"), False),
        ("5", None, False),
    ],
)
def test_a_reply_is_held_against_a_code_or_its_beginning(
    expected: str,
    reply: Reply | None,
    met: bool,  # noqa: FBT001  a parameter
) -> None:
    """A class, a code, a code and an enhanced code, or the end of the connection."""
    assert heard(expected, reply) is met


def test_a_line_is_a_mark_and_a_text() -> None:
    """Three marks; blanks in a text that is sent belong to it."""
    assert split("->  x ") == ("->", " x ")
    assert split("=== TLS") == ("===", "TLS")
    with pytest.raises(ValueError, match="a line is"):
        split("->x")


def stack(server: Server) -> Endpoints:
    """Return a stack that consists of this server, and of Dave."""
    services = {"submission": server.endpoint}
    return Endpoints("x", 0, "x.org", "dc=x", "", None, services, accounts={"dave": DAVE})


def speak(server: Server, dialogues: Sequence[Sequence[str]], **keys: object) -> list[Event]:
    """Speak dialogues in one session; returns what was told."""
    told: list[Event] = []
    session = Session(stack(server), "r", told.append)
    try:
        for dialogue in dialogues:
            Smtp(session="s", dialogue=tuple(dialogue), **keys).perform(session)
    finally:
        session.close()
    return told


def test_a_dialogue_goes_on_in_a_later_step() -> None:
    """Two steps of one session speak on one connection, and every reply is a check."""
    script = [
        *HELLO,
        "C: MAIL FROM:<>",
        "S: 250 2.1.0 ok",
        "C: RCPT TO:<a@x.org>",
        "S: 554 5.7.1 no",
    ]
    with playing(script) as server:
        told = speak(
            server, [["-> MAIL FROM:<>", "<- 250"], [r"-> RCPT TO:<a@\d>", "<- 554 5.7.1"]]
        )
    assert server.complaints == []
    checks = [event for event in told if isinstance(event, Check)]
    assert [(check.expected, check.seen) for check in checks] == [
        ("250", "250 2.1.0 ok"),
        ("554 5.7.1", "554 5.7.1 no"),
    ]


def test_lines_that_follow_one_another_are_sent_before_any_reply_is_read() -> None:
    """The server hears both lines first, and answers both."""
    script = [*HELLO, "C: RSET", "C: NOOP", "S: 250 one", "S: 251 two"]
    with playing(script) as server:
        speak(server, [["-> RSET", "-> NOOP", "<- 250", "<- 251"]])
    assert server.complaints == []


def test_the_end_of_the_connection_can_be_expected() -> None:
    """`closed` is met by a server that hangs up, also in a later step."""
    with playing([*HELLO, "C: QUIT", "S: 221 bye", "HANGUP"]) as server:
        told = speak(server, [["-> QUIT", "<- 221", "<- closed"], ["-> NOOP", "<- closed"]])
    assert [event.seen for event in told if isinstance(event, Check)][1:] == ["closed", "closed"]


def test_another_reply_than_the_expected_fails_with_both() -> None:
    """The failure says which line was answered, what was expected and what was seen."""
    with (
        playing([*HELLO, "C: NOOP", "S: 250 ok"]) as server,
        pytest.raises(ExpectationFailed, match="the reply to NOOP: expected 5, seen 250 ok"),
    ):
        speak(server, [["-> NOOP", "<- 5"]])


def test_signing_in_comes_first_and_shows_no_password() -> None:
    """With an account the session is signed in; its password is not in the transcript."""
    token = base64.b64encode(b"\0dave\0geheim").decode()
    script = [*HELLO, f"C: AUTH PLAIN {token}", "S: 235 ok", f"C: AUTH PLAIN {token}", "S: 503 no"]
    with playing(script) as server:
        line = r"-> AUTH PLAIN \b(\0dave\0\p(dave))"
        told = speak(server, [[line, "<- 503"]], account="dave")
    assert server.complaints == []
    wire = " ".join(event.line for event in told if isinstance(event, Wire))
    assert "geheim" not in wire
    assert token not in wire


def test_a_sign_in_that_is_refused_fails() -> None:
    """Nothing is said in the name of an account that could not sign in."""
    with (
        playing([*HELLO, "C: AUTH PLAIN .*", "S: 535 5.7.8 no", "C: quit", "S: 221 bye"]) as server,
        pytest.raises(ExpectationFailed, match="the sign-in of dave: expected accepted, seen 535"),
    ):
        speak(server, [["-> NOOP"]], account="dave")


def test_an_empty_password_is_sent_as_it_is() -> None:
    """No guess takes its place: some directories let everybody in with none (RFC 4513 §5.1.2)."""
    said = "AUTH PLAIN " + base64.b64encode(b"\0dave\0").decode()
    with playing([*HELLO, f"C: {said}", "S: 235 2.7.0 ok", "C: .*"]) as server:
        session = Session(stack(server), "r", lambda _: None)
        step = {"account": "dave", "password": "", "with": ["submission"]}
        Authenticate.model_validate(step).perform(session)
        session.close()
    assert said in server.heard


def test_a_reply_that_does_not_come_fails_when_its_time_is_over() -> None:
    """`within` says how long it is waited for, and it is an expectation that was not met."""
    with (
        playing([*HELLO, "C: NOOP", "C: .*"]) as server,
        pytest.raises(ExpectationFailed, match=r"the reply to NOOP: .* seen nothing within 50ms"),
    ):
        speak(server, [["-> NOOP", "<- 250"]], within="50ms")


@pytest.mark.parametrize("before", [["-> DATA"], ["-> da\\c", "-> tA"], ["-> x\\nBDAT 9"]])
@pytest.mark.parametrize("heard", [[], ["<- 250"]])
def test_no_password_is_said_where_it_could_be_in_a_message(
    before: list[str], heard: list[str]
) -> None:
    """After DATA, however it was written, AUTH may be content: nothing of it goes out."""
    secret = r"-> AUTH PLAIN \b(\0dave\0\p(dave))"
    with (
        playing([*HELLO, "C: .*", "S: 250 go on"]) as server,
        pytest.raises(UsageError, match="no password is said where DATA or BDAT was"),
    ):
        speak(server, [[*before, *heard, secret]])
    assert "AUTH" not in " ".join(server.heard)


SECRET = r"-> \b(\p(dave))"


@pytest.mark.parametrize("steps", [[["-> EHLO \\c", SECRET]], [["-> EHLO \\c"], [SECRET]]])
def test_no_password_ends_a_line_that_another_has_begun(steps: list[list[str]]) -> None:
    """A name in EHLO, or an address in RCPT, would be sent on with the next message."""
    with (
        playing([*HELLO, "C: .*", "S: 250 go on"]) as server,
        pytest.raises(UsageError, match="at the beginning of a line"),
    ):
        speak(server, steps)
    assert "Z2VoZWlt" not in " ".join(server.heard)


def test_a_password_is_in_one_bracket_and_nowhere_else() -> None:
    """In a header, in the envelope, or beside lines that go out with it, it is refused."""
    for text in (r"\p(a)", r"x\b(\p(a))", r"\b(x)\r\n\b(\p(a))", r"AUTH PLAIN \b(\p(a))x"):
        with pytest.raises(ValueError, match="in AUTH alone"):
            split(f"-> {text}")
    for text in (r"AUTH PLAIN \b(\0a\0\p(a))", r"\b(\p(a))", r"auth x \b(\)\(\m(2,x)\p(a))"):
        assert split(f"-> {text}") == ("->", text)


def test_without_a_greeting_the_dialogue_begins_at_once() -> None:
    """`greet: false` says nothing that is not in the dialogue."""
    with playing(["S: 220 mail ready", "C: HELO me", "S: 250 mail"]) as server:
        speak(server, [["-> HELO me", "<- 250"]], greet=False)
    assert server.complaints == []
