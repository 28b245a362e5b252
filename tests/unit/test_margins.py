"""Asking the broker for margin: of which orders, and for how long."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from bridge import margins
from bridge.brokers.base import BookUnreadableError
from bridge.core.enums import Side, Variety
from bridge.core.ledger import Ledger
from bridge.core.order import Order
from bridge.core.position import Position
from bridge.margins import Margins
from bridge.risk.usage import key_of
from tests.support.samples import make_order

ENTRY = make_order()


class Broker:
    """Answers when told to."""

    def __init__(self, says: str | BaseException | None) -> None:
        self.says = says
        self.was_cancelled = False

    async def ask(self, _order: Order) -> str:
        try:
            if self.says is None:
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if isinstance(self.says, BaseException):
            raise self.says
        return self.says or ""


def make(broker: Broker, ledger: Ledger | None = None) -> Margins:
    return Margins(ledger or Ledger(), {"paper": broker.ask})


# -- of which orders ----------------------------------------------------------------------------------------------------


def test_a_plain_entry_is_asked_about() -> None:
    """One that is sent whole, now, and closes nothing."""
    assert make(Broker("")).is_asked(ENTRY)
    assert make(Broker("")).is_asked(make_order(side=Side.SELL))


@pytest.mark.parametrize(
    "order",
    [
        make_order(reduce_only=True),
        make_order(parts=2),
        make_order(variety=Variety.AMO),
        make_order(account="other"),
        replace(ENTRY, sends=1),
    ],
)
def test_others_are_not(order: Order) -> None:
    """Exits never; parts follow each other; an account nobody can ask of; and what was asked about before its first try."""
    assert not make(Broker("")).is_asked(order)


def test_an_order_through_zero_is_not_asked_about() -> None:
    """The broker might name the margin of the half that closes as well."""
    ledger, order = Ledger(), make_order(side=Side.SELL, order_qty=Decimal(20))
    key = key_of(order.intent)
    ledger.positions.set(key, Position(key=key, quantity=Decimal(10)))
    assert not make(Broker(""), ledger).is_asked(order)
    assert make(Broker(""), ledger).is_asked(ENTRY)


# -- for how long -------------------------------------------------------------------------------------------------------


def ask(broker: Broker, hurry: asyncio.Event | None = None) -> str:
    async def whole() -> str:
        answer = await make(broker).shortage(ENTRY, hurry or asyncio.Event())
        await asyncio.sleep(0)
        return answer

    return asyncio.run(whole())


def test_the_brokers_word_is_passed_on() -> None:
    """Empty when there is money enough."""
    assert ask(Broker("")) == ""
    assert ask(Broker("Not enough.")) == "Not enough."


def test_a_broker_that_cannot_say_holds_nothing_up() -> None:
    """The order goes by our own reckoning."""
    assert ask(Broker(BookUnreadableError("502"))) == ""


def test_a_broker_that_is_slow_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is its answer, which nobody hears any more."""
    monkeypatch.setattr(margins, "PATIENCE_S", 0.01)
    slow = Broker(None)
    assert ask(slow) == ""
    assert slow.was_cancelled


def test_an_order_in_a_hurry_ends_the_wait() -> None:
    """An exit must not stand behind a question about an entry."""

    async def whole() -> bool:
        hurry, slow = asyncio.Event(), Broker(None)
        asking = asyncio.ensure_future(make(slow).shortage(ENTRY, hurry))
        await asyncio.sleep(0.01)
        hurry.set()
        return await asyncio.wait_for(asking, 0.5) == ""

    assert asyncio.run(whole())
