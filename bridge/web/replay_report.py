"""The report of a replay as a page of its own: one file, no scripts, nothing fetched."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from bridge import __version__
from bridge.core.clock import IST
from bridge.settings import resource_dir
from bridge.web.curves import Chart, draw_curves
from bridge.web.svg import Size
from bridge.web.text import MINUS, NOTHING, Amount, money, signed

TEMPLATE = "report/replay.html"
TRADES_SHOWN = 500
SPANS_SHOWN = 60
NAMES_SHOWN = 6
FINDINGS_SHOWN = 80
SYMBOLS_SHOWN = 40
_LAKH, _CRORE = 100_000, 10_000_000
_MONTH_COUNT = 12


def render_report(report: Mapping[str, Any]) -> str:
    """The page of a report, as `make_report` makes it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(resource_dir("templates")), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return templates.get_template(TEMPLATE).render(make_context(report))


def make_context(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the template is given: every number as it is shown."""
    days = [date.fromisoformat(point["day"]) for point in report["days"]]
    trades = report["trade_list"]
    symbols = sorted(report["by_symbol"], key=lambda row: -row["pnl"])
    return {
        "title": " and ".join(one["name"] for one in report["definitions"]),
        "definitions": report["definitions"],
        "span": f"{_day(days[0])} to {_day(days[-1])}",
        "days": len(days),
        "stamps": report["stamps"],
        "lead": _lead(report),
        "figures": _figures(report),
        "equity": _equity_charts(report, days),
        "drawdown": _drawdown_charts(report, days),
        "legend": ["the strategy", *(one["name"] for one in report["benchmarks"])],
        "comparison": _comparison(report),
        "months": _months(report["days"], report["cash"]),
        "attributions": [
            ("by definition", [_attribution(row) for row in report["by_definition"]]),
            ("by hour of entry (IST)", [_attribution(row) for row in report["by_hour"]]),
            ("by symbol", [_attribution(row) for row in _ends(symbols)]),
        ],
        "symbols_left_out": max(0, len(symbols) - SYMBOLS_SHOWN),
        "signals": report["signals"],
        "trades": [_trade(row) for row in trades[-TRADES_SHOWN:]],
        "trades_left_out": max(0, len(trades) - TRADES_SHOWN),
        "universes": [_universe(one) for one in report["universes"]],
        "doctor": _doctor(report["doctor"]),
        "sweep": _sweep(report["sweep"]),
        "conventions": report["conventions"],
        "version": __version__,
    }


# -- charts -------------------------------------------------------------------------------------------------------------


def _wide(height: int) -> Size:
    return Size(name="wide", width=960, height=height, left=74, right=16, bottom=26)


def _narrow(height: int) -> Size:
    return Size(name="narrow", width=350, height=height, left=60, right=16, bottom=26)


def _equity_charts(report: Mapping[str, Any], days: Sequence[date]) -> list[Chart]:
    lines = [("the strategy", [point["equity"] for point in report["days"]])]
    lines += [(one["name"], one["equity"]) for one in report["benchmarks"]]
    told = f"Equity in rupees at each day's end, from {_short(report['cash'])} to {_short(report['final_equity'])}."
    return [
        draw_curves(days, lines, size=size, base=report["cash"], write=_short, told=told) for size in (_wide(300), _narrow(230))
    ]


def _drawdown_charts(report: Mapping[str, Any], days: Sequence[date]) -> list[Chart]:
    under = [point["drawdown"] * 100 for point in report["days"]]
    told = f"How far equity lay below its highest so far; at most {_percent(report['curve']['max_drawdown'])}."
    return [
        draw_curves(days, [("below the top", under)], size=size, base=0.0, write=_percent_tick, told=told)
        for size in (_wide(140), _narrow(140))
    ]


# -- figures ------------------------------------------------------------------------------------------------------------


def _lead(report: Mapping[str, Any]) -> list[tuple[str, Amount]]:
    curve = report["curve"]
    return [
        ("profit after costs", _amount(report["final_equity"] - report["cash"])),
        ("return", _signed_percent(curve["total_return"])),
        ("a year, compounded", _signed_percent(curve["cagr"])),
        ("deepest drawdown", Amount(text=_percent(curve["max_drawdown"]), tone="flat")),
        ("Sharpe", Amount(text=_number(curve["sharpe"]), tone="flat")),
        ("trades", Amount(text=f"{report['trades']['count']:,}", tone="flat")),
    ]


def _figures(report: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    curve, trades, slip = report["curve"], report["trades"], report["slippage"]
    return [
        ("Curve", [
            ("opening money", _rupees(report["cash"])),
            ("final equity", _rupees(report["final_equity"])),
            ("volatility a year", _percent(curve["volatility"])),
            ("Sortino", _number(curve["sortino"])),
            ("Calmar", _number(curve["calmar"])),
            ("longest below a top", f"{curve['drawdown_days']} days"),
            ("best and worst day", f"{_percent(curve['best_day'])}, {_percent(curve['worst_day'])}"),
        ]),
        ("Trades", [
            ("won", f"{_percent(trades['win_rate'])} of {trades['count']:,}"),
            ("profit factor", _number(trades["profit_factor"])),
            ("average trade", _rupees(trades["average"])),
            ("average win, loss", f"{_rupees(trades['average_win'])}, {_rupees(trades['average_loss'])}"),
            ("best, worst", f"{_rupees(trades['best'])}, {_rupees(trades['worst'])}"),
            ("still open", str(report["open_trades"])),
        ]),
        ("Costs and use", [
            ("charges", _rupees(report["charges"])),
            ("slippage", _rupees(slip["rupees"])),
            ("slippage a fill", f"{_number(slip['mean_bps'])} bps, at worst {_number(slip['worst_bps'])}"),
            ("exposure", _percent(report["exposure"])),
            ("turnover a year", f"{report['turnover']:,.1f} ×"),
            ("variants tried", _tried(report)),
        ]),
    ]  # fmt: skip


def _tried(report: Mapping[str, Any]) -> str:
    chance = report["best_of_chance"]
    return str(report["tried"]) if chance is None else f"{report['tried']}; chance alone: Sharpe {_number(chance)}"


def _comparison(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    own = {"name": "the strategy", "curve": report["curve"], "charges": report["charges"], "symbols": None}
    return [
        {
            "name": one["name"], "return": _signed_percent(one["curve"]["total_return"]),
            "cagr": _signed_percent(one["curve"]["cagr"]), "volatility": _percent(one["curve"]["volatility"]),
            "sharpe": _number(one["curve"]["sharpe"]), "sortino": _number(one["curve"]["sortino"]),
            "drawdown": _percent(one["curve"]["max_drawdown"]), "charges": _rupees(one["charges"]),
        }
        for one in [own, *report["benchmarks"]]
    ]  # fmt: skip


def _months(points: Sequence[Mapping[str, Any]], opening: float) -> list[dict[str, Any]]:
    """Returns by month: a row for each year, with its own at the end."""
    ends: dict[tuple[int, int], float] = {}
    for point in points:
        day = date.fromisoformat(point["day"])
        ends[day.year, day.month] = point["equity"]
    rows, before = [], opening
    for year in sorted({year for year, _month in ends}):
        begun, cells = before, []
        for month in range(1, _MONTH_COUNT + 1):
            value = ends.get((year, month))
            cells.append(None if value is None else _signed_percent(value / before - 1))
            before = before if value is None else value
        rows.append({"year": year, "cells": cells, "total": _signed_percent(before / begun - 1)})
    return rows


def _attribution(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"], "trades": f"{row['trades']:,}", "pnl": _amount(row["pnl"]), "charges": _rupees(row["charges"]),
        "won": _percent(row["win_rate"]),
    }  # fmt: skip


def _ends(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The best and the worst, when there are too many for a table."""
    half = SYMBOLS_SHOWN // 2
    return rows if len(rows) <= SYMBOLS_SHOWN else [*rows[:half], *rows[-half:]]


def _trade(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row, "entered_at": _moment(row["entered_at"]), "left_at": _moment(row["left_at"]),
        "entry_px": f"{row['entry_px']:,.2f}", "exit_px": NOTHING if row["exit_px"] is None else f"{row['exit_px']:,.2f}",
        "pnl": _amount(row["pnl"]), "charges": _rupees(row["charges"]), "return": _signed_percent(row["return"]),
    }  # fmt: skip


def _universe(told: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {
            "days": f"{span['begin']} to {span['end']}" if span["end"] > span["begin"] else span["begin"],
            "members": f"{span['members']:,}", "came": _names(span["came"]), "went": _names(span["went"]),
            "source": span["source"], "is_of_its_day": span["point_in_time"] == "yes",
        }
        for span in told["spans"]
    ]  # fmt: skip
    return {"name": told["name"], "spans": rows[:SPANS_SHOWN], "left_out": max(0, len(rows) - SPANS_SHOWN)}


def _names(symbols: Sequence[str]) -> str:
    if not symbols:
        return NOTHING
    more = f" and {len(symbols) - NAMES_SHOWN} more" if len(symbols) > NAMES_SHOWN else ""
    return ", ".join(symbols[:NAMES_SHOWN]) + more


def _doctor(told: Mapping[str, Any] | None) -> dict[str, Any]:
    if told is None:
        return {"findings": [], "left_out": 0, "examined": ""}
    found = sorted(told["findings"], key=lambda row: not row["is_grave"])
    grave = "traded all the same" if told["ignored"] else "not entered"
    rows = [{**row, "outcome": grave if row["is_grave"] else "told only"} for row in found[:FINDINGS_SHOWN]]
    examined = "; ".join(
        f"{one['symbols']} series of {one['interval']} bars, {one['begin']} to {one['end']}" for one in told["examined"]
    )
    return {"findings": rows, "left_out": max(0, len(found) - FINDINGS_SHOWN), "examined": examined}


def _sweep(sweep: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if sweep is None:
        return None
    rows = [
        {
            "values": ", ".join(f"{key} = {value}" for key, value in row["values"].items()),
            "inside": _number(row["inside"]["sharpe"]), "inside_return": _signed_percent(row["inside"]["total_return"]),
            "outside": _number(row["outside"]["sharpe"]), "outside_return": _signed_percent(row["outside"]["total_return"]),
            "trades": f"{row['trades']:,}", "is_chosen": row["is_chosen"],
        }
        for row in sweep["rows"]
    ]  # fmt: skip
    folds = [
        {**fold, "values": ", ".join(f"{key} = {value}" for key, value in fold["values"].items()),
         "inside": _number(fold["inside"]), "outside": _number(fold["outside"]),
         "outside_return": _signed_percent(fold["outside_return"])}
        for fold in sweep["folds"]
    ]  # fmt: skip
    return {**sweep, "rows": rows, "folds": folds, "chance": _number(sweep["best_of_chance"])}


# -- words --------------------------------------------------------------------------------------------------------------


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _moment(text: str | None) -> str:
    return NOTHING if text is None else f"{datetime.fromisoformat(text).astimezone(IST):%Y-%m-%d %H:%M}"


def _rupees(value: float | None) -> str:
    return NOTHING if value is None else money(Decimal(repr(round(value, 2))))


def _amount(value: float) -> Amount:
    return signed(Decimal(repr(round(value, 2))))


def _short(value: float) -> str:
    """Rupees on an axis, in lakh and crore."""
    size = abs(value)
    sign = MINUS if value < 0 else ""
    if size >= _CRORE:
        return f"{sign}{_trim(size / _CRORE)} cr"
    return f"{sign}{_trim(size / _LAKH)} lakh" if size >= _LAKH else f"{sign}{size:,.0f}"


def _trim(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _percent(part: float | None) -> str:
    return NOTHING if part is None else f"{part * 100:,.2f} %".replace("-", MINUS)


def _percent_tick(value: float) -> str:
    return f"{_trim(value)} %".replace("-", MINUS)


def _signed_percent(part: float | None) -> Amount:
    if part is None:
        return Amount(text=NOTHING, tone="flat")
    text = f"{abs(part) * 100:,.2f} %"
    if not float(text.removesuffix(" %").replace(",", "")):
        return Amount(text=text, tone="flat")
    return Amount(text=f"{MINUS}{text}", tone="down") if part < 0 else Amount(text=f"+{text}", tone="up")


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.2f}".replace("-", MINUS)
