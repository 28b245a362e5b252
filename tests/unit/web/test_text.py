"""How pages write times, durations and money."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web import text
from tests.support.clocks import NOON


@pytest.mark.parametrize(
    ("value", "shown", "tone"),
    [
        (None, "–", "flat"),
        (Decimal(0), "0.00", "flat"),
        (Decimal("0.004"), "0.00", "flat"),
        (Decimal("-0.004"), "0.00", "flat"),
        (Decimal("1234.5"), "+1,234.50", "up"),
        (Decimal("-1234567.891"), "−1,234,567.89", "down"),
    ],
)
def test_profit_has_a_sign_and_its_tone(value, shown, tone):
    """The colour only repeats what the sign says; what rounds to nothing has neither."""
    assert text.signed(value) == text.Amount(text=shown, tone=tone)


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (Decimal("1000000"), "1,000,000.00"), (Decimal("-0.5"), "−0.50")])
def test_money_has_two_decimals(value, shown):
    """And a real minus."""
    assert text.money(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(Decimal(10), "10"), (Decimal("-1500"), "−1,500"), (Decimal("0.25"), "0.25"), (Decimal("-12345.678"), "−12,345.678")],
)
def test_quantities_have_no_needless_decimals(value, shown):
    """Units are mostly whole."""
    assert text.quantity(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (Decimal("812.5"), "812.50"),
        (Decimal(1412), "1,412.00"),
        (Decimal("83.2175"), "83.2175"),
        (Decimal("100.33333333"), "100.3333"),
        (Decimal(0), "0.00"),
    ],
)
def test_prices_have_two_to_four_decimals(value, shown):
    """Currency pairs tick in quarter paise; averages do not end."""
    assert text.price(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (0.9996, "1.0 s"),
        (1.23, "1.2 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7_500, "2 h 5 min"),
        (7_200, "2 h"),
        (86_400 * 3, "3 days"),
        (-1.5, "−1.5 s"),
    ],
)
def test_durations_are_as_long_as_they_need_to_be(seconds, shown):
    """From a tenth of a millisecond to days, and an alert from the future has a minus."""
    assert text.duration(timedelta(seconds=seconds)) == shown


@given(st.timedeltas(min_value=timedelta(days=-4000), max_value=timedelta(days=4000)))
def test_any_duration_can_be_written(span):
    """Short, and never empty."""
    assert 0 < len(text.duration(span)) < 16


def test_times_are_india_s():
    """Half past ten there is five o'clock UTC."""
    at = NOON + timedelta(milliseconds=7, microseconds=900)
    assert text.clock_time(at) == "10:30:00"
    assert text.clock_ms(at) == "10:30:00.007"
    assert text.full_time(at) == "20 Nov 2026, 10:30:00.007 IST"


def test_another_day_is_named():
    """A time alone would mean today."""
    assert text.short_time(NOON, NOON + timedelta(hours=13)) == "10:30:00"
    assert text.short_time(NOON, NOON + timedelta(hours=14)) == "20 Nov 10:30"


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**17), max_value=10**17, places=8))
def test_any_number_can_be_written(value):
    """Whatever the books hold."""
    for write in (text.money, text.quantity, text.price):
        assert write(value)
    assert text.signed(value).text
