"""Faults to rehearse with: what a broker and the network between do to orders, switched on by count."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_COUNT = 100_000
MAX_DELAY_MS = 60_000


class Fault(StrEnum):
    """What becomes of an order request; it is acted upon only where the table below says so."""

    DROP_REQUEST = "drop_request"
    DROP_ANSWER = "drop_answer"
    DELAY = "delay"
    TOO_MANY = "429"
    TOO_MANY_WAIT = "429_retry_after"
    TIMED_OUT = "400_timed_out"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    BAD_GATEWAY_AFTER = "502_after"
    UNAVAILABLE_AFTER = "503_after"
    GATEWAY_TIMEOUT_AFTER = "504_after"
    SESSION_LOST = "session_lost"

    @property
    def acts(self) -> bool:
        """True when the order is taken all the same."""
        return self in _ACTS


_ACTS = frozenset({
    Fault.DROP_ANSWER, Fault.DELAY, Fault.TIMED_OUT, Fault.BAD_GATEWAY_AFTER, Fault.UNAVAILABLE_AFTER,
    Fault.GATEWAY_TIMEOUT_AFTER,
})  # fmt: skip
# How long, for those that have a length: name, what it is at first, largest.
_SIZES: dict[str, tuple[int, int]] = {
    "delay_ms": (1_000, MAX_DELAY_MS),
    "retry_after_s": (1, 3_600),
    "late_reports_ms": (0, MAX_DELAY_MS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one order request meets: a wait, and then at most one fault."""

    delay_s: float
    fault: Fault | None


class Faults:
    """How many coming order requests meet which fault. A lost session stays lost until the login."""

    def __init__(self) -> None:
        self.is_signed_out = False
        self.clear()

    def set(self, wanted: Mapping[str, Any]) -> None:
        """Replace the counts and sizes that are named; ValueError names what is wrong, and then nothing is changed."""
        largest = {fault.value: MAX_COUNT for fault in Fault} | {name: limit for name, (_first, limit) in _SIZES.items()}
        for name, value in wanted.items():
            if name not in largest:
                raise ValueError(f"{name[:40]!r} is no fault; there are {', '.join(largest)}")
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest[name]:
                raise ValueError(f"{name} is a whole number from 0 to {largest[name]}")
        for name, value in wanted.items():
            if name in self._sizes:
                self._sizes[name] = value
            else:
                self._left[Fault(name)] = value

    def clear(self) -> None:
        """No faults any more, and every size as at first; a lost session stays lost."""
        self._left = dict.fromkeys(Fault, 0)
        self._sizes = {name: first for name, (first, _largest) in _SIZES.items()}

    def show(self) -> dict[str, Any]:
        """What is left of each, the sizes, and whether the session is lost."""
        return {**{fault.value: left for fault, left in self._left.items()}, **self._sizes, "signed_out": self.is_signed_out}

    def take(self) -> Plan:
        """What the request that is here now meets."""
        delay_s = self._sizes["delay_ms"] / 1_000 if self._use(Fault.DELAY) else 0.0
        fault = next((fault for fault in Fault if fault is not Fault.DELAY and self._use(fault)), None)
        if fault is Fault.SESSION_LOST:
            self.is_signed_out = True
        return Plan(delay_s=delay_s, fault=fault)

    def _use(self, fault: Fault) -> bool:
        if not self._left[fault]:
            return False
        self._left[fault] -= 1
        return True

    @property
    def retry_after_s(self) -> int:
        """What a 429 that says so asks for."""
        return self._sizes["retry_after_s"]

    @property
    def late_reports_s(self) -> float:
        """How long the reports of an order that is taken now are held back: an answer is all there is until then."""
        return self._sizes["late_reports_ms"] / 1_000
