"""Greeks of options that are held: by the chain's own forward, from prices of this minute, else with a reason."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from bridge.core.clock import IST
from bridge.core.enums import InstrumentKind, Product
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.market import Mark, Tick
from bridge.core.position import Position, PositionKey
from bridge.market.instruments import Catalog
from bridge.market.listing import list_in_memory
from bridge.options import CLOSES, RATE, Options
from bridge.scanner.greeks import Option, greeks_of, price_of
from tests.support.clocks import StillClock

NOW = datetime(2026, 11, 20, 11, 0, tzinfo=IST)
EXPIRY = date(2026, 11, 26)
FORWARD, VOLATILITY = 24_037.5, 0.135
YEARS = (datetime.combine(EXPIRY, CLOSES, IST) - NOW).total_seconds() / (365 * 86_400)
STRIKES = range(23_600, 24_500, 50)


def contract(kind: InstrumentKind, strike: int | None, token: int) -> Instrument:
    name = f"NIFTY26NOV{strike or ''}{kind.value}"
    return Instrument(
        symbol=f"NFO:{name}", exchange="NFO", tradingsymbol=name, name="NIFTY", kind=kind, tick=Decimal("0.05"),
        lot=Decimal(65), expiry=EXPIRY, strike=None if strike is None else Decimal(strike), token=token,
    )  # fmt: skip


KINDS = (InstrumentKind.CE, InstrumentKind.PE)
CHAIN = [contract(kind, strike, 1_000 + strike + number) for strike in STRIKES for number, kind in enumerate(KINDS)]
FUTURE = contract(InstrumentKind.FUT, None, 999)
HELD = next(each for each in CHAIN if each.kind is InstrumentKind.CE and each.strike == 24_100)


class Market:
    """A ledger that holds one call, and what the options listen to."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.listened: tuple[str, ...] = ()
        self.hear: Callable[[Sequence[Tick]], None] = lambda _ticks: None
        catalog = Catalog(list_in_memory([*CHAIN, FUTURE]), NOW.date)
        self.options = Options(self.ledger, catalog, self._listen, StillClock(NOW))
        key = PositionKey("paper", HELD.symbol, Product.NRML)
        self.ledger.positions.set(key, Position(key=key, quantity=Decimal(130), cost=Decimal(13_000)))

    def _listen(self, symbols: Iterable[str], listener: Callable[[Sequence[Tick]], None]) -> None:
        self.listened, self.hear = tuple(symbols), listener

    def tick(self, item: Instrument, price: float, age_s: float = 0) -> None:
        rounded = Decimal(repr(round(price, 2)))
        self.hear([Tick(token=item.token, price=rounded, at=NOW - timedelta(seconds=age_s))])


@pytest.fixture
def market() -> Market:
    found = Market()
    found.options.look()
    return found


def fair(item: Instrument) -> float:
    return price_of(black(item), VOLATILITY)


def black(item: Instrument) -> Option:
    assert item.strike is not None
    return Option(kind=item.kind, forward=FORWARD, strike=float(item.strike), years=YEARS, rate=RATE)


def test_it_listens_to_the_chain_around_what_is_held(market: Market) -> None:
    assert HELD.symbol in market.listened
    assert FUTURE.symbol in market.listened
    assert len(market.listened) == 2 * 7 + 1
    market.ledger.positions.fill({})
    market.options.look()
    assert market.listened == ()


def test_the_greeks_stand_on_the_forward_of_the_chain(market: Market) -> None:
    """Prices made with one volatility give it back, and calls and puts agree on the forward."""
    for item in CHAIN:
        market.tick(item, fair(item))
    (view,) = market.options.views()
    assert view.quantity == 130
    assert view.forward == pytest.approx(FORWARD, abs=0.05)
    assert view.volatility == pytest.approx(VOLATILITY, rel=1e-3)
    wanted = greeks_of(black(HELD), VOLATILITY)
    assert view.delta == pytest.approx(wanted.delta, rel=1e-2)
    assert view.theta == pytest.approx(wanted.theta, rel=1e-2)
    assert "7 strikes" in view.message


def test_without_a_pair_the_future_will_do(market: Market) -> None:
    market.tick(HELD, fair(HELD))
    market.tick(FUTURE, FORWARD)
    (view,) = market.options.views()
    assert view.volatility == pytest.approx(VOLATILITY, rel=1e-3)
    assert FUTURE.symbol in view.message


def test_what_is_missing_or_old_is_said(market: Market) -> None:
    assert market.options.views()[0].message == "It has no price of the last minute."
    market.tick(HELD, fair(HELD))
    assert "Neither a strike's call and put" in market.options.views()[0].message
    market.tick(FUTURE, FORWARD, age_s=61)
    assert market.options.views()[0].volatility is None
    market.tick(FUTURE, FORWARD)
    market.tick(HELD, 0.05, age_s=-1)
    market.ledger.marks.set(
        HELD.symbol, Mark(symbol=HELD.symbol, price=Decimal(1), at=NOW - timedelta(hours=1), source="alert")
    )
    assert market.options.view(HELD.symbol) is not None
    assert market.options.view("NSE:SBIN") is None
    assert market.options.view(FUTURE.symbol) is None
