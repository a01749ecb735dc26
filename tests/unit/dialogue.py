"""A small real server for the clients' tests: it plays a script on a loopback socket.

A script is a list of lines: `S: text` is sent, `C: regex` must match the line that comes, `TLS`
begins TLS, `MESSAGE` reads up to the dot, `HANGUP` closes. What did not go by the script is in
`Server.complaints`.
"""

import re
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from labctl.endpoints import Endpoint, Tls
from labctl.lab.certificates import Host, ensure_certificates


@dataclass
class Server:
    """Where it listens, and what it had to complain of."""

    endpoint: Endpoint
    complaints: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)


def server_context(directory: Path) -> ssl.SSLContext:
    """Return a context with the certificate that `certificates` made there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "postfix.pem", directory / "postfix.key")
    return context


def certificates(directory: Path) -> Path:
    """Make a CA and a server certificate there; returns the CA's file."""
    ensure_certificates(directory, ["postfix"], Host("mail.example.org"))
    return directory / "ca.pem"


@contextmanager
def playing(
    script: Sequence[str], tls: Tls = "none", context: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """Play a script to the one client that connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(Endpoint("127.0.0.1", listener.getsockname()[1], tls))
        thread = threading.Thread(target=_play, args=(listener, script, server, context))
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=20)
            assert not thread.is_alive(), "the client never finished the script"


def _play(
    listener: socket.socket,
    script: Sequence[str],
    server: Server,
    context: ssl.SSLContext | None,
) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    listener.close()  # who comes again is refused
    connection.settimeout(15)
    with ExitStack() as stack:
        stack.enter_context(connection)
        try:
            if server.endpoint.tls == "tls" and context:
                connection = stack.enter_context(context.wrap_socket(connection, server_side=True))
            _converse(connection, script, server, stack, context)
        except OSError as error:
            server.complaints.append(str(error))


def _converse(
    connection: socket.socket,
    script: Sequence[str],
    server: Server,
    stack: ExitStack,
    context: ssl.SSLContext | None,
) -> None:
    file = stack.enter_context(connection.makefile("rb"))
    for line in script:
        kind, _, rest = line.partition(": ")
        if kind == "S":
            connection.sendall(rest.encode() + b"\r\n")
        elif kind == "C":
            heard = file.readline().decode("utf-8", "replace").rstrip("\r\n")
            server.heard.append(heard)
            if not re.fullmatch(rest, heard):
                server.complaints.append(f"heard {heard!r}, expected {rest!r}")
        elif kind == "TLS" and context:
            file.close()
            connection = stack.enter_context(context.wrap_socket(connection, server_side=True))
            file = stack.enter_context(connection.makefile("rb"))
        elif kind == "MESSAGE":
            while file.readline() not in (b".\r\n", b""):
                pass
        elif kind == "HANGUP":
            return
