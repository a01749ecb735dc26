"""Our job, held against real servers: who is offboarded sends nothing more, and still gets mail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.testing import MailStack

JOB = Path(__file__).parents[1] / "acme_offboarding.py"


def run_job(mail_lab: MailStack, *names: str) -> None:
    """Run the job as cron does: as a program, with the policy-admin's credentials."""
    endpoints = mail_lab.endpoints
    admin, ldaps = endpoints.policy_admin, endpoints.services["ldaps"]
    env = {
        **os.environ,
        "ACME_LDAP": f"ldaps://{ldaps}",
        "ACME_CA": str(mail_lab.ca_file),
        "ACME_BASE": endpoints.base_dn,
        "ACME_BIND_DN": admin.name,
        "ACME_PASSWORD": admin.password.reveal(),
    }
    subprocess.run([sys.executable, "-W", "ignore", JOB, *names], env=env, check=True)


@pytest.fixture
def leaver(mail_lab: MailStack) -> str:
    """Somebody who leaves, and is back after the test, whatever our job made of him."""
    with mail_lab.changed("alice"):
        run_job(mail_lab, "alice")
        yield "alice"


def test_the_job_sets_what_the_policy_asks_for(mail_lab: MailStack, leaver: str) -> None:
    policy = mail_lab.directory.policy(leaver)
    assert (policy.status, policy.send_allowed) == ("offboarded", "FALSE")


def test_who_left_sends_nothing_more(mail_lab: MailStack, leaver: str) -> None:
    refused = mail_lab.submit(leaver, "bob", subject="One last thing")
    assert str(refused) == "554 5.7.1 at RCPT"


def test_who_left_still_gets_mail(mail_lab: MailStack, leaver: str) -> None:
    farewell = mail_lab.submit("bob", leaver, subject="Farewell")
    assert mail_lab.receive(leaver, farewell)["Subject"] == "Farewell"


def test_nobody_else_is_touched(mail_lab: MailStack, leaver: str) -> None:
    assert mail_lab.submit("bob", "carol").accepted
