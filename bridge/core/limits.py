"""Risk limits of one scope; None switches a rule off."""

from dataclasses import dataclass, fields
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Quantities are units, values and losses rupees, percentages of the day's opening equity, times seconds.

    `allowed_symbols` empty means every instrument that is known.
    """

    max_order_qty: Decimal | None = None
    max_order_value: Decimal | None = None
    max_position_qty: Decimal | None = None
    max_exposure: Decimal | None = None
    max_open_positions: int | None = None
    max_orders_per_minute: int | None = None
    max_orders_per_minute_per_symbol: int | None = None
    min_order_gap_s: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_daily_loss_pct: Decimal | None = None
    max_price_age_s: Decimal | None = None
    require_buying_power: bool = False
    require_ban_list: bool = False
    require_price_band: bool = False
    allowed_symbols: frozenset[str] = frozenset()


OFF = Limits()
# Sized for an account of about ten lakh rupees traded intraday: no single order above a fifth of it, and no entry once
# the day is at -2 %.
CAREFUL = Limits(
    max_order_qty=Decimal(5_000),
    max_order_value=Decimal(200_000),
    max_position_qty=Decimal(5_000),
    max_exposure=Decimal(500_000),
    max_open_positions=10,
    max_orders_per_minute=120,
    max_orders_per_minute_per_symbol=60,
    max_daily_loss_pct=Decimal(2),
    max_price_age_s=Decimal(900),
    require_buying_power=True,
)
LIMIT_NAMES = tuple(field.name for field in fields(Limits))
