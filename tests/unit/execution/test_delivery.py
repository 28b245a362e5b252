"""Delivered shares: as many of those at the broker as our books hold, and never more."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import Product
from bridge.core.report import BrokerPosition, Holding
from bridge.execution.delivery import add_delivered, net_quantities

D = Decimal
CNC, MTF = Product.CNC, Product.MTF
units = st.integers(0, 20)


def share(
    held: int, net: int, there: int, *, symbol: str = "NSE:SBIN", listed: str = "NSE:SBIN", product: Product = CNC
) -> Decimal:
    """What the broker counts as having of a position of ours."""
    nets = net_quantities([BrokerPosition(symbol=symbol, product=product, quantity=D(net))])
    holdings = [Holding(symbol=listed, product=product, quantity=D(there))]
    found = add_delivered(nets, holdings, {symbol: {product.value: D(held)}} if held else {})
    return found.get(symbol, {}).get(product.value, D(0))


@given(bought=units, sold=units, own=units)
def test_books_agree_on_every_day_after(bought: int, sold: int, own: int) -> None:
    """Bought by us days ago, sold in part today, and other shares of the person beside: nothing differs."""
    sold = min(sold, bought)
    assert share(bought - sold, -sold, bought + own) == bought - sold


@given(held=units, net=st.integers(-20, 20), there=units)
def test_the_broker_never_counts_for_more_than_it_has(held: int, net: int, there: int) -> None:
    """Its own positions of the day stand as they are; of the holdings it adds what is needed, as far as it is there."""
    counted = share(held, net, there)
    assert counted == net + min(max(held - net, 0), there)


def test_shares_that_were_sold_elsewhere_are_missing() -> None:
    """Ten of ours, of which a person sold four today by hand."""
    assert share(10, -4, 10) == 6


def test_a_buy_of_today_that_we_do_not_know_is_a_difference() -> None:
    """A fill that was missed is no holding."""
    assert share(0, 10, 0) == 10


def test_shares_that_a_person_sells_of_their_own_are_no_difference() -> None:
    """The day shows a sale of what was there before, and never a short position."""
    assert share(0, -10, 100) == 0
    assert share(5, -10, 100) == 5


def test_shares_that_are_not_ours_are_no_difference() -> None:
    """Whatever else the person owns."""
    assert share(0, 0, 100) == 0


def test_a_share_is_the_same_under_both_exchanges() -> None:
    """Kite names one of the two, whichever it pleases."""
    assert share(10, 0, 10, listed="BSE:SBIN") == 10
    assert share(10, 0, 10, symbol="BSE:SBIN") == 10
    assert share(10, 0, 10, listed="BSE:INFY") == 0


def test_one_share_does_not_count_twice() -> None:
    """Held under both exchanges by us, and there once."""
    ours = {"NSE:SBIN": {"CNC": D(5)}, "BSE:SBIN": {"CNC": D(5)}}
    found = add_delivered({}, [Holding(symbol="NSE:SBIN", product=CNC, quantity=D(7))], ours)
    assert sum(products["CNC"] for products in found.values()) == 7


def test_products_are_apart() -> None:
    """Funded shares are not those that were paid."""
    found = add_delivered(
        {}, [Holding(symbol="NSE:SBIN", product=MTF, quantity=D(7))], {"NSE:SBIN": {"CNC": D(5), "MTF": D(6)}}
    )
    assert found == {"NSE:SBIN": {"MTF": D(6)}}


def test_what_is_given_is_not_changed() -> None:
    """The same answer is looked at again."""
    nets = {"NSE:SBIN": {"CNC": D(-1)}}
    add_delivered(nets, [Holding(symbol="NSE:SBIN", product=CNC, quantity=D(7))], {"NSE:SBIN": {"CNC": D(5)}})
    assert nets == {"NSE:SBIN": {"CNC": D(-1)}}
