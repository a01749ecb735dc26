"""The commands that do by hand what steps do, made to be pasted into a shell.

In a lab the tools run beside the server that they speak with: ldap-utils in the directory's
container, swaks and our `dialogue` in Postfix's, curl in Dovecot's. No command holds a password.
Each tool asks for it, and `labctl user show NAME --password` answers down a pipe; the passwords of
programs are files beside the directory. On a foreign stack the tools are this host's, and ask
whoever pastes.
"""

import base64
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from labctl.endpoints import PROGRAMS, Account, Endpoints
from labctl.protocols.entry import Values, Via
from labctl.protocols.ldif import Add, Delete, Modification, Modify, Record, Rename
from labctl.scenario.messages import Message, Sent
from labctl.scenario.wire import passwords

_PIPE = " |\n"  # a shell goes on in the next line
_HIDDEN = "userPassword"
_ASKED = "\0"  # in a line: a password that whoever pastes is asked for
_CA = "/run/secrets/ca.pem"
_SWAKS_TLS = {"starttls": ["-tls"], "tls": ["--tls-on-connect"], "none": []}
_SMTP = {"smtp": 25, "submission": 587, "submissions": 465}
_SPOKEN = {"smtp": "relay", "submission": "submission", "submissions": "submissions"}
_SAFE = re.compile(rb"(?:[\x21-\x39\x3b\x3d-\x7e][\x20-\x7e]*)?(?<! )")  # RFC 2849, SAFE-STRING


@dataclass(frozen=True, slots=True)
class ByHand:
    """What to type for a stack: a lab's, or without a `container` a foreign one's. `container`
    gives the name of a service's container.
    """

    endpoints: Endpoints
    container: Callable[[str], str] | None = None

    def labctl(self, *words: str) -> str:
        """Return a command of labctl about this stack."""
        if self.container is None:
            file = self.endpoints.file
            about = ["--endpoints", str(file)] if file else []
            return shlex.join(["labctl", *words, *about])
        lab = self.endpoints.lab
        return shlex.join(["labctl", *([] if lab == "default" else ["-n", lab]), *words])

    def inside(self, service: str, *command: str) -> str:
        """Return what runs a command in the container of a service; on a foreign stack here."""
        runner = ["docker", "exec", "-i", self.container(service)] if self.container else []
        return shlex.join([*runner, *command])

    def send(self, sent: Sent, account: Account | None) -> str:
        """Return what sends a message: same envelope, same Message-ID, same way."""
        envelope, draft = sent.envelope, sent.message.draft
        options = ["--from", envelope.sender or "<>", "--to", ",".join(envelope.recipients)]
        header = {"Subject": draft.subject, "Message-Id": sent.message.message_id}
        if draft.sender != envelope.sender:
            header = {"From": draft.sender, **header}
        options += [word for name, value in header.items() for word in (f"--h-{name}", value)]
        command = self._swaks(sent.route.service, account, options)
        return self._fed([account] if account else [], (), command)

    def sendmail(self, user: str, arguments: Sequence[str], message: Message) -> str:
        """Return what submits a message beside Postfix, as a user of the system."""
        draft = message.draft
        lines = [f"From: {draft.sender}", f"To: {', '.join(draft.to)}", f"Subject: {draft.subject}"]
        lines += [f"Message-ID: {message.message_id}", "", *draft.body.splitlines()]
        as_user = ("setpriv", f"--reuid={user}", "--clear-groups", "sendmail")
        return self._fed([], lines, self.inside("postfix", *as_user, *arguments))

    def sign_in(self, service: str, account: Account, *, known: bool) -> str:
        """Return what signs in and does no more; a password that is not `known` to labctl is
        asked for.
        """
        if service in _SMTP:
            command = self._swaks(service, account, ["--quit-after", "AUTH"])
        else:
            command = self._curl(service, account)
        return self._fed([account] if known else [], (), command)

    def find(self, service: str, account: Account, message_id: str) -> str:
        """Return what searches an account's INBOX for a Message-ID by IMAP."""
        request = ["-X", f"UID SEARCH HEADER Message-ID {message_id}"]
        return self._fed([account], (), self._curl(service, account, "/INBOX", request))

    def change_policy(self, dn: str, values: Values) -> str:
        """Return what gives an account's policy attributes these values, as the policy-admin."""
        admin = self.endpoints.policy_admin
        changes = (
            Modification("replace", name, tuple(map(_bytes, given)))
            for name, given in values.items()
        )
        return self.change("policy-admin", admin.name if admin else "", Modify(dn, tuple(changes)))

    def change(self, who: str, dn: str, record: Record, *, via: Via | None = None) -> str:
        """Return what makes a change in the directory, bound as somebody whose DN is given, or is
        empty for a stranger.
        """
        return self.ldap("ldapmodify", who, dn, via=via, ldif=ldif_of(record))

    def dialogue(
        self, service: str, account: Account | None, lines: Sequence[str], *, greet: bool
    ) -> str:
        """Return what speaks the lines of a dialogue, signed in as an account or not."""
        said = [line.replace("\r", "\\r").replace("\n", "\\n") for line in lines]
        named = dict.fromkeys(name for line in lines for name in passwords(line))
        asked = [self.endpoints.account(name) for name in named]
        options = [] if greet else ["--bare"]
        if account is not None:
            asked = [account, *(each for each in asked if each.name != account.name)]
            options += ["--as", account.name]
        knows = [word for each in asked if each != account for word in ("--knows", each.name)]
        command = self.inside("postfix", "dialogue", *options, *knows, _SPOKEN[service])
        return self._fed(asked, said, command)

    def ldap(
        self,
        tool: str,
        who: str,
        dn: str,
        arguments: Sequence[str] = (),
        *,
        via: Via | None = None,
        ldif: Sequence[str] = (),
    ) -> str:
        """Return what runs a tool of ldap-utils, bound as somebody whose DN is given, or is empty
        for a stranger.
        """
        words, asked = [tool, "-x", *self._directory(via)], list[Account]()
        if dn and who in PROGRAMS and self.container:
            words += ["-D", dn, "-y", f"/run/secrets/{who}.password"]
        elif dn:
            words += ["-D", dn, "-W"]
            asked = [] if who in PROGRAMS else [self.endpoints.account(who)]
        command = self.inside("openldap", *words, *arguments)
        ca = self.endpoints.ca_file
        if self.container is None and ca:
            command = f"LDAPTLS_CACERT={shlex.quote(str(ca))} {command}"
        ask = any(line.endswith(_ASKED) for line in ldif)
        first = f"read -rsp '{_HIDDEN}: ' new; " if ask else ""
        return first + self._fed(asked, ldif, command)

    def _swaks(self, service: str, account: Account | None, options: Sequence[str]) -> str:
        endpoint = self.endpoints.service(service)
        where = f"localhost:{_SMTP[service]}" if self.container else str(endpoint)
        words = ["swaks", "--server", where, *_SWAKS_TLS[endpoint.tls], *options]
        if account is not None:
            words += ["--auth", "PLAIN", "--auth-user", account.login, "--auth-hide-password"]
        return self.inside("postfix", *words)

    def _curl(
        self, service: str, account: Account, path: str = "", options: Sequence[str] = ()
    ) -> str:
        endpoint, ca = self.endpoints.service(service), self.endpoints.ca_file
        words = ["curl", "-sS", "-u", account.login]
        words += ["--cacert", _CA if self.container else str(ca)] if self.container or ca else []
        words += ["--ssl-reqd"] if endpoint.tls == "starttls" else []
        where = "localhost" if self.container else str(endpoint)
        url = f"{service}://{where}{path}"
        return self.inside("dovecot", *words, "--url", url, *options)

    def _directory(self, via: Via | None) -> list[str]:
        """Return where the directory is, and how TLS begins."""
        secure = via in {None, "ldaps"} and "ldaps" in self.endpoints.services
        service = "ldaps" if secure else "ldap"
        where = "openldap" if self.container else str(self.endpoints.service(service))
        return ["-H", f"{service}://{where}", *([] if secure or via == "clear" else ["-ZZ"])]

    def _fed(self, asked: Sequence[Account], lines: Sequence[str], command: str) -> str:
        """Return the command with its input piped to it: first what answers its questions, where
        labctl can, and then lines.
        """
        feeds = []
        if self.container:
            feeds = [self.labctl("user", "show", each.name, "--password") for each in asked]
        feeds += [f"printf '%s\\n' {' '.join(map(_quoted, lines))}"] if lines else []
        if len(feeds) > 1:
            return f"{{ {'; '.join(feeds)}; }}{_PIPE}{command}"
        return _PIPE.join([*feeds, command])


def _quoted(line: str) -> str:
    return f'"{line[:-1]}$new"' if line.endswith(_ASKED) else shlex.quote(line)


def ldif_of(record: Record) -> list[str]:
    """Return a change record as LDIF (RFC 2849), without passwords."""
    head = ldif_line("dn", record.dn)
    match record:
        case Add(values=values):
            entry = [_value(name, each) for name, given in values.items() for each in given]
            return [head, "changetype: add", *entry]
        case Modify(modifications=modifications):
            changes = [line for each in modifications for line in _modification(each)]
            return [head, "changetype: modify", *changes[:-1]]
        case Delete():
            return [head, "changetype: delete"]
        case Rename(new_rdn=rdn, delete_old=old, new_superior=superior):
            lines = [head, "changetype: modrdn", ldif_line("newrdn", rdn), f"deleteoldrdn: {old:d}"]
            return lines if superior is None else [*lines, ldif_line("newsuperior", superior)]


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _modification(change: Modification) -> list[str]:
    values = [_value(change.attribute, each) for each in change.values]
    return [f"{change.operation}: {change.attribute}", *values, "-"]


def _value(name: str, value: str | bytes) -> str:
    hidden = name.partition(";")[0].lower() == _HIDDEN.lower()
    return f"{name}: {_ASKED}" if hidden else ldif_line(name, value)


def ldif_line(name: str, value: str | bytes) -> str:
    """Return an attribute with a value, in base64 where LDIF wants it."""
    data = _bytes(value)
    if _SAFE.fullmatch(data):
        return f"{name}: {data.decode()}"
    return f"{name}:: {base64.b64encode(data).decode()}"
