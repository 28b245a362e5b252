"""Benchmarks: what holding would have come to over the same days, with the same costs: one symbol, or all in equal parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal

from bridge.core.enums import Side
from bridge.core.money import ZERO
from bridge.replay.history import History

# Rupees of charges for buying or selling so many units of a symbol at a price on a day.
Cost = Callable[[str, Side, Decimal, Decimal, date], Decimal]
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Equity at the end of each of the replay's days; what was bought is sold at the last one's close."""

    name: str
    equity: tuple[float, ...]
    charges: float
    symbols: int


@dataclass(slots=True)
class _Part:
    """One symbol's share of the money: cash until its first bar, whole units from then on."""

    symbol: str
    cash: Decimal
    units: Decimal = ZERO
    price: Decimal = ZERO
    charges: Decimal = ZERO

    def trade(self, side: Side, units: Decimal, price: Decimal, day: date, cost: Cost) -> None:
        """Buy or sell, and pay for it."""
        charges = cost(self.symbol, side, units, price, day) if units else ZERO
        self.cash -= units * price * side.sign + charges
        self.charges += charges
        self.units += units * side.sign

    @property
    def value(self) -> Decimal:
        """What it is worth now."""
        return self.cash + self.units * self.price


def hold(
    name: str, symbols: Sequence[str], days: Sequence[date], money: Decimal, prices: Mapping[date, Mapping[str, "Quote"]],
    *, slippage_bps: Decimal, cost: Cost,
) -> Benchmark | None:  # fmt: skip
    """Buy equal parts at the first open of each symbol, hold, sell at the end; None when there is nothing to hold."""
    known = [symbol for symbol in symbols if any(symbol in prices.get(day, {}) for day in days)]
    if not known or not days:
        return None
    parts = [_Part(symbol, money / len(known)) for symbol in known]
    slip, equity = slippage_bps / 10_000, []
    for day in days:
        for part in parts:
            quote = prices.get(day, {}).get(part.symbol)
            if quote is None:
                continue
            if not part.units and part.cash > 0:
                paid = Decimal(repr(quote.open)) * (1 + slip)
                part.trade(Side.BUY, _affordable(part, paid, day, cost), paid, day, cost)
            part.price = Decimal(repr(quote.close))
        if day == days[-1]:
            for part in parts:
                part.trade(Side.SELL, part.units, part.price * (1 - slip), day, cost)
        equity.append(float(sum((part.value for part in parts), ZERO)))
    charges = float(sum((part.charges for part in parts), ZERO))
    return Benchmark(name=name, equity=tuple(equity), charges=charges, symbols=len(known))


def _affordable(part: _Part, price: Decimal, day: date, cost: Cost) -> Decimal:
    units = (part.cash / price).quantize(_ONE, ROUND_DOWN)
    over = units * price + (cost(part.symbol, Side.BUY, units, price, day) if units else ZERO) - part.cash
    return units if over <= 0 else max(ZERO, units - (over / price).quantize(_ONE, ROUND_DOWN) - 1)


@dataclass(frozen=True, slots=True)
class Quote:
    """A day's first and last price."""

    open: float
    close: float


def quotes(history: History, symbols: Sequence[str], begin: date, end: date) -> dict[date, dict[str, Quote]]:
    """Open and close of each symbol by day."""
    found: dict[date, dict[str, Quote]] = {}
    for row in history.daily_rows(symbols, begin, end):
        opens, closes = row.fields[0].tolist(), row.fields[3].tolist()
        found[row.day] = {s: Quote(o, c) for s, o, c in zip(symbols, opens, closes, strict=True) if c == c}  # noqa: PLR0124
    return found
