"""Sweep: one definition with many values, each replayed in a process of its own, and how much of the best is chance.

Every variant is replayed once over all days. What is chosen is chosen by its first days; the rest is only looked at. Walking
forward, each part of the days is traded with what was best in all the days before it.
"""

import copy
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from bridge.core.errors import ConfigError
from bridge.market.bars.store import BarStore
from bridge.market.lists import open_newest
from bridge.replay.history import History
from bridge.replay.run import Plan, replay_bars
from bridge.reports.metrics import CurveMetrics, curve_metrics, expected_best_sharpe
from bridge.scanner.definition import Definition, read_definition
from bridge.scanner.own_factors import load_factors
from bridge.scanner.terms import Factors
from bridge.settings import Settings

MAX_VARIANTS = 500
# Of the days, the part that a variant is chosen by; and how many parts are walked through.
INSIDE, FOLDS = 0.7, 4
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
Source = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Places of a definition that take the same value, and its values: `exits.stop.percent`, or `long.enter#2`, which is the
    second number of that rule.
    """

    places: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it was written."""
        return "+".join(self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A definition with its values put in, and what it came to."""

    values: Mapping[str, str]
    definition: Definition
    equity: tuple[float, ...]
    days: tuple[date, ...]
    trades: int


def read_axis(text: str) -> Axis:
    """An axis from `exits.stop.percent=1,2,3` or `long.enter#1+long.leave#1=5,9`; ConfigError tells the mend."""
    places, equals, values = text.partition("=")
    found = tuple(value.strip() for value in values.split(",") if value.strip())
    if not equals or not places or not found:
        raise ConfigError(f"--sweep {text}: write it like exits.stop.percent=1,2,3 or long.enter#2=21,34")
    return Axis(places=tuple(place.strip() for place in places.split("+")), values=found)


def variants_of(
    source: Mapping[str, Any], axes: Sequence[Axis], factors: Factors | None = None
) -> Iterator[tuple[dict[str, str], Definition]]:
    """Every point of the grid as a definition; ConfigError names a place that is none."""
    count = 1
    for axis in axes:
        count *= len(axis.values)
    if count > MAX_VARIANTS:
        raise ConfigError(f"--sweep: {count} variants; at most {MAX_VARIANTS} are tried, and each one makes chance look better")
    for point in product(*(axis.values for axis in axes)):
        made: Source = copy.deepcopy(dict(source))
        for axis, value in zip(axes, point, strict=True):
            for place in axis.places:
                _put(made, place, value)
        yield {axis.name: value for axis, value in zip(axes, point, strict=True)}, read_definition(made, factors)


def _put(source: Source, place: str, value: str) -> None:
    path, _, number = place.partition("#")
    *parents, leaf = path.split(".")
    at: Any = source
    for name in parents:
        at = at.get(name) if isinstance(at, dict) else None
    if not isinstance(at, dict) or leaf not in at:
        raise ConfigError(f"--sweep: the definition has no {path}")
    if not number:
        at[leaf] = _scalar(value)
        return
    numbers = list(_NUMBER.finditer(str(at[leaf])))
    if not number.isdigit() or not 1 <= int(number) <= len(numbers):
        raise ConfigError(f"--sweep: {path} has {len(numbers)} numbers, so {place} is none of them")
    found = numbers[int(number) - 1]
    at[leaf] = str(at[leaf])[: found.start()] + value + str(at[leaf])[found.end() :]


def _scalar(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def run_sweep(
    settings: Settings, plan: Plan, bars: Path, grid: Sequence[tuple[dict[str, str], Definition]],
    tell: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Variant]:  # fmt: skip
    """Replay every variant of the plan's definition over the bars of a file, as many at once as there are cores."""
    found: list[Variant] = []
    context = multiprocessing.get_context("spawn")  # a fork would take locks of threads along
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(grid)), mp_context=context) as pool:
        name, bare = plan.definitions[0].name, replace(plan, definitions=())
        tasks = [pool.submit(_replay_one, settings, bare, name, bars, dict(one.source)) for _values, one in grid]
        for (values, definition), task in zip(grid, tasks, strict=True):
            equity, days, trades = task.result()
            found.append(Variant(values=values, definition=definition, equity=equity, days=days, trades=trades))
            tell(len(found), len(grid))
    return found


def _replay_one(
    settings: Settings, plan: Plan, name: str, bars: Path, source: Source
) -> tuple[tuple[float, ...], tuple[date, ...], int]:
    definition = read_definition(source, load_factors(settings.factors))
    symbols, outside = {definition.name: plan.symbols[name]}, {definition.name: plan.outside.get(name, ())}
    plan = replace(plan, definitions=(definition,), symbols=symbols, outside=outside)
    listing = open_newest(settings.instruments_dir(), settings.instruments_file())
    outcome = replay_bars(settings, plan, History(BarStore(bars)), listing)
    days = outcome.days
    return tuple(one.equity for one in days), tuple(one.day for one in days), len(outcome.trades)


def judge(variants: Sequence[Variant], opening: float) -> dict[str, Any]:
    """The table of a sweep: inside and outside of the days that the choice is made by, and the walk forward."""
    days = variants[0].days
    split = min(max(1, int(len(days) * INSIDE)), len(days) - 1)
    inside = [_part(one, 0, split, opening) for one in variants]
    outside = [_part(one, split, len(days), opening) for one in variants]
    chosen = _best(inside)
    return {
        "tried": len(variants),
        "chosen": chosen,
        "inside_span": f"{days[0]} to {days[split - 1]}",
        "outside_span": f"{days[split]} to {days[-1]}",
        "best_of_chance": expected_best_sharpe(len(variants), split),
        "rows": [
            {"values": dict(one.values), "version": one.definition.version, "inside": asdict(inside[n]),
             "outside": asdict(outside[n]), "trades": one.trades, "is_chosen": n == chosen}
            for n, one in enumerate(variants)
        ],
        "folds": list(_walk(variants, days, opening)),
    }  # fmt: skip


def _walk(variants: Sequence[Variant], days: Sequence[date], opening: float) -> Iterator[dict[str, Any]]:
    edges = [round(len(days) * (1 + n) / (FOLDS + 1)) for n in range(FOLDS + 1)]
    for begin, end in pairwise(edges):
        if begin < 2 or begin >= end:
            continue
        before = [_part(one, 0, begin, opening) for one in variants]
        best = _best(before)
        after = _part(variants[best], begin, end, opening)
        yield {
            "span": f"{days[begin]} to {days[end - 1]}", "values": dict(variants[best].values),
            "inside": before[best].sharpe, "outside": after.sharpe, "outside_return": after.total_return,
        }  # fmt: skip


def _part(variant: Variant, begin: int, end: int, opening: float) -> CurveMetrics:
    return curve_metrics(variant.equity[begin:end], variant.equity[begin - 1] if begin else opening)


def _best(found: Sequence[CurveMetrics]) -> int:
    """The highest Sharpe; of equals the first."""
    scores = [float("-inf") if one.sharpe is None else one.sharpe for one in found]
    return scores.index(max(scores))
