"""Options that are held or ordered, in Greeks: on the forward that their own chain agrees on, from prices of this minute."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from bridge.core.clock import IST, Clock
from bridge.core.enums import InstrumentKind
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.market import Tick
from bridge.core.money import ZERO
from bridge.feed import find_used
from bridge.market.instruments import Catalog

# Strikes around that of the option whose calls and puts are listened to; at the money is among them for most that are traded.
STRIKES = 7
# A price older than this says nothing of a forward now.
FRESH = timedelta(seconds=60)
# Continuous, per year; it only discounts, since the forward comes from prices. The repo rate of most of 2025 and 2026, rounded.
RATE = 0.06
# The last trading of index and stock options on their day, in India.
CLOSES = time(15, 30)
_YEAR_S = 365 * 86_400
Listen = Callable[[Iterable[str], Callable[[Sequence[Tick]], None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionView:
    """An option with its Greeks per unit, None where they cannot be told; `message` says why, or what the forward rests on.

    `volatility` is per year, 0.14 for 14 %; `vega` and `rho` are per percentage point, `theta` per calendar day, in rupees.
    """

    symbol: str
    quantity: Decimal
    price: Decimal | None
    forward: float | None = None
    volatility: float | None = None
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    theta: float | None = None
    rho: float | None = None
    message: str = ""


class Options:
    """Hears the prices of the chains around what is held. Without an option there is nothing that it does."""

    def __init__(self, ledger: Ledger, catalog: Catalog, listen: Listen, clock: Clock):
        self._ledger = ledger
        self._catalog = catalog
        self._listen = listen
        self._clock = clock
        self._wanted: frozenset[str] = frozenset()
        self._names: dict[int, str] = {}
        self._heard: dict[str, tuple[Decimal, datetime]] = {}

    # -- prices --------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Listen to the chains of what is held or ordered now; called at every tick of the worker."""
        wanted = frozenset(self._used())
        if wanted == self._wanted:
            return
        self._wanted = wanted
        names = sorted({symbol for option in wanted for symbol in self._chain(option)})
        self._names = {found.token: symbol for symbol in names if (found := self._catalog.get(symbol)) is not None}
        self._heard = {symbol: price for symbol, price in self._heard.items() if symbol in names}
        self._listen(names, self._take)

    def _used(self) -> set[str]:
        """Options that are held or ordered."""
        used = find_used(self._ledger)
        return {symbol for symbol in used if (item := self._catalog.get(symbol)) is not None and item.kind.is_option}

    def _chain(self, symbol: str) -> list[str]:
        """The option, calls and puts of the strikes around it, and the future that expires with them."""
        option = self._catalog.get(symbol)
        if option is None or option.expiry is None or option.strike is None:
            return []
        names = [symbol]
        for strike in self._strikes(option, option.expiry, option.strike):
            for kind in (InstrumentKind.CE, InstrumentKind.PE):
                names += [each.symbol for each in self._find(option, kind, option.expiry, strike)]
        return [*names, *(each.symbol for each in self._futures(option, option.expiry))]

    def _strikes(self, option: Instrument, expiry: date, strike: Decimal) -> list[Decimal]:
        strikes = self._catalog.listing.strikes(option.exchange, option.name, option.kind, expiry)
        return sorted(strikes, key=lambda each: (abs(each - strike), each))[:STRIKES]

    def _find(self, option: Instrument, kind: InstrumentKind, expiry: date, strike: Decimal) -> list[Instrument]:
        return self._catalog.listing.options(option.exchange, option.name, kind, expiry, strike)

    def _futures(self, option: Instrument, expiry: date) -> list[Instrument]:
        found = self._catalog.listing.futures_of(option.exchange, option.name, expiry.year, expiry.month)
        return [each for each in found if each.expiry == expiry]

    def _take(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            symbol = self._names.get(tick.token)
            if symbol is not None:
                self._heard[symbol] = (tick.price, tick.at)

    def _price(self, symbol: str, now: datetime) -> Decimal | None:
        """The latest price of the last minute, heard or marked."""
        mark = self._ledger.marks.get(symbol)
        known = [each for each in (self._heard.get(symbol), (mark.price, mark.at) if mark else None) if each is not None]
        price, at = max(known, key=lambda each: each[1], default=(ZERO, now))
        return price if price > 0 and now - at <= FRESH else None

    # -- Greeks --------------------------------------------------------------------------------------------------------

    def views(self) -> list[OptionView]:
        """Every option that is held, by symbol; reads the list of instruments, so for a thread that may wait for a disk."""
        held: dict[str, Decimal] = {}
        for positions in list(self._ledger.positions.held.values()):
            for key, position in list(positions.items()):
                held[key.symbol] = held.get(key.symbol, ZERO) + position.quantity
        return [view for symbol in sorted(held) if (view := self.view(symbol, held[symbol])) is not None]

    def view(self, symbol: str, quantity: Decimal = ZERO) -> OptionView | None:
        """One option; None for what is none."""
        option, now = self._catalog.get(symbol), self._clock.now()
        if option is None or not option.kind.is_option or option.expiry is None or option.strike is None:
            return None
        price = self._price(symbol, now)
        years = (datetime.combine(option.expiry, CLOSES, IST) - now).total_seconds() / _YEAR_S
        if years <= 0:
            return OptionView(symbol=symbol, quantity=quantity, price=price, message="It has expired.")
        forward, rests_on = self._forward(option, option.expiry, option.strike, years, now)
        if price is None or forward is None:
            why = "It has no price of the last minute." if price is None else rests_on
            return OptionView(symbol=symbol, quantity=quantity, price=price, forward=forward, message=why)
        return _with_greeks(OptionView(symbol=symbol, quantity=quantity, price=price), option, forward, years, rests_on)

    def _forward(
        self, option: Instrument, expiry: date, strike: Decimal, years: float, now: datetime
    ) -> tuple[float | None, str]:
        """The forward by put-call parity, else the future of the same day; with what it rests on, or what is missing."""
        from bridge.scanner.greeks import StrikeQuote, implied_forward

        quotes = []
        for each in self._strikes(option, expiry, strike):
            sides = [self._find(option, kind, expiry, each) for kind in (InstrumentKind.CE, InstrumentKind.PE)]
            prices = [self._price(side[0].symbol, now) if side else None for side in sides]
            if prices[0] is not None and prices[1] is not None:
                quotes.append(StrikeQuote(strike=float(each), call=float(prices[0]), put=float(prices[1])))
        forward = implied_forward(quotes, years=years, rate=RATE)
        if forward is not None:
            return forward, f"The forward is that of {len(quotes)} strikes, by parity."
        for future in self._futures(option, expiry):
            price = self._price(future.symbol, now)
            if price is not None:
                return float(price), f"The forward is the price of {future.symbol}."
        return None, "Neither a strike's call and put nor a future of that day has a price of the last minute."


def _with_greeks(view: OptionView, option: Instrument, forward: float, years: float, rests_on: str) -> OptionView:
    from bridge.scanner.greeks import Option, greeks_of, implied_volatility

    assert option.strike is not None
    assert view.price is not None
    black = Option(kind=option.kind, forward=forward, strike=float(option.strike), years=years, rate=RATE)
    volatility = implied_volatility(black, float(view.price))
    if volatility is None:
        return replace(view, forward=forward, message=f"Its price has no volatility: it is all intrinsic value. {rests_on}")
    found = greeks_of(black, volatility)
    return replace(
        view, forward=forward, volatility=volatility, delta=found.delta, gamma=found.gamma, vega=found.vega,
        theta=found.theta, rho=found.rho, message=rests_on,
    )  # fmt: skip
