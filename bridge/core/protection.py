"""Protection: the stop and the target that rest at the broker for what a strategy holds, and where they stand."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import Any

from bridge.core.enums import Side
from bridge.core.errors import IllegalTransitionError
from bridge.core.money import ONE, ZERO, parse_decimal, to_text
from bridge.core.position import PositionKey
from bridge.core.values import evolve

PERCENT = Decimal(100)
# Its orders take the numbers after the hundreds of their entry's own: 101, 102, … for the first.
LEGS_PER_ENTRY = 100
_encode = json.JSONEncoder(separators=(",", ":")).encode


# -- what is wished ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A price, or so many percent from the entry's mean price; one of the two."""

    price: Decimal | None = None
    percent: Decimal | None = None

    def __str__(self) -> str:
        return f"{to_text(self.percent)} %" if self.percent is not None else to_text(self.price or ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """What an entry wants to have rest at the broker once it has filled; at least one of the two."""

    stop_loss: Level | None = None
    take_profit: Level | None = None

    def __str__(self) -> str:
        named = (("stop", self.stop_loss), ("target", self.take_profit))
        return ", ".join(f"{name} {level}" for name, level in named if level is not None)


# -- what rests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """When `trigger_px` trades, a limit order at `limit_px` is placed."""

    trigger_px: Decimal
    limit_px: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Legs:
    """The stop and the target of one protective order; when one of them triggers, the other is gone."""

    stop: Leg | None = None
    target: Leg | None = None

    @property
    def by_price(self) -> tuple[Leg, ...]:
        """Those that are there, the lower trigger first."""
        return tuple(sorted((leg for leg in (self.stop, self.target) if leg is not None), key=lambda leg: leg.trigger_px))

    def __str__(self) -> str:
        named = (("stop", self.stop), ("target", self.target))
        return ", ".join(f"{name} {to_text(leg.trigger_px)}" for name, leg in named if leg is not None)


class PassedError(ValueError):
    """A level lies where the entry itself was filled, or beyond: the market has passed it already."""


def make_legs(protect: Protect, side: Side, entry_px: Decimal, *, tick: Decimal, slippage_pct: Decimal) -> Legs:
    """The triggers and limits for a position of `side` that was entered at `entry_px`; ValueError says what cannot be, and
    PassedError that it cannot because the market has passed it.

    Triggers are rounded towards the entry, so that no more is lost than was said. The limit is `slippage_pct` percent worse
    than the trigger for both: once one leg has triggered the other is gone, so it has to fill.
    """

    def leg(level: Level | None, *, loses: bool) -> Leg | None:
        if level is None:
            return None
        name, is_below = ("stop_loss" if loses else "take_profit"), (side is Side.BUY) is loses
        trigger = _price_of(level, entry_px, is_below=is_below)
        trigger = (trigger / tick).to_integral_value(ROUND_CEILING if is_below else ROUND_FLOOR) * tick
        if trigger <= 0:
            raise ValueError(f"The {name} of {to_text(trigger)} is no price.")
        if not (trigger < entry_px if is_below else trigger > entry_px):
            where = "below" if is_below else "above"
            raise PassedError(f"The {name} of {to_text(trigger)} is not {where} the entry at {to_text(entry_px)}.")
        return Leg(trigger_px=trigger, limit_px=_worse(trigger, side.opposite, tick, slippage_pct))

    return Legs(stop=leg(protect.stop_loss, loses=True), target=leg(protect.take_profit, loses=False))


def _price_of(level: Level, entry_px: Decimal, *, is_below: bool) -> Decimal:
    if level.price is not None:
        return level.price
    away = entry_px * (level.percent or ZERO) / PERCENT
    return entry_px - away if is_below else entry_px + away


def find_passed(protect: Protect, side: Side, entry_px: Decimal, last_px: Decimal) -> str:
    """The level that a price has reached, in words, for a position of `side`; empty when it lies between them."""
    for name, level, is_below in (
        ("stop", protect.stop_loss, side is Side.BUY),
        ("target", protect.take_profit, side is Side.SELL),
    ):
        if level is None:
            continue
        px = _price_of(level, entry_px, is_below=is_below)
        if last_px <= px if is_below else last_px >= px:
            return f"{name} of {level}"
    return ""


def _worse(price: Decimal, side: Side, tick: Decimal, slippage_pct: Decimal) -> Decimal:
    """The price with the allowance, on the tick on the worse side for an order of `side`; at least one tick."""
    factor = ONE + slippage_pct / PERCENT * side.sign
    steps = (price * factor / tick).to_integral_value(ROUND_CEILING if side is Side.BUY else ROUND_FLOOR)
    return max(steps, ONE) * tick


# -- where it stands --------------------------------------------------------------------------------------------------


class ProtectionStatus(StrEnum):
    """Where the protection of a position stands."""

    WANTED = "WANTED"
    RESTING = "RESTING"
    WATCHED = "WATCHED"
    CLOSING = "CLOSING"
    FAILED = "FAILED"
    DONE = "DONE"


class ProtectionEventKind(StrEnum):
    """What can happen to it."""

    ENTERED = "ENTERED"
    ORDERED = "ORDERED"
    WITHDRAWN = "WITHDRAWN"
    FILLED = "FILLED"
    REFUSED = "REFUSED"
    PASSED = "PASSED"
    FAILED = "FAILED"
    FLAT = "FLAT"


_S, _E = ProtectionStatus, ProtectionEventKind

PROTECTION_TABLE: dict[ProtectionStatus, dict[ProtectionEventKind, ProtectionStatus]] = {
    # REFUSED: no such order can be made. PASSED: the entry itself filled beyond a level.
    _S.WANTED: {
        _E.ENTERED: _S.WANTED,
        _E.ORDERED: _S.RESTING,
        _E.REFUSED: _S.WATCHED,
        _E.PASSED: _S.CLOSING,
        _E.FLAT: _S.DONE,
    },
    # No FLAT: while an order may be at the broker it is withdrawn first. WITHDRAWN: by us, for an exit or another quantity.
    # REFUSED: by the broker, or unfilled at a day's end. PASSED: the broker says that a level is met already. FAILED: by hand.
    _S.RESTING: {
        _E.ENTERED: _S.RESTING,
        _E.WITHDRAWN: _S.WANTED,
        _E.FILLED: _S.WANTED,
        _E.REFUSED: _S.WATCHED,
        _E.PASSED: _S.CLOSING,
        _E.FAILED: _S.FAILED,
    },
    # Not placed again by itself: what was refused once is refused again, and a person has been told.
    _S.WATCHED: {_E.ENTERED: _S.WANTED, _E.PASSED: _S.CLOSING, _E.FLAT: _S.DONE},
    # No way back: a level that was passed has done its work, also when the price returns before the exit may leave.
    _S.CLOSING: {_E.ENTERED: _S.WANTED, _E.FLAT: _S.DONE},
    # Its owner has taken it away, or nobody can say what became of it.
    _S.FAILED: {_E.ENTERED: _S.WANTED, _E.FLAT: _S.DONE},
    _S.DONE: {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What a strategy's share of a position is protected by. `side` is that of the position.

    `alert_id` and `leg` name the entry that asked for it last, filled at `entry_px` on average. `order_id` is its latest
    order's `cl_ord_id`, the `orders`-th of that entry: where its fills come in turns with another's, its count goes on.
    Nothing rests while it is WATCHED, where the bridge itself looks at the price, or CLOSING, where an exit is on its way.
    `message` is why, or why what rests stays although it should be another.
    """

    protection_id: str
    key: PositionKey
    strategy: str
    side: Side
    protect: Protect
    entry_px: Decimal
    alert_id: str
    leg: int
    status: ProtectionStatus
    created_at: datetime
    updated_at: datetime
    order_id: str = ""
    orders: int = 0
    message: str = ""

    @property
    def next_leg(self) -> int:
        """The number of its next order among those of its alert."""
        return self.leg * LEGS_PER_ENTRY + self.orders + 1


def move_protection(protection: Protection, event: ProtectionEventKind, at: datetime, **changes: object) -> Protection:
    """The protection after an event; IllegalTransitionError when the table has no such edge."""
    status = PROTECTION_TABLE[protection.status].get(event)
    if status is None:
        raise IllegalTransitionError(f"{event} cannot happen to a protection that is {protection.status}")
    return evolve(protection, status=status, updated_at=at, **changes)


# -- as text ----------------------------------------------------------------------------------------------------------


def protect_to_text(protect: Protect | None) -> str | None:
    """Compact JSON of what is wished; None for nothing."""
    if protect is None:
        return None
    levels = (("stop_loss", protect.stop_loss), ("take_profit", protect.take_profit))
    return _encode({name: _level_out(level) for name, level in levels if level is not None})


def protect_from_text(text: str | None) -> Protect | None:
    """What `protect_to_text` wrote."""
    if text is None:
        return None
    return Protect(**{name: _level_in(told) for name, told in _read(text).items()})


def legs_to_text(legs: Legs | None) -> str | None:
    """Compact JSON of the legs; None for none."""
    if legs is None:
        return None
    named = (("stop", legs.stop), ("target", legs.target))
    return _encode({name: [to_text(leg.trigger_px), to_text(leg.limit_px)] for name, leg in named if leg is not None})


def legs_from_text(text: str | None) -> Legs | None:
    """What `legs_to_text` wrote."""
    if text is None:
        return None
    return Legs(
        **{name: Leg(trigger_px=parse_decimal(px), limit_px=parse_decimal(limit)) for name, (px, limit) in _read(text).items()}
    )


def _level_out(level: Level) -> dict[str, str]:
    named = (("price", level.price), ("percent", level.percent))
    return {name: to_text(value) for name, value in named if value is not None}


def _level_in(told: dict[str, str]) -> Level:
    return Level(**{name: parse_decimal(value) for name, value in told.items()})


def _read(text: str) -> dict[str, Any]:
    """ValueError, TypeError or ArithmeticError for what is not one, here or in who reads on: a text may come from outside."""
    try:
        found = json.loads(text)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object")
    return found
