"""The paper broker passes the cards of every broker, filled at once and in parts."""

from collections.abc import Callable
from decimal import Decimal
from itertools import count

import pytest

from bridge.brokers.paper.adapter import PaperBroker
from bridge.brokers.paper.shelves import PaperShelves
from bridge.brokers.paper.values import PaperPolicy
from bridge.core.enums import Product
from bridge.core.report import Report
from tests.contract.broker_cards import CARDS, Card, Rig, deal
from tests.contract.rigs import AdapterRig
from tests.unit.brokers.paper_kit import INSTRUMENTS, SYMBOL, MemoryStore, SetClock

START = Decimal(1000)


class PaperRig(AdapterRig):
    """The paper broker over a store in memory."""

    def __init__(self, policy: PaperPolicy) -> None:
        self.account = "paper"
        self.symbol = SYMBOL
        self.reports: list[Report] = []
        self._prices = {SYMBOL: START}
        self._numbers = count(1)
        self.broker = PaperBroker(
            self.account,
            cash=Decimal(1_000_000),
            policy=policy,
            shelves=PaperShelves(),
            store=MemoryStore(),
            latest_price=self._prices.get,
            instrument=INSTRUMENTS.get,
            clock=SetClock(),
        )

    async def move_price(self, price: str) -> None:
        """Traded at so often that an order filled in parts comes to its end."""
        self._prices[self.symbol] = Decimal(price)
        for _ in range(10):
            await self.broker.on_price(self.symbol, Decimal(price))


POLICIES = {
    "whole": PaperPolicy(slippage_bps=Decimal(1)),
    "parts": PaperPolicy(slippage_bps=Decimal(1), fill_ratio=Decimal("0.4"), leverage={Product.MIS: Decimal(5)}),
}


@pytest.fixture(params=POLICIES)
def make_rig(request) -> Callable[[], Rig]:
    """A fresh paper broker for each card."""
    return lambda: PaperRig(POLICIES[request.param])


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.__name__)
def test_paper_broker_passes(card: Card, make_rig: Callable[[], Rig]):
    """One card each; its docstring is the rule."""
    deal(card, make_rig)
