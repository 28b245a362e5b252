"""What the pages of scans are given: buttons that fit the state, numbers at a glance, addresses that cannot lead astray."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.bar import Interval
from bridge.core.definition import DefinitionRecord, Deployment
from bridge.definitions import DefinitionView
from bridge.web.scan_contexts import Narrowing, exact, make_asks, make_card, make_symbol, make_table, number, read_narrowing
from tests.support.scans import MOMENTUM, SYMBOLS, evaluate, store_bars

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
RECORD = DefinitionRecord(name="cross", version="0123456789ab", strategy="demo", updated_at=NOW)
APPROVED = replace(RECORD, approved_version=RECORD.version, approved_by="anna", approved_at=NOW)


def view(record: DefinitionRecord, *accounts: str) -> DefinitionView:
    return DefinitionView(record=record, source={}, accounts=accounts)


@pytest.mark.parametrize(
    ("record", "labels"),
    [
        (RECORD, ["Enable", "Delete"]),
        (replace(RECORD, enabled=True), ["Disable"]),
        (APPROVED, ["Enable", "Go live", "Delete"]),
        (replace(APPROVED, enabled=True), ["Disable", "Go live"]),
        (replace(APPROVED, deployment=Deployment.LIVE), ["Enable", "To paper", "Delete"]),
        (replace(RECORD, deployment=Deployment.LIVE), ["To paper", "Delete"]),
    ],
)
def test_the_buttons_are_those_that_its_state_allows(record: DefinitionRecord, labels: list[str]) -> None:
    """Each carries the version that is shown, so that no other is changed."""
    asks = make_asks(view(record, "paper"))
    assert [ask.label for ask in asks] == labels
    assert all(dict(ask.fields)["version"] == record.version for ask in asks)


def test_whatever_sends_real_money_says_so() -> None:
    """And names the accounts that it would go to."""
    live = make_asks(view(replace(APPROVED, deployment=Deployment.LIVE), "zerodha"))
    assert "live accounts (zerodha): real money" in live[0].question
    going = next(ask for ask in make_asks(view(APPROVED, "paper")) if ask.label == "Go live")
    assert "real money" in going.question
    assert dict(going.fields)["deployment"] == "live"
    assert "real money" not in make_asks(view(RECORD, "paper"))[0].question


def test_a_card_tells_which_version_was_approved() -> None:
    assert make_card(view(APPROVED), None, NOW).approval == "Approved by anna, 15:30:00"
    edited = replace(APPROVED, version="ba9876543210")
    assert make_card(view(edited), None, NOW).approval == "Not approved: what was approved is 0123456789ab"


def test_a_card_tells_what_keeps_an_enabled_one_from_its_bars() -> None:
    """As a sentence; one that is disabled waits for nothing."""
    assert make_card(view(replace(RECORD, enabled=True)), None, NOW, "no bars of NSE:SBIN").trouble == "No bars of NSE:SBIN"
    assert make_card(view(RECORD), None, NOW, "no bars of NSE:SBIN").trouble == ""


@pytest.mark.parametrize(
    ("interval", "at", "short", "full"),
    [
        ("15m", NOW, "15:30:00", "20 Nov 2026, 15:30 IST"),
        ("1d", NOW, "20 Nov 2026", "20 Nov 2026"),
        ("1d", NOW.replace(hour=18, minute=30), "20 Nov 2026", "20 Nov 2026"),
    ],
)
def test_a_daily_bar_is_told_by_its_day(tmp_path: Path, interval: str, at: datetime, short: str, full: str) -> None:
    """Live it is over at the midnight after it, which is no day that anybody would look for."""
    bars = store_bars(tmp_path / "bars", SYMBOLS, Interval(interval))
    seen = evaluate({**MOMENTUM, "interval": interval, "filters": {}, "score": "close"}, bars)
    seen.at = at
    shown = view(replace(RECORD, enabled=True))
    assert make_card(shown, seen, NOW).seen_at == short
    assert make_table(shown, seen, Narrowing()).seen_at == full
    assert make_symbol(seen, seen.line(0), [], NOW).seen_at == full


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "–"), (0.0, "0.00"), (812.5, "812.50"), (-0.07035, "−0.07035"),
        (99_999.994, "99,999.99"), (123_456.0, "1.23 lakh"), (-53_560_000.0, "−5.36 cr"), (12_345_678_900.0, "1,234.57 cr"),
    ],
)  # fmt: skip
def test_a_number_can_be_read_at_a_glance(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e9, 1e9))
def test_an_exact_number_is_exact(value: float) -> None:
    """To six decimals."""
    assert float(exact(value).replace(",", "").replace("−", "-")) == pytest.approx(value, abs=6e-7)


@given(st.dictionaries(st.sampled_from(["show", "find", "page"]), st.text(max_size=60)))
def test_what_an_address_asks_for_is_read_back_from_the_address_of_its_own(query: dict[str, str]) -> None:
    """Whatever was asked: paging keeps it, and nothing grows."""
    found = read_narrowing(query)
    assert read_narrowing(dict(parse_qsl(found.query().removeprefix("?")))) == found
    assert 1 <= found.page < 1000
    assert len(found.find) <= 40


def test_the_usual_needs_no_address() -> None:
    assert Narrowing().query() == ""
