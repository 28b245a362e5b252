"""The demo of a replay: a year made up, a scan that ranks days and a strategy of quarter hours."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

from bridge.core.bar import Interval
from bridge.core.enums import Product
from bridge.market.bars.store import BarStore
from bridge.market.bars.synthetic import Plan, combine, make_parts, weekdays
from bridge.market.calendar import load_calendar
from bridge.scanner.definition import Definition, read_definition
from bridge.settings import Settings, StrategySettings

SEED = 7
SYMBOLS = tuple(f"NSE:MADE{number:02}" for number in range(24))
BEGIN, END = date(2026, 1, 1), date(2026, 11, 20)
_WARM_FROM = date(2025, 7, 1)
STRATEGIES = {
    "rotation": StrategySettings(accounts=("paper",), product=Product.CNC),
    "cross": StrategySettings(accounts=("paper",), product=Product.MIS),
}
_SOURCES = (
    {
        "name": "rotation", "strategy": "rotation", "universe": list(SYMBOLS), "interval": "1d", "cadence": "bar",
        "note": "the five that rose most in 60 days, while they are above their mean of 50",
        "filters": {"trend": "close > sma(close, 50)"}, "score": "roc(close, 60)", "top": 5, "keep": 9,
        "exits": {"stop": {"atr": 4}}, "size": {"rupees": 80000},
    },
    {
        "name": "cross", "strategy": "cross", "universe": list(SYMBOLS[:4]), "interval": "15m",
        "note": "EMA 9 over EMA 21 on quarter hours, closed each afternoon",
        "filters": {"strong": "adx(14) > 25"},
        "long": {"enter": "cross_over(ema(close, 9), ema(close, 21))", "leave": "cross_under(ema(close, 9), ema(close, 21))"},
        "exits": {"stop": {"percent": 1}, "target": {"percent": 2}}, "size": {"rupees": 40000},
    },
)  # fmt: skip


def demo_definitions() -> tuple[Definition, ...]:
    """Both of them."""
    return tuple(read_definition(source) for source in _SOURCES)


def demo_settings(settings: Settings) -> Settings:
    """The machine's settings with a strategy for each of them."""
    account = next(iter(settings.accounts))
    mine = {name: one.model_copy(update={"accounts": (account,)}) for name, one in STRATEGIES.items()}
    return settings.model_copy(update={"strategies": mine})


def make_bars(path: Path, settings: Settings, tell: Callable[[int, int], None]) -> BarStore:
    """Its bars: days of all, and quarter hours of those that trade within the day."""
    store, calendar = BarStore(path), load_calendar(settings.calendar)
    days = tuple(day for day in weekdays(_WARM_FROM, END) if calendar.is_trading_day(day) or not calendar.knows(day))
    for number, part in enumerate(make_parts(Plan(seed=SEED, symbols=SYMBOLS, days=days)), start=1):
        for interval in (Interval.DAY, Interval.MINUTES_15):
            made = type(part)(symbol=part.symbol, series=combine(interval, part.series), days=part.days)
            store.merge(interval, [made])
        tell(number, len(SYMBOLS))
    return store
