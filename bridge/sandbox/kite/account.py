"""What the user has: positions out of the trades, holdings, money, and whether an order can be afforded."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from bridge.core.clock import IST, Clock
from bridge.core.money import ONE, PAISA, ZERO
from bridge.sandbox.kite.book import Book
from bridge.sandbox.kite.charges import charges_of
from bridge.sandbox.kite.faults import Knobs
from bridge.sandbox.kite.forms import check_ticks
from bridge.sandbox.kite.journal import Journal, from_line
from bridge.sandbox.kite.market import Listed, Market
from bridge.sandbox.kite.values import Order, bad_input, number, stamp

SEGMENTS = ("equity", "commodity")
COMMODITY_EXCHANGES = ("MCX", "NCO")
# Parts of the value that an order blocks: simple, and no broker's real margin (no SPAN, no offsets).
_SHARE_PART = {"MIS": Decimal("0.2"), "MTF": Decimal("0.25"), "CNC": ONE}
_DERIVATIVE_PART = Decimal("0.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Shares in the demat account; `t1` of them were bought the day before and are still to be delivered."""

    symbol: str
    quantity: int
    average_price: Decimal
    t1: int = 0


@dataclass(slots=True)
class Position:
    """One instrument and product; quantities and values of today, and what was carried over."""

    quantity: int = 0
    average: Decimal = ZERO
    realised: Decimal = ZERO
    overnight: int = 0
    overnight_average: Decimal = ZERO
    bought: int = 0
    bought_value: Decimal = ZERO
    sold: int = 0
    sold_value: Decimal = ZERO

    def trade(self, signed: int, price: Decimal) -> None:
        """Add an execution: what enlarges moves the average, what closes realises against it."""
        if signed > 0:
            self.bought, self.bought_value = self.bought + signed, self.bought_value + signed * price
        else:
            self.sold, self.sold_value = self.sold - signed, self.sold_value - signed * price
        closing = min(abs(signed), abs(self.quantity)) if self.quantity * signed < 0 else 0
        if closing:
            self.realised += closing * (price - self.average) * (1 if self.quantity > 0 else -1)
        opening = abs(signed) - closing
        left = abs(self.quantity) - closing
        if opening:
            self.average = (self.average * left + price * opening) / (left + opening)
        self.quantity += signed
        if not self.quantity:
            self.average = ZERO

    def carry_over(self) -> None:
        """The day is over: what is left is carried, the rest forgotten."""
        self.overnight, self.overnight_average = self.quantity, self.average
        self.bought = self.sold = 0
        self.bought_value = self.sold_value = self.realised = ZERO


class Account:
    """Money by segment, holdings by symbol, and positions worked out of the trades whenever somebody asks."""

    def __init__(self, clock: Clock, journal: Journal, market: Market, book: Book, knobs: Callable[[], Knobs]) -> None:
        self.cash = {"equity": Decimal(1_000_000), "commodity": Decimal(1_000_000)}
        self.holdings: dict[str, Holding] = {}
        self._clock = clock
        self._journal = journal
        self._market = market
        self._book = book
        self._knobs = knobs
        self._positions: dict[tuple[str, str], Position] = {}
        self._read = 0  # trades that are in `_positions`
        self._day = 0

    def set_holding(self, symbol: str, quantity: int, average_price: Decimal) -> None:
        """Shares that are there from before; ValueError for what cannot be held."""
        item = self._market.listed.get(symbol)
        if item is None or not item.is_share or quantity < 0 or average_price < 0:
            raise ValueError("a holding is of a listed share, and nothing of it is below zero")
        self._journal.write("holding", {"symbol": symbol, "quantity": quantity, "average_price": average_price})
        self.holdings[symbol] = Holding(symbol=symbol, quantity=quantity, average_price=average_price)

    def load_holding(self, content: dict[str, Any]) -> None:
        """A holding out of the journal."""
        if content["symbol"] in self._market.listed:
            self.holdings[content["symbol"]] = from_line(
                Holding, content, decimals=frozenset({"average_price"}), times=frozenset()
            )

    # -- positions --------------------------------------------------------------------------------------------------

    def positions(self) -> dict[tuple[str, str], Position]:
        """By symbol and product; what was closed today is still there, with zero."""
        trades = self._book.trades
        for trade in trades[self._read :]:
            self._turn_to(trade.at.astimezone(IST).toordinal())
            self._positions.setdefault((trade.symbol, trade.product), Position()).trade(trade.signed, trade.price)
        self._read = len(trades)
        self._turn_to(self._clock.now().astimezone(IST).toordinal())
        return self._positions

    def _turn_to(self, day: int) -> None:
        """Carry positions into the next day; delivered shares become holdings."""
        if day == self._day:
            return
        self._day = day
        self.holdings = {symbol: replace(one, t1=0) for symbol, one in self.holdings.items()}
        for (symbol, product), position in list(self._positions.items()):
            self.cash[segment_of(self._market.listed[symbol].exchange)] += position.realised
            position.carry_over()
            if product == "CNC" and position.quantity:
                self.cash["equity"] -= position.quantity * position.average
                self._deliver(symbol, position)
            if product == "CNC" or not position.quantity:
                del self._positions[symbol, product]

    def _deliver(self, symbol: str, position: Position) -> None:
        known = self.holdings.get(symbol) or Holding(symbol=symbol, quantity=0, average_price=ZERO)
        quantity = max(known.quantity + position.quantity, 0)
        average = known.average_price
        if position.quantity > 0:
            average = (average * known.quantity + position.average * position.quantity) / quantity
        t1 = max(position.quantity, 0)
        self.holdings[symbol] = replace(known, quantity=quantity, average_price=average, t1=t1)

    def position_rows(self) -> dict[str, list[dict[str, Any]]]:
        """`net` and `day`, as the vendor answers them."""
        found = self.positions().items()
        return {
            "net": [self._position_row(symbol, product, one, net=True) for (symbol, product), one in found],
            "day": [self._position_row(*key, one, net=False) for key, one in found if one.bought or one.sold],
        }

    def _position_row(self, symbol: str, product: str, one: Position, *, net: bool) -> dict[str, Any]:
        item, price = self._market.listed[symbol], self._market.prices[symbol]
        carried = one.overnight if net else 0
        carried_value = carried * one.overnight_average
        bought = one.bought + max(carried, 0)
        sold = one.sold + max(-carried, 0)
        bought_value = one.bought_value + (carried_value if carried > 0 else ZERO)
        sold_value = one.sold_value - (carried_value if carried < 0 else ZERO)
        quantity = bought - sold
        pnl = sold_value - bought_value + quantity * price.last
        unrealised = quantity * (price.last - one.average) if net else pnl
        return {
            "tradingsymbol": item.tradingsymbol, "exchange": item.exchange, "instrument_token": item.token, "product": product,
            "quantity": quantity, "overnight_quantity": carried, "multiplier": 1,
            "average_price": number(one.average if net else _average(bought_value - sold_value, quantity)),
            "close_price": number(price.close if carried else ZERO), "last_price": number(price.last),
            "value": number(sold_value - bought_value), "pnl": number(pnl), "m2m": number(pnl),
            "unrealised": number(unrealised), "realised": number(pnl - unrealised),
            "buy_quantity": bought, "buy_price": number(_average(bought_value, bought)), "buy_value": number(bought_value),
            "buy_m2m": number(bought_value),
            "sell_quantity": sold, "sell_price": number(_average(sold_value, sold)), "sell_value": number(sold_value),
            "sell_m2m": number(sold_value),
            "day_buy_quantity": one.bought, "day_buy_price": number(_average(one.bought_value, one.bought)),
            "day_buy_value": number(one.bought_value),
            "day_sell_quantity": one.sold, "day_sell_price": number(_average(one.sold_value, one.sold)),
            "day_sell_value": number(one.sold_value),
        }  # fmt: skip

    def holding_rows(self) -> list[dict[str, Any]]:
        """Holdings; shares sold today are `used` until they leave."""
        self.positions()
        return [self._holding_row(one) for one in self.holdings.values() if one.quantity]

    def _holding_row(self, one: Holding) -> dict[str, Any]:
        item, price = self._market.listed[one.symbol], self._market.prices[one.symbol]
        change = price.last - price.close
        percent = (change / price.close * 100).quantize(PAISA) if price.close else ZERO
        return {
            "tradingsymbol": item.tradingsymbol, "exchange": item.exchange, "instrument_token": item.token, "isin": "",
            "product": "CNC", "price": 0, "quantity": one.quantity - one.t1, "used_quantity": self._sold(one.symbol),
            "t1_quantity": one.t1, "realised_quantity": one.quantity - one.t1, "authorised_quantity": 0,
            "authorised_date": stamp(self._clock.now()), "opening_quantity": one.quantity, "collateral_quantity": 0,
            "collateral_type": "", "discrepancy": False, "average_price": number(one.average_price),
            "last_price": number(price.last), "close_price": number(price.close),
            "pnl": number((price.last - one.average_price) * one.quantity),
            "day_change": number(change), "day_change_percentage": number(percent),
        }  # fmt: skip

    def _sold(self, symbol: str) -> int:
        position = self._positions.get((symbol, "CNC"))
        return max(-position.quantity, 0) if position else 0

    # -- money ------------------------------------------------------------------------------------------------------

    def judge(self, order: Order) -> str:
        """Why the order is rejected before it reaches the exchange; empty when it is not."""
        item = self._market.listed[order.symbol]
        largest = self.freeze_quantity(item)
        if largest is not None and order.quantity > largest:
            return f"Order quantity {order.quantity} exceeds the freeze quantity {largest} of {item.tradingsymbol}."
        wrong = check_ticks(item, order.price, order.trigger_price)
        if wrong:
            return wrong
        if order.product == "CNC" and order.sign < 0 and (short := self._shortage(order)):
            return short
        needed, free = self._needed(order, item), self.net(segment_of(item.exchange))
        if needed > free:
            return (
                f"Insufficient funds. Required margin is {needed:.2f} but available margin is {max(free, ZERO):.2f}. "
                "Check the orderbook for open orders."
            )
        return ""

    def freeze_quantity(self, item: Listed) -> int | None:
        """The largest quantity of one order, where one is known."""
        freeze = self._knobs().freeze
        return freeze.get(item.symbol) or (None if item.is_share else freeze.get(item.name))

    def _shortage(self, order: Order) -> str:
        position = self.positions().get((order.symbol, "CNC"))  # first, since it may turn the day
        held = self.holdings.get(order.symbol)
        selling = sum(
            one.left for one in self._book.working()
            if one.symbol == order.symbol and one.product == "CNC" and one.sign < 0 and one.order_id != order.order_id
        )  # fmt: skip
        free = (held.quantity if held else 0) + (position.quantity if position else 0) - selling
        if order.quantity <= free:
            return ""
        return f"Insufficient holding quantity. Trying to sell {order.quantity}, holding quantity is {max(free, 0)}."

    def _needed(self, order: Order, item: Listed) -> Decimal:
        """What the order blocks: its opening part only."""
        position = self.positions().get((order.symbol, order.product))
        held = position.quantity if position else 0
        opening = order.left - (min(order.left, abs(held)) if held * order.sign < 0 else 0)
        if order.product == "CNC" and order.sign < 0:
            opening = 0
        price = order.price or order.trigger_price or self._market.last(order.symbol)
        return self.margin_of(item, order.product, order.sign * opening, price)

    @staticmethod
    def margin_of(item: Listed, product: str, signed: int, price: Decimal) -> Decimal:
        """Rupees that so many units block at this price; a bought option its premium, a written one part of its strike."""
        if item.is_share:
            return abs(signed) * price * _SHARE_PART.get(product, ONE)
        if item.is_option:
            return signed * price if signed > 0 else abs(signed) * item.strike * _DERIVATIVE_PART
        return abs(signed) * price * _DERIVATIVE_PART

    def _used(self, segment: str) -> tuple[Decimal, Decimal]:
        """Money blocked, and profit booked today."""
        blocked = booked = ZERO
        for (symbol, product), one in self.positions().items():
            item = self._market.listed[symbol]
            if segment_of(item.exchange) == segment:
                booked += one.realised
                if product != "CNC" or one.quantity > 0:
                    blocked += self.margin_of(item, product, one.quantity, one.average)
        for order in self._book.working():
            if segment_of(order.exchange) == segment and order.exchange_order_id is not None:
                blocked += self._needed(order, self._market.listed[order.symbol])
        return blocked, booked

    def net(self, segment: str) -> Decimal:
        """What can still be spent."""
        blocked, booked = self._used(segment)
        return self.cash[segment] + booked - blocked

    def margin_rows(self) -> dict[str, dict[str, Any]]:
        """Both segments, as the vendor answers them."""
        return {segment: self.segment_row(segment) for segment in SEGMENTS}

    def segment_row(self, segment: str) -> dict[str, Any]:
        """One segment."""
        cash, (blocked, booked) = number(self.cash[segment]), self._used(segment)
        free = number((self.cash[segment] + booked - blocked).quantize(PAISA))
        names = (
            *("exposure", "holding_sales", "option_premium", "payout", "span", "turnover", "liquid_collateral"),
            *("stock_collateral", "delivery"),
        )
        return {
            "enabled": True,
            "net": free,
            "available": {
                "adhoc_margin": 0, "cash": cash, "opening_balance": cash, "live_balance": free, "collateral": 0,
                "intraday_payin": 0,
            },
            "utilised": {
                **dict.fromkeys(names, 0), "debits": number((blocked - booked).quantize(PAISA)),
                "m2m_realised": number(booked.quantize(PAISA)), "m2m_unrealised": 0,
            },
        }  # fmt: skip

    # -- what orders would cost -----------------------------------------------------------------------------------------

    def cost_rows(self, wanted: Iterable[Any], price_name: str) -> list[dict[str, Any]]:
        """Margin and charges of each order of a list, as `/margins/orders` and `/charges/orders` tell them."""
        return [self._cost_row(one, price_name) for one in wanted]

    def _cost_row(self, wanted: Any, price_name: str) -> dict[str, Any]:
        try:
            item = self._market.listed[f"{wanted['exchange']}:{wanted['tradingsymbol']}"]
            side, product, quantity = wanted["transaction_type"], wanted["product"], int(wanted["quantity"])
            price = Decimal(str(wanted.get(price_name) or 0)) or self._market.last(item.symbol)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise bad_input("Invalid order in the list.") from None
        signed = quantity if side == "BUY" else -quantity
        margin = ZERO if product == "CNC" and signed < 0 else self.margin_of(item, product, signed, price)
        parts = dict.fromkeys(("span", "exposure", "option_premium", "additional", "bo", "cash", "var"), 0)
        kind = "var" if item.is_share else "option_premium" if item.is_option and signed > 0 else "span"
        return {
            "type": segment_of(item.exchange), "tradingsymbol": item.tradingsymbol, "exchange": item.exchange, **parts,
            kind: number(margin), "pnl": {"realised": 0, "unrealised": 0},
            "leverage": number(ONE / _SHARE_PART.get(product, ONE)) if item.is_share else 1,
            "charges": charges_of(item, product, side, quantity * price), "total": number(margin),
        }  # fmt: skip

    def note_rows(self, wanted: list[Any]) -> list[dict[str, Any]]:
        """`/charges/orders`: the order again, with what it costs."""
        names = ("transaction_type", "tradingsymbol", "exchange", "variety", "product", "order_type", "quantity")
        rows = zip(wanted, self.cost_rows(wanted, "average_price"), strict=True)
        return [
            {**{n: one.get(n) for n in names}, "price": one.get("average_price"), "charges": row["charges"]}
            for one, row in rows
        ]


def segment_of(exchange: str) -> str:
    """The purse that pays for it."""
    return "commodity" if exchange in COMMODITY_EXCHANGES else "equity"


def _average(value: Decimal, quantity: int) -> Decimal:
    return value / quantity if quantity else ZERO
