"""Faults to rehearse with, switched on by count, and the knobs that say how the sandbox behaves otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

MAX_COUNT = 100_000


class Scope(StrEnum):
    """What a fault happens to."""

    ORDERS = "orders"  # POST, PUT and DELETE of /orders
    TRIGGERS = "triggers"  # POST, PUT and DELETE of /gtt
    READS = "reads"  # every other request of the API
    BOOK = "book"  # an order, or an autosliced placement, that has been accepted
    UPDATES = "updates"  # a message about an order, by stream and postback


class Fault(StrEnum):
    """What becomes of a request, an order or an update."""

    DELAY = "delay"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    TIMED_OUT_BEFORE = "400_timed_out_before"
    TIMED_OUT_AFTER = "400_timed_out_after"
    BAD_GATEWAY_BEFORE = "502_before"
    BAD_GATEWAY_AFTER = "502_after"
    UNAVAILABLE_BEFORE = "503_before"
    UNAVAILABLE_AFTER = "503_after"
    GATEWAY_TIMEOUT_BEFORE = "504_before"
    GATEWAY_TIMEOUT_AFTER = "504_after"
    TOO_MANY = "429"
    TOO_MANY_WAIT = "429_retry_after"
    NO_CONTENT_TYPE = "no_content_type"
    EMPTY_ERROR_TYPE = "empty_error_type"
    JSON_LIST = "json_list"
    GZIP = "gzip"
    SLOW_BODY = "slow_body"
    STALLED_BODY = "stalled_body"
    TOKEN_DEAD = "token_dead"  # noqa: S105 - what happens to a token
    IP_REFUSED = "ip_refused"
    MARGIN = "400_margin"
    STUCK = "stuck"
    REJECT = "reject"
    PARTIAL_CANCEL = "partial_cancel"
    CHILD_ERROR = "autoslice_child_error"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    LOSE = "lose"


_BOOK = (Fault.STUCK, Fault.REJECT, Fault.PARTIAL_CANCEL, Fault.CHILD_ERROR)
_UPDATES = (Fault.DUPLICATE, Fault.REORDER, Fault.LOSE)
_REQUESTS = tuple(fault for fault in Fault if fault not in _BOOK + _UPDATES)
KINDS: dict[Scope, tuple[Fault, ...]] = {
    Scope.ORDERS: _REQUESTS,
    Scope.TRIGGERS: _REQUESTS,
    Scope.READS: _REQUESTS,
    Scope.BOOK: _BOOK,
    Scope.UPDATES: _UPDATES,
}
# These answer without acting; all other faults of a request act, and then the answer suffers.
_BEFORE = frozenset({
    Fault.DROP_BEFORE, Fault.TIMED_OUT_BEFORE, Fault.BAD_GATEWAY_BEFORE, Fault.UNAVAILABLE_BEFORE,
    Fault.GATEWAY_TIMEOUT_BEFORE, Fault.TOO_MANY, Fault.TOO_MANY_WAIT, Fault.EMPTY_ERROR_TYPE, Fault.TOKEN_DEAD,
    Fault.IP_REFUSED, Fault.MARGIN,
})  # fmt: skip


def acts(fault: Fault) -> bool:
    """True when the request is carried out all the same."""
    return fault not in _BEFORE


class Faults:
    """How many coming requests, orders and updates meet which fault."""

    def __init__(self) -> None:
        self._left: dict[tuple[Scope, Fault], int] = {}

    def set(self, wanted: Mapping[str, Any]) -> None:
        """Replace the counts that are named; ValueError names what is wrong, and then nothing is changed."""
        read = {**self._left}
        for scope, counts in wanted.items():
            if scope not in list(Scope) or not isinstance(counts, dict):
                raise ValueError(f"faults are {{{', '.join(Scope)}}}, each with counts by kind")
            for kind, count in counts.items():
                if kind not in KINDS[Scope(scope)]:
                    raise ValueError(f"{str(kind)[:40]!r} is no fault of {scope}; there are {', '.join(KINDS[Scope(scope)])}")
                if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_COUNT:
                    raise ValueError(f"{kind} is a whole number from 0 to {MAX_COUNT}")
                read[Scope(scope), Fault(kind)] = count
        self._left = read

    def clear(self) -> None:
        """No faults any more."""
        self._left = {}

    def show(self) -> dict[str, dict[str, int]]:
        """What is left of each, by scope."""
        return {scope: {kind: self._left.get((scope, kind), 0) for kind in kinds} for scope, kinds in KINDS.items()}

    def use(self, scope: Scope, fault: Fault) -> bool:
        """True, and one fewer, when there is one of these left."""
        left = self._left.get((scope, fault), 0)
        self._left[scope, fault] = max(left - 1, 0)
        return left > 0

    def take(self, scope: Scope) -> Fault | None:
        """The first fault but DELAY that is left for a request, one fewer from now on."""
        return next((kind for kind in KINDS[scope] if kind is not Fault.DELAY and self.use(scope, kind)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How the sandbox behaves. Times are milliseconds of the machine, but for steps and lags: those are of the clock.

    `freeze` holds the largest quantity of one order by symbol (`NSE:SBIN`) or by the name of the underlying, as of
    August 2026; the vendor's list of instruments has no column for it.
    """

    enforce_limits: bool = True
    auto_login: bool = False
    redirect_url: str = ""
    postback_url: str = ""
    step_ms: int = 0
    book_lag_ms: int = 0
    fill_max: int = 0
    delay_ms: int = 1_000
    slow_ms: int = 1_000
    retry_after_s: int = 1
    heartbeat_ms: int = 1_000
    stream_stale: bool = False
    autoslice_shape: str = "children"
    protected_as: str = "LIMIT"
    freeze: dict[str, int] = field(
        default_factory=lambda: {"NIFTY": 1_800, "BANKNIFTY": 600, "FINNIFTY": 1_800, "MIDCPNIFTY": 2_800, "NIFTYNXT50": 600}
    )


_CHOICES = {"autoslice_shape": ("children", "flat"), "protected_as": ("LIMIT", "MARKET")}
LARGEST = 86_400_000


def turn_knobs(knobs: Knobs, wanted: Mapping[str, Any]) -> Knobs:
    """The knobs with those replaced that are named; ValueError names what is wrong."""
    known = {one.name for one in fields(knobs)}
    for name, value in wanted.items():
        if name not in known:
            raise ValueError(f"{name[:40]!r} is no setting; there are {', '.join(sorted(known))}")
        if type(value) is not type(getattr(knobs, name)):
            raise ValueError(f"{name} is a {type(getattr(knobs, name)).__name__}")
        if isinstance(value, int) and not 0 <= value <= LARGEST:
            raise ValueError(f"{name} is a whole number from 0 to {LARGEST}")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ValueError(f"{name} is one of {', '.join(_CHOICES[name])}")
        if name.endswith("_url") and value and not value.startswith(("http://", "https://")):
            raise ValueError(f"{name} begins with http:// or https://")
        if isinstance(value, dict) and not all(type(one) is int and one > 0 for one in value.values()):
            raise ValueError(f"{name} holds whole numbers above zero")
    return replace(knobs, **wanted)
