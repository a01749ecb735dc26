"""Seeing a server hang up."""

import socket


def hung_up(sock: socket.socket, seconds: float) -> bool:
    """Say whether the other side closes the connection within so many seconds.

    What it still says before (RFC 9051 §7.1.5: BYE) is read and dropped.
    """
    before = sock.gettimeout()
    sock.settimeout(seconds)
    try:
        while sock.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        sock.settimeout(before)
    return True
