"""The order book: orders are placed, changed and cancelled, go their documented way, and trade at the prices that are set."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bridge.core.clock import Clock
from bridge.core.money import AVERAGE_PLACES
from bridge.sandbox.kite.faults import Fault, Faults, Knobs, Scope
from bridge.sandbox.kite.forms import OrderForm, check_ticks, read_change
from bridge.sandbox.kite.journal import Journal, from_line, to_line
from bridge.sandbox.kite.market import Listed, Market
from bridge.sandbox.kite.shelf import Shelf, day_of
from bridge.sandbox.kite.terms import changed_values, first_leg, is_market, limit_values, make_order, next_leg
from bridge.sandbox.kite.values import (
    AT_MARKET,
    CHANGEABLE,
    ENDED,
    ApiError,
    Order,
    Status,
    Trade,
    bad_input,
    check_way,
)

MAX_MODIFICATIONS = 25
MAX_SLICES = 10
_DECIMALS = frozenset({"price", "trigger_price", "average_price", "market_protection", "limit"})
_TIMES = frozenset({"order_timestamp", "exchange_timestamp", "exchange_update_timestamp", "at", "due"})
_PLACED = (Status.VALIDATING, Status.OPENING, Status.OPEN)
_CHANGED = (Status.MODIFYING, Status.MODIFIED, Status.OPEN)
BEING_PROCESSED = "Order cannot be {} as it is being processed. Try later."


class Book:
    """Every order as the list of its states, the newest last. Nothing here knows the same order twice: there is no
    idempotency, and a second request makes a second order.

    `judge` is asked before an order reaches the exchange, and answers why it is rejected, or nothing. `tell` hears what
    the vendor would send an update for, and under which status.
    """

    def __init__(
        self, clock: Clock, journal: Journal, market: Market, faults: Faults, knobs: Callable[[], Knobs], user_id: str
    ) -> None:
        self._shelf = Shelf()
        self.orders = self._shelf.orders
        self.trades = self._shelf.trades
        self.current = self._shelf.current
        self.working = self._shelf.working
        self.judge: Callable[[Order], str] = lambda _order: ""
        self.tell: Callable[[Order, str], None] = lambda _order, _status: None
        self._clock = clock
        self._journal = journal
        self._market = market
        self._faults = faults
        self._knobs = knobs
        self._user_id = user_id
        self._day = 0  # the first look ends what is left of days before

    # -- memory -----------------------------------------------------------------------------------------------------

    def load_order(self, content: dict[str, Any]) -> None:
        """A state of an order out of the journal."""
        content["status"] = Status(content["status"])
        content["todo"] = [Status(step) for step in content["todo"]]
        self._shelf.keep(from_line(Order, content, decimals=_DECIMALS, times=_TIMES))

    def load_trade(self, content: dict[str, Any]) -> None:
        """An execution out of the journal."""
        self.trades.append(from_line(Trade, content, decimals=_DECIMALS, times=_TIMES))

    def _put(self, order: Order, **values: Any) -> Order:
        """The order's next state."""
        now = self._clock.now()
        new = replace(order, at=now, **values)
        if order.order_id in self.orders:
            check_way(order.status, new.status)
            if new.exchange_order_id is not None:
                new = replace(new, exchange_update_timestamp=now)
        if new.status in ENDED:
            new = replace(new, todo=(), due=None, change={})
        self._journal.write("order", to_line(new))
        self._shelf.keep(new)
        return new

    def _next_id(self) -> str:
        return self._shelf.next_id(self._clock.now())

    # -- placing ----------------------------------------------------------------------------------------------------

    def place(self, form: OrderForm) -> str:
        """A new order, and its id."""
        quantity, meta = first_leg(form)
        order_id = self._start(form, quantity, self._next_id(), meta=meta)
        self.run_due()
        return order_id

    def _start(self, form: OrderForm, quantity: int, order_id: str, *, tags: tuple[str, ...] = (), meta: dict[str, Any]) -> str:
        now = self._clock.now()
        fate = next((kind for kind in (Fault.STUCK, Fault.REJECT, Fault.PARTIAL_CANCEL) if self._use(kind)), "")
        todo = (Status.AMO,) if form.variety == "amo" else _PLACED
        values: dict[str, Any] = {
            "meta": meta,
            "fate": fate,
            "todo": () if fate == Fault.STUCK else todo,
            "due": self._after_a_step(),
        }
        order = make_order(form, order_id, self._user_id, now)
        self._put(replace(order, quantity=quantity, tags=order.tags + tags, **values))
        return order_id

    def place_slices(self, form: OrderForm, largest: int) -> tuple[str, list[dict[str, Any]]]:
        """An order cut at the freeze quantity: the id that its parts name, itself no order, and what became of each."""
        sizes = [min(largest, form.quantity - start) for start in range(0, form.quantity, largest)]
        if len(sizes) > MAX_SLICES:
            raise bad_input(f"Quantity exceeds the limit of {MAX_SLICES} slices.")
        parent, told = self._next_id(), list[dict[str, Any]]()
        fails = self._use(Fault.CHILD_ERROR)
        for place, size in enumerate(sizes):
            if fails and place == len(sizes) - 1:
                message = "Insufficient funds. Check the orderbook for open orders."
                told.append({"error": {"code": 400, "error_type": "MarginException", "message": message, "data": None}})
                continue
            tags = ("autoslice", f"autoslice:{parent}")
            told.append({"order_id": self._start(form, size, self._next_id(), tags=tags, meta={})})
        self.run_due()
        return parent, told

    def _use(self, fault: Fault) -> bool:
        return self._faults.use(Scope.BOOK, fault)

    def _after_a_step(self) -> Any:
        return self._clock.now() + timedelta(milliseconds=self._knobs().step_ms)

    # -- changing ---------------------------------------------------------------------------------------------------

    def modify(self, order_id: str, form: Mapping[str, str]) -> None:
        """Ask for a change; the way there is the documented one."""
        order = self._changeable(order_id, "modified")
        if order.modifications >= MAX_MODIFICATIONS:
            raise ApiError(400, "OrderException", "Maximum allowed order modifications exceeded.")
        item = self._market.listed[order.symbol]
        change = read_change(form, order, item)
        wrong = check_ticks(item, Decimal(change.get("price", 0)), Decimal(change.get("trigger_price", 0)))
        if wrong:
            raise ApiError(400, "OrderException", wrong)
        self._put(order, status=Status.MODIFY_VALIDATING, change=change, todo=_CHANGED, due=self._after_a_step())
        self.run_due()

    def cancel(self, order_id: str) -> None:
        """Ask for an end; until it comes the order may still trade."""
        order = self._changeable(order_id, "cancelled")
        self._put(order, status=Status.CANCELLING, todo=(Status.CANCELLED,), due=self._after_a_step())
        self.run_due()

    def _changeable(self, order_id: str, what: str) -> Order:
        order = self.current(order_id)
        if order.status not in CHANGEABLE:
            raise ApiError(400, "OrderException", BEING_PROCESSED.format(what))
        return order

    def release(self) -> int:
        """Let orders that are stuck in their first state go on; how many there were."""
        stuck = [history[-1] for history in self.orders.values() if history[-1].fate == Fault.STUCK]
        stuck = [order for order in stuck if order.status is Status.PUT]
        for order in stuck:
            todo = (Status.AMO,) if order.variety == "amo" else _PLACED
            self._replace(replace(order, fate="", todo=todo, due=self._clock.now()))
        self.run_due()
        return len(stuck)

    def open_market(self) -> None:
        """Send after-market orders to the exchange."""
        for order in self.working():
            if order.status is Status.AMO:
                self._replace(replace(order, todo=_PLACED, due=self._after_a_step()))
        self.run_due()

    def _replace(self, order: Order) -> None:
        """A note of our own on the newest state; to the client nothing has happened."""
        self._journal.write("note", to_line(order))
        self._shelf.amend(order)

    def load_note(self, content: dict[str, Any]) -> None:
        """A note out of the journal."""
        self.orders[content["order_id"]].pop()
        self.load_order(content)

    # -- time -------------------------------------------------------------------------------------------------------

    def _today(self) -> int:
        return day_of(self._clock.now())

    def run_due(self) -> None:
        """Let every order take the steps whose time has come."""
        if self._today() != self._day:
            self._end_day()
        moved = True
        while moved:
            moved = False
            for order_id in list(self._shelf.moving):
                order, now = self.current(order_id), self._clock.now()
                if order.todo and order.due is not None and order.due <= now:
                    self._step(order)
                    moved = True
                elif self._has_lived(order):
                    self._cancel_now(order)

    def _has_lived(self, order: Order) -> bool:
        if order.validity != "TTL" or order.exchange_timestamp is None or order.status in ENDED:
            return False
        return self._clock.now() >= order.exchange_timestamp + timedelta(minutes=order.validity_ttl)

    def _end_day(self) -> None:
        """Orders live for a day; those of yesterday are no longer listed either."""
        self._day = self._today()
        for order in self.working():
            if order.status in (Status.OPEN, Status.TRIGGER) and day_of(order.order_timestamp) < self._day:
                self._cancel_now(order)

    def _step(self, order: Order) -> None:
        step, values = order.todo[0], {"todo": order.todo[1:], "due": self._after_a_step()}
        if step is Status.OPENING:
            reason = "Rejected by the sandbox, as asked." if order.fate == Fault.REJECT else self.judge(order)
            if reason:
                self._end(order, Status.REJECTED, reason)
                return
        if step is Status.OPEN:
            self._arrive(order, values)
        elif step is Status.MODIFIED:
            self._put(order, status=step, **values, **changed_values(order))
        elif step is Status.CANCELLED:
            self._end(order, step)
        else:
            self._put(order, status=step, **values)

    def _arrive(self, order: Order, values: dict[str, Any]) -> None:
        """At the exchange for the first time, or again after a change."""
        if order.status is Status.MODIFIED and order.exchange_order_id is None:
            self._put(order, status=Status.AMO, **values)
            return
        is_new, last = order.exchange_order_id is None, self._market.last(order.symbol)
        if is_new and order.has_trigger and last and (last - order.trigger_price) * order.sign >= 0:
            side, where = ("buy", "higher") if order.sign > 0 else ("sell", "lower")
            self._end(order, Status.REJECTED, f"Trigger price for stoploss {side} orders should be {where} than the LTP.")
            return
        if is_new:
            now = self._clock.now()
            values |= {"exchange_order_id": f"1{order.order_id}", "exchange_timestamp": now}
        if order.filled_quantity == order.quantity:  # changed to what it has traded already
            self._end(order, Status.COMPLETE)
            return
        order = self._put(order, status=Status.TRIGGER if order.has_trigger else Status.OPEN, **values)
        if not is_new:
            self.tell(order, "UPDATE")
        self._match(order, arriving=True)
        order = self.current(order.order_id)
        if order.validity == "IOC" and order.status not in ENDED:
            self._cancel_now(order)

    # -- trading ----------------------------------------------------------------------------------------------------

    def on_price(self, symbol: str) -> None:
        """Let resting orders meet a new price."""
        self.run_due()
        for order in self.working(symbol):
            self._match(self.current(order.order_id), arriving=False)

    def _match(self, order: Order, *, arriving: bool) -> None:
        last = self._market.last(order.symbol)
        is_live = order.exchange_order_id is not None and (order.status in AT_MARKET or order.status is Status.TRIGGER)
        if not last or not is_live or order.variety == "auction":
            return
        if order.has_trigger:
            if (last - order.trigger_price) * order.sign < 0:
                return
            status = Status.OPEN if order.status is Status.TRIGGER else order.status
            order, arriving = self._put(order, status=status, triggered=True), True
            self.tell(order, "UPDATE")
        if order.limit is None:
            order = self._protect(order, last)
        if order.limit is None or (last - order.limit) * order.sign > 0:
            return
        item = self._market.listed[order.symbol]
        if order.fate == Fault.PARTIAL_CANCEL:
            self._fill_half(order, item, last)
            return
        most = self._knobs().fill_max
        quantity = min(order.left, max(most // item.lot * item.lot, item.lot)) if most else order.left
        self._fill(order, quantity, last if arriving or is_market(order) else order.limit)

    def _protect(self, order: Order, last: Decimal) -> Order:
        """How far the order may go: its price, or the last one plus what protects a market order."""
        item, as_limit = self._market.listed[order.symbol], self._knobs().protected_as == "LIMIT"
        limited = replace(order, **limit_values(order, item, last, as_limit=as_limit))
        self._replace(limited)
        return limited

    def _fill_half(self, order: Order, item: Listed, price: Decimal) -> None:
        half = order.left // item.lot // 2 * item.lot
        if half:
            order = self._fill(order, half, price)
        self._cancel_now(order, "Cancelled by the exchange.")

    def fill(self, order_id: str, quantity: int, price: Decimal) -> None:
        """Trade so much of an order at this price, whatever the market says; ValueError when it cannot be."""
        order = self.orders[order_id][-1] if order_id in self.orders else None
        if order is None or order.exchange_order_id is None or not 0 < quantity <= order.left or price <= 0:
            raise ValueError("the order is not at the market with so much left, or the price is none")
        if order.status is Status.TRIGGER:
            order = self._put(order, status=Status.OPEN, triggered=True)
        self._fill(order, quantity, price)

    def _fill(self, order: Order, quantity: int, price: Decimal) -> Order:
        trade = Trade(
            # An exchange's numbers come again, on other days and exchanges: here they do with every order.
            trade_id=f"{len(self.orders[order.order_id]):08d}", order_id=order.order_id,
            exchange_order_id=order.exchange_order_id or "", exchange=order.exchange, tradingsymbol=order.tradingsymbol,
            instrument_token=order.instrument_token, product=order.product, transaction_type=order.transaction_type,
            quantity=quantity, price=price, at=self._clock.now(),
        )  # fmt: skip
        self._journal.write("trade", to_line(trade))
        self.trades.append(trade)
        filled = order.filled_quantity + quantity
        average = (order.average_price * order.filled_quantity + price * quantity) / filled
        is_done = filled == order.quantity
        order = self._put(
            order, status=Status.COMPLETE if is_done else order.status, filled_quantity=filled,
            average_price=average.quantize(AVERAGE_PLACES),
        )  # fmt: skip
        self.tell(order, order.status if is_done else "UPDATE")
        if is_done:
            self._next_leg(order)
        return order

    def _next_leg(self, order: Order) -> None:
        """The next part of an iceberg goes out once the one before has traded."""
        size, meta = next_leg(order.meta)
        if not size:
            return
        now = self._clock.now()
        values: dict[str, Any] = {"quantity": size, "meta": meta, "order_timestamp": now, "fate": "", "todo": _PLACED}
        first = replace(self.orders[order.order_id][0], order_id=self._next_id(), due=self._after_a_step())
        self._put(replace(first, **values))
        self.run_due()

    def _cancel_now(self, order: Order, message: str | None = None) -> None:
        if order.status in CHANGEABLE:
            order = self._put(order, status=Status.CANCELLING)
        self._end(order, Status.CANCELLED, message)

    def _end(self, order: Order, status: Status, message: str | None = None) -> None:
        order = self._put(order, status=status, status_message=message)
        if order.variety != "amo" or order.exchange_order_id is not None or status is Status.REJECTED:
            self.tell(order, status)

    # -- views ------------------------------------------------------------------------------------------------------

    def _seen(self) -> datetime:
        return self._clock.now() - timedelta(milliseconds=self._knobs().book_lag_ms)

    def rows(self) -> list[Order]:
        """Today's orders, and what is not over, as the book shows them now: as they were a lag ago."""
        return self._shelf.rows(self._seen(), self._today())

    def history(self, order_id: str) -> list[Order]:
        """Every state of an order that the book shows by now; ApiError when there is none."""
        return self._shelf.history(order_id, self._seen())

    def trade_rows(self, order_id: str | None = None) -> list[Trade]:
        """Today's executions, of all orders or of one, as late as the book."""
        return self._shelf.trade_rows(order_id, self._seen(), self._today())
