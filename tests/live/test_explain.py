"""`labctl explain` predicts what Postfix does, and notices when it does something else."""

import json
from collections.abc import Iterator, Mapping

import pytest
from conftest import LiveLab, docker_do

from labctl import cli
from labctl.endpoints import Endpoints
from labctl.explain.explanation import Explanation, explain
from labctl.explain.model import Transaction, Verdict
from labctl.lab.containers import LabContainers
from labctl.lab.engine import Engine
from labctl.protocols.directory import Directory
from labctl.protocols.entry import PolicyChange
from labctl.protocols.poll import poll
from labctl.protocols.smtp import Stage

STATES: Mapping[str, PolicyChange] = {
    "allowed": {"send_allowed": "TRUE", "status": "active"},
    "forbidden": {"send_allowed": "FALSE", "status": "active"},
    "disabled": {"send_allowed": "TRUE", "status": "disabled"},
    "offboarded": {"send_allowed": "FALSE", "status": "offboarded"},
    "absent": {"send_allowed": None, "status": None},
}
SENDERS = {
    "own": "bob@truenorth.local",
    "own in capitals": "Bob@TrueNorth.local",
    "extension": "bob+news@truenorth.local",
    "shared": "sales@truenorth.local",
    "foreign": "alice@truenorth.local",
    "nobody's": "nobody@truenorth.local",
    "null": "",
    "outside": "bob@elsewhere.example",
    "subdomain": "bob@sub.truenorth.local",
    "no domain": "bob",
}
RECIPIENTS = {
    "own domain": "alice@truenorth.local",
    "alias": "alice.north@truenorth.local",
    "shared": "sales@truenorth.local",
    "extension": "alice+news@truenorth.local",
    "unknown": "nobody@truenorth.local",
    "role": "postmaster@truenorth.local",
    "postmaster": "postmaster",
    "this host": "root@mail.truenorth.local",
    "outside": "someone@elsewhere.example",
    "no domain": "alice",
}
BY_SENDER = [
    *((policy, sender, "own domain", 587) for policy in STATES for sender in ("own", "null")),
    *(
        (policy, sender, "own domain", 587)
        for policy in ("allowed", "absent")
        for sender in SENDERS
    ),
    *(("offboarded", sender, "postmaster", 587) for sender in SENDERS),
]
BY_RECIPIENT = [
    ("allowed", sender, recipient, port)
    for recipient in RECIPIENTS
    for sender, port in (("own", 465), ("outside", 25))
]
FROM_ANYWHERE = [("offboarded", sender, "own domain", 25) for sender in SENDERS]
CASES = sorted({*BY_SENDER, *BY_RECIPIENT, *FROM_ANYWHERE})


class Desk:
    """Explains transactions of Bob's in one lab."""

    def __init__(self, lab: LiveLab, *, changing: bool = True) -> None:
        self.endpoints = Endpoints.from_dict(lab.json("endpoints", "--secrets"))
        self.containers = LabContainers(Engine(), lab.project)
        self.changing = changing
        self.read: dict[tuple[str, ...], str] = {}

    def execute(self, service: str, command: list[str]) -> str:
        """Run a command; where nothing changes, what was read of the configuration stays."""
        known = self.read.get(tuple(command))
        if known is None or self.changing or "postmap" in " ".join(command):
            known = self.containers.execute(service, command)
        self.read[tuple(command)] = known
        return known

    def set(self, change: PolicyChange) -> None:
        """Set Bob's policy attributes."""
        account = self.endpoints.policy_admin
        with Directory.open(self.endpoints, account, emit=lambda _: None) as directory:
            directory.set_policy(directory.dn("bob"), change)

    def explain(self, sender: str, recipient: str, port: int = 587) -> Explanation:
        """Predict and probe."""
        login = None if port == 25 else "bob"
        transaction = Transaction(login, sender, recipient, port)
        bob = self.endpoints.accounts["bob"]
        return explain(self.endpoints, bob, transaction, self.execute, emit=lambda _: None)


@pytest.fixture(scope="module", params=["lab", "baseline"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk in each profile; Bob is put right afterwards."""
    desk = Desk(request.getfixturevalue(request.param), changing=False)
    yield desk
    desk.set(STATES["allowed"])


@pytest.mark.parametrize(("policy", "sender", "recipient", "port"), CASES)
def test_the_probe_ends_as_predicted(
    desk: Desk, policy: str, sender: str, recipient: str, port: int
) -> None:
    """Stage, codes and text of the real reply are the predicted ones."""
    desk.set(STATES[policy])
    explanation = desk.explain(SENDERS[sender], RECIPIENTS[recipient], port)
    seen, expected = explanation.seen, explanation.prediction.at_probe
    assert explanation.agrees, f"predicted {expected.reply} at {expected.stage}, seen {seen}"


def test_both_answers_occur_and_the_deciding_line_is_the_policy(lab: LiveLab) -> None:
    """Bob may send, then he may not: the deciding line names the map that answered."""
    desk = Desk(lab)
    for policy, verdict, table in (
        ("allowed", Verdict.PERMITS, "may_send"),
        ("offboarded", Verdict.REFUSES, "may_not_send"),
    ):
        desk.set(STATES[policy])
        decides = desk.explain(SENDERS["own"], RECIPIENTS["own domain"]).prediction.decides
        assert decides is not None
        assert decides.said.verdict is verdict
        assert table in decides.restriction
    desk.set(STATES["allowed"])


def test_the_filter_finds_the_entry_that_the_map_answered_for(lab: LiveLab) -> None:
    """The JSON shows filter, entry, policy attributes and the map's answer side by side."""
    said = lab.json("explain", "dave", "--to", "alice")
    decides = next(line for line in said["restrictions"] if line["decides"])
    [lookup] = decides["lookups"]
    assert said["schema"] == "labctl/v1"
    assert said["agrees"]
    assert "(uid=dave)" in lookup["filter"]
    assert lookup["answer"].startswith("554 5.7.1 ")
    [entry] = lookup["entries"]
    assert entry["attributes"]["tnMailSendAllowed"] == ["FALSE"]


def test_the_text_marks_the_deciding_line_and_tells_no_password(lab: LiveLab) -> None:
    """One line is marked; neither text nor wire holds a password."""
    done = lab.ran("explain", "erin", "--to", "nobody@truenorth.local", "-v")
    marked = [line for line in done.out.splitlines() if line.startswith("=>")]
    secrets = lab.json("endpoints", "--secrets")
    passwords = [secrets["accounts"]["erin"]["password"]]
    passwords += [entry["password"] for entry in secrets["service_accounts"].values()]
    assert done.code == 0
    assert len(marked) == 1
    assert "AUTH PLAIN ***" in done.err
    assert not [word for word in passwords if word in done.out + done.err]


def test_the_probe_delivers_nothing(lab: LiveLab) -> None:
    """After an accepted probe the queue is empty and no mailbox has more than before."""
    before = lab.json("inbox", "alice")["messages"]
    assert lab.json("explain", "bob", "--to", "alice")["probed"]["code"] == 354
    assert lab.must("postfix", "postqueue", "-p").strip() == "Mail queue is empty"
    lab.run("send", "--from", "carol", "--to", "alice", "--subject", "A sentinel")
    after = lab.json("inbox", "alice")["messages"]
    assert len(after) <= len(before) + 1


def test_a_prediction_that_is_wrong_is_noticed(
    lab: LiveLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A configuration that is not the one in force, and a map that lies: both exit with 1."""
    execute = LabContainers.execute
    lies = {
        "permit_sasl_authenticated, reject": "reject",
        "alice\tOK": "alice\t554 5.7.1 no",
    }
    for name, value in {**lab.env, "LABCTL_NAME": lab.name}.items():
        monkeypatch.setenv(name, value)
    for truth, lie in lies.items():

        def lying(self, service, command, truth=truth, lie=lie):
            told = execute(self, service, command)
            return told.replace(truth, lie)

        monkeypatch.setattr(LabContainers, "execute", lying)
        assert cli.run(["explain", "alice"]) == 1
        assert "They DIFFER" in capsys.readouterr().out
    monkeypatch.setattr(LabContainers, "execute", execute)
    assert cli.run(["explain", "alice", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["agrees"]


def test_a_changed_rule_is_read_and_an_unknown_one_is_named(scratch: LiveLab) -> None:
    """The prediction follows main.cf, not the lab's profile; what it does not know is an error."""
    desk = Desk(scratch)
    assert not desk.explain("", RECIPIENTS["own domain"]).seen.reply.ok
    edit = "s/^hardened_null_sender = .*/hardened_null_sender =/"
    scratch.must("postfix", "sed", "-i", edit, "/etc/postfix/main.cf")
    scratch.must("postfix", "postfix", "reload")

    def agrees() -> Explanation | None:
        explanation = desk.explain("", RECIPIENTS["own domain"])
        return explanation if explanation.agrees else None

    explanation = poll(agrees, what="the reloaded Postfix", seconds=30)
    assert explanation.prediction.at_probe.stage is Stage.DATA
    edit = "s/check_sender_access ldap:/defer_if_permit, &/"
    scratch.must("postfix", "sed", "-i", edit, "/etc/postfix/main.cf")
    done = scratch.ran("explain", "bob")
    assert done.code == 2
    assert "'defer_if_permit' in smtpd_sender_restrictions" in done.err


REHEARSED = [
    *((policy, sender, "own domain", 587) for policy in STATES for sender in ("own", "null")),
    *(("offboarded", sender, "own domain", 465) for sender in ("foreign", "shared", "extension")),
    ("offboarded", "own", "unknown", 587),
    ("offboarded", "own", "postmaster", 587),
    ("offboarded", "own", "outside", 465),
    ("offboarded", "own", "own domain", 25),
    ("allowed", "foreign", "own domain", 587),
]


@pytest.mark.parametrize("profile", ["lab", "baseline"])
def test_a_rehearsed_policy_is_explained_and_goes_on(
    request: pytest.FixtureRequest, profile: str
) -> None:
    """Under shadow predictions and probes agree, and what is only warned of is shown as that."""
    lab = request.getfixturevalue(profile)
    desk = Desk(lab, changing=False)
    lab.run("shadow", "--on")
    try:
        for policy, sender, recipient, port in REHEARSED:
            desk.set(STATES[policy])
            explanation = desk.explain(SENDERS[sender], RECIPIENTS[recipient], port)
            seen, expected = explanation.seen, explanation.prediction.at_probe
            assert explanation.agrees, f"{policy} {sender} {recipient}: {expected}, seen {seen}"
            blocked = policy not in {"allowed", "absent"} and (sender, port) == ("own", 587)
            if blocked and recipient == "own domain":
                warned = [
                    line.stage
                    for line in explanation.prediction.lines
                    if line.said.verdict is Verdict.WARNS
                ]
                assert warned
                assert seen.stage is Stage.DATA
    finally:
        desk.set(STATES["allowed"])
        lab.run("shadow", "--off")


def test_a_directory_that_is_away_is_predicted_and_said(scratch: LiveLab) -> None:
    """Port 25 defers recipients it cannot look up; the directory's silence is no error."""
    desk = Desk(scratch)
    docker_do("stop", "-t", "2", scratch.container("openldap"))
    explanation = desk.explain(SENDERS["outside"], RECIPIENTS["own domain"], 25)
    assert explanation.prediction.at_probe.reply.codes() == "451 4.3.0"
    assert explanation.agrees
    assert explanation.person is None
    assert all(found.note for found in explanation.evidence.values())
