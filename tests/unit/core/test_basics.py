"""Money, ids, time, copying and the ledger's indexes."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.clock import IST, elapsed, from_us, iso, market_day, to_us
from bridge.core.ids import TAG_LENGTH, fingerprint, make_alert_id, make_cl_ord_id, make_tag, random_token, random_unit
from bridge.core.money import average, floor_to, is_multiple, parse_decimal, rupees, to_text
from bridge.core.values import evolve
from tests.support.clocks import NOON

MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**17), max_value=10**17))
def test_plain_text_reads_back_to_the_same_number(value: Decimal) -> None:
    """to_text has no exponent and loses nothing."""
    text = to_text(value)
    assert "E" not in text
    assert not text.endswith(".")
    assert parse_decimal(text) == value


@pytest.mark.parametrize(
    ("value", "text"), [("10", "10"), ("812.50", "812.5"), ("-0.0", "0"), ("1E+3", "1000"), ("-0.05", "-0.05")]
)
def test_plain_text_is_what_a_person_writes(value: str, text: str) -> None:
    """No exponent, no needless zeros, no minus zero."""
    assert to_text(Decimal(value)) == text


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "1e400", "1e18", "0.123456789", "1_0", "٣", "", "1,5", "0x1", "1" * 65, "9.99999999999999999999999999"],
)
def test_what_is_not_a_plain_finite_number_is_refused(text: str) -> None:
    """Hostile numbers are a ValueError, never a number near them."""
    with pytest.raises(ValueError, match=r"is|has"):
        parse_decimal(text)


@given(st.text(max_size=70))
def test_reading_any_text_gives_a_finite_number_or_a_value_error(text: str) -> None:
    """No input reaches another exception."""
    with suppress(ValueError):
        assert parse_decimal(text).is_finite()


def test_rounding_goes_where_it_should() -> None:
    """Quantities are cut towards zero, averages are even-rounded to eight places, rupees are grouped."""
    assert floor_to(Decimal("-7.9"), Decimal(2)) == -6
    assert is_multiple(Decimal("812.55"), Decimal("0.05"))
    assert not is_multiple(Decimal("812.53"), Decimal("0.05"))
    assert average(Decimal(10), Decimal(3)) == Decimal("3.33333333")
    assert average(Decimal(10), Decimal(0)) == 0
    assert rupees(Decimal("1234567.5")) == "1,234,567.50"


@given(MOMENTS, MOMENTS, st.binary(max_size=40), st.binary(max_size=40))
def test_alert_ids_order_by_time_and_differ_by_content(one: datetime, other: datetime, a: bytes, b: bytes) -> None:
    """Ids are made from time and content alone, and sort as time does."""
    first, second = make_alert_id(one, fingerprint(a)), make_alert_id(other, fingerprint(b))
    assert first == make_alert_id(one, fingerprint(a))
    assert len(first) == 26
    if one + timedelta(milliseconds=1) <= other:
        assert first < second
    if a != b:
        assert make_alert_id(one, fingerprint(a)) != make_alert_id(one, fingerprint(b))


@given(st.lists(st.binary(max_size=5), max_size=5), st.lists(st.binary(max_size=5), max_size=5))
def test_fingerprints_do_not_depend_on_where_parts_are_cut_alike(one: list[bytes], other: list[bytes]) -> None:
    """Two different lists of parts never share a fingerprint, even when they join to the same bytes."""
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


@given(MOMENTS.filter(lambda at: at.year >= 2000))
def test_tags_fit_every_broker(at: datetime) -> None:
    """At most fifteen characters, letters and digits only, the same for the same order."""
    tag = make_tag(make_cl_ord_id("A" * 26, 1), at)
    assert len(tag) == TAG_LENGTH
    assert tag.isalnum()
    assert tag.isascii()
    assert tag == make_tag("A" * 26 + "-1", at)
    assert tag != make_tag("A" * 26 + "-2", at)


def test_chance_is_the_length_asked_for_and_in_range() -> None:
    """Random names have the length asked for; jitter lies in [0, 1)."""
    assert len(random_token(10)) == 10
    assert random_token(20) != random_token(20)
    assert all(0 <= random_unit() < 1 for _ in range(100))


@given(MOMENTS)
def test_microseconds_lose_nothing_and_days_turn_at_midnight_in_india(at: datetime) -> None:
    """Times survive storage exactly; the market's day is India's."""
    assert from_us(to_us(at)) == at
    local = at.astimezone(IST)
    assert market_day(at) == int(local.strftime("%Y%m%d"))
    assert iso(at).endswith("Z")


def test_a_naive_time_is_refused() -> None:
    """A time without a zone never gets in."""
    with pytest.raises(TypeError):
        to_us(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A value to copy."""

    one: int
    two: str = "x"


@given(st.integers(), st.text(), st.integers())
def test_evolve_is_replace(one: int, two: str, new: int) -> None:
    """The quick copy equals the standard one and leaves the original alone."""
    value = Sample(one=one, two=two)
    assert evolve(value, one=new) == replace(value, one=new)
    assert value == Sample(one=one, two=two)


def test_evolve_of_a_field_that_is_not_there_raises() -> None:
    """A misspelt field is an error, not a lost change."""
    with pytest.raises(KeyError):
        evolve(Sample(one=1), three=3)


@pytest.mark.parametrize(
    ("ago_s", "told"),
    [(5, timedelta(seconds=5)), (0, timedelta()), (-0.5, timedelta()), (-1, timedelta.max), (-7200, timedelta.max)],
)
def test_a_time_to_come_counts_as_long_past_but_for_a_small_correction(ago_s: float, told: timedelta) -> None:
    """A clock that was set back must not make anything wait for it; one corrected by a little must not cut a wait short."""
    assert elapsed(NOON - timedelta(seconds=ago_s), NOON) == told
