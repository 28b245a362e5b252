"""VenueBroker: one account at a `bridge venue`, over HTTP as a real broker would be, with the same doubts."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import quote

from bridge.brokers.base import BookUnreadableError, BrokerStatus, Capabilities, ReportSink
from bridge.brokers.handing import hand_over
from bridge.brokers.http_outcomes import judge_answer, judge_failure
from bridge.brokers.venue.link import CONNECT_S, Link, LinkError
from bridge.brokers.venue.wire import (
    UNREADABLE,
    read_funds,
    read_position,
    read_report,
    read_row,
    read_text,
    write_order,
    write_terms,
)
from bridge.core.clock import Clock
from bridge.core.enums import OutcomeKind
from bridge.core.money import to_text
from bridge.core.order import Order
from bridge.core.report import BookRow, BrokerPosition, Funds, Outcome, Report, reports_of
from bridge.log import log_event, log_fault

T = TypeVar("T")

# Over several connections nothing keeps orders in the order in which they left; and one that waited in here for its turn
# would slip past a halt. The lane is where orders wait.
MAX_IN_FLIGHT = 1
# How long the venue may hold a question for news. It is also how soon an idle bridge notices that the venue is back.
POLL_WAIT_S = 1
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
# One call of the sink carries at most this many: it ends up in one transaction.
MAX_BATCH = 512
# The event loop gets a turn after so many rows of the book.
ROWS_PER_TURN = 200
MAX_PRICES = 1_000


class VenueBroker:
    """One account at a venue. `latest_price` is what the bridge knows, since the venue has no feed of its own."""

    def __init__(
        self, account: str, *, root: str, token: str | None, latest_price: Callable[[str], Decimal | None], clock: Clock
    ) -> None:
        self.account = account
        self.capabilities = Capabilities(name="venue", is_paper=True, max_in_flight=MAX_IN_FLIGHT)
        self._link = Link(account, root, token, clock)
        self._latest_price = latest_price
        self._clock = clock
        self._epoch, self._after = "", 0
        self._following: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._prices: dict[str, tuple[Decimal, str]] = {}
        self._tried = asyncio.Event()

    # -- the session --------------------------------------------------------------------------------------------------

    async def start(self, sink: ReportSink) -> None:
        """Try to make contact, and follow the reports from now on; a venue that is away is tried until it is there."""
        self._link.open()
        self._following = asyncio.get_running_loop().create_task(self._follow(sink), name=f"venue-{self.account}")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), CONNECT_S)

    async def stop(self) -> None:
        """Deliver nothing afterwards."""
        tasks = [task for task in (self._following, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._link.close()

    def status(self) -> BrokerStatus:
        """Connected while the last contact worked."""
        problem = self._link.problem
        return BrokerStatus(connected=not problem, message=problem, session_lost=self._link.session_lost)

    # -- commands -----------------------------------------------------------------------------------------------------

    async def place(self, order: Order) -> Outcome:
        """Send the order; what becomes of it comes through the sink."""
        return await self._command("POST", "/orders", write_order(order, self._latest_price(order.intent.symbol)))

    async def cancel(self, order: Order) -> Outcome:
        """Ask to cancel by the venue's id, which the book knows when we do not."""
        return await self._ask("DELETE", order)

    async def modify(self, order: Order) -> Outcome:
        """Ask to change by the same id; what becomes of it comes through the sink."""
        assert order.replace is not None
        return await self._ask("PUT", order, write_terms(order.replace.terms))

    async def _ask(self, method: str, order: Order, content: Any = None) -> Outcome:
        ident = order.broker_order_id
        if ident is None:
            try:
                ident = next((row.broker_order_id for row in await self.book() if row.tag == order.tag), None)
            except BookUnreadableError as error:
                return Outcome(kind=OutcomeKind.NOT_SENT, message=str(error), retry_after_s=error.retry_after_s)
        if ident is None:
            return Outcome(kind=OutcomeKind.REFUSED, message="The venue has no such order.")
        return await self._command(method, f"/orders/{quote(ident, safe='')}", content)

    async def _command(self, method: str, path: str, content: Any = None) -> Outcome:
        try:
            answer = await self._link.send(method, path, content)
        except LinkError as error:
            return judge_failure(error.failure, str(error))
        return judge_answer(answer, lambda told: told["order_id"], self._clock.now())

    # -- reads --------------------------------------------------------------------------------------------------------

    async def book(self) -> list[BookRow]:
        """All orders of the day."""
        told = await self._link.read("/orders")
        rows: list[BookRow] = []
        for number, row in enumerate(self._parse(lambda: list(told["orders"])), start=1):
            rows.append(self._parse(lambda row=row: read_row(self.account, row)))  # type: ignore[misc]
            if number % ROWS_PER_TURN == 0:
                await asyncio.sleep(0)
        return rows

    async def positions(self) -> list[BrokerPosition]:
        """Net positions that are not flat."""
        told = await self._link.read("/positions")
        return self._parse(lambda: [read_position(one) for one in told["positions"]])

    async def funds(self) -> Funds:
        """Money, not older than the question."""
        asked_at = self._clock.now()
        told = await self._link.read("/funds")
        return self._parse(lambda: read_funds(self.account, told, asked_at))

    def _parse(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except UNREADABLE as error:
            raise self._link.misread(f"{type(error).__name__} {error}") from None

    # -- prices -------------------------------------------------------------------------------------------------------

    async def on_price(self, symbol: str, price: Decimal) -> None:
        """Pass the price on, as soon as the one before has been; of each symbol only the newest waits."""
        if not self._link.is_open:
            return
        self._prices.pop(symbol, None)
        if len(self._prices) >= MAX_PRICES:
            del self._prices[next(iter(self._prices))]
        self._prices[symbol] = (price, self._clock.now().isoformat())
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell_prices())

    async def _tell_prices(self) -> None:
        while self._prices:
            symbol = next(iter(self._prices))
            price, at = self._prices.pop(symbol)
            try:
                await self._link.send("POST", "/prices", {"symbol": symbol, "price": to_text(price), "at": at})
            except LinkError:
                continue  # a price that did not arrive is overtaken by the next, and each order carries one

    # -- reports ------------------------------------------------------------------------------------------------------

    async def _follow(self, sink: ReportSink) -> None:
        """Ask for news for ever; where some were missed, tell the book instead, which holds them all."""
        pause_s = FIRST_PAUSE_S
        while True:
            named_s: float = 0
            try:
                await self._follow_once(sink)
                pause_s = FIRST_PAUSE_S
                continue
            except BookUnreadableError as error:  # the link remembers why, and `status` tells it
                named_s = error.retry_after_s or 0
            except Exception as error:  # the next question may be answered better; without news nothing is followed
                self._link.misread(type(error).__name__)
                log_fault("venue", error)
            self._tried.set()
            await asyncio.sleep(max(pause_s, named_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _follow_once(self, sink: ReportSink) -> None:
        query = {"epoch": self._epoch, "after": str(self._after), "wait_s": str(POLL_WAIT_S)}
        told = await self._link.read("/reports", query=query, wait_s=POLL_WAIT_S)
        epoch, after, reports = await self._find_news(told)
        self._tried.set()
        for start in range(0, len(reports), MAX_BATCH):
            await self._deliver(sink, reports[start : start + MAX_BATCH])
        self._epoch, self._after = epoch, after

    async def _find_news(self, told: Any) -> tuple[str, int, list[Report]]:
        """What is to be delivered, and where the next question starts."""
        epoch, first, after = self._parse(lambda: (read_text(told["epoch"]), int(told["first"]), int(told["last"])))
        if (epoch, first) == (self._epoch, self._after + 1):
            return epoch, after, self._parse(lambda: [read_report(self.account, one) for one in told["reports"]])
        if self._epoch:
            log_event("venue_reports_missed", account=self.account, is_new_run=epoch != self._epoch)
        rows = await self.book()
        return epoch, after, [report for row in rows for report in reports_of(self.account, row)]

    async def _deliver(self, sink: ReportSink, reports: list[Report]) -> None:
        """Hand reports over until they are taken; those that come meanwhile wait at the venue."""
        pause_s = FIRST_PAUSE_S
        while not await hand_over(sink, reports, account=self.account, event="venue_reports_not_taken"):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
