"""The milter: refuses a message whose header names a sender that is not its sender's own.

Speaks to Postfix through libmilter, in a thread for each SMTP session. Everything that goes wrong
ends in a temporary refusal. The password of the directory's account comes on standard input.
"""

import os
import signal
import sys
from threading import Thread

import milter
from directory import Away, Directory, from_environment
from header_from import Fields, Refused, owns

PORT = 8891
# The image's STOPSIGNAL. libmilter keeps SIGTERM for itself, and looks only each five seconds
# whether there was one.
STOP = signal.SIGUSR1
# RCPT and DATA tell nothing, and are answered all the same: Postfix sends their macros in any
# case, and TCP would hold back what comes after until those are acknowledged, 40 ms later. The end
# of the header is wanted because libmilter takes no end of the message right after DATA.
UNWANTED = milter.P_NOCONNECT | milter.P_NOHELO | milter.P_NOUNKNOWN | milter.P_NOBODY


class Message:
    """A message as far as it has come: who sends it, and what its header says."""

    def __init__(self, login: str | None) -> None:
        self.login = login
        self.fields = Fields()


class Milter:
    """What happens at each event of the protocol."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def negotiated(self, _context, options: list[int]) -> int:
        """Ask for what is wanted, and change nothing."""
        options[:] = [0, options[1] & UNWANTED, 0, 0]
        return milter.CONTINUE

    def begun(self, context, *_envelope: bytes) -> int:
        """MAIL: a message begins."""
        context.setpriv(Message(context.getsymval("{auth_authen}")))
        return milter.CONTINUE

    def told(self, _context, *_words: bytes) -> int:
        """RCPT, DATA, the end of the header: go on."""
        return milter.CONTINUE

    def field(self, context, name: str, value: bytes) -> int:
        """Take a header field."""
        context.getpriv().fields.add(name, value)
        return milter.CONTINUE

    def ended(self, context) -> int:
        """Judge the message at its end."""
        message = context.getpriv()
        context.setpriv(None)
        try:
            self._judge(message)
        except Refused as refused:
            _say(context, message, f"550 5.7.1 {refused}")
            return milter.REJECT
        except Away as away:
            _log(message, str(away))
            _say(context, message, "451 4.7.1 Header From cannot be checked now, try again later")
            return milter.TEMPFAIL
        return milter.CONTINUE

    def left(self, context) -> int:
        """Forget the message: it is broken off, or the session is over."""
        context.setpriv(None)
        return milter.CONTINUE

    def _judge(self, message: Message) -> None:
        if not message.login:
            raise Away("Postfix names nobody who signed in")
        addresses = message.fields.addresses()
        own = self._directory.addresses_of(message.login)
        for name, address in addresses:
            # An extension belongs to whom it extends, unless it is an address of its own.
            if not owns(own, address) or (
                address not in own and self._directory.is_somebodys(address)
            ):
                _log(message, f"{name} is {address!r}")
                raise Refused(name, "names an address that does not belong to this login")


def _say(context, message: Message, reply: str) -> None:
    _log(message, reply)
    code, enhanced, text = reply.split(" ", 2)
    context.setreply(code, enhanced, text.replace("%", "%%"))


def _log(message: Message, text: str) -> None:
    sys.stderr.write(f"milter: {message.login!r}: {text}\n")


def _end_when_told() -> None:
    """End at once; whoever is served meanwhile sees the milter go, and is told to try again."""
    signal.sigwait({STOP})
    os._exit(0)


def main() -> None:
    """Serve until told to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {STOP})  # in all threads, as sigwait wants
    Thread(target=_end_when_told, daemon=True).start()
    events = Milter(from_environment(sys.stdin.readline().strip()))
    milter.set_envfrom_callback(events.begun)
    milter.set_envrcpt_callback(events.told)
    milter.set_eoh_callback(events.told)
    milter.set_header_callback(events.field)
    milter.set_eom_callback(events.ended)
    milter.set_abort_callback(events.left)
    milter.set_close_callback(events.left)
    milter.set_exception_policy(milter.TEMPFAIL)
    milter.setconn(f"inet:{PORT}@0.0.0.0")
    milter.register("header-from", data=events.told, negotiate=events.negotiated)
    milter.opensocket(False)  # noqa: FBT003 - libmilter's own argument: no file to remove
    milter.main()


if __name__ == "__main__":
    main()
