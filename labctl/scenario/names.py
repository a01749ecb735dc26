"""How a scenario names a sender or recipient, in a way that holds in every domain.

`alice` is the account's primary address; `alice:reports` the secondary address of hers whose
local part is `reports`; `alice+news` her primary address with an extension. What holds an `@` is
an address as it stands, and nothing at all is the null sender.
"""

from labctl.endpoints import Account, Endpoints
from labctl.errors import UsageError

PROGRAM_NAMES = (
    "`postfix`, `dovecot`, `policy-admin`, `directory-admin`, or `stranger`, who gives no name"
)


def account_of(name: str) -> str | None:
    """Return the account that a name means, or None if it is an address or empty."""
    if not name or "@" in name:
        return None
    return name.partition(":")[0].partition("+")[0]


def address_of(name: str, account: Account) -> str:
    """Return the address that a name of this account means.

    Raises UsageError if it names a secondary address that the account does not have.
    """
    base, _, local = name.partition(":")
    if local:
        for alias in account.aliases:
            if alias.partition("@")[0] == local:
                return alias
        raise UsageError(
            f"{account.name} has no secondary address {local!r}",
            f"Known are: {', '.join(account.aliases) or 'none'}.",
        )
    extension = base.removeprefix(account.name)
    user, at, domain = account.address.partition("@")
    return f"{user}{extension}{at}{domain}"


def planned_address(endpoints: Endpoints, name: str) -> str:
    """Return the address that a name means, where that is known before the run, else the name."""
    account = endpoints.accounts.get(account_of(name) or "")
    try:
        return name if account is None else address_of(name, account)
    except UsageError:
        return name
