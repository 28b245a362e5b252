"""The market of the sandbox: the instrument dump as it was given, and the prices somebody sets."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from bridge.core.clock import IST, Clock
from bridge.core.errors import ConfigError
from bridge.core.money import ZERO, parse_decimal
from bridge.sandbox.kite.journal import Journal
from bridge.sandbox.kite.values import bad_input, number, stamp

COLUMNS = (
    *("instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike"),
    *("tick_size", "lot_size", "instrument_type", "segment", "exchange"),
)
INTERVALS = {
    "minute": 1, "3minute": 3, "5minute": 5, "10minute": 10, "15minute": 15, "30minute": 30, "60minute": 60, "day": 1_440,
}  # fmt: skip
SPAN_DAYS = {"minute": 60, "15minute": 200, "30minute": 200, "60minute": 400, "day": 2_000}
OTHER_SPAN_DAYS = 100
# The dump gives indices no tick; books and circuit limits are made of these.
_INDEX_TICK = Decimal("0.05")
_CIRCUIT = Decimal("0.10")
DEPTH = 5
DEPTH_LOTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One row of the dump."""

    token: int
    exchange: str
    tradingsymbol: str
    name: str
    tick: Decimal
    lot: int
    kind: str
    strike: Decimal
    is_index: bool

    @property
    def symbol(self) -> str:
        """`EXCHANGE:TRADINGSYMBOL`."""
        return f"{self.exchange}:{self.tradingsymbol}"

    @property
    def is_share(self) -> bool:
        """True for what is delivered: CNC, and no NRML."""
        return self.kind == "EQ" and not self.is_index

    @property
    def is_option(self) -> bool:
        """True for calls and puts."""
        return self.kind in ("CE", "PE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The day so far of one instrument; `at` is None before the first price was set."""

    last: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int = 0
    at: datetime | None = None


class Market:
    """Instruments by symbol and token, and the price of each; the dump's last price is yesterday's close."""

    def __init__(self, lines: Iterable[str], clock: Clock, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._rows: list[list[str]] = []
        self._points: dict[str, list[tuple[datetime, Decimal, int]]] = {}
        self.listed: dict[str, Listed] = {}
        self.by_token: dict[int, Listed] = {}
        self.prices: dict[str, Price] = {}
        rows = csv.reader(lines)
        if tuple(next(rows, ())) != COLUMNS:
            raise ConfigError(f"instruments: the heading must be {','.join(COLUMNS)}")
        for row in rows:
            self._add(row)

    def _add(self, row: list[str]) -> None:
        cell = dict(zip(COLUMNS, row, strict=True))
        is_index = cell["segment"] == "INDICES"
        item = Listed(
            token=int(cell["instrument_token"]), exchange=cell["exchange"], tradingsymbol=cell["tradingsymbol"],
            name=cell["name"], tick=parse_decimal(cell["tick_size"] or "0") or _INDEX_TICK,
            lot=int(parse_decimal(cell["lot_size"] or "1")) or 1, kind=cell["instrument_type"],
            strike=parse_decimal(cell["strike"] or "0"), is_index=is_index,
        )  # fmt: skip
        close = parse_decimal(cell["last_price"] or "0")
        self._rows.append(row)
        self.listed[item.symbol] = self.by_token[item.token] = item
        self.prices[item.symbol] = Price(last=close, open=close, high=close, low=close, close=close)

    # -- prices -----------------------------------------------------------------------------------------------------

    def last(self, symbol: str) -> Decimal:
        """The latest price; zero while nobody has named one."""
        return self.prices[symbol].last

    def set_price(self, symbol: str, price: Decimal, volume: int = 0) -> None:
        """The market trades here; ValueError for what is not listed or no price."""
        if symbol not in self.listed:
            raise ValueError(f"{symbol[:60]!r} is not in the list of instruments")
        if price <= 0 or volume < 0:
            raise ValueError("a price is above zero, and a volume not below")
        at = self._clock.now()
        self._journal.write("price", {"symbol": symbol, "price": price, "volume": volume, "at": at})
        self._keep(symbol, price, volume, at)

    def record_past(self, symbol: str, points: Iterable[tuple[datetime, Decimal, int]]) -> None:
        """Trades of the past, (time, price, units) in order: candles show them, quotes and orders do not know of them."""
        self._points[symbol] = [*points, *self._points.get(symbol, ())]

    def load_line(self, content: dict[str, Any]) -> None:
        """A price out of the journal."""
        at = datetime.fromisoformat(content["at"])
        self._keep(content["symbol"], Decimal(content["price"]), content["volume"], at)

    def _keep(self, symbol: str, price: Decimal, volume: int, at: datetime) -> None:
        if symbol not in self.listed:  # of a list that has been replaced since
            return
        known = self.prices[symbol]
        self._points.setdefault(symbol, []).append((at, price, volume))
        if known.at is None or known.at.astimezone(IST).date() != at.astimezone(IST).date():
            close = known.last or price
            self.prices[symbol] = Price(last=price, open=price, high=price, low=price, close=close, volume=volume, at=at)
            return
        self.prices[symbol] = replace(
            known, last=price, high=max(known.high, price), low=min(known.low, price), volume=known.volume + volume, at=at
        )

    # -- answers ----------------------------------------------------------------------------------------------------

    def dump(self, exchange: str | None = None) -> str:
        """The list as CSV, whole or of one exchange."""
        place = COLUMNS.index("exchange")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row for row in self._rows if exchange in (None, row[place]))
        return out.getvalue()

    def find(self, key: str) -> Listed | None:
        """An instrument as a quote asks for it: by symbol or by token."""
        if key.isascii() and key.isdigit() and len(key) <= 18:
            return self.by_token.get(int(key))
        return self.listed.get(key)

    def quotes(self, keys: Iterable[str], detail: str) -> dict[str, Any]:
        """`ltp`, `ohlc` or `quote` of each; what is unknown is silently absent."""
        found = ((key, self.find(key)) for key in keys)
        return {key: self._quote(item, detail) for key, item in found if item is not None and self.last(item.symbol)}

    def _quote(self, item: Listed, detail: str) -> dict[str, Any]:
        price = self.prices[item.symbol]
        told: dict[str, Any] = {"instrument_token": item.token, "last_price": number(price.last)}
        if detail == "ltp":
            return told
        told["ohlc"] = {name: number(getattr(price, name)) for name in ("open", "high", "low", "close")}
        if detail == "ohlc":
            return told
        at, units = stamp(price.at or self._clock.now()), 0 if item.is_index else DEPTH * DEPTH_LOTS * item.lot
        return {
            **told, "timestamp": at, "last_trade_time": at, "last_quantity": item.lot, "average_price": number(price.last),
            "volume": price.volume, "buy_quantity": units, "sell_quantity": units,
            "net_change": number(price.last - price.close),
            "oi": 0, "oi_day_high": 0, "oi_day_low": 0, "depth": {side: self.depth(item, side) for side in ("buy", "sell")},
            "lower_circuit_limit": number(self._round(item, price.close * (1 - _CIRCUIT))),
            "upper_circuit_limit": number(self._round(item, price.close * (1 + _CIRCUIT))),
        }  # fmt: skip

    def depth(self, item: Listed, side: str) -> list[dict[str, Any]]:
        """Five made-up levels, a tick apart, so that a client has something to read; nothing is matched against them."""
        last, step = self.last(item.symbol), -item.tick if side == "buy" else item.tick
        if item.is_index:
            return [{"price": 0, "quantity": 0, "orders": 0}] * DEPTH
        levels = (max(last + step * level, ZERO) for level in range(DEPTH))
        return [{"price": number(price), "quantity": DEPTH_LOTS * item.lot, "orders": 1} for price in levels]

    @staticmethod
    def _round(item: Listed, price: Decimal) -> Decimal:
        return (price / item.tick).quantize(Decimal(1), ROUND_HALF_UP) * item.tick

    def candles(self, token: int, interval: str, begin: datetime, end: datetime, *, oi: bool) -> list[list[Any]]:
        """Candles of the prices that were set here; a time without any has none."""
        item = self.by_token.get(token)
        if item is None:
            raise bad_input("invalid token")
        if interval not in INTERVALS:
            raise bad_input("invalid interval")
        if end < begin:
            raise bad_input("invalid from or to date")
        span = SPAN_DAYS.get(interval, OTHER_SPAN_DAYS)
        if end - begin > timedelta(days=span):
            raise bad_input(f"interval exceeds max limit: {span} days")
        found: dict[datetime, list[Any]] = {}
        for at, price, volume in self._points.get(item.symbol, ()):
            if not begin <= at <= end:
                continue
            candle = found.setdefault(candle_start(at, INTERVALS[interval]), [price, price, price, price, 0])
            candle[1:] = [max(candle[1], price), min(candle[2], price), price, candle[4] + volume]
        tail = [0] if oi else []
        return [[at.strftime("%Y-%m-%dT%H:%M:%S%z"), *map(number, one[:4]), one[4], *tail] for at, one in sorted(found.items())]


def candle_start(at: datetime, minutes: int) -> datetime:
    """When the candle begins that `at` falls in; they count from 09:15 in India, and those of a day from midnight."""
    local = at.astimezone(IST).replace(second=0, microsecond=0)
    midnight = local.replace(hour=0, minute=0)
    if minutes >= 1_440:
        return midnight
    opening = midnight + timedelta(hours=9, minutes=15)
    return opening + (local - opening) // timedelta(minutes=minutes) * timedelta(minutes=minutes)
