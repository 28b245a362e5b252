"""What a seed stands for: which alerts come when, which faults are about, when the power fails. A plan can be made smaller."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.simulation.broker import BROKER_FAULTS
from tests.simulation.disk import DISK_FAULTS

NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)  # a Friday, 12:00 in India
MIDNIGHT = datetime(2026, 11, 20, 18, 29, 30, tzinfo=UTC)  # half a minute before the day ends in India
SYMBOLS = ("NSE:SBIN", "NSE:INFY", "NSE:TCS")
STRATEGIES = ("alpha", "beta")
ACCOUNTS = ("one", "two")
# Everything trades at one price or at its own limit, so that every sum can be checked exactly.
FAIR_PX = Decimal(100)
LOWEST_PX = Decimal(90)
VENUE_FAULTS = ("refuse", "reject_later", "exchange_cancel", "stuck", "late_fill", "part")
# Of stops and targets: the price is beyond one when it comes; one triggers, and its order rests where nobody trades.
GTT_FAULTS = ("met", "gap")
STREAM_FAULTS = ("lose_report", "repeat_report")
READ_FAULTS = ("unreadable", "book_empty")
SENDER_FAULTS = ("send_twice",)
ALL_FAULTS = (*BROKER_FAULTS, *DISK_FAULTS, *VENUE_FAULTS, *STREAM_FAULTS, *READ_FAULTS, *SENDER_FAULTS)
# Commits are many and end the bridge or its memory; one in fifty is a storm already.
RARE = dict.fromkeys(DISK_FAULTS, 0.02)

# What can happen besides alerts, at a moment of its own.
HALT, HALT_ALL, RESUME = "halt", "halt all", "resume"
STOP, CRASH = "stop", "crash"
SESSION, VENUE_RESTART, STORE_AWAY, CLOCK, HAND, RECONCILE = (
    "session",
    "venue restart",
    "store away",
    "clock",
    "hand",
    "reconcile",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAlert:
    """One alert: when the sender fires it, and what it says."""

    at_s: float
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something else that happens; `value` is its size, `where` its scope, account or symbol."""

    at_s: float
    kind: str
    value: float = 0.0
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A story before it is told. `lives` are how many steps each life of the bridge lasts (0: it does not fail by itself).

    With `squares_off` positions are closed for the day a minute after it has begun.
    """

    seed: int
    starts_at: datetime = NOON
    storm_s: float
    alerts: tuple[PlannedAlert, ...]
    events: tuple[Event, ...]
    lives: tuple[int, ...]
    rates: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    max_in_flight: int
    reverses_in_one: bool
    max_position_qty: int
    max_exposure: int
    max_orders_per_minute: int
    squares_off: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def make_plan(seed: int) -> Plan:
    """The story of a seed. Each one has some faults and not others: a world in which all is broken hides most of it."""
    chance = random.Random(seed)
    storm_s = chance.uniform(15, 90)
    rates = {
        name: chance.uniform(0.02, 0.3) * (RARE.get(name, 0) / 0.3 if name in RARE else 1)
        for name in ALL_FAULTS
        if chance.random() < 0.3
    }
    rates |= {"commit_in_loop": chance.choice((0.0, 0.5, 1.0)), "change_lost": 0.2 if seed % 3 == 0 else 0.0}
    plan = Plan(
        seed=seed,
        starts_at=MIDNIGHT if chance.random() < 0.05 else NOON,
        storm_s=storm_s,
        alerts=tuple(sorted(_alerts(chance, storm_s, _WISHES.get(seed % 8, _wish)), key=lambda alert: alert.at_s)),
        events=tuple(sorted(_events(chance, storm_s), key=lambda event: event.at_s)),
        lives=tuple(int(10 ** chance.uniform(0.7, 3.3)) for _ in range(chance.choice((0, 1, 1, 2, 3, 5)))),
        rates=rates,
        ranges={
            "request_s": (0.002, chance.choice((0.05, 0.5, 4.5))),
            "answer_s": (0.002, chance.choice((0.05, 0.5, 2.0))),
            "report_s": (0.001, chance.choice((0.05, 1.0, 4.0))),
            "fill_s": (0.001, chance.choice((0.05, 1.0, 8.0))),
            "part_s": (0.0, 0.0),
            "book_lag_s": (0.0, chance.choice((0.0, 0.5, 1.5))),
            "commit_s": (0.0001, chance.choice((0.002, 0.05, 0.5))),
            "http_s": (0.001, chance.choice((0.02, 0.3))),
            "down_s": (0.05, chance.choice((0.5, 5.0))),
        },
        max_in_flight=chance.choice((1, 2, 8)),
        reverses_in_one=chance.random() < 0.7,
        max_position_qty=chance.choice((10, 25, 1_000)),
        max_exposure=chance.choice((3_000, 10_000, 1_000_000)),
        max_orders_per_minute=chance.choice((5, 20, 1_000)),
    )
    plan = _with_more(plan, random.Random(f"more {seed}"))
    return _with_gaps(plan, random.Random(f"gaps {seed}"))


def _with_more(plan: Plan, chance: random.Random) -> Plan:
    """Entries that want to be protected, halts that cancel entries, and days that end: drawn apart, so that all else stays."""
    protects, squares_off = chance.random() < 0.4, chance.random() < 0.15 and plan.starts_at == NOON
    alerts = tuple(
        replace(alert, fields={**alert.fields, **_levels(chance)}) if protects and chance.random() < 0.6 else alert
        for alert in plan.alerts
    )
    events = tuple(
        replace(event, value=1.0) if event.kind == HALT and chance.random() < 0.5 else event for event in plan.events
    )
    return replace(plan, alerts=alerts, events=events, squares_off=squares_off)


def _with_gaps(plan: Plan, chance: random.Random) -> Plan:
    """Prices that jump over stops and targets; and in some stories entries that fill slowly, and people who trade them away."""
    rates = {**plan.rates, **{name: chance.uniform(0.05, 0.4) for name in GTT_FAULTS if chance.random() < 0.5}}
    if _WISHES.get(plan.seed % 8) is not _guard:
        return replace(plan, rates=rates)
    events: list[Event] = []
    for _ in range(chance.choice((0, 0, 1, 2))):
        where = f"{chance.choice(ACCOUNTS)} {chance.choice(SYMBOLS[:2])}"
        events.append(Event(at_s=chance.uniform(5, plan.storm_s), kind=HAND, value=chance.uniform(1, 9), where=where))
    ranges = {**plan.ranges, "part_s": (6.5, chance.choice((8, 25)))}
    every = tuple(sorted((*plan.events, *events), key=lambda event: event.at_s))
    return replace(plan, rates={**rates, "part": 0.7}, ranges=ranges, events=every)


def _levels(chance: random.Random) -> dict[str, Any]:
    """A stop, a target or both; what only closes makes nothing of them."""
    stop, target = ({name: {"percent": chance.choice(("1", "3"))}} for name in ("stop_loss", "take_profit"))
    return chance.choice((stop, target, stop | target))


def _alerts(chance: random.Random, storm_s: float, wish: Callable[[random.Random], dict[str, Any]]) -> list[PlannedAlert]:
    """Alerts in bursts, as bars close; some pairs of one second are sent the wrong way round."""
    alerts: list[PlannedAlert] = []
    for number in range(chance.choice((2, 5, 10, 20, 40))):
        at_s = chance.uniform(0.5, storm_s)
        if chance.random() < 0.5:
            at_s = float(int(at_s / 5) * 5) + chance.uniform(0.5, 0.9)  # bars close together
        fields = {
            "strategy": chance.choice(STRATEGIES),
            "symbol": chance.choice(SYMBOLS[: chance.choice((1, 2, 3))]),
            "price": "100",
            "n": str(number),
            **wish(chance),
        }
        if chance.random() < 0.1:
            fields["id"] = f"id-{number}"
        if chance.random() < 0.2 and fields["action" if "action" in fields else "target"] != "cancel":
            fields["prev"] = chance.choice(("long", "flat", "short"))  # where the strategy says that it stood
            fields["state"] = chance.choice(("long", "flat", "short"))
        if chance.random() < 0.1:
            fields["no_time"] = "1"  # the sender leaves the alert's own time out
        alerts.append(PlannedAlert(at_s=at_s, fields=fields))
    return alerts


def _change(chance: random.Random) -> dict[str, str]:
    """The wishes of a story in which most orders rest, and are changed."""
    quantity, dice = str(chance.randint(1, 9)), chance.random()
    if dice < 0.3:
        new = chance.choice(({"price": "100"}, {"price": "95"}, {"price": "105"}, {"quantity": quantity}))
        return {"action": "modify", "price": "", **new}
    if dice < 0.7:
        side, price = chance.choice((("buy", "90"), ("buy", "95"), ("sell", "105"), ("sell", "110")))
        return {"action": side, "quantity": quantity, "order_type": "LIMIT", "price": price}
    return _wish(chance)


def _guard(chance: random.Random) -> dict[str, Any]:
    """The wishes of a story in which most entries are protected, and fill over a time in which others come."""
    dice = chance.random()
    if dice < 0.65:
        order = {"action": chance.choice(("buy", "buy", "sell")), "quantity": str(chance.randint(2, 9))}
        return {**order, "order_type": "LIMIT", "price": "100", **_levels(chance)}
    if dice < 0.8:
        return {"action": "exit"}
    return _wish(chance)


def _wish(chance: random.Random) -> dict[str, str]:
    quantity = str(chance.randint(1, 9))
    dice = chance.random()
    if dice < 0.45:
        return {"action": chance.choice(("buy", "sell")), "quantity": quantity}
    if dice < 0.62:
        return {"action": "exit"}
    if dice < 0.66:
        return {"action": "exit", "quantity": quantity}
    if dice < 0.82:
        return {"target": str(chance.randint(-9, 9))}
    if dice < 0.88:
        return {"action": "cancel"}
    if dice < 0.91:  # as many choices as the others make, so that what comes after stays as it was
        return chance.choice(({"action": "modify", "price": "100"}, {"action": "modify", "price": "95", "quantity": quantity}))
    side, price = chance.choice((("buy", "90"), ("buy", "100"), ("sell", "110"), ("sell", "100")))
    return {"action": side, "quantity": quantity, "order_type": "LIMIT", "price": price}


# Every eighth story is about orders that are changed, and every eighth about positions that are protected.
_WISHES: dict[int, Callable[[random.Random], dict[str, Any]]] = {3: _guard, 7: _change}


def _events(chance: random.Random, storm_s: float) -> list[Event]:
    events: list[Event] = []

    def some(kind: str, likely: float, at_most: int, low: float = 0, high: float = 0, where: tuple[str, ...] = ("",)) -> None:
        for _ in range(chance.randint(1, at_most) if chance.random() < likely else 0):
            at_s, value = chance.uniform(1, storm_s), chance.uniform(low, high)
            events.append(Event(at_s=at_s, kind=kind, value=value, where=chance.choice(where)))

    scopes = ("", "", "account:one", "account:two", "strategy:alpha")
    some(HALT, 0.25, 2, where=scopes)
    some(HALT_ALL, 0.1, 1, where=scopes)
    if events:
        some(RESUME, 0.5, 2, where=scopes)
    some(STOP, 0.15, 2)
    some(CRASH, 0.2, 3)
    some(SESSION, 0.15, 2, 2, 25, ACCOUNTS)
    some(VENUE_RESTART, 0.15, 2, 0.5, 8, ACCOUNTS)
    some(STORE_AWAY, 0.2, 2, 0.5, 12)
    some(CLOCK, 0.12, 2, -40, 40)
    some(CLOCK, 0.03, 1, -7_200, 7_200)
    some(HAND, 0.1, 2, 1, 9, tuple(f"{account} {symbol}" for account in ACCOUNTS for symbol in SYMBOLS[:2]))
    some(RECONCILE, 0.2, 3)
    return events
