"""The lab for other people's test suites: `MailLab`, and the pytest plugin `labctl.testing.plugin`.

::

    from labctl.testing import MailLab

    with MailLab() as lab:
        assert lab.submit("alice", "bob").accepted
        lab.directory.disable("alice")
        assert str(lab.submit("alice", "bob")) == "554 5.7.1 at RCPT"

Importing this imports nothing heavy: every run of pytest on this host does.
"""

from labctl.testing.mail_lab import MailLab
from labctl.testing.stack import MailStack

__all__ = ["MailLab", "MailStack"]
