"""Certificates of a running lab: near their end `up` makes them anew, and the servers show them."""

import datetime as dt
import socket
import ssl
import time
from pathlib import Path

import pytest
from conftest import LiveLab

from labctl.lab import certificates
from labctl.lab.certificates import Host, ensure_certificates

SERVERS = {"openldap": "ldaps", "postfix": "submissions", "dovecot": "imaps"}


def days_left(lab: LiveLab, service: str, name: str) -> float:
    """Return how long a service's certificate, verified for this name, is still valid."""
    data = lab.json("endpoints")
    context = ssl.create_default_context(cafile=data["ca_file"])
    at = data[service]
    with (
        socket.create_connection((at["host"], at["port"]), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        shown = secure.getpeercert()
    assert shown
    return (ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()) / 86400


def test_up_renews_what_is_near_its_end(scratch: LiveLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers with ten days left have a year after `up`, by the same CA, for all their names; and
    the whole story holds with them.
    """
    ca_file = Path(scratch.json("endpoints")["ca_file"])
    ca = ca_file.read_bytes()
    host = Host("mail.truenorth.local")
    with monkeypatch.context() as patch:
        soon = dt.timedelta(days=certificates.SERVER_DAYS - 10)
        before = dt.datetime.now(dt.UTC) - soon
        patch.setattr(certificates, "_now", lambda: before)
        for server in SERVERS:
            (ca_file.parent / f"{server}.pem").unlink(missing_ok=True)
        assert ensure_certificates(ca_file.parent, list(SERVERS), host) == list(SERVERS)
    scratch.run("up")
    for service in SERVERS.values():
        for name in ("localhost", "127.0.0.1", "mail.truenorth.local"):
            assert days_left(scratch, service, name) > certificates.RENEW_DAYS, (service, name)
    assert ca_file.read_bytes() == ca
    scratch.run("scenario", "offboarding")
