"""Decimal arithmetic for money and quantities: strict reading, exact rounding, no floats."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

ZERO = Decimal(0)
ONE = Decimal(1)
PAISA = Decimal("0.01")
# Averages do not terminate; eight places keep a rounding error below a paisa for any position a retail account can hold.
AVERAGE_PLACES = Decimal("0.00000001")
# Wide enough for the quotient of any two numbers that can be read, so that rounding to eight places never overflows.
_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)
MAX_DIGITS = 18
MAX_PLACES = 8


def parse_decimal(text: str) -> Decimal:
    """A finite decimal of at most 18 digits before and 8 after the point; ValueError says what is wrong."""
    if len(text) > 64:
        raise ValueError("is too long for a number")
    cleaned = text.strip()
    if not cleaned.isascii() or "_" in cleaned:
        raise ValueError("is not a plain decimal number")
    try:
        value = Decimal(cleaned)
    except InvalidOperation:
        raise ValueError("is not a number") from None
    if not value.is_finite():
        raise ValueError("is not a finite number")
    if value and value.adjusted() >= MAX_DIGITS:
        raise ValueError(f"has more than {MAX_DIGITS} digits")
    if len(value.as_tuple().digits) > MAX_DIGITS + MAX_PLACES:
        raise ValueError(f"has more than {MAX_DIGITS + MAX_PLACES} significant digits")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_PLACES:
        trimmed = value.normalize()
        trimmed_exponent = trimmed.as_tuple().exponent
        if isinstance(trimmed_exponent, int) and trimmed_exponent < -MAX_PLACES:
            raise ValueError(f"has more than {MAX_PLACES} decimal places")
        value = trimmed
    return value


def to_text(value: Decimal) -> str:
    """Plain decimal text without exponent or needless zeros: '10', '812.5', '-0.05'."""
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def rupees(value: Decimal) -> str:
    """Two decimals with thousands separators, for sentences a trader reads."""
    return f"{value:,.2f}"


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """True when `value` is a whole number of `step`s."""
    return value % step == ZERO


def leg_size(quantity: Decimal, legs: int, lot: Decimal) -> Decimal:
    """Units of each leg of an order in at most `legs` legs of whole lots; the last one may be smaller."""
    return (quantity / legs / lot).to_integral_value(ROUND_CEILING) * lot


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest whole number of `step`s whose size does not exceed that of `value` (towards zero)."""
    return (value / step).to_integral_value(ROUND_DOWN) * step


def average(value: Decimal, quantity: Decimal) -> Decimal:
    """`value / quantity` to eight places; zero when there is no quantity."""
    if not quantity:
        return ZERO
    return _WIDE.divide(value, quantity).quantize(AVERAGE_PLACES, context=_WIDE)
