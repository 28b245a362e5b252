"""The report of a replay as plain data: what report.json holds and report.html shows."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from statistics import fmean, median
from types import MappingProxyType
from typing import Any

from bridge.core.clock import IST, iso
from bridge.core.fill import Fill
from bridge.core.views import TradeView
from bridge.replay.benchmarks import Benchmark
from bridge.replay.run import Outcome
from bridge.reports.metrics import DAYS, curve_metrics, drawdowns, expected_best_sharpe, trade_metrics

CONVENTIONS = (
    "A year has 252 days; returns are of days, equity at the day's end over that of the day before.",
    "Standard deviations are of a sample (n - 1); the rate without risk is zero.",
    "Sortino's downside deviation is over all days, those that rose counting as zero.",
    "Calmar is growth a year over the deepest drawdown, which counts from the opening money on.",
    "Trades are round trips from flat to flat, after charges; open ones count in the equity only.",
    "Slippage is the fill against the close that the decision was made at, positive where it cost money.",
    "Turnover is the value of all fills, bought and sold, over mean equity, for a year.",
    "Exposure is the value of all that is held at a day's end over equity, the mean of all days.",
)
_NO_UNIVERSES: Mapping[str, Sequence[Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What whoever reads the report has to know before its figures; `tone` is warn or quiet."""

    tone: str
    message: str


def make_report(
    outcome: Outcome, *, benchmarks: Sequence[Benchmark], stamps: Sequence[Stamp], tried: int = 1, sweep: Any = None,
    universes: Mapping[str, Sequence[Any]] = _NO_UNIVERSES, doctor: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """All figures of one replay; money in rupees, parts of one and not percent.

    `universes` are the members of each by days, `doctor` what was found in the bars.
    """
    plan, opening = outcome.plan, float(outcome.plan.cash)
    equity = [point.equity for point in outcome.days]
    closed = [trade for trade in outcome.trades if trade.closed_at is not None]
    names = {one.strategy: one.name for one in plan.definitions}
    curve = curve_metrics(equity, opening)
    return {
        "definitions": [
            {"name": d.name, "version": d.version, "strategy": d.strategy, "interval": d.interval.value, "note": d.note,
             "universe": d.universe or f"{len(d.symbols)} named", "symbols": len(plan.symbols[d.name])}
            for d in plan.definitions
        ],
        "begin": plan.begin.isoformat(),
        "end": plan.end.isoformat(),
        "cash": opening,
        "slippage_bps": float(plan.slippage_bps),
        "charges_taken": plan.charges,
        "bars": outcome.bars,
        "stamps": [asdict(stamp) for stamp in stamps],
        "curve": asdict(curve),
        "final_equity": equity[-1],
        "trades": asdict(trade_metrics([float(trade.pnl) for trade in closed])),
        "open_trades": len(outcome.trades) - len(closed),
        "charges": float(sum((fill.charges for fill in outcome.fills), Decimal(0))),
        "turnover": _turnover(outcome.fills, equity),
        "exposure": fmean(point.held / point.equity if point.equity else 0.0 for point in outcome.days),
        "slippage": _slippage(outcome),
        "signals": [{"ending": name, "count": number} for name, number in _endings(outcome)],
        "tried": tried,
        "best_of_chance": expected_best_sharpe(tried, len(equity)),
        "days": [
            {"day": point.day.isoformat(), "equity": point.equity, "held": point.held, "drawdown": float(under)}
            for point, under in zip(outcome.days, drawdowns(equity, opening), strict=True)
        ],
        "benchmarks": [
            {"name": one.name, "symbols": one.symbols, "charges": one.charges, "equity": list(one.equity),
             "curve": asdict(curve_metrics(one.equity, opening))}
            for one in benchmarks
        ],
        "by_definition": _attribution(closed, lambda trade: names.get(trade.strategy, trade.strategy)),
        "by_symbol": _attribution(closed, lambda trade: trade.symbol),
        "by_hour": _attribution(closed, lambda trade: f"{trade.opened_at.astimezone(IST):%H}:00"),
        "trade_list": [_trade_row(trade, names) for trade in outcome.trades],
        "sweep": sweep,
        "universes": [{"name": name, "spans": list(rows)} for name, rows in universes.items()],
        "doctor": doctor,
        "conventions": list(CONVENTIONS),
        "faults": list(outcome.faults),
    }  # fmt: skip


def _turnover(fills: Iterable[Fill], equity: Sequence[float]) -> float:
    value = float(sum((fill.last_qty * fill.last_px for fill in fills), Decimal(0)))
    mean = fmean(equity)
    return value / mean * DAYS / len(equity) if mean > 0 else 0.0


def _slippage(outcome: Outcome) -> dict[str, Any]:
    """Fill against decision price, of what definitions raised; bps and rupees, positive where it cost money."""
    wished = {one.alert_id: one.wish.price for one in outcome.raised}
    found: list[tuple[Decimal, Decimal]] = []
    for fill in outcome.fills:
        price = wished.get(fill.cl_ord_id.partition("-")[0])
        if price:
            cost = (fill.last_px - price) * fill.side.sign
            found.append((cost / price * 10_000, cost * fill.last_qty))
    bps = [float(each) for each, _cost in found]
    return {
        "fills": len(bps),
        "mean_bps": fmean(bps) if bps else None,
        "median_bps": median(bps) if bps else None,
        "worst_bps": max(bps, default=None),
        "rupees": float(sum((cost for _bps, cost in found), Decimal(0))),
    }


def _endings(outcome: Outcome) -> list[tuple[str, int]]:
    """What became of every signal, the most frequent first."""
    told = Counter(f"{alert.disposition or 'open'} · {alert.code or 'not ended'}" for alert in outcome.alerts)
    return sorted(told.items(), key=lambda item: (-item[1], item[0]))


def _attribution(trades: Iterable[TradeView], key: Callable[[TradeView], str]) -> list[dict[str, Any]]:
    groups: defaultdict[str, list[TradeView]] = defaultdict(list)
    for trade in trades:
        groups[key(trade)].append(trade)
    return [
        {
            "name": name,
            "trades": len(found),
            "pnl": float(sum((trade.pnl for trade in found), Decimal(0))),
            "charges": float(sum((trade.charges for trade in found), Decimal(0))),
            "win_rate": sum(trade.pnl > 0 for trade in found) / len(found),
        }
        for name, found in sorted(groups.items())
    ]


def _trade_row(trade: TradeView, names: Mapping[str, str]) -> dict[str, Any]:
    value = float(trade.entry_px * trade.entry_qty)
    return {
        "definition": names.get(trade.strategy, trade.strategy),
        "symbol": trade.symbol,
        "side": trade.side,
        "quantity": str(trade.entry_qty.normalize()) if trade.entry_qty % 1 else str(int(trade.entry_qty)),
        "entered_at": iso(trade.opened_at),
        "entry_px": float(trade.entry_px),
        "left_at": None if trade.closed_at is None else iso(trade.closed_at),
        "exit_px": float(trade.exit_px) if trade.closed_at is not None else None,
        "pnl": float(trade.pnl),
        "charges": float(trade.charges),
        "return": float(trade.pnl) / value if value and trade.closed_at is not None else None,
    }
