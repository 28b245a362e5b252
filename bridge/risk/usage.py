"""What is held and under way, in numbers; an order in flight counts as used until it has ended."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import chain

from bridge.core.clock import market_day
from bridge.core.enums import OrdType, Product, Side
from bridge.core.ledger import Ledger
from bridge.core.market import Mark
from bridge.core.money import ONE, ZERO
from bridge.core.order import Order
from bridge.core.position import Position, PositionKey
from bridge.core.replacement import with_terms
from bridge.core.signal import OrderIntent


def key_of(intent: OrderIntent) -> PositionKey:
    """The position that an intent moves."""
    return PositionKey(intent.account, intent.symbol, intent.product)


def reach(ledger: Ledger, key: PositionKey, side: Side) -> Decimal:
    """Units the position would have on `side` if every open order of that side filled and none of the other.

    Negative while it would still stand on the other side: so much may one more order of `side` close.
    """
    buys, sells = ledger.in_flight(key)
    held = ledger.position_qty(key)
    return (held + buys if side is Side.BUY else sells - held) + missing_units(ledger, key, side)


def missing_units(ledger: Ledger, key: PositionKey, side: Side) -> Decimal:
    """Units of the position that an order of `side` would close and that the broker does not have.

    Of a delivery product an order that would sell them is rejected as a whole. Where a position can be short it would open one,
    but a difference just found may be the broker's delay, and an exit must go: taken off is what a person has accepted, what
    orders placed elsewhere have closed by the broker's own book, and what it lacks of an intraday position (MIS) of an earlier
    day, which it has squared off.
    """
    if not Product(key.product).may_short:
        return lacking_units(ledger, key, side) if side is Side.SELL else ZERO
    return closed_units(ledger, key, side)


def closed_units(ledger: Ledger, key: PositionKey, side: Side) -> Decimal:
    """Units of the position that were certainly closed at the broker, by orders of `side` or an expiry, and are open here."""
    hold = ledger.holds.values.get((key.account, key.symbol))
    if hold is None:
        return ZERO
    certain = hold.difference(key.product) if _is_of_before(ledger, key) else hold.certain(key.product)
    return max(ZERO, min(ledger.position_qty(key) * side.opposite.sign, certain * side.sign))


def lacking_units(ledger: Ledger, key: PositionKey, side: Side) -> Decimal:
    """Units that the broker has less than we, of the position that an order of `side` would close; certain or not."""
    hold = ledger.holds.values.get((key.account, key.symbol))
    return ZERO if hold is None else max(ZERO, hold.difference(key.product) * side.sign)


def _is_of_before(ledger: Ledger, key: PositionKey) -> bool:
    """Whether an intraday position was opened on a day that is over."""
    trade, day = ledger.trades.values.get(key), ledger.days.values.get(key.account)
    if key.product != Product.MIS or trade is None or day is None:
        return False
    return market_day(trade.opened_at) < day.day


def closable(ledger: Ledger, key: PositionKey, side: Side) -> Decimal:
    """Units an order of `side` may close: the opposite position less what open orders of `side` close already."""
    return max(ZERO, -reach(ledger, key, side))


def entries_behind(ledger: Ledger, order: Order) -> Decimal:
    """Units of entries of the exit's own side that have not left: they leave after it, and count on it."""
    intent = order.intent
    unsent = ledger.orders.unsent[intent.account].values()
    entries = (o for o in unsent if not o.intent.reduce_only and o.intent.side is intent.side)
    return sum((o.leaves_qty for o in entries if key_of(o.intent) == key_of(intent)), ZERO)


def price_of(mark: Mark | None) -> Decimal | None:
    """The price of a mark; zero is how a feed says that it has none, so it counts as unknown."""
    return mark.price if mark is not None and mark.price > 0 else None


def worst_price(intent: OrderIntent, mark: Mark | None) -> Decimal | None:
    """The dearest price at which the order may trade, as far as is known; None when nothing is known.

    That is its own limit or trigger, and the market's price where the order would trade at that at once: a sell limit
    far below the market is filled at the market, so its own price would understate it.
    """
    market = price_of(mark)
    kind = intent.ord_type
    if kind is OrdType.MARKET:
        return market
    if kind is OrdType.LIMIT:
        return intent.price if intent.side is Side.BUY else _dearest(intent.price, market)
    if kind is OrdType.SL:
        return _dearest(intent.price, intent.trigger_price)
    return _dearest(intent.trigger_price, market) if intent.side is Side.BUY else intent.trigger_price


def dearest_terms(order: Order, mark: Mark | None) -> OrderIntent:
    """The terms at which an order may cost most: while a change is asked for, nobody knows which of the two it has."""
    intent = order.intent
    if order.replace is None or order.replace.renews:
        return intent
    wished = with_terms(intent, order.replace.terms)
    own_px, wished_px = worst_price(intent, mark), worst_price(wished, mark)
    return wished if own_px is not None and (wished_px is None or wished_px > own_px) else intent


def _dearest(own: Decimal | None, other: Decimal | None) -> Decimal | None:
    return own if own is None or other is None else max(own, other)


_Leaves = tuple[Decimal, Decimal, Decimal]  # of the orders of one side: units, rupees, and the cheapest price


class Line:
    """One instrument and product in a book: what is held, and what its orders may still trade on each side."""

    __slots__ = ("buys", "held", "multiplier", "product", "sells")

    def __init__(self, product: Product, multiplier: Decimal):
        self.product = product
        self.multiplier = multiplier
        self.held = ZERO
        self.buys: _Leaves | None = None
        self.sells: _Leaves | None = None

    def add_order(self, side: Side, quantity: Decimal, price: Decimal) -> None:
        """Count `quantity` units that may still trade, at `price` at worst."""
        known = self.buys if side is Side.BUY else self.sells
        if known is None:
            known = (quantity, quantity * price, price)
        else:
            units, rupees, cheapest = known
            known = (units + quantity, rupees + quantity * price, min(cheapest, price))
        if side is Side.BUY:
            self.buys = known
        else:
            self.sells = known

    def opening_value(self) -> Decimal:
        """Rupees of exposure that the orders may add; the cheapest count as those that close: never too little."""
        held = self.held
        longs = _opening(self.buys, max(ZERO, -held)) if self.buys else ZERO
        shorts = _opening(self.sells, max(ZERO, held)) if self.sells else ZERO
        return (longs + shorts) * self.multiplier


def _opening(leaves: _Leaves, closes: Decimal) -> Decimal:
    units, rupees, cheapest = leaves
    return rupees - closes * cheapest if units > closes else ZERO


class Book:
    """All that an account, or one strategy in it, holds and has under way, in rupees.

    `exposure` is what is held at market plus what orders may add; `open_positions` counts instruments held or being
    entered; `adding` is what orders may add, by product. `unmarked` and `unpriced` name an instrument held, and one
    ordered, for which no price is known: sums over them are worthless, so whoever uses a sum denies first.
    """

    __slots__ = ("_lines", "adding", "exposure", "held", "open_positions", "unmarked", "unpriced")

    def __init__(self) -> None:
        self.exposure = ZERO
        self.open_positions = 0
        self.adding: list[tuple[Product, Decimal]] = []
        self.held: list[tuple[Position, Decimal, Decimal]] = []
        self.unmarked: str | None = None
        self.unpriced: str | None = None
        self._lines: dict[str, list[Line]] = {}  # by symbol: hashing a whole key costs more than the rest of a line

    def count_order(self, intent: OrderIntent, leaves: Decimal, mark: Mark | None, multiplier: Decimal) -> None:
        """Count an order with `leaves` units still to trade."""
        price = worst_price(intent, mark)
        if price is None:
            self.unpriced = intent.symbol
            return
        line = self._line_of(intent.symbol, intent.product)
        if line is None:
            line = Line(intent.product, multiplier)
            self._lines.setdefault(intent.symbol, []).append(line)
        line.add_order(intent.side, leaves, price)

    def count_position(self, position: Position, held: Decimal, there: Decimal, mark: Mark | None) -> None:
        """Count `held` units of a position, of which `there` may be at the broker too; a strategy holds its share of it.

        What is gone there is no exposure, and its paper result stays in the day's, where no fill has booked another.
        """
        line = self._line_of(position.key.symbol, position.key.product)
        if line is not None:
            line.held, line.multiplier = there, position.multiplier
        price = price_of(mark)
        if price is not None:
            self.held.append((position, held, price))
        if not there:
            return
        self.open_positions += 1
        if price is None:
            self.unmarked = position.key.symbol
        else:
            self.exposure += abs(there) * price * position.multiplier

    def close(self) -> None:
        """Add up what the orders may add to the positions, once all are counted."""
        for line in chain.from_iterable(self._lines.values()):
            value = line.opening_value()
            if value:
                self.exposure += value
                self.adding.append((line.product, value))
                self.open_positions += not line.held

    def money_bound(self, product: Product, leverage: Decimal) -> Decimal:
        """Rupees of buying power that orders bind: `leverage` is that of `product`, others count in full."""
        bound = ZERO
        for kind, value in self.adding:
            bound += value / leverage if kind == product else value
        return bound

    def _line_of(self, symbol: str, product: str) -> Line | None:
        for line in self._lines.get(symbol, ()):
            if line.product == product:
                return line
        return None

    def unrealized(self) -> Decimal:
        """Paper profit of what is held, before charges; a strategy has its share of each position, pro rata."""
        total = ZERO
        for position, held, price in self.held:
            if held == position.quantity:
                total += position.unrealized_pnl(price)
            elif position.quantity:
                total += position.unrealized_pnl(price) * held / position.quantity
        return total


def open_book(
    ledger: Ledger,
    intent: OrderIntent,
    *,
    multiplier: Decimal,
    multipliers: Mapping[str, Decimal],
    strategy: str | None,
    replaced: Order | None = None,
) -> Book:
    """The book of the intent's account, or of one strategy in it, with the intent counted as an order already sent.

    `multiplier` is that of the intent's instrument; `multipliers` those of others, 1 for what is not named. `replaced` is an
    order whose place the intent takes: it does not count.
    """
    account, marks = intent.account, ledger.marks.values
    book = Book()
    book.count_order(intent, intent.order_qty, marks.get(intent.symbol), multiplier)
    for order in ledger.open_orders(account):
        other = order.intent
        if order is not replaced and (strategy is None or other.strategy == strategy):
            own = multiplier if other.symbol == intent.symbol else multipliers.get(other.symbol, ONE)
            book.count_order(dearest_terms(order, marks.get(other.symbol)), order.leaves_qty, marks.get(other.symbol), own)
    for position in ledger.positions.held[account].values():
        held = position.quantity if strategy is None else position.by_strategy.get(strategy, ZERO)
        if held:
            book.count_position(position, held, _there(ledger, position, held), marks.get(position.key.symbol))
    book.close()
    return book


def _there(ledger: Ledger, position: Position, held: Decimal) -> Decimal:
    """Of `held` signed units of a position, those that the broker may have too."""
    if held * position.quantity <= 0 or (position.key.account, position.key.symbol) not in ledger.holds.values:
        return held
    against = sum((abs(share) for share in position.by_strategy.values() if share * held < 0), ZERO)
    left = abs(position.quantity) - closed_units(ledger, position.key, position.closing_side) + against
    return min(held, left) if held > 0 else max(held, -left)
