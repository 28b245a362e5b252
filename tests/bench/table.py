"""The results as a table and as JSON: absolute numbers, and ratios with their targets beside them."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.bench.rounds import OPEN_RATE, Results, Size
from tests.bench.stats import median_ratio

TITLES = {
    "noop": "no-op Starlette route",
    "ack": "acknowledged: exit while flat, stored, ended",
    "full": "full way to a filled paper order",
    "full_careful": "full way, careful rules (but order rates)",
    "ack_past": "acknowledged, long history",
    "full_past": "full way, long history",
    "bare": "load generator against a bare protocol",
}
SPREADS = {
    "ack": "acknowledgement, from when it was due",
    "to_broker": "alert received → broker call",
    "to_filled": "alert received → filled",
    "generator_late": "(the generator's own lateness)",
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a number should be: at least, or at most, a limit."""

    name: str
    value: float
    limit: float
    at_least: bool
    unit: str = "×"

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def as_dict(self) -> dict[str, object]:
        """The target for JSON."""
        return {**asdict(self), "value": round(self.value, 3), "met": self.met}


def per_round(values: Sequence[float], rounds: int) -> list[float]:
    """One number per round where a row was measured several times in each."""
    each = len(values) // rounds
    return [median(values[number * each : (number + 1) * each]) for number in range(rounds)]


def targets(results: Results, size: Size) -> list[Target]:
    """Every number that has a target."""
    rates, noop = results.rates, per_round(results.rates["noop"], size.rounds)
    found = [
        Target(name="acknowledged / no-op", value=median_ratio(rates["ack"], noop), limit=0.60, at_least=True),
        Target(name="full way / no-op", value=median_ratio(rates["full"], noop), limit=0.35, at_least=True),
    ]
    if "ack_past" in rates:
        found += [
            Target(name=f"{title}, long history / empty", value=median_ratio(rates[f"{row}_past"], rates[row]),
                   limit=0.90, at_least=True)
            for row, title in (("ack", "acknowledged"), ("full", "full way"))
        ]  # fmt: skip
    p50 = results.spreads["to_broker"]["p50_ms"]
    facts = results.facts
    found += [
        Target(name=f"alert → broker p50 at {OPEN_RATE}/s", value=p50, limit=0.6, at_least=False, unit="ms"),
        Target(name="memory when idle", value=facts["idle_mb"], limit=80, at_least=False, unit="MB"),
        Target(name="ready after", value=facts["ready_s"], limit=1.5, at_least=False, unit="s"),
    ]
    return found + terms_targets(facts)


def terms_targets(facts: Mapping[str, float]) -> list[Target]:
    """The scanner's terms: fifteen outputs of every symbol at a bar's close, and a replay of them."""
    wanted = [
        ("step of 500 symbols", "terms_step_500_ms", 0.2, False, "ms"),
        ("step of 5,000 / copying its bytes from memory", "terms_touch_ratio", 1.5, False, "×"),
        ("warm-up, 200 symbols × 300 bars", "terms_warm_up_ms", 15, False, "ms"),
        ("TA-Lib loop of 500 symbols / step", "terms_talib_ratio", 100, True, "×"),
        ("replay of a year of minutes of 200 symbols", "replay_year_s", 15, False, "s"),
    ]
    return [
        Target(name=name, value=facts[fact], limit=limit, at_least=at_least, unit=unit)
        for name, fact, limit, at_least, unit in wanted
        if fact in facts  # a quick run leaves the long ones out
    ]


def render(results: Results, size: Size, writer: str) -> str:
    """The table that is printed."""
    noop = per_round(results.rates["noop"], size.rounds)
    lines = [f"writer {writer}; {size.rounds} rounds; history {size.history:,} alerts", ""]
    lines.append(f"{'per second':<48}{'median':>9}{'× no-op':>9}{'CPU µs':>8}   each round")
    for row, title in TITLES.items():
        if row in results.rates:
            values = results.rates[row]
            ratio = f"{median_ratio(values, noop):.2f}" if len(values) == size.rounds else ""
            ratio = "1.00" if row == "noop" else ratio
            each = " ".join(f"{value:,.0f}" for value in values)
            lines.append(f"{title:<48}{median(values):>9,.0f}{ratio:>9}{median(results.cpu_us[row]):>8,.0f}   {each}")
    lines += ["", f"{f'open loop, {OPEN_RATE}/s, ms':<48}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}"]
    for name, title in SPREADS.items():
        spread = results.spreads[name]
        numbers = "".join(f"{spread[key]:>9.2f}" for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms"))
        lines.append(f"{title:<48}{numbers}")
    lines += ["", f"{'target':<48}{'measured':>9}{'wanted':>12}"]
    for target in targets(results, size):
        wanted = f"{'≥' if target.at_least else '≤'} {target.limit:g} {target.unit}"
        lines.append(f"{target.name:<48}{target.value:>9.2f}{wanted:>12}   {'met' if target.met else 'MISSED'}")
    if "history_ready_s" in results.facts:
        facts = results.facts
        lines += [
            "",
            f"with the long history: ready after {facts['history_ready_s']:.2f} s, {facts['history_idle_mb']:.0f} MB idle",
        ]
    if results.rates["bare"][-1] < 1.5 * median(noop):
        lines += ["", "The load generator is less than 1.5 × as fast as the no-op: the ratios are too kind to the bridge."]
    return "\n".join(lines)


def as_json(results: Results, size: Size, writer: str) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "writer": writer,
        "size": asdict(size),
        "per_second": {row: [round(value, 1) for value in values] for row, values in results.rates.items()},
        "cpu_us": {row: [round(value, 1) for value in values] for row, values in results.cpu_us.items()},
        "open_loop_ms": results.spreads,
        "facts": results.facts,
        "targets": [target.as_dict() for target in targets(results, size)],
        "checked": results.checks,
    }
