"""The engine of a replay: walks over bars, asks definitions as live does, and raises their wishes at the next bar's open.

How orders fill, and which way that errs:

- A wish of a closed bar is raised a millisecond after its symbol's next bar has opened, at that open, plus slippage. Live it
  would be raised at the close itself: whatever lies between the two is counted, and until then the wish counts as done, as
  it would be live. A wish whose symbol has no more bar on that day is raised at the day's end, and the bridge says what it
  says to everyone: the market is closed.
- A definition of daily bars is asked at the next day's open, whatever time its cadence names: a daily bar knows no other.
- The members of a universe are those of the day on which a definition is asked, as live.
- Stops, targets and trails of a definition are judged on closed bars, as live, a stop before a target; they fill at the next
  open, past their level and not at it.
- What rests at the paper broker meets the prices of each later bar in the worse order: the open, the extreme that hurts, the
  other one, the close. Volume is not looked at: any quantity fills.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count

from bridge.core.bar import Interval, day_of_bar
from bridge.core.clock import market_day
from bridge.core.enums import Action, Product, Source
from bridge.core.market import Mark
from bridge.core.money import ZERO
from bridge.core.position import PositionKey
from bridge.feed import put_marks
from bridge.raising import held_with, holdings_of, signal_of
from bridge.replay.bridge import ACCOUNT, ReplayBridge
from bridge.replay.history import Row
from bridge.replay.loop import VirtualClock
from bridge.runner.hours import Hours
from bridge.scanner.columns import Columns
from bridge.scanner.decide import Holding, Wish
from bridge.scanner.definition import Definition
from bridge.scanner.programs import Group, due_on, is_due, once_key
from bridge.scanner.terms import Bar

MARK_SOURCE = "replay"
# Prices are there a moment before orders meet them; nothing of the bridge waits for less than a hundredth of a second.
MOMENT = timedelta(milliseconds=1)
POLL_S = 0.01
# An exit waits a minute at most for what is in its way.
MAX_POLLS = 20_000
_OPEN, _CLOSE = 1, 0
_HIGH, _LOW, _LAST = 1, 2, 3


@dataclass(slots=True)
class Track:
    """A group of definitions and the bars that it is stepped through; those before `since` only warm it up."""

    group: Group
    rows: Iterator[Row]
    since: date
    places: dict[str, int] = field(init=False)
    pending: "list[Pending]" = field(init=False, default_factory=list)
    before: datetime | None = field(init=False, default=None)
    opens_at: datetime | None = field(init=False, default=None)
    # Daily bars that wait for the day on which they are asked about: whose members count in their ranks is known only then.
    unstepped: list[Row] = field(init=False, default_factory=list)
    # Since when each position is held, and how high and low its price has gone in this track's closed bars since.
    extremes: "dict[PositionKey, tuple[datetime, float, float]]" = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.places = {symbol: place for place, symbol in enumerate(self.group.key.symbols)}

    @property
    def is_daily(self) -> bool:
        """Its definitions act on the day after the bar."""
        return self.group.key.interval is Interval.DAY

    def step(self, row: Row) -> None:
        """A bar is over."""
        if self.is_daily:
            self.unstepped.append(row)
        else:
            self._step(row)

    def begin_day(self, day: date) -> None:
        """A day of trading begins, with its members."""
        self.group.begin_day(day)
        for row in self.unstepped:
            self._step(row)
        self.unstepped = []

    def _step(self, row: Row) -> None:
        bar = Bar(row.fields, row.day)
        if row.is_aside:
            self.group.pass_by(bar)
        else:
            self.group.step(bar, row.closed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A wish that waits for its symbol's next bar; `bar_closed_at` is of the bar that it is of."""

    definition: Definition
    wish: Wish
    bar_closed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """A wish of the bar that closed at `bar_closed_at`, raised as the alert `alert_id`."""

    alert_id: str
    at: datetime
    definition: str
    bar_closed_at: datetime
    wish: Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPoint:
    """How the account stood at the end of a day, in rupees: equity, and the value of all that is held, long and short alike."""

    day: date
    equity: float
    held: float


class Engine:
    """Drives one bridge over tracks. `tell` hears of every day that is over."""

    def __init__(
        self,
        bridge: ReplayBridge,
        clock: VirtualClock,
        tracks: Sequence[Track],
        *,
        lots: Mapping[str, Decimal],
        columns: Columns,
        tell: Callable[[date], None] = lambda _day: None,
    ) -> None:
        self._bridge = bridge
        self._ledger = bridge.store.ledger
        self._clock = clock
        self._tracks = tracks
        self._lots = lots
        self._columns = columns
        self._tell = tell
        self._last: dict[str, float] = {}  # the latest price of every symbol that is held
        # Where several tracks have a symbol, what rests in it meets the shortest bars alone.
        by_length = sorted(tracks, key=lambda track: -track.group.key.interval.seconds)
        self._finest = {symbol: track for track in by_length for symbol in track.places}
        self._held: frozenset[str] = frozenset()
        self._working: frozenset[str] = frozenset()
        self._intraday = False
        self.raised: list[Raised] = []
        self.days: list[DayPoint] = []
        self.bars = 0

    async def run(self) -> None:
        """All of it, from the first bar to the last."""
        today: date | None = None
        for moment in _merge(self._tracks):
            _at, kind, _number, track, row = moment
            if row.is_aside or row.day < track.since:
                if kind == _CLOSE:
                    self._warm(track, row)
                continue
            if today is not None and row.day != today:
                self._end_day(today)
            today = row.day
            await (self._open(track, row) if kind == _OPEN else self._close(track, row))
        if today is not None:
            self._end_day(today)

    # -- a bar --------------------------------------------------------------------------------------------------------

    def _warm(self, track: Track, row: Row) -> None:
        track.step(row)
        if not row.is_aside:
            track.before = row.closed_at

    async def _open(self, track: Track, row: Row) -> None:
        """The bar's first price is known: what was wished before meets it."""
        if row.is_first:
            track.opens_at = self._session_opens(track, row)
            track.begin_day(row.day)
        if track.is_daily:
            self._ask_daily(track, row)
        ready = [one for one in track.pending if self._price(track, row, one.wish.symbol, 0) is not None]
        if ready:
            kept = {id(one) for one in ready}
            track.pending = [one for one in track.pending if id(one) not in kept]
        if ready or self._wants(track, row.opened_at):
            symbols = {*self._held, *self._working, *(one.wish.symbol for one in ready)}
            prices = {s: px for s in sorted(symbols) if (px := self._price(track, row, s, 0)) is not None}
            await self._act(row.opened_at, prices, ready)

    async def _close(self, track: Track, row: Row) -> None:
        """The bar is over: what rested met its range; the definitions that are due are asked."""
        self.bars += 1
        if self._working:
            await self._walk(track, row)
        if track.is_daily and self._intraday:
            await self._end_session(track, row)
        track.step(row)
        for symbol in self._held:
            if (price := self._price(track, row, symbol, _LAST)) is not None:
                self._last[symbol] = price
        if not track.is_daily:
            assert track.opens_at is not None
            for definition in track.group.definitions:
                if is_due(definition, row.closed_at, track.before, track.opens_at):
                    self._ask(track, definition, row.closed_at)
        self._stretch(track, row)
        track.before = row.closed_at
        if row.is_last and not track.is_daily and track.pending:
            late, track.pending = track.pending, []
            await self._act(row.closed_at, {}, late)

    def _stretch(self, track: Track, row: Row) -> None:
        """Carry on how far prices have gone since each entry; the bar that was just judged counts from now on."""
        held = self._ledger.positions.held[ACCOUNT]
        if not held and not track.extremes:
            return
        track.extremes = {key: known for key, known in track.extremes.items() if key in held}
        for key in held:
            high, low = self._price(track, row, key.symbol, _HIGH), self._price(track, row, key.symbol, _LOW)
            trade = self._ledger.trades.get(key)
            if trade is None or high is None or low is None:
                continue
            known = track.extremes.get(key)
            if known is not None and known[0] == trade.opened_at:
                high, low = max(known[1], high), min(known[2], low)
            track.extremes[key] = (trade.opened_at, high, low)

    async def _walk(self, track: Track, row: Row) -> None:
        """Have what rests meet the rest of the bar, the worse extreme first."""
        span = row.closed_at - row.opened_at
        mine = [symbol for symbol in sorted(self._working) if self._finest.get(symbol) is track]
        paths = {symbol: path for symbol in mine if (path := self._path(track, row, symbol))}
        for step in range(3):
            if paths:
                prices = {symbol: path[step] for symbol, path in paths.items()}
                await self._act(row.opened_at + span * (step + 1) / 4, prices, [])

    def _path(self, track: Track, row: Row, symbol: str) -> tuple[float, float, float] | None:
        high, low, last = (self._price(track, row, symbol, which) for which in (_HIGH, _LOW, _LAST))
        if high is None or low is None or last is None:
            return None
        held = sum((p.quantity for k, p in self._ledger.positions.held[ACCOUNT].items() if k.symbol == symbol), ZERO)
        if not held:  # what would enter is filled as late and as badly as the bar allows
            orders = self._ledger.open_orders(ACCOUNT, symbol)
            held = -sum((Decimal(o.intent.side.sign) * o.leaves_qty for o in orders), ZERO)
        return (low, high, last) if held > 0 else (high, low, last)

    async def _end_session(self, track: Track, row: Row) -> None:
        """Intraday positions on daily bars end at the day's close, the only price that is known of the afternoon."""
        mine = [symbol for symbol in sorted(self._held) if self._finest.get(symbol) is track]
        prices = {symbol: px for symbol in mine if (px := self._price(track, row, symbol, _LAST)) is not None}
        if (at := self._square_off_at(row.opened_at)) is not None and prices:
            await self._act(at, prices, [])

    def _session_opens(self, track: Track, row: Row) -> datetime:
        """When the day's session began, which cadences count from; its first bar may be later."""
        known = (self._bridge.catalog.get(symbol) for symbol in track.places)
        hours = Hours(self._bridge.calendar, [one for one in known if one is not None]).of(row.opened_at)
        return row.opened_at if hours is None else min(hours[0], row.opened_at)

    def _wants(self, track: Track, at: datetime) -> bool:
        """Whether the bridge has to see this bar's open though nothing is raised: orders rest, or a square-off is due."""
        if self._working and any(symbol in track.places for symbol in self._working):
            return True
        return self._intraday and (due := self._square_off_at(at)) is not None and at >= due

    def _square_off_at(self, at: datetime) -> datetime | None:
        ends = self._bridge.intraday_ends.get(ACCOUNT)
        instruments = (self._bridge.catalog.get(symbol) for symbol in sorted(self._held))
        found = [end for one in instruments if ends is not None and one is not None and (end := ends(one, at)) is not None]
        return min(found, default=None)

    # -- asking -------------------------------------------------------------------------------------------------------

    def _ask_daily(self, track: Track, row: Row) -> None:
        last = track.group.closed_at
        if last is None:
            return
        track.pending = []  # a day later they are of a day before
        for definition in track.group.definitions:
            if due_on(definition, row.opened_at, day_of_bar(last)) is not None:
                self._ask(track, definition, row.opened_at)

    def _ask(self, track: Track, definition: Definition, asked_at: datetime) -> None:
        holdings = self._holdings(track, definition)
        held_back: Mapping[str, str] = {}
        if definition.columns:
            held_back = self._columns.held_back(definition, track.group.key.symbols, _day_of(asked_at))
        evaluation = track.group.evaluate(definition, holdings, lots=self._lots, held_back=held_back)
        if not evaluation.wishes:
            return
        fresh = {(wish.symbol, wish.action) for wish in evaluation.wishes}
        track.pending = [
            one for one in track.pending if one.definition is not definition or (one.wish.symbol, one.wish.action) not in fresh
        ]
        track.pending += [Pending(definition=definition, wish=wish, bar_closed_at=evaluation.at) for wish in evaluation.wishes]

    def _holdings(self, track: Track, definition: Definition) -> Mapping[str, Holding]:
        wished = [one.wish for one in track.pending if one.definition is definition]
        if not self._held and not wished:
            return {}
        product = self._product(definition)

        def reach(symbol: str, since: datetime) -> tuple[float | None, float | None]:
            known = track.extremes.get(PositionKey(ACCOUNT, symbol, product))
            return known[1:] if known is not None and known[0] == since else (None, None)

        held = holdings_of(self._ledger, definition, (ACCOUNT,), product, reach)
        return held_with(held, wished)

    def _product(self, definition: Definition) -> Product:
        return self._bridge.settings.strategies[definition.strategy].product

    # -- the bridge ---------------------------------------------------------------------------------------------------

    async def _act(self, at: datetime, prices: Mapping[str, float], wishes: Sequence[Pending]) -> None:
        """Let it be `at` in the bridge, with these prices; then raise wishes, entries when the exits are through."""
        self._clock.jump(at + MOMENT)
        now = self._clock.now()
        marks = [Mark(symbol=symbol, price=_rupees(price), at=now, source=MARK_SOURCE) for symbol, price in prices.items()]
        await self._bridge.store.write(partial(put_marks, marks=marks))
        await self._settle()
        for is_exit in (True, False):
            chosen = [one for one in wishes if (one.wish.action is Action.EXIT) is is_exit]
            for one in chosen:
                await self._raise(one, at)
            if chosen:
                await self._settle()
        self._look(prices)

    async def _raise(self, one: Pending, at: datetime) -> None:
        definition, wish = one.definition, one.wish
        # Live it went out when it was wished: what its symbol takes to trade again makes no entry stale.
        signal = signal_of(wish, definition, (ACCOUNT,), self._product(definition), at)
        once = once_key(definition, one.bar_closed_at, wish.symbol, wish.action.value)
        alert_id = await self._bridge.pipeline.accept_own(signal, Source.SCAN, f"{definition.name} {definition.version}", once)
        self.raised.append(
            Raised(
                alert_id=alert_id, at=self._clock.now(), definition=definition.name, bar_closed_at=one.bar_closed_at, wish=wish
            )
        )  # fmt: skip

    async def _settle(self) -> None:
        """Let the bridge do all that it can do now."""
        for _ in range(MAX_POLLS):
            await asyncio.sleep(POLL_S)
            if self._is_quiet():
                return

    def _is_quiet(self) -> bool:
        orders, day = self._ledger.orders, self._ledger.days.get(ACCOUNT)
        if day is None or day.day != market_day(self._clock.now()):
            return False  # live the first look at a day lies hours before its first price; limits of a day's loss need it
        return not (self._ledger.waiting.values or any(orders.unsent.values()) or any(orders.sending.values()))

    def _look(self, prices: Mapping[str, float]) -> None:
        """See what is held now, and what rests."""
        held = self._ledger.positions.held[ACCOUNT]
        symbols = frozenset(key.symbol for key in held)
        for symbol in self._held - symbols:
            self._last.pop(symbol, None)
        for key in held:
            if key.symbol in prices:
                self._last[key.symbol] = prices[key.symbol]
        self._held = symbols
        self._intraday = any(key.product == Product.MIS for key in held)
        resting = {order.intent.symbol for order in self._ledger.open_orders(ACCOUNT)}
        self._working = frozenset(resting | {key.symbol for key, _strategy in self._ledger.protections.values})

    def _end_day(self, day: date) -> None:
        self.days.append(DayPoint(day=day, equity=float(self._equity()), held=float(self._gross())))
        self._tell(day)

    def _equity(self) -> Decimal:
        account = self._bridge.paper_shelves.accounts.get(ACCOUNT)
        cash = self._bridge.settings.accounts[ACCOUNT].cash if account is None else account.cash
        held = self._ledger.positions.held[ACCOUNT].values()
        return cash + sum((p.unrealized_pnl(self._mark(p.key.symbol, p.avg_px)) for p in held), ZERO)

    def _gross(self) -> Decimal:
        held = self._ledger.positions.held[ACCOUNT].values()
        return sum((abs(p.quantity) * self._mark(p.key.symbol, p.avg_px) * p.multiplier for p in held), ZERO)

    def _mark(self, symbol: str, entry_px: Decimal) -> Decimal:
        price = self._last.get(symbol)
        return entry_px if price is None else _rupees(price)

    def _price(self, track: Track, row: Row, symbol: str, which: int) -> float | None:
        place = track.places.get(symbol)
        if place is None:
            return None
        price = float(row.fields[which, place])
        return price if price == price else None  # noqa: PLR0124 - NaN


def _merge(tracks: Sequence[Track]) -> Iterator[tuple[datetime, int, int, Track, Row]]:
    """Every opening and closing of a bar, in order of time: at one moment what closes goes before what opens."""
    numbers = count()

    def moments(track: Track) -> Iterator[tuple[datetime, int, int, Track, Row]]:
        for row in track.rows:
            yield row.opened_at, _OPEN, next(numbers), track, row
            yield row.closed_at, _CLOSE, next(numbers), track, row

    streams = [moments(track) for track in tracks]
    return streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda moment: moment[:2])


def _rupees(price: float) -> Decimal:
    return Decimal(repr(round(price, 4)))


def _day_of(closed_at: datetime) -> date:
    return (closed_at + timedelta(hours=5, minutes=30)).date()
