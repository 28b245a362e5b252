"""Slicing: the parts are the whole, each fits, and there are no more of them than needed."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.decision import Approved, Denied
from bridge.core.enums import Variety
from bridge.core.instrument import Instrument
from bridge.core.money import leg_size
from bridge.core.reasons import Reason
from bridge.risk.slicing import MAX_PARTS, slice_order
from tests.unit.risk.builders import make_instrument, make_intent

whole = st.integers(1, 200_000).map(Decimal)


def approved(quantity: Decimal) -> Approved:
    return Approved(intent=make_intent(str(quantity)), reference_px=None)


def contract(lot: Decimal) -> Instrument:
    return make_instrument(lot=lot)


@given(lots=st.integers(1, 5_000), lot=st.integers(1, 75), most=whole)
def test_parts_add_up_and_each_is_taken(lots: int, lot: int, most: Decimal) -> None:
    """Whole lots, at most `most`, in the fewest orders that do it."""
    instrument = contract(Decimal(lot))
    quantity = Decimal(lots * lot)
    sliced = slice_order(approved(quantity), instrument, most)
    full = most - most % lot
    if quantity <= most:
        assert isinstance(sliced, list)
        assert [part.intent.order_qty for part in sliced] == [quantity]
        return
    if not full or quantity > full * MAX_PARTS:
        assert isinstance(sliced, Denied)
        assert sliced.reason is Reason.FREEZE_QTY
        return
    assert isinstance(sliced, list)
    sizes = [part.intent.order_qty for part in sliced]
    assert sum(sizes) == quantity
    assert all(0 < size <= most and size % lot == 0 for size in sizes)
    assert len(sizes) == -(-int(quantity) // int(full))  # a Decimal's // rounds towards zero
    assert [(part.intent.part, part.intent.parts) for part in sliced] == [(n, len(sizes)) for n in range(1, len(sizes) + 1)]
    assert [part.capped_by for part in sliced[1:]] == [None] * (len(sizes) - 1)


def test_an_unknown_freeze_quantity_leaves_the_order_whole() -> None:
    """The broker knows it and says so; a guess of ours would not be better."""
    one = approved(Decimal(1_000_000))
    assert slice_order(one, contract(Decimal(1)), None) == [one]


@given(lots=st.integers(1, 2_000), legs=st.integers(2, 50), most=st.integers(30, 3_000).map(Decimal))
def test_an_iceberg_stays_whole_while_each_leg_is_taken(lots: int, legs: int, most: Decimal) -> None:
    """The exchange sees its legs, one at a time, and never the whole."""
    quantity, lot = Decimal(lots * 30), Decimal(30)
    intent = make_intent(str(quantity), variety=Variety.ICEBERG, iceberg_legs=legs)
    sliced = slice_order(Approved(intent=intent, reference_px=None), contract(lot), most)
    if leg_size(quantity, legs, lot) <= most:
        assert isinstance(sliced, list)
        assert [part.intent for part in sliced] == [intent]
    else:
        assert isinstance(sliced, Denied) or len(sliced) > 1
