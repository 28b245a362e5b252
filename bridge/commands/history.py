"""Where `bridge bars fetch` gets its bars: an account's broker, asked beside the bridge that trades and not by it."""

from bridge.brokers.base import History
from bridge.commands.client import CommandError, open_reads
from bridge.core.clock import Clock
from bridge.core.errors import ConfigError
from bridge.settings import KITE_ROOT, AccountSettings, Settings
from bridge.vault import Vault


def open_history(settings: Settings, account: str | None, clock: Clock) -> History:
    """The history of an account's broker, of the only one that has any when `account` is None; CommandError says the mend.

    A program of its own, since sixty days of minutes take a second to read, which orders would wait for. Kite counts these
    requests apart from all others.
    """
    from bridge.brokers.kite.history import KiteHistory, StoredToken

    name, chosen = _choose(settings, account)
    record = open_reads(settings).broker_sessions().get(name)
    tokens = StoredToken(name, record, api_key=chosen.api_key, vault=Vault(settings), clock=clock)
    if why := tokens.why():
        raise CommandError(why)
    return KiteHistory(api_key=chosen.api_key, root=chosen.root or KITE_ROOT, tokens=tokens)


def _choose(settings: Settings, account: str | None) -> tuple[str, AccountSettings]:
    able = {name: one for name, one in settings.accounts.items() if one.broker == "kite"}
    if account is not None and account not in settings.accounts:
        raise ConfigError(f"there is no account {account!r}; accounts are {', '.join(settings.accounts)}")
    if account is None and len(able) == 1:
        account = next(iter(able))
    if account not in able:
        told = f"choose one with --account: {', '.join(able)}" if able else "no account is at a broker that gives any"
        raise CommandError(f"past bars come from a broker; {told}. Bars of a file: bridge bars import")
    return account, able[account]
