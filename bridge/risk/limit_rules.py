"""What an entry may not exceed: one function per limit, asked for the account and again for the strategy in it."""

from decimal import Decimal

from bridge.core.clock import market_day, to_us
from bridge.core.decision import Denied
from bridge.core.enums import OrdType
from bridge.core.money import PAISA, ZERO, to_text
from bridge.core.reasons import Reason
from bridge.risk.context import Scoped
from bridge.risk.rules import money


def _over(scoped: Scoped, reason: Reason, message: str, *, limit: str, observed: str, trips_halt: bool = False) -> Denied:
    return Denied(
        reason=reason,
        message=f"{message} ({scoped.name}).",
        scope=scoped.name,
        limit=limit,
        observed=observed,
        trips_halt=trips_halt,
    )


def _missing(scoped: Scoped, reason: Reason, message: str) -> Denied:
    return Denied(reason=reason, message=f"{message} ({scoped.name}).", scope=scoped.name)


def symbol_allowed(scoped: Scoped) -> Denied | None:
    """The symbol is on the scope's list, when it has one."""
    allowed, symbol = scoped.limits.allowed_symbols, scoped.case.intent.symbol
    if not allowed or symbol in allowed:
        return None
    return _over(
        scoped,
        Reason.SYMBOL_NOT_ALLOWED,
        f"{symbol} is not one of the {len(allowed)} symbols allowed",
        limit=" ".join(sorted(allowed)),
        observed=symbol,
    )


def not_banned(scoped: Scoped) -> Denied | None:
    """The exchange has not put the underlying under its F&O ban today; with `require_ban_list` that must be known."""
    ruling, symbol = scoped.case.ctx.ruling, scoped.case.intent.symbol
    if ruling.is_banned:
        return Denied(reason=Reason.FNO_BAN, message=f"{symbol}: {Reason.FNO_BAN.sentence}")
    if ruling.is_banned is None and scoped.limits.require_ban_list:
        return _missing(scoped, Reason.BAN_UNKNOWN, f"Whether {symbol} is under today's F&O ban is not known")
    return None


def price_in_band(scoped: Scoped) -> Denied | None:
    """The prices of the order lie in the band that the exchange takes today; with `require_price_band` it must be known."""
    ruling, intent = scoped.case.ctx.ruling, scoped.case.intent
    kind = intent.ord_type
    prices = [intent.price] if kind.needs_price else []
    prices += [intent.trigger_price] if kind.needs_trigger else []
    if ruling.low is None or ruling.high is None:
        if not scoped.limits.require_price_band:
            return None
        return _missing(scoped, Reason.BAND_UNKNOWN, f"Today's price band of {intent.symbol} is not known")
    for price in prices:
        if price is not None and not ruling.low <= price <= ruling.high:
            band = f"{to_text(ruling.low)} to {to_text(ruling.high)}"
            message = f"{to_text(price)} lies outside today's price band of {intent.symbol}, {band}."
            return Denied(reason=Reason.PRICE_BAND, message=message, limit=band, observed=to_text(price))
    return None


def price_young(scoped: Scoped) -> Denied | None:
    """The latest price, where the order is reckoned with it, is not older than the limit."""
    limit = scoped.limits.max_price_age_s
    intent = scoped.case.intent
    if limit is None or intent.ord_type is not OrdType.MARKET:
        return None
    age_us = to_us(scoped.case.ctx.now) - to_us(scoped.case.ledger.marks.values[intent.symbol].at)
    if age_us <= limit * 1_000_000:
        return None
    age = f"{-(-age_us // 1_000_000)} s"
    return _over(
        scoped,
        Reason.PRICE_STALE,
        f"The latest price of {intent.symbol} is {age} old; at most {to_text(limit)} s are allowed",
        limit=f"{to_text(limit)} s",
        observed=age,
    )


def order_qty(scoped: Scoped) -> Denied | None:
    """The order is not larger than the limit, in units."""
    limit, quantity = scoped.limits.max_order_qty, scoped.case.order_qty
    if limit is None or quantity <= limit:
        return None
    return _over(
        scoped,
        Reason.MAX_ORDER_QTY,
        f"The order is for {to_text(quantity)} units; at most {to_text(limit)} are allowed",
        limit=to_text(limit),
        observed=to_text(quantity),
    )


def order_value(scoped: Scoped) -> Denied | None:
    """The order is not worth more than the limit: quantity x dearest price x multiplier."""
    limit = scoped.limits.max_order_value
    if limit is None:
        return None
    value = scoped.case.value
    if value <= limit:
        return None
    return _over(
        scoped,
        Reason.MAX_ORDER_VALUE,
        f"The order is worth {money(value)}; at most {money(limit)} is allowed",
        limit=money(limit),
        observed=money(value),
    )


def position_qty(scoped: Scoped) -> Denied | None:
    """The position stays within the limit if this order and all under way on its side fill, and none of the other."""
    limit = scoped.limits.max_position_qty
    if limit is None:
        return None
    intent = scoped.case.intent
    worst = scoped.reach() + intent.order_qty
    if worst <= limit:
        return None
    return _over(
        scoped,
        Reason.MAX_POSITION_QTY,
        f"The position in {intent.symbol} could become {to_text(worst * intent.side.sign)} units, "
        f"counting orders under way; at most {to_text(limit)} are allowed",
        limit=to_text(limit),
        observed=to_text(worst),
    )


def exposure(scoped: Scoped) -> Denied | None:
    """All that is held, at market, with all that orders under way and this one may add, stays within the limit."""
    limit = scoped.limits.max_exposure
    if limit is None:
        return None
    book = scoped.book
    unknown = book.unmarked or book.unpriced
    if unknown:
        return _missing(scoped, Reason.NO_PRICE, f"The exposure is not known, for no price is known for {unknown}")
    if book.exposure <= limit:
        return None
    return _over(
        scoped,
        Reason.MAX_EXPOSURE,
        f"The total exposure could become {money(book.exposure)}, counting orders under way; at most {money(limit)} is allowed",
        limit=money(limit),
        observed=money(book.exposure),
    )


def open_positions(scoped: Scoped) -> Denied | None:
    """No more instruments are held or being entered than the limit."""
    limit = scoped.limits.max_open_positions
    if limit is None:
        return None
    count = scoped.book.open_positions
    if count <= limit:
        return None
    return _over(
        scoped,
        Reason.MAX_OPEN_POSITIONS,
        f"There could be {count} open positions, counting orders under way; at most {limit} are allowed",
        limit=str(limit),
        observed=str(count),
    )


def order_rate(scoped: Scoped) -> Denied | None:
    """No more orders are made in a minute than the limit."""
    limit = scoped.limits.max_orders_per_minute
    if limit is None or scoped.case.ctx.replaced is not None:
        return None
    count = len(scoped.order_times()) + 1
    if count <= limit:
        return None
    return _over(
        scoped,
        Reason.ORDER_RATE,
        f"This would be order {count} within a minute; at most {limit} are allowed",
        limit=str(limit),
        observed=str(count),
    )


def symbol_order_rate(scoped: Scoped) -> Denied | None:
    """No more orders are made in a minute for one symbol than the limit."""
    limit = scoped.limits.max_orders_per_minute_per_symbol
    if limit is None or scoped.case.ctx.replaced is not None:
        return None
    symbol = scoped.case.intent.symbol
    count = len(scoped.order_times(symbol)) + 1
    if count <= limit:
        return None
    return _over(
        scoped,
        Reason.SYMBOL_ORDER_RATE,
        f"This would be order {count} for {symbol} within a minute; at most {limit} are allowed",
        limit=str(limit),
        observed=str(count),
    )


def order_gap(scoped: Scoped) -> Denied | None:
    """The order before it for the same symbol is at least as long ago as the limit."""
    limit = scoped.limits.min_order_gap_s
    if limit is None or scoped.case.ctx.replaced is not None:
        return None
    symbol = scoped.case.intent.symbol
    times = scoped.order_times(symbol)
    if not times:
        return None
    gap_us = to_us(scoped.case.ctx.now) - times[-1]
    if gap_us >= limit * 1_000_000:
        return None
    gap = f"{gap_us // 1_000} ms"
    return _over(
        scoped,
        Reason.ORDER_GAP,
        f"The order before it for {symbol} was made {gap} ago; at least {to_text(limit)} s must pass",
        limit=f"{to_text(limit)} s",
        observed=gap,
    )


def daily_loss(scoped: Scoped) -> Denied | None:
    """The day's loss, realised, charged and on paper, is below the limit."""
    limit = scoped.limits.max_daily_loss
    if limit is None:
        return None
    loss = _loss_today(scoped)
    if isinstance(loss, Denied):
        return loss
    if loss < limit:
        return None
    return _over(
        scoped,
        Reason.MAX_DAILY_LOSS,
        f"The day's loss is {money(loss)} and has reached the limit of {money(limit)}",
        limit=money(limit),
        observed=money(loss),
        trips_halt=True,
    )


def daily_loss_pct(scoped: Scoped) -> Denied | None:
    """The day's loss is below the limit in percent of the account's opening equity."""
    limit = scoped.limits.max_daily_loss_pct
    if limit is None:
        return None
    loss = _loss_today(scoped)
    if isinstance(loss, Denied):
        return loss
    equity = scoped.case.ledger.days.values[scoped.case.intent.account].opening_equity
    if equity is None or equity <= 0:
        return _missing(scoped, Reason.EQUITY_UNKNOWN, "The day's opening equity is not known or not positive")
    if loss * 100 < limit * equity:
        return None
    percent = to_text((loss * 100 / equity).quantize(PAISA))
    return _over(
        scoped,
        Reason.MAX_DAILY_LOSS_PCT,
        f"The day's loss is {money(loss)}, {percent} % of the opening equity of {money(equity)}, "
        f"and has reached the limit of {to_text(limit)} %",
        limit=f"{to_text(limit)} %",
        observed=f"{percent} %",
        trips_halt=True,
    )


def _loss_today(scoped: Scoped) -> Decimal | Denied:
    ctx = scoped.case.ctx
    day = ctx.ledger.days.values.get(ctx.intent.account)
    if day is None or day.day != market_day(ctx.now):
        return _missing(scoped, Reason.EQUITY_UNKNOWN, "Nothing is known of today's profit and loss")
    book = scoped.book
    if book.unmarked:
        message = f"The day's loss is not known, for no price is known for {book.unmarked}"
        return _missing(scoped, Reason.NO_PRICE, message)
    if scoped.strategy is not None:
        # What a strategy carried into the day on paper is not recorded apart, so all of its paper result counts as today's.
        return -(day.by_strategy.get(scoped.strategy, ZERO) + book.unrealized())
    return day.charges + day.opening_unrealized - day.realized_pnl - book.unrealized()


def buying_power(scoped: Scoped) -> Denied | None:
    """What orders under way and this one may add, by leverage, is covered by the money the broker says is available.

    Orders of another product count in full: their leverage is not known here.
    """
    if not scoped.limits.require_buying_power:
        return None
    case = scoped.case
    funds = case.ledger.funds.values.get(case.intent.account)
    if funds is None:
        return _missing(scoped, Reason.FUNDS_UNKNOWN, "The broker has not said how much money there is")
    book = case.account.book
    if book.unpriced:
        message = f"The money already bound is not known, for no price is known for {book.unpriced}"
        return _missing(scoped, Reason.NO_PRICE, message)
    needed = book.money_bound(case.intent.product, case.ctx.leverage)
    if needed <= funds.available:
        return None
    return _over(
        scoped,
        Reason.BUYING_POWER,
        f"The order, with those under way, needs {money(needed)}; {money(funds.available)} is available",
        limit=money(funds.available),
        observed=money(needed),
    )
