"""Hold a signal against the claims of the token that brought it. Everything outside is E_SCOPE and names its field."""

from decimal import Decimal

from bridge.core.claims import Claims
from bridge.core.enums import Action, Side
from bridge.core.errors import RefusedError
from bridge.core.instrument import Instrument
from bridge.core.money import to_text
from bridge.core.reasons import RefusalCode
from bridge.core.signal import Signal
from bridge.settings import Settings, StrategySettings

_ADDS_EXPOSURE = frozenset({Action.BUY, Action.SELL, Action.TARGET})
_ENTRIES = frozenset({Action.BUY, Action.SELL})
_WRITTEN = {Side.BUY: Action.BUY, Side.SELL: Action.SELL}


def check_strategy(name: str, claims: Claims) -> None:
    """The token is for one strategy."""
    if name != claims.strategy:
        raise _refused("strategy", f"The token is for the strategy {claims.strategy!r}, not for this one.")


def allowed_accounts(strategy: StrategySettings, claims: Claims, settings: Settings) -> tuple[str, ...]:
    """The strategy's accounts that the token may use; E_SCOPE when there is none."""
    accounts = tuple(
        name
        for name in strategy.accounts
        if (not claims.accounts or name in claims.accounts) and claims.env in (None, account_env(name, settings))
    )
    if not accounts:
        raise _refused("accounts", "The token may use none of the strategy's accounts.")
    return accounts


def account_env(name: str, settings: Settings) -> str:
    """`paper` or `live`."""
    return "paper" if settings.accounts[name].is_paper else "live"


def check_scope(
    signal: Signal, claims: Claims, *, instrument: Instrument, written: str, default_quantity: Decimal | None
) -> None:
    """RefusedError E_SCOPE when the signal goes beyond the claims.

    `written` is the symbol as the alert has it: a token for NSE:NIFTY1! covers whatever contract that is today.
    `default_quantity` is the size of an entry that names none.
    """
    if claims.symbols and not _covers(claims.symbols, instrument, written):
        raise _refused("symbol", f"The token does not cover {signal.symbol}.")
    action = signal.action if signal.side is None else _WRITTEN[signal.side]
    if claims.actions and action not in claims.actions:
        allowed = ", ".join(sorted(claims.actions))
        raise _refused("action" if signal.target is None else "target", f"The token allows only {allowed}.")
    if claims.product is not None and signal.product is not claims.product:
        raise _refused("product", f"The token is for {claims.product}, not for {signal.product}.")
    quantity = _quantity_of(signal, default_quantity)
    if quantity is not None:
        _check_size(signal, claims, quantity, instrument)


def _covers(symbols: frozenset[str], instrument: Instrument, written: str) -> bool:
    return instrument.symbol in symbols or f"{instrument.exchange}:*" in symbols or written.upper() in symbols


def _quantity_of(signal: Signal, default: Decimal | None) -> Decimal | None:
    if signal.target is not None:
        return abs(signal.target)
    if signal.quantity is None and signal.action in _ENTRIES:
        return default
    return signal.quantity


def _check_size(signal: Signal, claims: Claims, quantity: Decimal, instrument: Instrument) -> None:
    field = "quantity" if signal.target is None else "target"
    if claims.max_quantity is not None and quantity > claims.max_quantity:
        raise _refused(field, f"The token allows at most {to_text(claims.max_quantity)} units, not {to_text(quantity)}.")
    price = signal.price or signal.trigger_price
    if claims.max_notional is None or price is None or signal.action not in _ADDS_EXPOSURE:
        return
    notional = quantity * price * instrument.multiplier
    if notional > claims.max_notional:
        message = f"The token allows at most ₹{to_text(claims.max_notional)} an order, not ₹{to_text(notional)}."
        raise _refused(field, message)


def _refused(field: str, message: str) -> RefusedError:
    hint = "Change the alert, or make a wider token with `bridge alert new`."
    return RefusedError(RefusalCode.E_SCOPE, message, field=field, hint=hint)
