"""How much of a run was spent waiting for servers is read from its transcript."""

import pytest

from labctl.bench.measurements.scenario import waited
from labctl.events import Change, Wire


def test_waiting_runs_from_what_was_sent_to_the_reply() -> None:
    """So do a TLS handshake, a bind and a change of the directory; our own time does not count."""
    events = [
        Wire("submission", "===", "connecting to 127.0.0.1:2587 (submission)", 10.0),
        Wire("submission", "<-", "220 hello", 10.2),  # 0.2 waited
        Wire("submission", "->", "STARTTLS", 10.5),  # ours
        Wire("submission", "<-", "220 ready", 10.6),  # 0.1
        Wire("submission", "===", "TLS begun", 10.8),  # 0.2
        Wire("ldaps", "===", "binding to ldaps://127.0.0.1:2636 as cn=admin", 11.0),  # ours
        Wire("ldaps", "===", "bound", 11.1),  # 0.1
        Change("dn: …", 0.25),
    ]
    assert waited(events) == pytest.approx(0.85)


def test_what_is_waited_for_at_the_same_time_counts_once() -> None:
    """Four services that are asked side by side take as long as the slowest."""
    events = [
        Wire("imap", "->", "a NOOP", 1.0),
        Wire("imaps", "->", "a NOOP", 1.1),
        Wire("imap", "<-", "a OK", 1.3),
        Wire("imaps", "<-", "a OK", 1.4),
    ]
    assert waited(events) == pytest.approx(0.4)
    assert waited([]) == 0
