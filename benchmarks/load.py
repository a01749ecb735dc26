"""Submits messages from several sessions side by side, and prints how long that took, in seconds.

Usage: load.py ENDPOINTS.json MESSAGES SESSIONS. The sessions are open and signed in before the
clock starts. Exits with 1 if a message is not accepted.
"""

import json
import smtplib
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CONTENT = b"Subject: Load\r\nFrom: <%s>\r\n\r\nHello.\r\n"


def session(stack: dict) -> smtplib.SMTP:
    """Return a session that Alice has signed in to."""
    where, alice = stack["submission"], stack["accounts"]["alice"]
    client = smtplib.SMTP(where["host"], where["port"])
    client.starttls(context=ssl.create_default_context(cafile=stack["ca_file"]))
    client.login(alice["login"], alice["password"])
    return client


def submit(client: smtplib.SMTP, stack: dict, count: int) -> None:
    """Send so many messages to Bob, one after the other."""
    sender, to = (stack["accounts"][name]["address"] for name in ("alice", "bob"))
    for _ in range(count):
        client.sendmail(sender, [to], CONTENT % sender.encode())


def main() -> None:
    """Open the sessions, and time the messages."""
    stack = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    messages, sessions = int(sys.argv[2]), int(sys.argv[3])
    clients = [session(stack) for _ in range(sessions)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(sessions) as pool:
        list(pool.map(lambda client: submit(client, stack, messages // sessions), clients))
    print(time.perf_counter() - begun)
    for client in clients:
        client.quit()


if __name__ == "__main__":
    main()
