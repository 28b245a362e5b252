"""Fill: one execution, the only thing that moves a position."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bridge.core.enums import Product, Side
from bridge.core.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """`last_qty` units (always positive) at `last_px`; `charges` in rupees. Unique by (account, exec_id)."""

    account: str
    exec_id: str
    cl_ord_id: str
    broker_order_id: str
    strategy: str
    symbol: str
    product: Product
    side: Side
    last_qty: Decimal
    last_px: Decimal
    charges: Decimal
    transact_time: datetime
    realized_pnl: Decimal = ZERO
