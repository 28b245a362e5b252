"""Raising: what a definition holds is read from the books, and its wishes become plain market orders."""

from datetime import UTC, datetime
from decimal import Decimal

from bridge.core.enums import Action, OrdType, Product, Side
from bridge.core.fill import Fill
from bridge.core.ledger import Ledger
from bridge.core.position import Position, PositionKey, apply_fill_to_position
from bridge.core.trade import add_entry, open_trade
from bridge.raising import holdings_of, signal_of
from bridge.scanner.decide import Wish
from bridge.scanner.definition import read_definition

AT = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
DEFINITION = read_definition(
    {
        "name": "cross", "strategy": "demo", "universe": ["NSE:SBIN", "NSE:TCS"], "interval": "5m",
        "long": {"enter": "cross_over(close, sma(close, 3))"}, "size": {"quantity": 10},
    }
)  # fmt: skip


def hold(ledger: Ledger, account: str, strategy: str, quantity: int, price: str, product: Product = Product.CNC) -> None:
    """Book one fill as the portfolio does: position and round trip."""
    key = PositionKey(account, "NSE:SBIN", product)
    fill = Fill(
        account=account, exec_id=f"{account}{strategy}{quantity}", cl_ord_id="x", broker_order_id="x", strategy=strategy,
        symbol=key.symbol, product=product, side=Side.BUY, last_qty=Decimal(quantity), last_px=Decimal(price),
        charges=Decimal(0), transact_time=AT,
    )  # fmt: skip
    position, _realized = apply_fill_to_position(ledger.positions.get(key) or Position(key=key), fill)
    ledger.positions.set(key, position)
    trade = ledger.trades.get(key) or open_trade(fill, "t", key, Decimal(1))
    ledger.trades.set(key, add_entry(trade, fill.last_qty, fill.last_px, Decimal(0)))


def test_a_strategys_share_is_its_own_whoever_else_holds_the_symbol():
    """Quantity is the strategy's in its accounts; price is that of the round trip; extremes are asked since it began."""
    ledger, asked = Ledger(), []
    hold(ledger, "one", "demo", 10, "800")
    hold(ledger, "one", "other", 30, "840")
    hold(ledger, "two", "demo", 5, "810")
    hold(ledger, "three", "demo", 7, "810")

    def extremes(symbol, since):
        asked.append((symbol, since))
        return 850.0, 790.0

    held = holdings_of(ledger, DEFINITION, ["one", "two"], Product.CNC, extremes)
    assert list(held) == ["NSE:SBIN"]
    assert held["NSE:SBIN"].quantity == 15
    assert held["NSE:SBIN"].entry_px == 830.0
    assert (held["NSE:SBIN"].high, held["NSE:SBIN"].low) == (850.0, 790.0)
    assert asked == [("NSE:SBIN", AT)]


def test_another_product_is_another_position():
    """What is held for delivery is no business of a strategy that trades intraday."""
    ledger = Ledger()
    hold(ledger, "one", "demo", 10, "800", Product.MIS)
    assert holdings_of(ledger, DEFINITION, ["one"], Product.CNC, lambda _symbol, _since: (None, None)) == {}


def test_a_wish_becomes_a_market_order_of_its_time_with_its_reasons():
    """The signal names the definition's strategy, and tells why in its notes."""
    wish = Wish(
        symbol="NSE:SBIN", action=Action.BUY, quantity=Decimal(10), price=Decimal("812.5"), why="it rose", score=1.5, rank=2
    )
    signal = signal_of(wish, DEFINITION, ["one"], Product.CNC, AT)
    assert (signal.strategy, signal.symbol, signal.action, signal.accounts) == ("demo", "NSE:SBIN", Action.BUY, ("one",))
    assert (signal.ord_type, signal.quantity, signal.price, signal.signal_at) == (
        OrdType.MARKET,
        Decimal(10),
        Decimal("812.5"),
        AT,
    )
    assert signal.notes == {
        "why": "it rose", "definition": "cross", "version": DEFINITION.version, "rank": "2", "score": "1.5",
    }  # fmt: skip
