"""The ledger of mail that was submitted while servers failed, held against a mailbox."""

from labctl.bench.accounting import Balance, Ledger


def balance(found: list[str], **told: int) -> Balance:
    """Return it for messages of these names, each with its tries without an answer."""
    accepted = {f"<sent.{name}@labctl.invalid>": missed for name, missed in told.items()}
    return Balance.of(Ledger(accepted=accepted), found)


def test_what_was_accepted_and_is_not_there_is_lost() -> None:
    """Each is named."""
    found = balance(["<sent.a@labctl.invalid>"], a=0, b=3)
    assert found.lost == ("<sent.b@labctl.invalid>",)
    assert (found.let_through, found.unasked) == ((), 0)


def test_copies_are_told_apart_by_their_cause() -> None:
    """Two tries without an answer account for two copies; a further one is Postfix's."""
    copies = ["<sent.a@labctl.invalid>"] * 4 + ["<sent.b@labctl.invalid>"] * 2
    found = balance(copies, a=2, b=0)
    assert (found.sent_again, found.delivered_again, found.lost) == (2, 2, ())


def test_mail_of_somebody_blocked_counts_whether_it_was_acknowledged_or_is_there() -> None:
    """Either is a hole."""
    ledger = Ledger(let_through=["<blocked.1@labctl.invalid>"])
    found = Balance.of(ledger, ["<blocked.2@labctl.invalid>"])
    assert found.let_through == ("<blocked.1@labctl.invalid>", "<blocked.2@labctl.invalid>")
    assert found.unasked == 0


def test_what_had_no_answer_and_is_there_is_told() -> None:
    """It is no copy, and nothing is lost."""
    found = balance(["<sent.z@labctl.invalid>"])
    assert (found.unasked, found.lost, found.sent_again) == (1, (), 0)
