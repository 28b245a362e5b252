"""Black-76: price, implied volatility and Greeks of European options, on the forward that calls and puts agree on.

Of index options the forward is not the spot: taken for it, calls and puts of one strike differ by points of volatility.
Plain floats: nothing here is money that is booked.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from bridge.core.enums import InstrumentKind

_ROOT_2 = math.sqrt(2)
_ROOT_2_PI = math.sqrt(2 * math.pi)
_DAYS = 365
_PER_POINT = 100  # vega and rho are for a change of one percentage point

# Of the deviation sqrt(t) * volatility: below, no price is above its intrinsic value; above, every price is at its bound.
_LEAST, _MOST = 1e-12, 100.0
_ROUNDS = 200  # a bisection alone would need about 60
_CLOSE = 1e-14  # relative; a price in floats tells no more
NEAREST = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A European option: a call (CE) or put (PE) on `forward`, in price units; `years` to expiry, of 365 days.

    `rate` is continuous and per year, such as 0.065. Raises ValueError for what is no option.
    """

    kind: InstrumentKind
    forward: float
    strike: float
    years: float
    rate: float = 0.0

    def __post_init__(self) -> None:
        if not self.kind.is_option:
            raise ValueError(f"{self.kind} is no option")
        for name in ("forward", "strike", "years"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, not {value}")
        if not math.isfinite(self.rate):
            raise ValueError(f"rate must be a number, not {self.rate}")

    @property
    def discount(self) -> float:
        """What 1 at expiry is worth now."""
        return math.exp(-self.rate * self.years)

    @property
    def sign(self) -> int:
        """1 of a call, -1 of a put."""
        return 1 if self.kind is InstrumentKind.CE else -1

    @property
    def intrinsic(self) -> float:
        """Value at expiry if the forward stays, undiscounted."""
        return max(self.sign * (self.forward - self.strike), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeks:
    """Per unit of the option. `delta` and `gamma` by the forward, `theta` per calendar day, `vega` and `rho` per percentage
    point; `rho` with the forward held."""

    price: float
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


def normal_cdf(x: float) -> float:
    """Probability that a standard normal value is at most `x`."""
    return 0.5 * math.erfc(-x / _ROOT_2)


def normal_density(x: float) -> float:
    """Density of the standard normal distribution."""
    return math.exp(-0.5 * x * x) / _ROOT_2_PI


def price_of(option: Option, volatility: float) -> float:
    """Black-76 price at a volatility per year, such as 0.14; at 0 the discounted intrinsic value."""
    deviation = volatility * math.sqrt(option.years)
    if deviation <= 0:
        return option.discount * option.intrinsic
    return option.discount * _undiscounted(option.sign, option.forward, option.strike, deviation)


def _undiscounted(sign: int, forward: float, strike: float, deviation: float) -> float:
    d1 = math.log(forward / strike) / deviation + deviation / 2
    return sign * (forward * normal_cdf(sign * d1) - strike * normal_cdf(sign * (d1 - deviation)))


def greeks_of(option: Option, volatility: float) -> Greeks:
    """Price and sensitivities; raises ValueError for a volatility that is not above 0."""
    if not volatility > 0:
        raise ValueError(f"the volatility must be above 0, not {volatility}")
    root, discount = math.sqrt(option.years), option.discount
    deviation = volatility * root
    d1 = math.log(option.forward / option.strike) / deviation + deviation / 2
    density, price = normal_density(d1), price_of(option, volatility)
    decay = -discount * option.forward * density * volatility / (2 * root)
    return Greeks(
        price=price,
        delta=option.sign * discount * normal_cdf(option.sign * d1),
        gamma=discount * density / (option.forward * deviation),
        vega=discount * option.forward * density * root / _PER_POINT,
        theta=(decay + option.rate * price) / _DAYS,
        rho=-option.years * price / _PER_POINT,
    )


def implied_volatility(option: Option, price: float) -> float | None:
    """The volatility per year at which the option costs `price`; None where there is none.

    There is none at or below the discounted intrinsic value, nor at or above the discounted forward (call) or strike (put).
    """
    # In the money the same volatility is read off the option of the other kind, by parity: its price is all time value.
    value = price / option.discount - option.intrinsic
    sign = 1 if option.forward <= option.strike else -1
    bound = option.forward if sign > 0 else option.strike
    if not 0 < value < bound:
        return None
    deviation = _solve(sign, option.forward, option.strike, value)
    return None if deviation is None else deviation / math.sqrt(option.years)


def _solve(sign: int, forward: float, strike: float, value: float) -> float | None:
    """Newton's steps on the logarithm of the price, where it is nearly straight, held within a bracket that only shrinks."""
    low, high = _LEAST, _MOST
    if not _undiscounted(sign, forward, strike, low) < value < _undiscounted(sign, forward, strike, high):
        return None
    deviation = min(max(math.sqrt(2 * abs(math.log(forward / strike))), 0.1), 10.0)  # where the price bends from steep to flat
    for _ in range(_ROUNDS):
        found = _undiscounted(sign, forward, strike, deviation)
        if found < value:
            low = deviation
        else:
            high = deviation
        following = _newton(forward, strike, deviation, found, value)
        if following is not None and abs(following - deviation) <= _CLOSE * deviation:
            return following
        if following is None or not low < following < high:
            following = (low + high) / 2
        if high - low <= _CLOSE * high:
            break
        deviation = following
    return deviation


def _newton(forward: float, strike: float, deviation: float, found: float, value: float) -> float | None:
    if found <= 0:
        return None
    d1 = math.log(forward / strike) / deviation + deviation / 2
    slope = forward * normal_density(d1) / found
    return deviation - math.log(found / value) / slope if slope > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrikeQuote:
    """Prices of the call and the put of one strike and expiry, of the same moment."""

    strike: float
    call: float
    put: float


def implied_forward(quotes: Iterable[StrikeQuote], *, years: float, rate: float = 0.0, nearest: int = NEAREST) -> float | None:
    """The forward by put-call parity: the median of strike + (call - put) / discount over the strikes nearest to it.

    Nearest are those where call and put cost nearly the same; there both trade most. None without a strike that has both.
    """
    whole = [quote for quote in quotes if quote.call > 0 and quote.put > 0]
    chosen = sorted(whole, key=lambda quote: (abs(quote.call - quote.put), quote.strike))[:nearest]
    growth = math.exp(rate * years)
    return median(quote.strike + (quote.call - quote.put) * growth for quote in chosen) if chosen else None
