"""Faults to rehearse with: counted down, one per request, and refused as a whole when one of them is wrong."""

from typing import Any

import pytest

from bridge.venue.faults import Fault, Faults


def met(faults: Faults, requests: int) -> list[str | None]:
    return [plan.fault for plan in (faults.take() for _ in range(requests))]


def test_each_request_meets_at_most_one_fault_until_they_are_used_up() -> None:
    """In the order of the table."""
    faults = Faults()
    faults.set({"429": 1, "drop_answer": 2})
    assert met(faults, 4) == [Fault.DROP_ANSWER, Fault.DROP_ANSWER, Fault.TOO_MANY, None]


def test_a_delay_goes_with_any_other_fault() -> None:
    """Slow, and then lost."""
    faults = Faults()
    faults.set({"delay": 1, "delay_ms": 250, "502": 2})
    first, second = faults.take(), faults.take()
    assert (first.delay_s, first.fault) == (0.25, Fault.BAD_GATEWAY)
    assert (second.delay_s, second.fault) == (0, Fault.BAD_GATEWAY)


def test_a_lost_session_is_one_request_away_and_stays() -> None:
    """Only the login ends it, not the end of the faults."""
    faults = Faults()
    faults.set({"session_lost": 1})
    assert faults.show()["signed_out"] is False
    assert met(faults, 1) == [Fault.SESSION_LOST]
    assert faults.is_signed_out
    faults.clear()
    assert faults.show()["signed_out"] is True


WRONG = [
    {"drop": 1},
    {"502": -1},
    {"502": True},
    {"502": "1"},
    {"502": 1.5},
    {"502": 10**9},
    {"delay_ms": 10**9},
    {"502": None},
]


@pytest.mark.parametrize("wanted", WRONG)
def test_what_is_no_fault_changes_nothing(wanted: dict[str, Any]) -> None:
    """A misspelt fault must not make a rehearsal that proves nothing."""
    faults = Faults()
    faults.set({"drop_answer": 3})
    with pytest.raises(ValueError, match=r"drop|502|delay"):
        faults.set({"drop_answer": 1, **wanted})
    assert faults.show()["drop_answer"] == 3


def test_each_fault_says_whether_the_order_is_taken() -> None:
    """Those after which an order may not be sent again."""
    assert {fault.value for fault in Fault if fault.acts} == {
        "drop_answer", "delay", "400_timed_out", "502_after", "503_after", "504_after",
    }  # fmt: skip
