"""How pages write times, durations and money: India's clock, signs one cannot miss, no more digits than help."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from bridge.core.clock import IST
from bridge.core.money import rupees, to_text

NOTHING = "–"
MINUS = "\N{MINUS SIGN}"
_FOUR_PLACES = Decimal("0.0001")
_PRICE_PLACES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Money as shown; `tone` is up, down or flat and becomes its colour, which only repeats what the sign says."""

    text: str
    tone: str


UNKNOWN = Amount(text=NOTHING, tone="flat")


def signed(value: Decimal | None) -> Amount:
    """Profit or loss, always with its sign."""
    if value is None:
        return UNKNOWN
    text = rupees(abs(value))
    if not Decimal(text.replace(",", "")):
        return Amount(text=text, tone="flat")
    return Amount(text=f"{MINUS}{text}", tone="down") if value < 0 else Amount(text=f"+{text}", tone="up")


def money(value: Decimal | None) -> str:
    """Rupees with two decimals."""
    if value is None:
        return NOTHING
    return f"{MINUS}{rupees(abs(value))}" if value < 0 else rupees(value)


def quantity(value: Decimal) -> str:
    """Units, with thousands separators and a real minus."""
    whole, point, rest = to_text(abs(value)).partition(".")
    return f"{MINUS if value < 0 else ''}{int(whole):,}{point}{rest}"


def price(value: Decimal | None) -> str:
    """A price with two to four decimals."""
    if value is None:
        return NOTHING
    text = f"{value.quantize(_FOUR_PLACES, ROUND_HALF_EVEN):,}".rstrip("0")
    missing = _PRICE_PLACES - len(text.partition(".")[2])
    return (text + "0" * missing) if missing > 0 else text


def clock_time(at: datetime) -> str:
    """14:03:22, in India."""
    return at.astimezone(IST).strftime("%H:%M:%S")


def clock_ms(at: datetime) -> str:
    """14:03:22.123, in India."""
    local = at.astimezone(IST)
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def full_time(at: datetime) -> str:
    """21 Nov 2026, 14:03:22.123 IST."""
    return f"{at.astimezone(IST):%-d %b %Y}, {clock_ms(at)} IST"


def day_minute(at: datetime) -> str:
    """21 Nov 2026, 15:30 IST."""
    return f"{at.astimezone(IST):%-d %b %Y, %H:%M} IST"


def short_time(at: datetime, now: datetime) -> str:
    """The time, and before it the day where it is another one."""
    local = at.astimezone(IST)
    return clock_time(at) if local.date() == now.astimezone(IST).date() else f"{local:%-d %b %H:%M}"


def duration(span: timedelta) -> str:
    """0 ms, 0.4 ms, 12 ms, 1.2 s, 3 min 20 s, 2 h 5 min, 3 days."""
    if span < timedelta(0):
        return f"{MINUS}{duration(-span)}"
    seconds = span.total_seconds()
    if 0.00005 <= seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
