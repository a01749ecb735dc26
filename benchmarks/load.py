"""Submits messages from several sessions side by side, and prints how long that took, as JSON:
`seconds` for all, and in `messages` for each.

Usage: load.py ENDPOINTS.json MESSAGES SESSIONS [each]. The sessions are open and signed in before
the clock starts; with `each` every message has a session of its own, and its sign-in counts.
Exits with 1 if a message is not accepted.
"""

import json
import smtplib
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CONTENT = b"Subject: Load\r\nFrom: <%s>\r\n\r\nHello.\r\n"


def session(stack: dict, tls: ssl.SSLContext) -> smtplib.SMTP:
    """Return a session that Alice has signed in to."""
    where, alice = stack["submission"], stack["accounts"]["alice"]
    client = smtplib.SMTP(where["host"], where["port"], local_hostname="load.labctl.invalid")
    client.starttls(context=tls)
    client.login(alice["login"], alice["password"])
    return client


def submit(client: smtplib.SMTP, stack: dict) -> None:
    """Send a message to Bob."""
    sender, to = (stack["accounts"][name]["address"] for name in ("alice", "bob"))
    client.sendmail(sender, [to], CONTENT % sender.encode())


def many(client: smtplib.SMTP, stack: dict, count: int) -> list[float]:
    """Send so many messages, one after the other; returns what each took."""
    return [timed(lambda: submit(client, stack)) for _ in range(count)]


def many_signed_in(stack: dict, tls: ssl.SSLContext, count: int) -> list[float]:
    """Send so many messages, each in a session of its own; returns what each took."""

    def one() -> None:
        with session(stack, tls) as client:
            submit(client, stack)

    return [timed(one) for _ in range(count)]


def timed(action) -> float:
    """Return how long an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def main() -> None:
    """Open the sessions, and time the messages."""
    stack = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tls = ssl.create_default_context(cafile=stack["ca_file"])
    sessions, each = int(sys.argv[3]), sys.argv[4:] == ["each"]
    share = int(sys.argv[2]) // sessions
    clients = [] if each else [session(stack, tls) for _ in range(sessions)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(sessions) as pool:
        if each:
            jobs = [pool.submit(many_signed_in, stack, tls, share) for _ in range(sessions)]
        else:
            jobs = [pool.submit(many, client, stack, share) for client in clients]
        took = [seconds for job in jobs for seconds in job.result()]
    print(json.dumps({"seconds": time.perf_counter() - begun, "messages": took}))
    for client in clients:
        client.quit()


if __name__ == "__main__":
    main()
