"""What every order must be, whoever sends it and however small: one function per rule, None when it is kept."""

from datetime import timedelta
from decimal import Decimal

from bridge.core.clock import IST
from bridge.core.decision import Denied
from bridge.core.enums import InstrumentKind, OrdType, Product, Side, TimeInForce, Variety
from bridge.core.money import ZERO, is_multiple, rupees, to_text
from bridge.core.reasons import Reason
from bridge.core.scope import account_scope
from bridge.risk.context import Case
from bridge.risk.halt import may_send

_DIGITS_OF_RUPEES = 24  # beyond this no amount is meant seriously, and two decimals no longer fit a Decimal's precision


def money(value: Decimal) -> str:
    """Rupees as a trader reads them."""
    return f"₹{rupees(value)}" if value.adjusted() < _DIGITS_OF_RUPEES else f"₹{value:.2E}"


def signal_fresh(case: Case) -> Denied | None:
    """An entry's signal is at most `max_age_s` old when its turn comes; exits are never too old."""
    limit, age = case.ctx.max_age_s, case.ctx.now - case.intent.signal_at
    if age <= timedelta(seconds=limit):
        return None
    seconds = -(-age // timedelta(seconds=1))  # rounded up, so that it reads as more than the limit
    return Denied(
        reason=Reason.STALE,
        message=f"The signal was {seconds} s old when its turn came; at most {limit} s are allowed.",
        limit=f"{limit} s",
        observed=f"{seconds} s",
    )


def only_closes(case: Case) -> Denied | None:
    """An order marked as an exit fits into the position, less what open orders close already."""
    quantity = case.intent.order_qty
    if quantity <= case.closable and case.closable:
        return None
    held, room = case.ledger.position_qty(case.key), to_text(case.closable)
    return Denied(
        reason=Reason.EXIT_IN_FLIGHT if held else Reason.FLAT,
        message=f"An exit of {to_text(quantity)} could open a position: {room} of {to_text(held)} can be closed.",
        limit=room,
        observed=to_text(quantity),
    )


def trading_state(case: Case) -> Denied | None:
    """No halt of everything, the account or the strategy forbids the order; REDUCING lets exits out, HALTED nothing."""
    intent = case.intent
    return may_send(case.ledger.states_over(intent.account, intent.strategy), reduce_only=intent.reduce_only)


def position_sure(case: Case) -> Denied | None:
    """The broker's position and ours do not differ for the instrument, or a person has accepted the difference as it is."""
    hold = case.ledger.holds.values.get((case.intent.account, case.intent.symbol))
    if hold is None or hold.accepted_by:
        return None
    return Denied(reason=Reason.POSITION_UNSURE, message=f"{Reason.POSITION_UNSURE.sentence} {hold.message}".strip())


def tradable(case: Case) -> Denied | None:
    """The instrument is no index, and its contract has not expired by the day in India."""
    instrument = case.instrument
    kind, expiry = instrument.kind, instrument.expiry
    if kind is InstrumentKind.EQ:
        return None
    if kind is InstrumentKind.INDEX:
        message = f"{instrument.symbol} is an index: it can be quoted but not traded."
        return Denied(reason=Reason.NOT_TRADABLE, message=message)
    today = case.ctx.now.astimezone(IST).date()
    # An exit may go out with the expiry unknown: the broker knows it, and a position must not be locked in.
    if expiry >= today if expiry else case.intent.reduce_only:
        return None
    return Denied(
        reason=Reason.INSTRUMENT_EXPIRED,
        message=f"The contract {instrument.symbol} expired on {expiry or 'a day that is not known'}; today is {today}.",
        limit=str(expiry or ""),
        observed=str(today),
    )


def offered(case: Case) -> Denied | None:
    """The account's broker takes orders of this variety and time in force."""
    intent, offer = case.intent, case.ctx.offer
    if intent.variety not in offer.varieties:
        name, observed, taken = "variety", intent.variety.value, sorted(map(str, offer.varieties))
    elif intent.time_in_force not in offer.times_in_force:
        name, observed, taken = "time in force", intent.time_in_force.value, sorted(map(str, offer.times_in_force))
    else:
        return None
    limit = ", ".join(taken)
    return Denied(
        reason=Reason.NOT_OFFERED,
        message=f"The broker of account {intent.account} does not take orders of {name} {observed}, only {limit}.",
        scope=str(account_scope(intent.account)),
        limit=limit,
        observed=observed,
    )


def session_open(case: Case) -> Denied | None:
    """The market is open for this kind of order, as far as the calendar knows."""
    session = case.ctx.session
    if session.is_open:
        return None
    reason = session.reason or Reason.MARKET_CLOSED
    message = session.message or reason.sentence
    may_wait = case.intent.variety is Variety.REGULAR and case.intent.time_in_force is TimeInForce.DAY
    if reason is Reason.MARKET_CLOSED and may_wait and Variety.AMO in case.ctx.offer.varieties:
        message += ' An order for the next session says "variety": "amo", once the day is over.'
    return Denied(reason=reason, message=message)


def before_square_off(case: Case) -> Denied | None:
    """An intraday order (MIS) comes before the time at which the day's intraday positions in its instrument are closed."""
    end, intent, now = case.ctx.intraday_end, case.intent, case.ctx.now
    if end is None or intent.product is not Product.MIS or intent.variety is Variety.AMO or now < end:
        return None
    at = f"{end.astimezone(IST):%H:%M} IST"
    return Denied(
        reason=Reason.AFTER_SQUARE_OFF,
        message=f"MIS positions in {intent.symbol} are closed from {at} on; no new one is opened today.",
        limit=at,
        observed=f"{now.astimezone(IST):%H:%M:%S} IST",
    )


def whole_lots(case: Case) -> Denied | None:
    """The quantity is a whole number of lots; an exit of all that can be closed may leave no odd units behind."""
    quantity, lot = case.intent.order_qty, case.instrument.lot
    if quantity > 0 and lot > 0 and is_multiple(quantity, lot):
        return None
    if case.intent.reduce_only and quantity == case.closable:
        return None
    symbol = case.instrument.symbol
    return Denied(
        reason=Reason.LOT,
        message=f"{to_text(quantity)} units of {symbol} are not a whole number of lots of {to_text(lot)}.",
        limit=to_text(lot),
        observed=to_text(quantity),
    )


def prices_on_tick(case: Case) -> Denied | None:
    """The prices that the order type needs are there, and are whole numbers of ticks."""
    intent = case.intent
    kind = intent.ord_type
    if kind is OrdType.MARKET:
        return None
    if kind.needs_price and (denied := _on_tick(case, "limit price", intent.price)):
        return denied
    return _on_tick(case, "trigger price", intent.trigger_price) if kind.needs_trigger else None


def _on_tick(case: Case, name: str, price: Decimal | None) -> Denied | None:
    if price is None:
        message = f"A {case.intent.ord_type} order needs a {name}, and it has none."
        return Denied(reason=Reason.NO_PRICE, message=message)
    tick = case.instrument.tick
    if price > 0 and tick > 0 and is_multiple(price, tick):
        return None
    return Denied(
        reason=Reason.TICK,
        message=f"The {name} of {to_text(price)} is not a whole number of ticks of {to_text(tick)}.",
        limit=to_text(tick),
        observed=to_text(price),
    )


def short_allowed(case: Case) -> Denied | None:
    """A product that cannot be short does not become so, even if every sell under way fills and no buy does."""
    intent = case.intent
    if intent.side is Side.BUY or intent.product.may_short:
        return None
    short = case.reach + intent.order_qty
    if short <= ZERO:
        return None
    return Denied(
        reason=Reason.SHORT_NOT_ALLOWED,
        message=f"{intent.product} cannot be short; with this sell it could be, by {to_text(short)} units.{_own_shares(case)}",
        limit="0",
        observed=to_text(-short),
    )


def _own_shares(case: Case) -> str:
    """What to say of shares in the account that were not bought through the bridge."""
    intent = case.intent
    holdings = case.ledger.holdings.values.get(intent.account, ())
    if not any(holding.symbol == intent.symbol and holding.product is intent.product for holding in holdings):
        return ""
    return f" The {intent.symbol} that lies in the account from before was not bought by the bridge, and is not sold by it."


def price_known(case: Case) -> Denied | None:
    """There is a price to reckon the order with: its own, or for a market order the latest of the instrument."""
    if case.price is not None:
        return None
    return Denied(
        reason=Reason.NO_PRICE, message=f'No price is known for {case.intent.symbol}; send "price": "{{{{close}}}}" along.'
    )


def token_notional(case: Case) -> Denied | None:
    """The order is worth no more than the token that vouched for it allows."""
    limit = case.intent.max_notional
    if limit is None or case.value <= limit:
        return None
    return Denied(
        reason=Reason.TOKEN_NOTIONAL,
        message=f"The order is worth {money(case.value)}; the token allows at most {money(limit)}.",
        scope="token",
        limit=money(limit),
        observed=money(case.value),
    )
