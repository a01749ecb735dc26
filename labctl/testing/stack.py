"""A mail stack that is up, as a test uses it: the lab's own, or any that endpoints describe."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labctl.errors import LabNotReady
from labctl.testing.directory import PolicyDirectory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import EmailMessage

    from labctl.endpoints import Account, Endpoints
    from labctl.events import Emit, Event
    from labctl.protocols.imap import Mail
    from labctl.scenario.model import Scenario
    from labctl.scenario.session import Containers, Session
    from labctl.testing.results import Played, Submission

Via = Literal["submission", "submissions", "relay"]


class MailStack:
    """A stack that endpoints describe; a wait lasts up to `wait_seconds`.

    ::

        stack = MailStack(read_file(Path("stack.json"), os.environ))
        assert stack.submit("alice", "bob").accepted

    People are named as in scenarios: `alice` is her primary address, `alice:reports` a secondary
    one, `alice+news` has an extension, and what holds an `@` stands as it is.
    """

    def __init__(self, endpoints: "Endpoints | None", *, wait_seconds: float = 10.0) -> None:
        self._endpoints = endpoints
        self.wait_seconds = wait_seconds
        self.directory = PolicyDirectory(lambda: self.endpoints, self._follow)

    @property
    def endpoints(self) -> "Endpoints":
        """Where the stack is reached, and as whom; raises LabNotReady when it is not up."""
        if self._endpoints is None:
            raise LabNotReady(
                "the lab is not up", "Use it within `with MailLab() as lab:`, or call start()."
            )
        return self._endpoints

    @property
    def accounts(self) -> "Mapping[str, Account]":
        """The people by name: `login`, `address`, `aliases`, `password.reveal()`."""
        return self.endpoints.accounts

    @property
    def ca_file(self) -> Path | None:
        """The certificate of the CA that vouches for the servers; None: the system's."""
        return self.endpoints.ca_file

    @property
    def containers(self) -> "Containers | None":
        """What steps may ask of the stack's own containers; a foreign stack has none."""
        return None

    @contextmanager
    def changed(self, *names: str) -> Iterator[None]:
        """Put back at the end what is changed within in the directory: through this object, and
        for those who are named whoever changes it.

        ::

            with lab.changed("alice"):
                our_offboarding_job("alice")
                assert not lab.submit("alice", "bob").accepted
        """
        with self.directory.changed(*names):
            yield

    def restore(self) -> None:
        """Put back what was changed through `directory`, outside of `changed`."""
        self.directory.restore()

    def submit(
        self,
        sender: str,
        to: str | tuple[str, ...],
        *,
        subject: str = "A message",
        body: str = "Sent by a test.\n",
        via: Via | None = None,
        envelope_from: str | None = None,
        header_from: str | None = None,
    ) -> "Submission":
        """Send one message, and return what came of it, be that a refusal.

        An account signs in on submission, with its password; an address outside, and everybody
        `via` the relay, does not sign in. `envelope_from` ("" is the null sender) and
        `header_from` say another sender than one's own. Raises LabNotReady when nobody answers.

        ::

            refused = lab.submit("alice", "bob", envelope_from="carol")
            assert str(refused) == "553 5.7.1 at RCPT"
        """
        from labctl.protocols.smtp import Envelope
        from labctl.scenario.messages import Draft, compose, message_id
        from labctl.scenario.steps.send import SERVICES
        from labctl.testing.results import Submission

        session = self._session(_unheard)
        via = via or ("relay" if "@" in sender else "submission")
        envelope_from, header_from = (
            session.address(sender if other is None else other)
            for other in (envelope_from, header_from)
        )
        recipients = tuple(session.address(name) for name in ((to,) if isinstance(to, str) else to))
        draft = Draft(header_from, recipients, subject, body)
        message = compose(message_id("test", session.run), draft)
        with session.smtp(SERVICES[via]) as connection:
            if via != "relay":
                account = session.account(sender)
                signed_in = connection.sign_in(account.login, account.password)
                if not signed_in.reply.ok:
                    return Submission(signed_in, message.message_id)
            outcome = connection.submit(Envelope(envelope_from, recipients), message.content)
        return Submission(outcome, message.message_id)

    def inbox(self, name: str, *, count: int = 20) -> "list[Mail]":
        """Return up to `count` of the newest messages of an account by their headers, oldest
        first; `outside` has what was sent to other domains.
        """
        session = self._session(_unheard)
        try:
            return session.mailbox(name).newest(count)
        finally:
            session.close()

    def receive(self, name: str, message: "Submission | str") -> "EmailMessage":
        """Wait for a message, given as it was submitted or by its Message-ID, to be in the inbox
        of an account, and return it.

        Raises DeadlinePassed when it does not come within `wait_seconds`.

        ::

            mail = lab.receive("bob", lab.submit("alice", "bob", subject="Hello"))
            assert mail["Subject"] == "Hello"
        """
        from email import message_from_bytes, policy

        from labctl.protocols.poll import poll

        identity = message if isinstance(message, str) else message.message_id
        session = self._session(_unheard)
        try:
            mailbox = session.mailbox(name)
            uid = poll(
                lambda: mailbox.find(identity),
                what=f"{identity} in the inbox of {name}",
                seconds=self.wait_seconds,
            )
            return message_from_bytes(mailbox.fetch(uid), policy=policy.default)
        finally:
            session.close()

    def run(self, scenario: "Path | str | Scenario") -> "Played":
        """Run a scenario, given as a file or as it was loaded, and return its transcript.

        Raises InvalidScenario with every error of the file, or when the stack lacks one of its
        accounts.

        ::

            played = lab.run("leaver.scenario.yaml")
            assert played.passed, played.text
        """
        from labctl.scenario.loader import load
        from labctl.scenario.runner import run
        from labctl.testing.results import Played

        loaded = load(Path(scenario)) if isinstance(scenario, str | Path) else scenario
        events: list[Event] = []
        run(loaded, self._session(events.append))
        return Played(tuple(events))

    def _follow(self) -> None:
        """Wait until the replicas of the directory have what it has, where there are any."""
        if self.containers is not None:
            self.containers.await_replicas(self.wait_seconds)

    def _session(self, emit: "Emit") -> "Session":
        from labctl.scenario.session import Session, new_run_id

        return Session(
            self.endpoints,
            new_run_id(),
            emit,
            wait_seconds=self.wait_seconds,
            containers=self.containers,
        )


def _unheard(_event: "Event") -> None:
    """Listen to nothing: what is said by hand is in no transcript."""
