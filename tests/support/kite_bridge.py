"""A whole bridge that trades with the vendor's client at a Kite sandbox served in this process."""

from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.brokers.kite import adapter
from bridge.brokers.kite.adapter import KiteBroker
from bridge.brokers.kite.client import HeldToken, TokenSource
from bridge.core.limits import LIMIT_NAMES
from bridge.core.order_states import OrderStatus
from bridge.core.scope import account_scope
from bridge.sandbox.kite.values import Order
from bridge.settings import AccountSettings, Settings
from tests.support.clocks import NOON, RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.plays import play
from tests.support.rigs import Rig, WatchedBridge, make_settings, running
from tests.support.waiting import until

ACCOUNT = "zerodha"
NO_LIMITS = dict.fromkeys(name for name in LIMIT_NAMES if name.startswith(("max_", "min_")))


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short; what counts in seconds is jumped over with the clock."""
    patch.setattr("bridge.execution.reconcile.POLL_S", 0.02)
    patch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.02)
    patch.setattr("bridge.worker.TICK_S", 0.05)
    patch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.02))
    patch.setattr(adapter, "GAP_S", 0.02)
    patch.setattr(adapter, "BUSY_S", 0.02)
    patch.setattr(adapter, "IDLE_S", 0.05)
    patch.setattr(adapter, "UNREADABLE_PAUSE_S", 0.02)
    patch.setattr(adapter, "LOGIN_POLL_S", 0.02)
    patch.setattr(adapter, "TOO_MANY_WAIT_S", 0.02)
    patch.setattr(adapter, "OTHERS_PER_SECOND", 1_000)


def trading_clock() -> RunningClock:
    """A running clock that began on a trading day's morning: a live account trades while its exchange is open."""
    clock = RunningClock()
    clock.ahead = NOON - clock.now()
    return clock


def kite_settings(folder: Path, desk: Desk, **values: Any) -> Settings:
    """One account at the sandbox, limits off."""
    account = {
        "broker": "kite", "root": desk.server.root, "api_key": desk.box.sessions.api_key,
        "api_secret": desk.box.sessions.api_secret, "updates": "poll", **values,
    }  # fmt: skip
    strategies = {"demo": {"accounts": [ACCOUNT], "product": "MIS"}}
    return make_settings(folder, accounts={ACCOUNT: account}, strategies=strategies, risk={"profile": "careful", **NO_LIMITS})


class KiteBridge(WatchedBridge):
    """The bridge as it is, with a token that the test holds."""

    def __init__(self, settings: Settings, clock: RunningClock, token: HeldToken) -> None:
        self.token = token
        super().__init__(settings, clock)

    def _make_kite_tokens(self, _name: str, _account: AccountSettings) -> TokenSource:
        return self.token


class Traded:
    """What a story has: the bridge and the sandbox."""

    def __init__(self, rig: Rig, desk: Desk, token: HeldToken) -> None:
        self.rig, self.desk, self.token = rig, desk, token
        self.own_shares: dict[str, int] = {}  # that lie at Kite and are none of the bridge's business

    @property
    def broker(self) -> KiteBroker:
        found = self.rig.bridge.brokers[ACCOUNT]
        assert isinstance(found, KiteBroker)
        return found

    def at_kite(self) -> list[Order]:
        """The book as it truly is, whatever is shown of it."""
        return self.desk.server.do(lambda box: [states[-1] for states in box.book.orders.values()])

    def placed(self) -> Order:
        """The one order that is there."""
        (order,) = self.at_kite()
        return order

    def fill(self, quantity: int, price: str = "812.5") -> None:
        """Fill part of the one order."""
        ident = self.placed().order_id
        self.desk.server.do(lambda box: box.book.fill(ident, quantity, Decimal(price)))

    def open_orders(self) -> list[str]:
        """Our orders that have not ended, by status."""
        return [str(o.status) for o in self.rig.ledger.orders.values.values() if not o.status.is_closed]

    async def settle_doubts(self) -> None:
        """Jump over settle times and waits until no order is on its way or in doubt."""
        waits = (OrderStatus.NEW, OrderStatus.PENDING, OrderStatus.IN_DOUBT)

        def settled() -> bool:
            self.rig.clock.jump(seconds=0.25)
            return not [o for o in self.rig.ledger.orders.values.values() if o.status in waits]

        await until(settled, "the end of all doubt", limit_s=30)

    def check(self) -> None:
        """One order per tag at the broker; fills and positions are the same on both sides."""
        theirs = self.at_kite()
        # The legs of an iceberg share its tag; any other order is there once.
        tags = [
            order.tag for order in theirs
            if order.tag and order.status != "REJECTED" and order.meta.get("iceberg", {}).get("leg", 1) == 1
        ]  # fmt: skip
        assert len(tags) == len(set(tags)), tags
        filled = {order.tag: order.cum_qty for order in self.rig.orders() if order.cum_qty}
        told: Counter[str | None] = Counter()
        for order in theirs:
            told[order.tag] += order.filled_quantity if order.tag else 0  # the others are not ours
        assert filled == {tag: Decimal(quantity) for tag, quantity in told.items() if quantity}
        held = self.desk.server.do(lambda box: {key: one.quantity for key, one in box.account.positions().items()})
        delivered = self.desk.server.do(lambda box: {one.symbol: one.quantity for one in box.account.holdings.values()})
        for symbol, quantity in delivered.items():
            held[symbol, "CNC"] = held.get((symbol, "CNC"), 0) + quantity - self.own_shares.get(symbol, 0)
        ours = {(p.symbol, str(p.product)): int(p.quantity) for p in self.rig.bridge.store.reads.positions()}
        assert ours == {key: quantity for key, quantity in held.items() if quantity}
        self.rig.check_books()


def tell(
    folder: Path, story: Callable[[Traded], Awaitable[None]], *, account: dict[str, Any] | None = None, **knobs: Any
) -> None:
    """A story of a bridge with a Kite account; at its end both sides have the same books."""

    async def whole() -> None:
        clock = trading_clock()
        with open_desk(clock, **knobs) as desk:
            token = HeldToken(str(desk.client.access_token))
            bridge = KiteBridge(kite_settings(folder, desk, **(account or {})), clock, token)
            async with running(bridge, clock) as rig:
                await rig.resume(account_scope(ACCOUNT))
                traded = Traded(rig, desk, token)
                await story(traded)
                traded.check()

    play(whole)
