"""The Kite adapter passes the cards of every broker: the vendor's client over HTTP, against the sandbox."""

from collections.abc import Callable
from contextlib import ExitStack
from itertools import count

import pytest

from bridge.brokers.kite import adapter
from bridge.brokers.kite.adapter import KiteBroker, KitePolicy
from bridge.brokers.kite.client import HeldToken
from bridge.core.clock import SystemClock
from bridge.core.enums import Side
from bridge.core.order import Order
from bridge.core.report import Report
from bridge.core.values import evolve
from tests.contract.broker_cards import CARDS, Card, Rig, deal
from tests.contract.rigs import AdapterRig
from tests.support.kite import open_desk
from tests.support.samples import SBIN

START = "1000"


class KiteRig(AdapterRig):
    """A sandbox of its own for each card."""

    def __init__(self) -> None:
        self.account = "kite"
        self.symbol = SBIN
        self.reports: list[Report] = []
        self._stack = ExitStack()
        self._desk = self._stack.enter_context(open_desk(SystemClock()))
        self._desk.price(START)
        self._numbers = count(1)
        tokens = HeldToken(str(self._desk.client.access_token))
        policy = KitePolicy(api_key=self._desk.box.sessions.api_key, root=self._desk.server.root, updates="poll")
        self.protections: list[Order] = []
        self.broker = KiteBroker(
            self.account, policy=policy, tokens=tokens, clock=SystemClock(), tell=lambda _message: None,
            latest_price=self._desk.box.market.last, protections=lambda: self.protections,
        )  # fmt: skip

    async def close(self) -> None:
        await super().close()
        self._stack.close()

    def protection(self, side: Side, qty: int, **triggers: str) -> Order:
        order = evolve(super().protection(side, qty, **triggers), created_at=SystemClock().now())
        self.protections.append(order)
        return order

    async def move_price(self, price: str) -> None:
        self._desk.price(price)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stream would bring at once is looked for often."""
    monkeypatch.setattr(adapter, "GAP_S", 0.02)
    monkeypatch.setattr(adapter, "BUSY_S", 0.02)
    monkeypatch.setattr(adapter, "IDLE_S", 0.02)
    monkeypatch.setattr(adapter, "OTHERS_PER_SECOND", 1_000)


@pytest.fixture
def make_rig() -> Callable[[], Rig]:
    """A fresh sandbox for each card."""
    return KiteRig


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.__name__)
def test_kite_broker_passes(card: Card, make_rig: Callable[[], Rig]):
    """One card each; its docstring is the rule."""
    deal(card, make_rig)
