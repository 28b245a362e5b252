"""Positions and round trips from fills alone, exact to the last paisa."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import Product, Side
from bridge.core.fill import Fill
from bridge.core.position import Position, PositionKey, apply_fill_to_position

KEY = PositionKey("paper", "NSE:SBIN", "MIS")
NOW = datetime(2026, 11, 20, 4, 15, tzinfo=UTC)
FILLS = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 50), st.decimals(1, 5_000, places=2), st.sampled_from("ab")), max_size=30
)


def make_fill(side: Side, qty: int, px: Decimal, strategy: str = "a") -> Fill:
    return Fill(
        account="paper",
        exec_id="e",
        cl_ord_id="c",
        broker_order_id="b",
        strategy=strategy,
        symbol="NSE:SBIN",
        product=Product.MIS,
        side=side,
        last_qty=Decimal(qty),
        last_px=px,
        charges=Decimal("0.5"),
        transact_time=NOW,
    )


@given(FILLS, st.sampled_from([Decimal(1), Decimal(100)]))
def test_quantity_cash_and_profit_agree_after_every_fill(
    fills: list[tuple[Side, int, Decimal, str]], multiplier: Decimal
) -> None:
    """quantity = sum of signed fills; realised = cost - (paid - received), exactly, whatever the order of fills."""
    position, cash = Position(key=KEY, multiplier=multiplier), Decimal(0)
    for side, qty, px, strategy in fills:
        before = position
        position, realized = apply_fill_to_position(position, make_fill(side, qty, px, strategy))
        cash -= side.sign * qty * px * multiplier
        assert position.quantity == before.quantity + side.sign * qty
        assert position.realized_pnl == before.realized_pnl + realized
        assert position.realized_pnl == position.cost * multiplier + cash
        assert sum(position.by_strategy.values()) == position.quantity
        if position.quantity == 0:
            assert position.cost == 0
            assert position.avg_px == 0
        else:
            assert (position.cost > 0) == (position.quantity > 0)
    assert position.charges == Decimal("0.5") * len(fills)


def test_a_fill_through_zero_closes_everything_and_opens_the_rest_at_its_own_price() -> None:
    """Long 10 at 100, sell 15 at 110: 100 realised, short 5 at 110."""
    position, _ = apply_fill_to_position(Position(key=KEY), make_fill(Side.BUY, 10, Decimal(100)))
    position, realized = apply_fill_to_position(position, make_fill(Side.SELL, 15, Decimal(110)))
    assert (realized, position.quantity, position.avg_px) == (Decimal(100), Decimal(-5), Decimal(110))
    assert position.unrealized_pnl(Decimal(108)) == Decimal(10)


def test_a_short_profits_from_falling_prices() -> None:
    """Short 4 at 50, half covered at 45: 10 realised, 10 more at 45."""
    position, _ = apply_fill_to_position(Position(key=KEY), make_fill(Side.SELL, 4, Decimal(50)))
    position, realized = apply_fill_to_position(position, make_fill(Side.BUY, 2, Decimal(45)))
    assert (realized, position.unrealized_pnl(Decimal(45))) == (Decimal(10), Decimal(10))
