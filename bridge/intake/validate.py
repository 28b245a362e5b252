"""Validate: from the fields of a native alert to a Signal, every field checked and none passed over."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Protocol

from bridge.core.claims import Claims
from bridge.core.enums import Action, MarketPosition, OrdType, Product, Side, TimeInForce, Variety
from bridge.core.errors import RefusedError
from bridge.core.instrument import Instrument
from bridge.core.money import ZERO, to_text
from bridge.core.reasons import RefusalCode
from bridge.core.signal import Signal
from bridge.intake.fields import (
    Fields,
    check_values,
    read_number,
    read_positive,
    read_text,
    read_time,
    read_word,
    shown,
    words_of,
)
from bridge.intake.levels import read_protect, refuse_unprotected
from bridge.intake.scope import allowed_accounts, check_scope, check_strategy
from bridge.intake.unknown import find_lookalike, read_notes
from bridge.intake.verify import Credential
from bridge.settings import Settings, StrategySettings, WebhookSettings

MAX_ID_CHARS = 200
MAX_STRATEGY_CHARS = 40
_ACTIONS = {action.value.upper(): action for action in Action if action is not Action.TARGET}
_POSITIONS = words_of(MarketPosition)
_ORD_TYPES = {name: word for name, word in words_of(OrdType).items() if word is not OrdType.GTT}
_PRODUCTS = words_of(Product)
_TIMES_IN_FORCE = words_of(TimeInForce)
_VARIETIES = words_of(Variety)
# Zerodha's; the legs of the brokers that have fewer are for them to refuse.
MIN_LEGS, MAX_LEGS = 2, 50
# Six hours: a session is little longer.
MAX_VALIDITY_MINUTES = 360
# A buy is an entry only if the strategy is long after it, a sell only if it is short.
_OPENS = {Action.BUY: (Side.BUY, MarketPosition.LONG), Action.SELL: (Side.SELL, MarketPosition.SHORT)}
_SIGNS = {MarketPosition.LONG: 1, MarketPosition.FLAT: 0, MarketPosition.SHORT: -1}
_DIRECTIONS = frozenset({"LONG", "SHORT", "BULLISH", "BEARISH", "FLAT", "CLOSE"})


class Catalog(Protocol):
    """What can be traded."""

    def resolve(self, text: str) -> Instrument:
        """The one instrument that `text` can mean; RefusedError E_SYMBOL when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """How an order is to be placed."""

    ord_type: OrdType = OrdType.MARKET
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    variety: Variety = Variety.REGULAR
    iceberg_legs: int = 0
    validity_minutes: int = 0


_NO_TERMS = _Terms()


def read_signal(fields: Fields, credential: Credential, received_at: datetime, catalog: Catalog, settings: Settings) -> Signal:
    """The validated wish of a native alert; RefusedError names what is wrong, beyond the token's claims, or stale."""
    check_values(fields)
    notes = read_notes(fields, credential.secret_texts)
    read_id(fields)
    claims = credential.claims
    name, strategy = _read_strategy(fields, claims, settings)
    action, target = _read_wish(fields)
    state, prev = _read_states(fields, target)
    written = _read_symbol(fields)
    instrument = catalog.resolve(written)
    terms, quantity = _NO_TERMS, None
    if action is Action.MODIFY:
        terms, quantity = _read_change(fields)
    elif action is not Action.CANCEL:  # whatever else is in it must not keep a cancel from being one
        terms = _read_terms(fields)
        quantity = read_positive(fields, "quantity") if target is None else None
    side = _closing_side(action, state)
    if side is not None:
        action, quantity = Action.EXIT, _closing_quantity(quantity, strategy, state)
    product = _read_product(fields, claims, strategy)
    protect = read_protect(fields, action, target, terms.price)
    own_time = read_time(fields, "time")
    signal_at = own_time or received_at
    signal = Signal(
        strategy=name,
        symbol=instrument.symbol,
        action=action,
        accounts=strategy.accounts if claims is None else allowed_accounts(strategy, claims, settings),
        product=product,
        signal_at=signal_at,
        is_timed=own_time is not None,
        quantity=quantity,
        target=target,
        state=state,
        prev=prev,
        side=side,
        ord_type=terms.ord_type,
        price=terms.price,
        trigger_price=terms.trigger_price,
        time_in_force=terms.time_in_force,
        variety=terms.variety,
        iceberg_legs=terms.iceberg_legs,
        validity_minutes=terms.validity_minutes,
        max_notional=None if claims is None else claims.max_notional,
        protect=protect,
        notes=notes,
    )
    if claims is not None:
        check_scope(signal, claims, instrument=instrument, written=written, default_quantity=strategy.quantity)
    check_fresh(signal_at, received_at, settings.webhook)
    if protect is not None:
        for name in signal.accounts:
            if not settings.accounts[name].protects(product, signal.symbol):
                raise refuse_unprotected(protect, name, product, signal.symbol)
    return signal


def read_id(fields: Fields) -> str | None:
    """The alert's own idempotency key, 1 to 200 characters."""
    text = read_text(fields, "id")
    if text is not None and len(text) > MAX_ID_CHARS:
        raise _wrong("id", f"`id` is longer than {MAX_ID_CHARS} characters.")
    return text


def check_fresh(signal_at: datetime, received_at: datetime, webhook: WebhookSettings) -> None:
    """RefusedError E_STALE when the alert's own time is too old or too far ahead; the limits themselves are allowed."""
    age = received_at - signal_at
    if age > timedelta(seconds=webhook.freshness_s):
        raise RefusedError(
            RefusalCode.E_STALE,
            f"The alert is {_seconds(age)} s old; at most {webhook.freshness_s} s are allowed.",
            field="time",
            hint="Fill `time` with {{timenow}}: {{time}} is when the bar opened. webhook.freshness_s sets the limit.",
        )
    if -age > timedelta(seconds=webhook.future_s):
        raise RefusedError(
            RefusalCode.E_STALE,
            f"The alert's time is {_seconds(-age)} s in the future; at most {webhook.future_s} s are allowed.",
            field="time",
            hint="Check the clock of this machine and the zone of the time.",
        )


def _read_strategy(fields: Fields, claims: Claims | None, settings: Settings) -> tuple[str, StrategySettings]:
    name = read_text(fields, "strategy")
    if claims is not None:
        if name is not None:
            check_strategy(name, claims)
        name = claims.strategy
    if name is None:
        raise _missing(fields, "strategy", "Name one of the strategies in the settings.")
    strategy = settings.strategies.get(name)
    if strategy is None:
        near = get_close_matches(name[:MAX_STRATEGY_CHARS], settings.strategies)
        hint = f"Near it: {', '.join(near)}." if near else f"There are {', '.join(sorted(settings.strategies)[:10])}."
        raise _wrong("strategy", f"There is no strategy {shown(name)} in the settings.", hint)
    return name, strategy


def _read_wish(fields: Fields) -> tuple[Action, Decimal | None]:
    target = read_number(fields, "target")
    text = read_text(fields, "action")
    if target is not None:
        for other in ("action", "quantity"):
            if read_text(fields, other) is not None:
                raise _wrong(other, f"`{other}` does not go with `target`.", "Send a target, or an action and a quantity.")
        return Action.TARGET, target
    if text is None:
        raise _missing(fields, "action", "It is buy, sell, exit, cancel or modify; or send a `target`.")
    action = _ACTIONS.get(text.upper())
    if action is None:
        hint = "It is buy, sell, exit, cancel or modify."
        if text.upper() in _DIRECTIONS:
            hint += ' To follow a position, send "target": "{{strategy.position_size}}" instead.'
        raise _wrong("action", f"`action` is {shown(text)}, which the bridge does not know.", hint)
    return action, None


def _read_states(fields: Fields, target: Decimal | None) -> tuple[MarketPosition | None, MarketPosition | None]:
    state = read_word(fields, "state", _POSITIONS)
    prev = read_word(fields, "prev", _POSITIONS)
    if state is not None and target is not None and target.compare(ZERO) != _SIGNS[state]:
        raise _wrong(
            "state",
            f"`state` is {state} and `target` is {to_text(target)}: they contradict each other.",
            "Fill them with {{strategy.market_position}} and {{strategy.position_size}}.",
        )
    return state, prev


def _closing_side(action: Action, state: MarketPosition | None) -> Side | None:
    """The side of a buy or sell that only closes, by where the strategy stands after it; None for whatever else there is.

    What it would close may be gone already, by a stop at the broker or by hand; as an entry it would then open.
    """
    side, opened = _OPENS.get(action, (None, None))
    return None if state is None or state is opened else side


def _closing_quantity(quantity: Decimal | None, strategy: StrategySettings, state: MarketPosition | None) -> Decimal | None:
    """How much a buy or sell closes, at most; None is everything, and only where the strategy is flat after it."""
    quantity = quantity if quantity is not None else strategy.quantity
    if quantity is None and state is not MarketPosition.FLAT:
        raise _wrong("quantity", "`quantity` is missing.", "How much is closed cannot be known without it.")
    return quantity


def _read_symbol(fields: Fields) -> str:
    symbol = read_text(fields, "symbol")
    if symbol is None:
        raise _missing(fields, "symbol", "Write it like NSE:SBIN, or as {{exchange}}:{{ticker}}.")
    exchange = read_text(fields, "exchange")
    return symbol if exchange is None or ":" in symbol else f"{exchange}:{symbol}"


def _read_product(fields: Fields, claims: Claims | None, strategy: StrategySettings) -> Product:
    product = read_word(fields, "product", _PRODUCTS)
    if product is None and claims is not None:
        product = claims.product
    return product or strategy.product


def _read_terms(fields: Fields) -> _Terms:
    ord_type = read_word(fields, "order_type", _ORD_TYPES, RefusalCode.E_UNSUPPORTED) or OrdType.MARKET
    time_in_force = read_word(fields, "time_in_force", _TIMES_IN_FORCE, RefusalCode.E_UNSUPPORTED) or TimeInForce.DAY
    variety = read_word(fields, "variety", _VARIETIES, RefusalCode.E_UNSUPPORTED) or Variety.REGULAR
    _check_together(variety, time_in_force)
    price = read_positive(fields, "price")
    trigger_price = read_positive(fields, "trigger_price")
    if ord_type.needs_price and price is None:
        raise _wrong("price", f"A {ord_type} order needs a `price`.")
    if ord_type.needs_trigger and trigger_price is None:
        raise _wrong("trigger_price", f"A {ord_type} order needs a `trigger_price`.")
    if trigger_price is not None and not ord_type.needs_trigger:
        raise _wrong("trigger_price", f"`trigger_price` does not go with a {ord_type} order.", "Use SL or SL-M.")
    return _Terms(
        ord_type=ord_type,
        price=price,
        trigger_price=trigger_price,
        time_in_force=time_in_force,
        variety=variety,
        iceberg_legs=_read_count(fields, "iceberg_legs", MIN_LEGS, MAX_LEGS, is_needed=variety is Variety.ICEBERG),
        validity_minutes=_read_count(
            fields, "validity_minutes", 1, MAX_VALIDITY_MINUTES, is_needed=time_in_force is TimeInForce.TTL
        ),
    )


def _check_together(variety: Variety, time_in_force: TimeInForce) -> None:
    """An order for the next session, or in legs, is not one that has to fill at once or within minutes of now."""
    allowed = {
        Variety.REGULAR: tuple(TimeInForce),
        Variety.AMO: (TimeInForce.DAY,),
        Variety.ICEBERG: (TimeInForce.DAY, TimeInForce.TTL),
    }[variety]
    if time_in_force not in allowed:
        hint = f"With this variety it can be {' or '.join(allowed)}."
        raise _wrong("time_in_force", f"`time_in_force` {time_in_force} does not go with `variety` {variety}.", hint)


_NEEDED_BY = {"iceberg_legs": "`variety` iceberg", "validity_minutes": "`time_in_force` TTL"}


def _read_count(fields: Fields, name: str, least: int, most: int, *, is_needed: bool) -> int:
    """A whole number within bounds, there exactly when it is needed; else zero."""
    number = read_positive(fields, name)
    if not is_needed:
        if number is not None:
            raise _wrong(name, f"`{name}` goes with {_NEEDED_BY[name]} only.", "Leave it out.")
        return 0
    if number is None:
        raise _wrong(name, f"{_NEEDED_BY[name]} needs `{name}`.", f"A whole number from {least} to {most}.")
    if number != number.to_integral_value() or not least <= number <= most:
        raise _wrong(name, f"`{name}` is {shown(to_text(number))}; it is a whole number from {least} to {most}.")
    return int(number)


def _read_change(fields: Fields) -> tuple[_Terms, Decimal | None]:
    """What a change makes of an order: at least one of its quantity and prices; its type only says which order is meant."""
    for name in ("time_in_force", "validity_minutes", "variety", "iceberg_legs"):
        if read_text(fields, name) is not None:
            raise _wrong(
                name, f"`{name}` of an order cannot be changed.", "Leave it out, or cancel the order and send another."
            )
    terms = _Terms(
        ord_type=read_word(fields, "order_type", _ORD_TYPES, RefusalCode.E_UNSUPPORTED) or OrdType.MARKET,
        price=read_positive(fields, "price"),
        trigger_price=read_positive(fields, "trigger_price"),
    )
    quantity = read_positive(fields, "quantity")
    if terms.price is None and terms.trigger_price is None and quantity is None:
        hint = "Name a new `price`, `trigger_price` or `quantity`; the quantity counts what is filled too."
        raise _wrong("price", "The alert does not say what to change.", hint)
    return terms, quantity


def _seconds(age: timedelta) -> str:
    return to_text(Decimal(age // timedelta(milliseconds=1)) / 1000)


def _wrong(field: str, message: str, hint: str | None = None) -> RefusedError:
    return RefusedError(RefusalCode.E_FIELD, message, field=field, hint=hint)


def _missing(fields: Fields, field: str, hint: str) -> RefusedError:
    meant = find_lookalike(fields, field)
    if meant is not None:
        hint = f"There is a `{meant}`; write `{field}`. {hint}"
    return _wrong(field, f"`{field}` is missing.", hint)
