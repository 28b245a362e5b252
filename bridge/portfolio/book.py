"""Books a fill: position, round trip and day move together, in the transaction that stores the fill."""

from datetime import datetime
from decimal import Decimal

from bridge.core.clock import market_day
from bridge.core.day import Day
from bridge.core.fill import Fill
from bridge.core.ledger import Ledger
from bridge.core.market import Mark
from bridge.core.money import ZERO, average
from bridge.core.position import Position, PositionKey, apply_fill_to_position
from bridge.core.trade import Trade, TradeEventKind, add_entry, add_exit, move_trade, open_trade
from bridge.core.values import evolve
from bridge.store.tx import Tx


def book_fill(tx: Tx, fill: Fill, *, multiplier: Decimal, leverage: Decimal, now: datetime) -> Position:
    """Move everything that one execution moves; returns the position after it."""
    ledger = tx.ledger
    key = PositionKey(fill.account, fill.symbol, fill.product.value)
    before = ledger.positions.get(key) or Position(key=key, multiplier=multiplier)
    after, realized = apply_fill_to_position(before, fill)
    day = roll_day(tx, fill.account, now)
    tx.put(ledger.positions, key, after)
    ledger.note_fill(fill.account, fill.symbol)
    tx.add_fill(evolve(fill, realized_pnl=realized))
    _book_trade(tx, key, before, fill, multiplier)
    shares = dict(day.by_strategy)
    shares[fill.strategy] = shares.get(fill.strategy, ZERO) + realized - fill.charges
    tx.put(
        ledger.days,
        fill.account,
        evolve(day, realized_pnl=day.realized_pnl + realized, charges=day.charges + fill.charges, by_strategy=shares),
    )
    if fill.symbol not in ledger.marks.values:
        tx.put(
            ledger.marks,
            fill.symbol,
            Mark(symbol=fill.symbol, price=fill.last_px, at=fill.transact_time, source="fill"),
        )
    _spend(tx, fill, before.quantity, after.quantity, multiplier, leverage)
    tx.touch("position")
    return after


def _spend(tx: Tx, fill: Fill, before: Decimal, after: Decimal, multiplier: Decimal, leverage: Decimal) -> None:
    """Take what an entry used out of the broker's last word on funds, until its next word; closing gives nothing back yet."""
    funds = tx.ledger.funds.get(fill.account)
    added = abs(after) - abs(before) if before * after >= 0 else abs(after)
    if funds is None:
        return
    used = max(ZERO, added) * fill.last_px * multiplier / leverage + fill.charges
    tx.put(tx.ledger.funds, fill.account, evolve(funds, available=funds.available - used))


def _book_trade(tx: Tx, key: PositionKey, before: Position, fill: Fill, multiplier: Decimal) -> None:
    """Split the fill into the part that closes the open round trip and the part that opens or enlarges one."""
    trades = tx.ledger.trades
    held = before.quantity
    closes = min(fill.last_qty, abs(held)) if held * fill.side.sign < 0 else ZERO
    opens = fill.last_qty - closes
    trade = trades.get(key)
    if closes and trade is not None:
        out_share = average(fill.charges * closes, fill.last_qty)
        cost_out = before.cost if closes == abs(held) else average(before.cost * closes, abs(held))
        realized = (-fill.side.sign * closes * fill.last_px - cost_out) * multiplier
        trade = add_exit(trade, closes, fill.last_px, realized, out_share, fill.transact_time)
        tx.put(trades, key, trade, keep=trade.closed_at is None)
        tx.touch("trade")
        if trade.closed_at is not None:
            trade = None
    if opens:
        in_share = fill.charges - (average(fill.charges * closes, fill.last_qty) if closes else ZERO)
        trade = trade or open_trade(fill, f"{fill.cl_ord_id}-{fill.exec_id}", key, multiplier)
        tx.put(trades, key, add_entry(trade, opens, fill.last_px, in_share))
        tx.touch("trade")


def note_exit(tx: Tx, key: PositionKey, event: TradeEventKind) -> Trade | None:
    """Tell the open round trip that an exit was sent or failed; None when there is none."""
    trade = tx.ledger.trades.get(key)
    if trade is None or (event is TradeEventKind.EXIT_FAILED and trade.status.value == "OPEN"):
        return None
    moved = move_trade(trade, event)
    if moved is not trade:
        tx.put(tx.ledger.trades, key, moved)
    return moved


def roll_day(tx: Tx, account: str, now: datetime) -> Day:
    """The account's record of today, begun when this is the first look at the day."""
    today = market_day(now)
    day = tx.ledger.days.get(account)
    funds = tx.ledger.funds.get(account)
    if day is not None and day.day == today:
        if day.opening_equity is None and funds is not None and not day.by_strategy:
            day = evolve(day, opening_equity=funds.equity)
            tx.put(tx.ledger.days, account, day)
        return day
    day = Day(
        account=account,
        day=today,
        opening_equity=None if funds is None else funds.equity,
        opening_unrealized=unrealized(tx.ledger, account) or ZERO,
    )
    tx.put(tx.ledger.days, account, day)
    return day


def unrealized(ledger: Ledger, account: str) -> Decimal | None:
    """Profit of all open positions of an account at the latest prices; None when a price is not known."""
    total = ZERO
    for key, position in list(ledger.positions.held[account].items()):  # pages ask while the writer works
        mark = ledger.marks.get(key.symbol)
        if mark is None:
            return None
        total += position.unrealized_pnl(mark.price)
    return total


def day_pnl(ledger: Ledger, account: str, now: datetime) -> Decimal | None:
    """Profit since midnight in India after charges; None when a price is not known."""
    paper = unrealized(ledger, account)
    if paper is None:
        return None
    day = ledger.days.get(account)
    if day is None or day.day != market_day(now):
        return ZERO
    return day.realized_pnl - day.charges + paper - day.opening_unrealized
