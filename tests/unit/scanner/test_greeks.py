"""Black-76: parity, bounds, the way from a volatility to a price and back, and Greeks by finite differences."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridge.core.enums import InstrumentKind
from bridge.scanner.greeks import Option, StrikeQuote, greeks_of, implied_forward, implied_volatility, normal_cdf, price_of

CALL, PUT = InstrumentKind.CE, InstrumentKind.PE
FORWARD = 23_700.0
OPTIONS = st.builds(
    Option,
    kind=st.sampled_from([CALL, PUT]),
    forward=st.floats(50, 60_000),
    strike=st.floats(50, 60_000),
    years=st.floats(1 / 365 / 24, 3),
    rate=st.floats(-0.02, 0.12),
)
VOLATILITIES = st.floats(0.02, 3)


def other(option: Option) -> Option:
    return replace(option, kind=PUT if option.kind is CALL else CALL)


def test_a_known_price():
    """Hull's futures option: F 20, K 20, 4 months, 9 %, 25 %: a put at 1.12."""
    assert price_of(Option(kind=PUT, forward=20, strike=20, years=4 / 12, rate=0.09), 0.25) == pytest.approx(1.1166, abs=5e-5)


@given(OPTIONS, VOLATILITIES)
def test_call_and_put_are_a_forward_apart(option, volatility):
    """C - P = discount * (F - K), and each lies between its bounds."""
    call, put = (price_of(each, volatility) for each in (replace(option, kind=CALL), replace(option, kind=PUT)))
    scale = option.forward + option.strike
    assert call - put == pytest.approx(option.discount * (option.forward - option.strike), abs=1e-12 * scale)
    for each, price, bound in ((CALL, call, option.forward), (PUT, put, option.strike)):
        least = option.discount * replace(option, kind=each).intrinsic
        assert least - 1e-12 * scale <= price <= option.discount * bound + 1e-12 * scale


@settings(max_examples=300)
@given(OPTIONS, VOLATILITIES)
def test_from_volatility_to_price_and_back(option, volatility):
    """The price comes back always; the volatility wherever the price depends on it."""
    price = price_of(option, volatility)
    found = implied_volatility(option, price)
    scale = option.discount * max(option.forward, option.strike)
    time_value = price - option.discount * option.intrinsic
    if found is None:
        bound = option.discount * (option.forward if option.kind is CALL else option.strike)
        assert time_value <= 1e-13 * scale or bound - price <= 1e-13 * scale
        return
    assert price_of(option, found) == pytest.approx(price, abs=1e-13 * scale)
    digits_lost = (
        greeks_of(option, volatility).vega * 100 * volatility / scale
    )  # relative to what a float of the price resolves
    if time_value > 1e-8 * scale:
        assert found == pytest.approx(volatility, rel=max(1e-10, 1e-13 / digits_lost) if digits_lost else None)


@given(OPTIONS, VOLATILITIES)
def test_both_kinds_imply_one_volatility(option, volatility):
    """A strike's call and put, priced alike, have one smile."""
    price, price_of_other = price_of(option, volatility), price_of(other(option), volatility)
    here, there = implied_volatility(option, price), implied_volatility(other(option), price_of_other)
    assume(here is not None and there is not None)
    assume(greeks_of(option, volatility).vega * 100 > 1e-4 * max(option.forward, option.strike))
    assert here == pytest.approx(there, rel=1e-6)


@given(OPTIONS, st.floats(0.05, 1))
def test_greeks_are_the_slopes_of_the_price(option, volatility):
    """Each by a central difference of the price itself."""
    assume(option.years > 0.05 and 0.5 < option.forward / option.strike < 2)
    found = greeks_of(option, volatility)
    scale = option.forward

    def slope(step, shifted):
        return (shifted(step) - shifted(-step)) / (2 * step)

    step = 1e-4 * option.forward
    at = lambda by: price_of(replace(option, forward=option.forward + by), volatility)  # noqa: E731
    assert found.price == price_of(option, volatility)
    assert found.delta == pytest.approx(slope(step, at), abs=1e-5)
    curve = (at(step) - 2 * at(0) + at(-step)) / step**2
    assert found.gamma * scale == pytest.approx(curve * scale, rel=1e-3, abs=1e-3)
    assert found.vega * 100 == pytest.approx(slope(1e-5, lambda by: price_of(option, volatility + by)), abs=1e-6 * scale)
    assert found.rho * 100 == pytest.approx(
        slope(1e-5, lambda by: price_of(replace(option, rate=option.rate + by), volatility)), abs=1e-6 * scale
    )
    ages = slope(1e-6, lambda by: price_of(replace(option, years=option.years - by), volatility))
    assert found.theta * 365 == pytest.approx(ages, abs=1e-5 * scale)


def test_without_volatility_an_option_is_worth_what_is_certain():
    """The discounted intrinsic value."""
    option = Option(kind=CALL, forward=110, strike=100, years=1, rate=0.05)
    assert price_of(option, 0) == pytest.approx(10 * math.exp(-0.05))
    assert price_of(other(option), 0) == 0


def test_more_volatility_never_costs_less():
    """Over six decades of volatility, in and out of the money."""
    for strike in (0.2 * FORWARD, FORWARD, 5 * FORWARD):
        prices = [
            price_of(Option(kind=CALL, forward=FORWARD, strike=strike, years=0.1), 10**power) for power in (-4, -2, -1, 0, 1, 2)
        ]
        assert prices == sorted(prices)


@pytest.mark.parametrize(
    ("kind", "strike", "price"),
    [
        (CALL, 23_000.0, 700.0), (CALL, 23_000.0, 650.0), (CALL, 24_000.0, 0.0), (CALL, 24_000.0, -1.0),
        (CALL, 24_000.0, FORWARD), (CALL, FORWARD, 1e-9), (PUT, 24_000.0, 300.0), (PUT, 24_000.0, 24_000.0),
        (PUT, 24_000.0, math.nan), (PUT, 24_000.0, math.inf),
    ],
)  # fmt: skip
def test_a_price_without_a_volatility_has_none(kind, strike, price):
    """At or beyond the bounds; never 0 in place of not knowing."""
    assert implied_volatility(Option(kind=kind, forward=FORWARD, strike=strike, years=7 / 365), price) is None


@pytest.mark.parametrize("strike", [100.0, 12_000.0, FORWARD, 40_000.0, 1e6])
@pytest.mark.parametrize("share", [1e-12, 1e-6, 1e-3, 0.5, 0.999, 1 - 1e-9])
def test_the_solver_ends_from_anywhere(strike, share):
    """Far from the money, and close to either bound."""
    option = Option(kind=CALL if strike >= FORWARD else PUT, forward=FORWARD, strike=strike, years=1 / 365)
    bound = min(FORWARD, strike)
    found = implied_volatility(option, share * bound)
    assert found is not None
    assert price_of(option, found) == pytest.approx(share * bound, rel=1e-9, abs=1e-14 * FORWARD)


@given(st.floats(15_000, 30_000), st.floats(0.01, 1), st.floats(0, 0.1), st.floats(0.05, 0.6))
def test_the_forward_is_read_off_the_chain(forward, years, rate, volatility):
    """Whatever the volatility; one wrong quote does not move it."""
    quotes = []
    for strike in range(int(forward) // 100 * 100 - 2_000, int(forward) + 2_000, 100):
        option = Option(kind=CALL, forward=forward, strike=strike, years=years, rate=rate)
        quotes.append(StrikeQuote(strike=strike, call=price_of(option, volatility), put=price_of(other(option), volatility)))
    assert implied_forward(quotes, years=years, rate=rate) == pytest.approx(forward, rel=1e-9)
    quotes[20] = replace(quotes[20], call=quotes[20].call * 3)
    assert implied_forward(quotes, years=years, rate=rate) == pytest.approx(forward, rel=1e-9)
    assert implied_forward([replace(quote, put=0.0) for quote in quotes], years=years) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": InstrumentKind.EQ},
        {"forward": 0.0},
        {"strike": -1.0},
        {"years": 0.0},
        {"forward": math.nan},
        {"rate": math.inf},
    ],
)
def test_what_is_no_option_is_refused(wrong):
    """With the name of the field."""
    with pytest.raises(ValueError, match=r"no option|must be"):
        Option(**({"kind": CALL, "forward": 1.0, "strike": 1.0, "years": 1.0} | wrong))


def test_the_normal_distribution_keeps_its_tails():
    """Far out of the money the price is small, not 0."""
    assert normal_cdf(-20) == pytest.approx(2.753624e-89, rel=1e-6)
    assert normal_cdf(0) == 0.5
    with pytest.raises(ValueError, match="above 0"):
        greeks_of(Option(kind=CALL, forward=1, strike=1, years=1), 0)
