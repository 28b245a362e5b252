"""KiteBroker: one account at Zerodha. Orders, changes, cancels and reads have a line each: none waits behind another kind."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

from bridge.brokers.base import BookUnreadableError, BrokerStatus, Capabilities, ReportSink
from bridge.brokers.handing import hand_over
from bridge.brokers.http_outcomes import TOO_MANY, judge_answer, judge_failure, read_retry_after
from bridge.brokers.kite.client import Answer, KiteClient, TokenSource
from bridge.brokers.kite.costs import KiteCosts
from bridge.brokers.kite.gtt import (
    ACTIVE,
    MetError,
    check_not_met,
    merge_triggers,
    read_child,
    read_trigger_id,
    trigger_id,
    write_gtt,
)
from bridge.brokers.kite.icebergs import cut_legs, merge_legs, read_leg
from bridge.brokers.kite.limits import MAX_REPLACES, OTHERS_PER_SECOND, PER_MINUTE, OrderCount, Pace
from bridge.brokers.kite.mapping import (
    STATUSES,
    UNREADABLE,
    VARIETIES,
    ForeignError,
    is_maybe_ours,
    join_holdings,
    read_funds,
    read_holdings,
    read_number,
    read_placed_at,
    read_positions,
    read_row,
    read_tag,
    read_text,
    write_change,
    write_order,
)
from bridge.core.clock import IST, Clock
from bridge.core.enums import OrdType, OutcomeKind, Variety
from bridge.core.instrument import Instrument
from bridge.core.money import ONE, ZERO
from bridge.core.offer import EVERYTHING
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.reasons import Reason
from bridge.core.report import BookRow, BrokerPosition, Funds, Outcome, reports_of

T = TypeVar("T")
Updates = Literal["stream", "postback", "poll"]

# Nothing at the vendor keeps orders in the order in which they left; the lane is where they wait.
MAX_IN_FLIGHT = 1
# Between two looks of our own: while something is open, while nothing is, and where pokes bring the news.
BUSY_S, IDLE_S, SAFETY_S = 1.0, 5.0, 30.0
# Two looks of two requests each are not nearer than this, whoever pokes: the rest of ten a second is for others.
GAP_S = 0.3
# After a look that saw nothing, and before looking whether somebody has logged in.
UNREADABLE_PAUSE_S = 2.0
LOGIN_POLL_S = 0.5
# A 429 names no time; a second is what its limits are counted by.
TOO_MANY_WAIT_S = 1.0
# Not longer for a price: what is known here may do.
PRICE_S = 2.0
MAX_BATCH = 512
MAX_TOLD = 1_000
# The event loop gets a turn after so many rows of the book.
ROWS_PER_TURN = 100
START_S = 3.0
# Between the look for an iceberg's newest leg and the request to cancel it that leg may fill, and another come.
CANCEL_TRIES = 3
STOPPED = "The session with Kite is closed."


@dataclass(frozen=True, slots=True, kw_only=True)
class KitePolicy:
    """How an account is used. `protection` is the percent beyond the last price that a market order may go; -1 for Kite's."""

    api_key: str
    root: str
    updates: Updates = "stream"
    protection: Decimal = Decimal(-1)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An order as Kite told it, and what was made of it; no row for one that was placed elsewhere in words we lack."""

    told: Any
    trades: list[Any]
    row: BookRow | None
    placed: tuple[str, datetime]


class KiteBroker:
    """One account. `tell` is called with what a person must look at, from the event loop.

    `protections` are the bridge's own protective orders that are open or ended today: triggers have no tag, so the book has
    to know them. `latest_price` is what Kite wants to hear with a trigger.
    """

    def __init__(
        self,
        account: str,
        *,
        policy: KitePolicy,
        tokens: TokenSource,
        clock: Clock,
        tell: Callable[[str], None],
        instrument: Callable[[str], Instrument | None] = lambda _symbol: None,
        latest_price: Callable[[str], Decimal | None] = lambda _symbol: None,
        protections: Callable[[], list[Order]] = list,
    ) -> None:
        self.account = account
        self.capabilities = Capabilities(
            name="kite", is_paper=False, max_in_flight=MAX_IN_FLIGHT, offer=EVERYTHING, max_replaces=MAX_REPLACES
        )
        self.count = OrderCount()
        self._policy = policy
        self._tokens = tokens
        self._clock = clock
        self._tell = tell
        self._instrument = instrument
        self._latest_price = latest_price
        self._protections = protections
        self._pace = Pace(OTHERS_PER_SECOND)
        self._orders, self._changes, self._cancels, self._reads = (self._make_line() for _ in range(4))
        self.costs = KiteCosts(self._make_line(), self._pace, clock)
        self._seen: dict[str, _Seen] = {}
        self._newest_legs: dict[str, str] = {}
        self._told_rows: dict[str, BookRow] = {}
        self._told_words: set[str] = set()
        self._is_busy = False
        self._is_started = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._looked = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def _make_line(self) -> KiteClient:
        return KiteClient(api_key=self._policy.api_key, root=self._policy.root, tokens=self._tokens)

    # -- the session --------------------------------------------------------------------------------------------------

    async def start(self, sink: ReportSink) -> None:
        """Follow the book from now on. Without a login nothing is asked until there is one."""
        self._loop = asyncio.get_running_loop()
        self._is_started = True
        self._following = self._loop.create_task(self._follow(sink), name=f"kite-{self.account}")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), START_S)

    async def stop(self) -> None:
        """Deliver nothing afterwards."""
        self._is_started = False
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        for line in (self._orders, self._changes, self._cancels, self._reads):
            line.close()
        self.costs.close()

    def status(self) -> BrokerStatus:
        """Connected while somebody is logged in; whether the vendor answers at all is the guard's to know."""
        if not self._is_started:
            return BrokerStatus(connected=False, message=STOPPED)
        if self._tokens.token() is None:
            return BrokerStatus(connected=False, message=self._tokens.why(), session_lost=True)
        return BrokerStatus(connected=True)

    def poke(self, reason: str) -> None:
        """Something changed at the broker: look soon. Any number of pokes make one look; safe from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    # -- commands -----------------------------------------------------------------------------------------------------

    def take(self, tag: str, now: datetime) -> float:
        """Take a place in the minute for an order, or the seconds until there is one; for the lane's throttle."""
        wait_s = self.count.take(tag, now)
        if wait_s:
            self.poke("the minute is used up")
        return wait_s

    async def place(self, order: Order) -> Outcome:
        """Send the order; what becomes of it comes through the sink."""
        now = self._clock.now()
        if self._tokens.token() is None:
            return Outcome(kind=OutcomeKind.NOT_SENT, message=self._tokens.why())
        if order.is_protection:
            return await self._place_trigger(order)
        full = self.count.why_full(order.tag, now)
        if full:
            return Outcome(kind=OutcomeKind.REFUSED, message=full)
        try:
            words = write_order(order, self._policy.protection, self._cut(order))
        except ValueError as error:
            return Outcome(kind=OutcomeKind.REFUSED, message=str(error))
        self.count.note_sent(order.tag, now)
        outcome = self._judge(await self._orders.call("place_order", **words))
        if outcome.kind is OutcomeKind.NOT_SENT:
            self.count.forget(order.tag)
        self.poke("placed")
        return outcome

    async def shortage(self, order: Order) -> str:
        """Why there is not money enough for an order by Kite's word, empty when there is; may raise BookUnreadableError."""
        try:
            words = write_order(order, self._policy.protection, self._cut(order))
        except ValueError:
            return ""  # `place` says it better
        return await self.costs.shortage(words)

    def _cut(self, order: Order) -> tuple[int, Decimal]:
        intent = order.intent
        if intent.variety is not Variety.ICEBERG:
            return 1, intent.order_qty
        found = self._instrument(intent.symbol)
        return cut_legs(intent.order_qty, intent.iceberg_legs, ONE if found is None else found.lot)

    async def _place_trigger(self, order: Order) -> Outcome:
        """Triggers do not count towards the day's orders, only towards the other requests of a second."""
        symbol = order.intent.symbol
        told = await self._ask_price(symbol)
        try:
            words = write_gtt(order, told or self._latest_price(symbol))
        except MetError as error:  # a price that is only known here may be older than the entry, and closes nothing
            met = None if told is None else Reason.TRIGGER_MET
            return Outcome(kind=OutcomeKind.REFUSED, message=str(error), reason=met)
        except ValueError as error:
            return Outcome(kind=OutcomeKind.REFUSED, message=str(error))
        await asyncio.sleep(self._pace.take(self._clock.now()))
        outcome = self._judge(await self._orders.call("place_gtt", **words), read_trigger_id)
        self.poke("placed a trigger")
        return await self._find_met(order, outcome) if outcome.kind is OutcomeKind.REFUSED else outcome

    async def _find_met(self, order: Order, outcome: Outcome) -> Outcome:
        """Why Kite refused a trigger: the price may have passed it meanwhile, which Kite says in no words that are known."""
        legs, last = order.intent.legs, await self._ask_price(order.intent.symbol)
        try:
            if legs is not None and last is not None:
                check_not_met(legs, order.intent.side, last)
        except MetError as error:
            return replace(outcome, message=f"{error} Kite: {outcome.message}", reason=Reason.TRIGGER_MET)
        return outcome

    async def _ask_price(self, symbol: str) -> Decimal | None:
        """By Kite's own word, which tells on which side of it a trigger waits; None without one."""
        with suppress(TimeoutError, *UNREADABLE):
            async with asyncio.timeout(PRICE_S):
                answer = await self._reads.call("ltp", symbol)
            if answer.data is not None and (price := read_number(answer.data[symbol], "last_price")) > 0:
                return price
        return None

    async def cancel(self, order: Order) -> Outcome:
        """Ask to cancel by the broker's id, which the book knows when we do not."""
        if order.intent.variety is Variety.ICEBERG:
            return await self._cancel_iceberg(order)
        try:
            ident = await self._ident_of(order)
        except BookUnreadableError as error:
            return Outcome(kind=OutcomeKind.NOT_SENT, message=str(error))
        if order.is_protection and ident is not None:
            return await self._cancel_trigger(trigger_id(ident))
        return await self._ask_to_cancel(VARIETIES[order.intent.variety], ident)

    async def _ident_of(self, order: Order) -> str | None:
        if order.broker_order_id is not None:
            return order.broker_order_id
        return next((row.broker_order_id for row in await self.book() if row.tag == order.tag), None)

    async def modify(self, order: Order) -> Outcome:
        """Ask to change by the broker's id; a success means no more than that the request was taken."""
        try:
            words, ident = write_change(order, self._policy.protection), await self._ident_of(order)
        except ValueError as error:
            return Outcome(kind=OutcomeKind.REFUSED, message=str(error))
        except BookUnreadableError as error:
            return Outcome(kind=OutcomeKind.NOT_SENT, message=str(error))
        if ident is None:
            return Outcome(kind=OutcomeKind.REFUSED, message="Kite has no such order.")
        await asyncio.sleep(self._pace.take(self._clock.now()))
        outcome = self._judge(await self._changes.call("modify_order", VARIETIES[order.intent.variety], ident, **words))
        self.poke("modified")
        return outcome

    async def _cancel_iceberg(self, order: Order) -> Outcome:
        """The newest leg is the one that can be cancelled; with it go those to come."""
        outcome, asked = Outcome(kind=OutcomeKind.REFUSED, message="Kite has no such order."), None
        for _ in range(CANCEL_TRIES):
            try:
                first = next((row.broker_order_id for row in await self.book() if row.tag == order.tag), None)
            except BookUnreadableError as error:
                return Outcome(kind=OutcomeKind.NOT_SENT, message=str(error))
            ident = None if first is None else self._newest_legs.get(first, first)
            if ident is None or ident == asked:
                break
            variety, asked = self._seen[ident].told.get("variety"), ident
            outcome = await self._ask_to_cancel(variety if isinstance(variety, str) else "iceberg", ident)
            if outcome.kind is not OutcomeKind.REFUSED:
                break
        return outcome

    async def _ask_to_cancel(self, variety: str, ident: str | None) -> Outcome:
        if ident is None:
            return Outcome(kind=OutcomeKind.REFUSED, message="Kite has no such order.")
        await asyncio.sleep(self._pace.take(self._clock.now()))
        outcome = self._judge(await self._cancels.call("cancel_order", variety, ident))
        self.poke("cancelled")  # a refusal may mean that it has ended
        return outcome

    async def _cancel_trigger(self, ident: str) -> Outcome:
        """Take a trigger away, or cancel the order that it has placed already."""
        try:
            told = await self._read("get_gtt", ident)
            is_active, child = self._parse(lambda: (read_text(told, "status") == ACTIVE, read_child(told)))
        except BookUnreadableError as error:
            return Outcome(kind=OutcomeKind.NOT_SENT, message=str(error), retry_after_s=error.retry_after_s)
        if not is_active and not child:
            self.poke("a trigger that has ended")
            return Outcome(kind=OutcomeKind.REFUSED, message="The trigger is not active any more.")
        await asyncio.sleep(self._pace.take(self._clock.now()))
        if is_active:
            outcome = self._judge(await self._cancels.call("delete_gtt", ident), read_trigger_id)
        else:
            outcome = self._judge(await self._cancels.call("cancel_order", VARIETIES[Variety.REGULAR], child))
        self.poke("cancelled")
        return outcome

    def _judge(self, answer: Answer, read_id: Callable[[Any], Any] = lambda told: told["data"]["order_id"]) -> Outcome:
        if answer.http is None:
            assert answer.failure is not None
            return judge_failure(answer.failure, answer.message)
        outcome = judge_answer(answer.http, read_id, self._clock.now())
        if answer.status == TOO_MANY and outcome.retry_after_s is None:
            return replace(outcome, retry_after_s=TOO_MANY_WAIT_S)
        return outcome

    # -- reads --------------------------------------------------------------------------------------------------------

    async def book(self) -> list[BookRow]:
        """All orders of the day with their executions, and our triggers; what an earlier list leads to is read after it."""
        ours = self._protections()
        triggers = await self._read_list("get_gtts") if ours else []
        orders, trades = await self._read_list("orders"), await self._read_list("trades")
        by_order: dict[str, list[Any]] = defaultdict(list)
        for trade in trades:
            by_order[self._parse(lambda trade=trade: read_text(trade, "order_id"))].append(trade)  # type: ignore[misc]
        before, now_seen = self._seen, dict[str, _Seen]()
        for number, told in enumerate(orders, start=1):
            ident = self._parse(lambda told=told: read_text(told, "order_id"))  # type: ignore[misc]
            seen, trades_of = before.get(ident), by_order.get(ident, [])
            if seen is None or (seen.told, seen.trades) != (told, trades_of):  # most of a long book has not changed
                seen = self._parse(lambda told=told, trades_of=trades_of: self._see(told, trades_of))  # type: ignore[misc]
            now_seen[ident] = seen
            if number % ROWS_PER_TURN == 0:
                await asyncio.sleep(0)
        self._seen = now_seen
        self.count.note_book(((ident, *seen.placed) for ident, seen in now_seen.items()), self._clock.now())
        rows = [(seen.told, seen.row) for seen in now_seen.values() if seen.row is not None]
        legs = [leg for told, row in rows if told.get("variety") == "iceberg" and (leg := read_leg(told, row)) is not None]
        whole, self._newest_legs = merge_legs([row for _told, row in rows], legs)
        merged, odd = self._parse(lambda: merge_triggers(whole, triggers, ours, self._clock.now()))
        for words in odd:
            self._tell_once(words)
        return merged

    def _see(self, told: Any, trades: list[Any]) -> "_Seen":
        return _Seen(told, trades, self._read_row(told, trades), (read_tag(told), read_placed_at(told)))

    def _read_row(self, told: Any, trades: list[Any]) -> BookRow | None:
        status = told.get("status")
        if isinstance(status, str) and status not in STATUSES:
            self._tell_once(f"Kite has a status that is not known here, {status[:40]!r}; such an order is followed as working")
        try:
            return read_row(self.account, told, trades)
        except ForeignError as error:
            if is_maybe_ours(told):
                raise
            self._tell_once(f"an order placed elsewhere is left out of the book: {error}")
            return None

    async def positions(self) -> list[BrokerPosition]:
        """Net positions that are not flat, and the holdings: those are of days before, whenever they are read."""
        told, held = await self._read("positions"), await self._read_list("holdings")
        positions, foreign = self._parse(lambda: read_positions(told))
        holdings = self._parse(lambda: read_holdings(held))
        for words in foreign:
            self._tell_once(f"{words}; it is left out")
        return join_holdings(positions, holdings)

    async def funds(self) -> Funds:
        """Money of the equity segment, not older than the question."""
        asked_at = self._clock.now()
        told = await self._read("margins")
        return self._parse(lambda: read_funds(self.account, told, asked_at))

    async def _read_list(self, name: str) -> list[Any]:
        told = await self._read(name)
        if not isinstance(told, list):
            raise BookUnreadableError(f"Kite's answer cannot be read ({name}: no list).")
        return told

    async def _read(self, name: str, *words: str) -> Any:
        """What Kite says; BookUnreadableError for everything but a whole success."""
        if not self._is_started:
            raise BookUnreadableError(STOPPED)
        if self._tokens.token() is None:
            raise BookUnreadableError(self._tokens.why())
        await asyncio.sleep(self._pace.take(self._clock.now()))
        answer = await self._reads.call(name, *words)
        if answer.data is None:
            wait_s = None
            if answer.http is not None and answer.status == TOO_MANY:
                wait_s = read_retry_after(answer.http.headers.get("retry-after"), self._clock.now()) or TOO_MANY_WAIT_S
            raise BookUnreadableError(answer.message or f"Kite's answer cannot be read ({name}).", retry_after_s=wait_s)
        return answer.data

    def _parse(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except UNREADABLE as error:
            message = f"Kite's answer cannot be read: {type(error).__name__} {error}."
            raise BookUnreadableError(message[:300]) from None

    async def on_price(self, symbol: str, price: Decimal) -> None:
        """Kite has prices of its own."""

    # -- reports ------------------------------------------------------------------------------------------------------

    async def _follow(self, sink: ReportSink) -> None:
        """Look into the book when poked, and by the clock, for ever."""
        while True:
            self._wake.clear()
            wait_s = await self._look(sink)
            self._looked.set()
            await asyncio.sleep(GAP_S if wait_s is None else wait_s)
            if wait_s is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s()):
                        await self._wake.wait()

    async def _look(self, sink: ReportSink) -> float | None:
        """One look; None when all of it is told, else the seconds before it is tried again, poked or not."""
        if self._tokens.token() is None:
            return LOGIN_POLL_S
        try:
            rows = await self.book()
        except BookUnreadableError as error:
            return error.retry_after_s or UNREADABLE_PAUSE_S
        self._tell_full_minute()
        news = [row for row in rows if row.tag and self._told_rows.get(row.broker_order_id) != row]
        self._is_busy = any(row.tag and _is_open(row) for row in rows)
        reports = [report for row in news for report in reports_of(self.account, row)]
        for start in range(0, len(reports), MAX_BATCH):
            batch = reports[start : start + MAX_BATCH]
            if not await hand_over(sink, batch, account=self.account, event="kite_reports_not_taken"):
                return GAP_S
        self._told_rows = {row.broker_order_id: row for row in rows if row.tag}
        return None

    def _pause_s(self) -> float:
        if self._policy.updates != "poll":
            return SAFETY_S
        return BUSY_S if self._is_busy else IDLE_S

    # -- what a person must know --------------------------------------------------------------------------------------

    def _tell_once(self, message: str) -> None:
        if message not in self._told_words:
            if len(self._told_words) >= MAX_TOLD:
                self._told_words.clear()
            self._told_words.add(message)
            self._tell(f"Account {self.account}: {message}.")

    def _tell_full_minute(self) -> None:
        now = self._clock.now()
        wait_s = self.count.wait_s(now)
        if wait_s:
            self._tell_once(
                f"Kite's {PER_MINUTE} orders of the minute {now.astimezone(IST):%H:%M} are used up; the next one waits"
            )


def _is_open(row: BookRow) -> bool:
    """True while something may soon come of it: it works, or not all of its executions are told. A trigger may wait long."""
    if row.ord_type is OrdType.GTT and row.status is OrderStatus.PLACED:
        return False
    return not row.status.is_closed or sum((fill.last_qty for fill in row.fills), ZERO) < row.cum_qty
