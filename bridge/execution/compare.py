"""What one look into a broker's book and positions comes to, decided in values; `reconcile` reads, and performs it.

What is there is evidence and is always taken over. What is *not* there proves something only when the broker's answer is
whole: an answer that lacks what this broker has acknowledged today is late, not true.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from bridge.core.clock import elapsed, market_day
from bridge.core.enums import Side, Variety
from bridge.core.hold import Elsewhere, Gap, Hold, explain, explain_first, find_gaps, make_hold
from bridge.core.ledger import Ledger
from bridge.core.money import ZERO, to_text
from bridge.core.order import Order
from bridge.core.order_states import UNACKNOWLEDGED, OrderStatus
from bridge.core.report import BookRow, BrokerPosition, Holding
from bridge.execution.delivery import Quantities, add_delivered, net_quantities

# Brokers' answers trail the market by moments: within this time of a fill or an end, only a second look is believed.
LAG = timedelta(seconds=5)
# What is odd becomes an alarm when it was seen in so many looks in a row, over so long a time.
ODD_LOOKS = 3
ODD_FOR_S = 30.0
# A cancel that the broker took is carried out in moments; one that is not after this time, in two looks, is asked for again.
CANCEL_LOOKS = 2
# Orders placed elsewhere that are kept to be shown; the latest ones.
EXTERNAL_KEPT = 200
# An order for the next session may wait over a long weekend; so long its absence from a book is no end but a riddle.
AFTER_MARKET_DAYS = 5
WORKING = frozenset({OrderStatus.PLACED, OrderStatus.PARTIAL, OrderStatus.CANCEL_PENDING, OrderStatus.REPLACE_PENDING})
Differences = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a broker told of one account, asked at `began` (`began_s`, monotonic), all told at `ended`.

    `positions` is None where they were not asked for or could not be read; `unread` then says why. `is_used` is the table's
    word that the broker acknowledged an order that day.
    """

    account: str
    began: datetime
    began_s: float
    ended: datetime
    rows: tuple[BookRow, ...]
    positions: tuple[BrokerPosition, ...] | None = None
    unread: str = ""
    is_used: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """How often in a row something was seen, since when (monotonic seconds)."""

    since: float
    looks: int = 1

    def lasts(self, at: float, looks: int = ODD_LOOKS, seconds_s: float = ODD_FOR_S) -> bool:
        """Seen often enough, for long enough."""
        return self.looks >= looks and at - self.since >= seconds_s


def follow(run: Run | None, at: float) -> Run:
    """The run with one more look; a new one when there was none."""
    return Run(at) if run is None else Run(run.since, run.looks + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What earlier looks into the account came to; `suspects` are differences of the last look alone.

    `uncancelled` are orders whose cancel was asked for, and that work; `fired` are protections whose order rests unfilled.
    """

    late: Run | None = None
    flat: Run | None = None
    missing: Mapping[str, Run] = field(default_factory=dict)
    uncancelled: Mapping[str, Run] = field(default_factory=dict)
    fired: Mapping[str, Run] = field(default_factory=dict)
    suspects: Mapping[str, Differences] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something to tell a person once; `key` is what makes it the same thing again."""

    key: tuple[str, ...]
    message: str
    cl_ord_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is to be done after a look, and what the next one must know.

    `problem` says why the answer is not whole; `found` are new differences, `moved` known ones whose numbers went on together.
    `uncancelled` are orders to ask the cancel of again. `elsewhere` is None until positions have been compared once.
    """

    problem: str
    past: Past
    external: tuple[BookRow, ...]
    doubles: tuple[tuple[Order, tuple[str, ...]], ...]
    alarms: tuple[Alarm, ...]
    over: tuple[Order, ...]
    uncancelled: tuple[Order, ...]
    found: Mapping[str, Hold]
    moved: Mapping[str, Hold]
    cleared: tuple[str, ...]
    elsewhere: Elsewhere | None
    is_unsure: bool

    @property
    def is_news(self) -> bool:
        """True when the audit has to tell of it."""
        return bool(self.alarms or self.over or self.found or self.cleared)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRows:
    """The rows that carry an order's tag: the one we follow, if it is there, and others. Only their fills are ours to book."""

    order: Order
    followed: BookRow | None
    others: tuple[BookRow, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """What the broker took under the tag, by id; more than one is a double order."""
        rows = (self.followed, *self.others) if self.followed else self.others
        taken = {row.broker_order_id for row in rows if row.status is not OrderStatus.REJECTED or row.cum_qty}
        known = self.order.broker_order_id
        return tuple(sorted(taken | {known} if known is not None and self.order.status is not OrderStatus.REJECTED else taken))


def sort_rows(read: Read, find: Callable[[str], Order | None]) -> tuple[list[OwnRows], tuple[BookRow, ...]]:
    """The rows of our orders, and those placed elsewhere: without a tag, or under one that is not this account's."""
    by_tag: dict[str, list[BookRow]] = {}
    for row in read.rows:
        by_tag.setdefault(row.tag, []).append(row)
    own, external = [], by_tag.pop("", [])
    for tag, rows in by_tag.items():
        order = find(tag)
        if order is None or order.intent.account != read.account:
            external += rows
            continue
        own.append(pick_rows(order, rows))
        external += own[-1].others
    external.sort(key=lambda row: (row.updated_at, row.broker_order_id), reverse=True)
    return own, tuple(external[:EXTERNAL_KEPT])


def pick_rows(order: Order, rows: Sequence[BookRow]) -> OwnRows:
    """Follow the row whose id we know; while we know none, one that works, else the one with most filled."""

    def rank(row: BookRow) -> tuple[bool, Decimal, str]:
        return row.status.is_closed, -row.cum_qty, row.broker_order_id

    ranked, known = sorted(rows, key=rank), order.broker_order_id
    followed = next((row for row in ranked if known in (None, row.broker_order_id)), None)
    return OwnRows(order=order, followed=followed, others=tuple(row for row in ranked if row is not followed))


def has_news(own: OwnRows) -> bool:
    """True when the book tells of an order what we do not have yet."""
    order, row = own.order, own.followed
    rows = own.others if row is None else (row, *own.others)
    if any(fill.exec_id not in order.exec_ids for one in rows for fill in one.fills):
        return True
    if row is None or order.status.is_closed:
        return False
    if is_answered(order, row):
        return True
    # FILLED shows in the fills, unless the order was cut down to them.
    has_ended = row.status.is_closed and (row.status is not OrderStatus.FILLED or row.order_qty != order.intent.order_qty)
    return has_ended or order.status not in WORKING or order.broker_order_id is None


def is_answered(order: Order, row: BookRow) -> bool:
    """True when the row shows what became of the change that is asked for."""
    asked = order.replace
    if asked is None or asked.renews:
        return False
    return row.status.is_closed or row.terms.agree(asked.terms, order.intent.ord_type)


def open_orders(ledger: Ledger, account: str) -> list[Order]:
    """Orders of the account that have not ended, oldest first; safe while the writer works."""
    found = [order for order in list(ledger.orders.values.values()) if order.intent.account == account]
    return sorted((order for order in found if not order.status.is_closed), key=lambda order: order.cl_ord_id)


def is_of_today(order: Order, now: datetime) -> bool:
    """Sent on this market day, or for a later one; a broker's book is of one day.

    A day to come counts too: the clock was set back since.
    """
    if order.sent_at is None:
        return False
    if order.intent.variety is Variety.AMO:
        now -= timedelta(days=AFTER_MARKET_DAYS)
    return market_day(order.sent_at) >= market_day(now)


def is_before(at: datetime, read: Read, lag: timedelta = timedelta()) -> bool:
    """True for what was so when the broker was asked. A time to come, as after a clock was set back, is long past too."""
    return at <= read.began - lag or elapsed(at, read.ended) == timedelta.max


def missing_orders(orders: Sequence[Order], read: Read) -> list[Order]:
    """Open orders that the broker acknowledged before it was asked, and that are not in its answer."""
    tags = {row.tag for row in read.rows}
    return [o for o in orders if o.status in WORKING and is_before(o.updated_at, read) and o.tag not in tags]


def has_acknowledged(ledger: Ledger, account: str, read: Read) -> bool:
    """Whether memory has an order that the broker had acknowledged, of the day of the read, when it was asked."""
    return any(
        order.intent.account == account
        and order.broker_order_id is not None
        and is_before(order.updated_at, read)
        and is_of_today(order, read.began)
        for order in list(ledger.orders.values.values())
    )


def why_late(ledger: Ledger, orders: Sequence[Order], read: Read) -> str:
    """Why the book cannot be whole; "" when nothing speaks against it."""
    if not read.rows and (read.is_used or has_acknowledged(ledger, read.account, read)):
        return "The broker's order book is empty, and orders were acknowledged today."
    missing = [order.cl_ord_id for order in missing_orders(orders, read) if is_of_today(order, read.began)]
    return f"The broker's order book lacks what it acknowledged today: {', '.join(missing[:5])}." if missing else ""


# -- positions --------------------------------------------------------------------------------------------------------


def quantities_of(ledger: Ledger, account: str) -> dict[str, dict[str, Decimal]]:
    """Our net quantities that are not flat, by symbol and product."""
    found: defaultdict[str, dict[str, Decimal]] = defaultdict(dict)
    for key, position in list(ledger.positions.values.items()):
        if key.account == account and position.quantity:
            found[key.symbol][key.product] = position.quantity
    return found


def their_quantities(read: Read, ours: Quantities) -> dict[str, dict[str, Decimal]]:
    """The broker's, in the same shape, with the delivered shares that are ours."""
    return add_delivered(net_quantities(read.positions or ()), holdings_of(read), ours)


def holdings_of(read: Read) -> tuple[Holding, ...]:
    """The shares that lie at the broker from days before."""
    return tuple(held.holding for held in read.positions or () if held.holding is not None)


def hides_positions(ledger: Ledger, read: Read) -> bool:
    """True for a list without any position while we hold what was opened today: more likely late than true."""
    if read.positions is None or net_quantities(read.positions):
        return False
    today = market_day(read.began)
    return any(
        key.account == read.account and trade.closed_at is None and market_day(trade.opened_at) == today
        for key, trade in list(ledger.trades.values.items())
    )


def gaps_of(ledger: Ledger, read: Read, symbol: str) -> tuple[Gap, ...]:
    """The products of one instrument that differ."""
    ours = quantities_of(ledger, read.account)
    return find_gaps(ours.get(symbol, {}), their_quantities(read, ours).get(symbol, {}))


def has_moved(ledger: Ledger, account: str, symbol: str, since_s: float) -> bool:
    """True when a fill of the instrument was booked after that time (monotonic)."""
    filled_s = ledger.filled_s.get((account, symbol))
    return filled_s is not None and filled_s > since_s


@dataclass(slots=True)
class _Judged:
    """The verdicts on positions, as they come together."""

    found: dict[str, Hold] = field(default_factory=dict)
    moved: dict[str, Hold] = field(default_factory=dict)
    cleared: list[str] = field(default_factory=list)
    settled: dict[tuple[str, str], Decimal] = field(default_factory=dict)  # of what was compared
    unseen: set[str] = field(default_factory=set)  # symbols that this process has not compared yet
    suspects: dict[str, Differences] = field(default_factory=dict)
    skipped: bool = False

    def settle(self, symbol: str, settled: Mapping[tuple[str, str], Decimal]) -> None:
        """An instrument is compared, and so much of what was traded elsewhere has no difference to explain any more."""
        self.settled.update(settled)
        self.unseen.discard(symbol)


def _judge_positions(ledger: Ledger, read: Read, orders: Sequence[Order], past: Past, elsewhere: Elsewhere) -> _Judged:
    """Compare every instrument, in order of name.

    Where a send is unanswered, or a fill was booked since the read began, nothing can be said. Where an order works or a fill
    is only moments old, the two answers may be of different moments: only what two looks in a row find is believed.
    `elsewhere` is what was traded there up to this look.
    """
    judged, account = _Judged(), read.account
    last = ledger.elsewhere.values.get(account)
    ours = quantities_of(ledger, account)
    theirs = their_quantities(read, ours)
    holds = {symbol: hold for (name, symbol), hold in list(ledger.holds.values.items()) if name == account}
    sent: defaultdict[str, set[OrderStatus]] = defaultdict(set)
    for order in orders:
        if order.status is not OrderStatus.NEW:
            sent[order.intent.symbol].add(order.status)
    symbols = {*ours, *theirs, *holds, *(symbol for symbol, _product in elsewhere.keys)}
    judged.unseen = set(symbols) if last is None else symbols & last.unseen
    for symbol in sorted(symbols):
        is_unsaid = bool(sent[symbol] & UNACKNOWLEDGED) or has_moved(ledger, account, symbol, read.began_s)
        gaps = find_gaps(ours.get(symbol, {}), theirs.get(symbol, {}))
        if is_unsaid:
            judged.skipped = judged.skipped or bool(gaps)
            continue
        hold = holds.get(symbol)
        gaps, settled = _explained(symbol, gaps, hold, elsewhere, None if symbol in judged.unseen else last)
        now = make_hold(symbol, gaps)
        if now.differences == (hold.differences if hold else {}) and (gaps or hold is None):
            if hold is not None and hold.gaps != gaps:
                judged.moved[symbol] = make_hold(symbol, gaps, hold.accepted_by)
            judged.settle(symbol, settled)
            continue
        is_lively = bool(sent[symbol]) or has_moved(ledger, account, symbol, read.began_s - LAG.total_seconds())
        if is_lively and past.suspects.get(symbol) != now.differences:
            judged.suspects[symbol] = now.differences
            continue
        judged.settle(symbol, settled)
        if gaps:
            judged.found[symbol] = now
        else:
            judged.cleared.append(symbol)
    return judged


def _explained(
    symbol: str, gaps: Sequence[Gap], hold: Hold | None, elsewhere: Elsewhere, last: Elsewhere | None
) -> tuple[tuple[Gap, ...], dict[tuple[str, str], Decimal]]:
    """The gaps with what explains them, and what of the trades elsewhere is settled by this comparison.

    What has shown is settled, and so is what shows in nothing for two looks in a row. `last` is as the look before left it,
    None where this process has not compared the instrument yet.
    """
    now, before = {gap.product: gap for gap in gaps}, {} if hold is None else hold.differences
    settled = {}
    for product in sorted({*now, *before, *(name for place, name in elsewhere.keys if place == symbol)}):
        key, gap = (symbol, product), now.get(product)
        difference, traded = ZERO if gap is None else gap.difference, elsewhere.traded.get((symbol, product), ZERO)
        explained, shown = explain(hold, product, difference, elsewhere.pending(*key))
        is_same = difference == before.get(product, ZERO)
        is_still = is_same and last is not None and last.day == elsewhere.day and last.traded.get(key, ZERO) == traded
        if last is None:
            explained = explain_first(hold, product, difference, traded)
        settled[key] = traded if last is None or is_still else elsewhere.settled.get(key, ZERO) + shown
        if gap is not None:
            now[product] = replace(gap, explained=explained)
    return tuple(now[gap.product] for gap in gaps), settled


def _elsewhere(ledger: Ledger, read: Read, own: Sequence[OwnRows]) -> Elsewhere:
    """What was traded elsewhere up to this look, and what of it is settled so far.

    A book that lacks what it had takes nothing back. At night it is still that of the day before, whose orders count no more.
    A second order under a tag of ours is ours: its fills are booked.
    """
    today, tags = market_day(read.began), {rows.order.tag for rows in own}
    begun = ledger.elsewhere.values.get(read.account) or Elsewhere(day=today)
    if begun.day != today:
        begun = Elsewhere(day=today, unseen=begun.unseen)
    told = {
        row.broker_order_id: (row.symbol, str(row.product), row.cum_qty * row.side.sign)
        for row in read.rows
        if row.cum_qty and row.tag not in tags and market_day(row.updated_at) >= today
    }
    orders, traded = {**begun.orders, **told}, defaultdict[tuple[str, str], Decimal](Decimal)
    for symbol, product, quantity in orders.values():
        traded[symbol, product] += quantity
    return replace(begun, orders=orders, traded={key: quantity for key, quantity in traded.items() if quantity})


# -- the whole look ---------------------------------------------------------------------------------------------------


def judge(
    ledger: Ledger, read: Read, own: Sequence[OwnRows], external: tuple[BookRow, ...], past: Past, at: float, fault: str = ""
) -> Findings:
    """What a whole look comes to, once its rows are taken over. `fault` says which of them could not be.

    Only reads the ledger, so that a look that finds nothing needs no commit.
    """
    orders, account = open_orders(ledger, read.account), read.account
    late = fault or read.unread or why_late(ledger, orders, read)
    late_run = follow(past.late, at) if late else None
    missing = missing_orders(orders, read)
    runs = {order.cl_ord_id: follow(past.missing.get(order.cl_ord_id), at) for order in missing}
    lasting = [order for order in missing if runs[order.cl_ord_id].lasts(at)]
    hides = hides_positions(ledger, read)
    flat_run = follow(past.flat, at) if hides else past.flat if read.positions is None else None
    is_told = read.positions is not None
    may_judge = is_told and (late_run is None or late_run.lasts(at)) and (flat_run is None or flat_run.lasts(at, looks=2))
    over = [order for order in lasting if not is_of_today(order, read.began)] if may_judge and not late else []
    elsewhere = _elsewhere(ledger, read, own)
    judged = _judge_positions(ledger, read, orders, past, elsewhere) if may_judge else _Judged()
    if may_judge:
        settled = {**elsewhere.settled, **judged.settled}
        settled = {key: quantity for key, quantity in settled.items() if quantity}
        elsewhere = replace(elsewhere, settled=settled, unseen=frozenset(judged.unseen))
    problem = late or ("The broker lists no position, and some were opened today." if hides and not may_judge else "")
    doubles = tuple((rows.order, rows.ids) for rows in own if len(rows.ids) > 1)
    stuck = {rows.order.cl_ord_id: follow(past.uncancelled.get(rows.order.cl_ord_id), at) for rows in own if _is_stuck(rows)}
    again = [rows for rows in own if _is_stuck(rows) and stuck[rows.order.cl_ord_id].lasts(at, CANCEL_LOOKS)]
    zombies = [rows for rows in own if _is_zombie(rows)]
    fired = {rows.order.cl_ord_id: follow(past.fired.get(rows.order.cl_ord_id), at) for rows in own if _has_fired(rows)}
    alarms = [*_double_alarms(doubles), *_zombie_alarms(zombies, read), *_stuck_alarms(again)]
    alarms += _missing_alarms(lasting, read) if read.rows else []
    alarms += [_unseen_alarm(order) for order in over if _may_hide(order)]
    alarms += [_fired_alarm(rows) for rows in own if _has_fired(rows) and fired[rows.order.cl_ord_id].lasts(at)]
    if late_run is not None and late_run.lasts(at) and (fault or read.unread or not read.rows):
        alarms.append(Alarm(key=("late", account), message=f"{account}: {late}"))
    is_young = any(_is_young(rows, read) for rows in zombies) or any(not run.lasts(at) for run in fired.values())
    is_unsure = bool(
        judged.skipped or judged.suspects or over or is_young or (problem and not (late_run and late_run.lasts(at)))
    )
    return Findings(
        problem=problem,
        past=Past(
            late=late_run,
            flat=flat_run,
            missing=runs,
            fired=fired,
            uncancelled={name: run for name, run in stuck.items() if not run.lasts(at, CANCEL_LOOKS)},
            suspects=judged.suspects,
        ),
        external=external,
        doubles=doubles,
        alarms=tuple(alarm for alarm in alarms if alarm.key not in ledger.told.values),
        over=tuple(over),
        uncancelled=tuple(rows.order for rows in again),
        found=judged.found,
        moved=judged.moved,
        cleared=tuple(judged.cleared),
        elsewhere=elsewhere if may_judge or account in ledger.elsewhere.values else None,
        is_unsure=is_unsure,
    )


def _double_alarms(doubles: Sequence[tuple[Order, tuple[str, ...]]]) -> list[Alarm]:
    return [
        Alarm(
            key=("double", order.cl_ord_id, *ids),
            cl_ord_id=order.cl_ord_id,
            message=f"The broker has order {order.cl_ord_id} {len(ids)} times: {' and '.join(ids)}. Cancel what is too much.",
        )
        for order, ids in doubles
    ]


def _is_zombie(rows: OwnRows) -> bool:
    """An order that has ended here and works there."""
    return rows.followed is not None and rows.order.status.is_closed and not rows.followed.status.is_closed


def _is_young(rows: OwnRows, read: Read) -> bool:
    """Moments after the end, when the book may be behind."""
    return not is_before(rows.order.updated_at, read, LAG)


def _zombie_alarms(zombies: Sequence[OwnRows], read: Read) -> list[Alarm]:
    return [
        Alarm(
            key=("works", rows.order.cl_ord_id),
            cl_ord_id=rows.order.cl_ord_id,
            message=f"Order {rows.order.cl_ord_id} has ended here and still works at the broker ({_id_of(rows)}).",
        )
        for rows in zombies
        if not _is_young(rows, read)
    ]


def _is_stuck(rows: OwnRows) -> bool:
    """Its cancel is asked for, and the book says that it works."""
    is_asked = rows.order.status is OrderStatus.CANCEL_PENDING
    return is_asked and rows.followed is not None and not rows.followed.status.is_closed


def _stuck_alarms(again: Sequence[OwnRows]) -> list[Alarm]:
    return [
        Alarm(
            key=ask_key(rows.order),
            cl_ord_id=rows.order.cl_ord_id,
            message=f"Order {rows.order.cl_ord_id} was to be cancelled and still works at the broker ({_id_of(rows)}). "
            "It is asked again; look there.",
        )
        for rows in again
    ]


def ask_key(order: Order) -> tuple[str, ...]:
    """What makes an alarm over a cancel or change that came to nothing the same again, whoever raises it."""
    if order.status is OrderStatus.REPLACE_PENDING:
        return ("modify", order.cl_ord_id, str(order.replaces))
    return ("cancel", order.cl_ord_id)


def _has_fired(rows: OwnRows) -> bool:
    """A stop or target whose trigger was met, and whose order works: a row of one that waits has nothing to say."""
    row = rows.followed
    is_open = row is not None and not row.status.is_closed and not rows.order.status.is_closed
    return is_open and rows.order.is_protection and row is not None and bool(row.message)


def _fired_alarm(rows: OwnRows) -> Alarm:
    order = rows.order
    left = f"{to_text(order.leaves_qty)} {order.intent.symbol}"
    return Alarm(
        key=("fired", order.cl_ord_id),
        cl_ord_id=order.cl_ord_id,
        message=f"The protection {order.cl_ord_id} was triggered, and its order rests with {left} to close: the market may be "
        "beyond its limit. An exit withdraws it and closes at market.",
    )


def _id_of(rows: OwnRows) -> str:
    return rows.followed.broker_order_id if rows.followed is not None else ""


def _may_hide(order: Order) -> bool:
    """Whether what it filled unseen would show nowhere: shares that the broker has beyond our books are no difference."""
    return order.intent.side is Side.BUY and not order.intent.product.may_short and not order.is_protection


def _unseen_alarm(order: Order) -> Alarm:
    bought = f"{to_text(order.leaves_qty)} {order.intent.symbol}"
    return Alarm(
        key=("unseen", order.cl_ord_id),
        cl_ord_id=order.cl_ord_id,
        message=f"Order {order.cl_ord_id} to buy {bought} worked when it was last seen, on an earlier day. Look at the broker: "
        "if it filled, the shares lie there, are in no book of ours, and no exit sells them.",
    )


def _missing_alarms(lasting: Sequence[Order], read: Read) -> list[Alarm]:
    return [
        Alarm(
            key=("missing", order.cl_ord_id),
            cl_ord_id=order.cl_ord_id,
            message=f"Order {order.cl_ord_id} was acknowledged ({order.broker_order_id}) and is not in the broker's "
            "order book. Look there; nothing is assumed here.",
        )
        for order in lasting
        if is_of_today(order, read.began)
    ]
