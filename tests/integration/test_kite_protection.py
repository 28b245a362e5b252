"""Protections at Kite, with the vendor's own client: triggers without tags, lost answers, restarts and changes made by hand."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bridge.brokers.kite.client import HeldToken
from bridge.core.market import Mark
from bridge.core.order import Order
from bridge.core.scope import account_scope
from bridge.core.views import AlertView
from bridge.feed import put_marks
from tests.support.kite import open_desk
from tests.support.kite_bridge import ACCOUNT, KiteBridge, Traded, hurry, kite_settings, trading_clock
from tests.support.plays import play
from tests.support.rigs import abandoned, running
from tests.support.samples import SBIN
from tests.support.waiting import until

BOTH = {"product": "CNC", "stop_loss": {"price": "800"}, "take_profit": {"price": "830"}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


class Guarded(Traded):
    """What a story of protections asks."""

    def triggers(self, status: str = "active") -> list[dict[str, Any]]:
        """Triggers at Kite that stand so."""
        return self.desk.server.do(lambda box: [row for row in box.gtts.rows.values() if row["status"] == status])

    def held_at_kite(self) -> int:
        """What the account holds there in all."""
        return self.desk.server.do(lambda box: sum(one.quantity for one in box.account.positions().values()))

    def resting(self) -> list[Order]:
        """Protective orders of ours that have not ended."""
        orders = list(self.rig.ledger.orders.values.values())
        return [order for order in orders if order.is_protection and not order.status.is_closed]

    async def protected(self, quantity: int) -> dict[str, Any]:
        """The one trigger, once it rests there and is known here."""

        def look() -> dict[str, Any] | None:
            found = self.triggers()
            known = [order.status.value for order in self.resting()] == ["PLACED"]
            return found[0] if known and [row["orders"][0]["quantity"] for row in found] == [quantity] else None

        row = await until(look, f"a trigger for {quantity}")
        assert row is not None
        return row

    def unprotected(self) -> list[str]:
        """Alarms over protections; others come of the test's own token."""
        return [told for told in self.rig.alarms() if "protect" in told]

    async def alarm(self) -> str:
        """The one alarm over a protection."""
        (told,) = await until(self.unprotected, "the alarm")
        return told

    async def enter(self, quantity: int = 10, **fields: Any) -> str:
        """A filled entry with a stop and a target."""
        alert = await self.rig.accept(action="buy", quantity=str(quantity), **{**BOTH, **fields})
        assert (await self.rig.ended(alert)).code == "FILLED"
        return alert

    async def flat(self) -> None:
        """Nothing is held, rests or is to rest, on either side."""
        await until(lambda: not self.rig.quantity(account=ACCOUNT) and not self.rig.ledger.protections.values, "the end")
        assert self.triggers() == []
        assert self.held_at_kite() == 0
        if self.rig.bridge.external_orders():  # the look may have come between the trigger and the order that it placed
            await self.rig.bridge.desk.reconcile(by="test")
        assert self.rig.bridge.external_orders() == []


def tell(folder: Path, story: Callable[[Guarded], Awaitable[None]], **account: Any) -> None:
    """A story of a bridge with a Kite account; at its end both hold the same, and never was anything opened by closing."""

    async def whole() -> None:
        clock = trading_clock()
        with open_desk(clock) as desk:
            token = HeldToken(str(desk.client.access_token))
            bridge = KiteBridge(kite_settings(folder, desk, **account), clock, token)
            async with running(bridge, clock) as rig:
                await rig.resume(account_scope(ACCOUNT))
                it = Guarded(rig, desk, token)
                await story(it)
                assert rig.quantity(account=ACCOUNT) == it.held_at_kite() >= 0
                rig.check_books()

    play(whole)


def test_a_filled_entry_rests_as_a_two_leg_trigger(tmp_path: Path) -> None:
    """Both legs are limit orders a percent beyond their triggers, in the entry's product, for what was filled."""

    async def story(it: Guarded) -> None:
        await it.enter()
        row = await it.protected(10)
        assert (row["type"], [float(value) for value in row["condition"]["trigger_values"]]) == ("two-leg", [800, 830])
        legs = [(one["transaction_type"], one["product"], one["order_type"], float(one["price"])) for one in row["orders"]]
        assert legs == [("SELL", "CNC", "LIMIT", 792), ("SELL", "CNC", "LIMIT", 821.7)]

    tell(tmp_path, story)


@pytest.mark.parametrize("price", ["799", "831"])
def test_the_order_of_a_trigger_is_ours(tmp_path: Path, price: str) -> None:
    """Its fills close the position here, under the protection's own tag; nothing counts as placed elsewhere."""

    async def story(it: Guarded) -> None:
        alert = await it.enter()
        await it.protected(10)
        it.desk.price(price)
        await it.flat()
        (order,) = [view for view in it.rig.orders(alert) if view.ord_type == "GTT"]
        assert (order.status.value, order.avg_px) == ("FILLED", Decimal(price))
        assert it.unprotected() == []

    tell(tmp_path, story)


def test_an_exit_takes_the_trigger_away_first(tmp_path: Path) -> None:
    """The exit is filled, the trigger is deleted, and the market may then go where it will."""

    async def story(it: Guarded) -> None:
        await it.enter()
        await it.protected(10)
        assert (await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))).code == "FILLED"
        await it.flat()
        it.desk.price("790")
        assert it.held_at_kite() == 0
        assert len(it.triggers("deleted")) == 1

    tell(tmp_path, story)


def test_an_exit_that_meets_a_triggered_protection_never_sells_twice(tmp_path: Path) -> None:
    """The market went through the limit: what works is cancelled, and the exit sells what is left."""

    async def story(it: Guarded) -> None:
        await it.enter()
        await it.protected(10)
        it.desk.price("780")
        await until(lambda: len(it.at_kite()) == 2, "the triggered order")
        assert it.at_kite()[1].status == "OPEN"
        assert (await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))).code == "FILLED"
        await it.flat()
        assert [order.status for order in it.at_kite()] == ["COMPLETE", "CANCELLED", "COMPLETE"]

    tell(tmp_path, story)


def test_a_triggered_order_that_the_market_has_left_behind_is_an_alarm(tmp_path: Path) -> None:
    """Its position is open, and nothing that the bridge does by itself closes it."""

    async def story(it: Guarded) -> None:
        await it.enter()
        await it.protected(10)
        await it.rig.bridge.reconciler.compare(ACCOUNT)
        assert it.unprotected() == []
        it.desk.price("780")
        await until(lambda: len(it.at_kite()) == 2, "the triggered order")
        await it.rig.bridge.reconciler.compare(ACCOUNT)
        assert it.unprotected() == []  # it may fill in a moment
        for _ in range(3):
            it.rig.clock.jump(seconds=16)
            await it.rig.bridge.reconciler.compare(ACCOUNT)
        assert "was triggered, and its order rests with 10 NSE:SBIN to close" in await it.alarm()

    tell(tmp_path, story)


TAKEN = ["drop_after", "400_timed_out_after", "502_after", "503_after", "no_content_type", "json_list"]
NOT_TAKEN = ["drop_before", "400_timed_out_before", "504_before", "429"]


@pytest.mark.parametrize("fault", TAKEN + NOT_TAKEN)
def test_a_trigger_whose_answer_is_lost_is_there_once(tmp_path: Path, fault: str) -> None:
    """It is looked for by its content before it is ever placed again."""

    async def story(it: Guarded) -> None:
        it.desk.faults("triggers", **{fault if not fault[0].isdigit() else f"_{fault}": 1})
        await it.enter()
        await until(it.resting, "its trigger")
        await it.settle_doubts()
        await it.protected(10)
        assert len(it.desk.server.do(lambda box: box.gtts.rows)) == 1
        it.desk.price("799")
        await it.flat()

    tell(tmp_path, story)


def test_triggers_lie_around_the_price_at_kite(tmp_path: Path) -> None:
    """Not around one that the last alert brought; that one serves where Kite does not say."""

    async def story(it: Guarded) -> None:
        it.desk.price("845")
        await it.enter(stop_loss={"percent": "1"}, take_profit={"percent": "2"})
        assert (await it.protected(10))["condition"]["last_price"] == 845
        it.desk.price("812.5")
        await it.rig.ended(await it.rig.accept(action="exit", product="CNC"))
        await it.flat()
        it.token.drop("test")
        assert await it.broker._ask_price("NSE:SBIN") is None

    tell(tmp_path, story)


async def rest_entry(it: Guarded, **levels: Any) -> str:
    """A limit order below the market, that wants a stop and a target."""
    entry = await it.rig.accept(action="buy", quantity="10", order_type="LIMIT", price="805", **{**BOTH, **levels})
    await it.rig.order_in(entry, "PLACED")
    return entry


async def closed_at_market(it: Guarded) -> None:
    """The position was closed by one market order of ours, without a trigger ever having been alive beside it."""
    await it.flat()
    last = it.at_kite()[-1]
    assert (last.transaction_type, last.status, last.filled_quantity) == ("SELL", "COMPLETE", 10)
    assert len(it.at_kite()) == 2


def test_a_price_that_jumps_through_the_stop_closes_the_position(tmp_path: Path) -> None:
    """Kite's last price says so before the trigger is placed: it would wait for a rise to the stop. An exit at market goes."""

    async def story(it: Guarded) -> None:
        await rest_entry(it)
        it.desk.price("790")
        assert "The stop of 800 is met already: the last price is 790" in await it.alarm()
        await closed_at_market(it)
        assert it.desk.server.do(lambda box: len(box.gtts.rows)) == 0

    tell(tmp_path, story)


def test_a_trigger_that_kite_refuses_for_a_price_that_came_meanwhile_closes_the_position(tmp_path: Path) -> None:
    """Between our look at the price and the trigger the market has jumped: Kite refuses, and the price is looked at again."""

    async def story(it: Guarded) -> None:
        ask = it.broker._ask_price
        looks: list[Decimal | None] = []

        async def ask_too_early(symbol: str) -> Decimal | None:
            looks.append(await ask(symbol))
            if len(looks) == 1:
                it.desk.price("790")
                it.desk.faults("triggers", _400_margin=1)
            return looks[-1]

        it.broker._ask_price = ask_too_early  # type: ignore[method-assign]
        await it.enter()
        assert "is met already: the last price is 790. Kite: " in await it.alarm()
        await closed_at_market(it)
        assert looks == [Decimal("812.5"), Decimal(790)]

    tell(tmp_path, story)


def test_an_exit_that_kite_rejects_is_raised_again(tmp_path: Path) -> None:
    """After five seconds, with an alarm; the position is closed once."""

    async def story(it: Guarded) -> None:
        await rest_entry(it)
        it.desk.faults("orders", _400_margin=1)
        it.desk.price("790")
        await until(lambda: [view.code for view in exits(it)] == ["BROKER_REJECTED"], "the first exit")
        await asyncio.sleep(0.1)
        assert len(exits(it)) == 1
        it.rig.clock.jump(seconds=5)
        await closed_at_market(it)
        again, _first = exits(it)
        assert (await it.rig.ended(again.alert_id)).code == "FILLED"
        why = "The stop of 800 is met already: the last price is 790"
        assert f"are not closed yet ({why}); exit {again.alert_id} is sent" in str(it.rig.alarms())

    tell(tmp_path, story)


def exits(it: Guarded) -> list[AlertView]:
    """The exits that the bridge has raised, the latest first."""
    return [view for view in it.rig.bridge.store.reads.alerts(limit=100) if view.source == "protection"]


@pytest.mark.parametrize(("price", "passed"), [("799", "The stop of 800"), ("830", "The target of 830")])
def test_a_refused_protection_is_kept_by_the_bridge_itself(tmp_path: Path, price: str, passed: str) -> None:
    """Whatever Kite did not like: a person is told, and a price beyond a level closes the position at market."""

    async def story(it: Guarded) -> None:
        it.desk.faults("triggers", _400_margin=1)
        await it.enter()
        assert "not protected at the broker" in await it.alarm()
        it.desk.price(price)
        mark = Mark(symbol=SBIN, price=Decimal(price), at=it.rig.clock.now(), source="test")
        await it.rig.bridge.store.write(partial(put_marks, marks=[mark]))
        await closed_at_market(it)
        assert any(f"{passed} is passed: the price is {price}" in alarm for alarm in it.rig.alarms())

    tell(tmp_path, story)


def test_a_price_that_is_only_known_here_closes_nothing(tmp_path: Path) -> None:
    """Kite tells none, and ours may be older than the entry: the trigger is not placed, and the next price decides."""

    async def story(it: Guarded) -> None:
        old = Mark(symbol=SBIN, price=Decimal(790), at=it.rig.clock.now(), source="test")
        await it.rig.bridge.store.write(partial(put_marks, marks=[old]))

        async def tells_nothing(symbol: str) -> Decimal | None:
            return None

        it.broker._ask_price = tells_nothing  # type: ignore[method-assign]
        alert = await it.rig.accept(action="buy", quantity="10", price=None, **BOTH)
        assert (await it.rig.ended(alert)).code == "FILLED"
        assert "not protected at the broker" in await it.alarm()
        await asyncio.sleep(0.2)
        assert it.held_at_kite() == 10

    tell(tmp_path, story)


def test_a_trigger_that_kite_refuses_is_an_alarm(tmp_path: Path) -> None:
    """The position is there and nothing protects it: a person is told, once, with Kite's own words."""

    async def story(it: Guarded) -> None:
        it.desk.faults("triggers", _400_margin=1)
        await it.enter()
        alarm = await it.alarm()
        assert "not protected" in alarm
        assert "stop 800, target 830" in alarm
        assert it.triggers() == []

    tell(tmp_path, story)


def test_a_trigger_that_is_deleted_by_hand_is_an_alarm(tmp_path: Path) -> None:
    """It is not placed again against its owner's will."""

    async def story(it: Guarded) -> None:
        await it.enter()
        row = await it.protected(10)
        it.desk.server.do(lambda box: box.gtts.delete(row["id"]))
        alarm = await it.alarm()
        assert "deleted" in alarm
        assert it.triggers() == []

    tell(tmp_path, story)


def test_a_position_that_is_closed_by_hand_loses_its_trigger(tmp_path: Path) -> None:
    """Where the product could be short, what rests would open a position once the trader has closed it."""

    async def story(it: Guarded) -> None:
        await it.enter(product="MIS")
        await it.protected(10)
        it.desk.buy(transaction_type="SELL", price=810)
        await it.rig.bridge.desk.reconcile(by="test")
        await until(lambda: not it.triggers(), "the end of the trigger")
        it.desk.price("790")
        assert it.held_at_kite() == 0
        it.desk.price("812.5")
        it.desk.buy(price=815)
        await it.rig.bridge.desk.reconcile(by="test")
        await it.protected(10)

    tell(tmp_path, story, protection_products=["MIS"])


def test_a_restart_knows_its_trigger_and_what_became_of_it(tmp_path: Path) -> None:
    """Triggered while the bridge was away: the fills are taken over, and nothing is sold twice."""

    async def whole() -> None:
        clock = trading_clock()
        with open_desk(clock) as desk:
            token = HeldToken(str(desk.client.access_token))
            settings = kite_settings(tmp_path, desk)
            async with abandoned(KiteBridge(settings, clock, token), clock) as rig:
                await rig.resume(account_scope(ACCOUNT))
                it = Guarded(rig, desk, token)
                await it.enter()
                await it.protected(10)
            desk.price("799")
            async with running(KiteBridge(settings, clock, token), clock) as rig:
                it = Guarded(rig, desk, token)
                await it.flat()
                rig.check_books()
            async with running(KiteBridge(settings, clock, token), clock) as rig:
                await rig.bridge.desk.reconcile(by="test")
                assert rig.bridge.external_orders() == []

    play(whole)


def test_a_crash_before_the_answer_places_no_second_trigger(tmp_path: Path) -> None:
    """The next start finds it by its content."""

    async def whole() -> None:
        clock = trading_clock()
        with open_desk(clock) as desk:
            token = HeldToken(str(desk.client.access_token))
            settings = kite_settings(tmp_path, desk)
            async with abandoned(KiteBridge(settings, clock, token), clock) as rig:
                await rig.resume(account_scope(ACCOUNT))
                it = Guarded(rig, desk, token)
                desk.turn(delay_ms=1_000)
                desk.faults("triggers", delay=1)
                await it.enter()
                await until(lambda: desk.server.do(lambda box: len(box.gtts.rows)) == 1, "the trigger at Kite")
            async with running(KiteBridge(settings, clock, token), clock) as rig:
                it = Guarded(rig, desk, token)
                await it.protected(10)
                assert len(desk.server.do(lambda box: box.gtts.rows)) == 1
                rig.check_books()

    play(whole)


def test_where_no_trigger_can_rest_the_entry_is_refused(tmp_path: Path) -> None:
    """Better no position than one that is thought to be protected."""

    async def story(it: Guarded) -> None:
        answer = await it.rig.send(action="buy", quantity="10", stop_loss={"price": "800"})
        told = json.loads(answer.body)
        assert (told["code"], told["field"]) == ("E_UNSUPPORTED", "stop_loss")
        assert "protection_products" in told["hint"]
        assert it.at_kite() == []

    tell(tmp_path, story)


# In a product where a sale too many would open a short position.
INTRADAY = {"product": "MIS", "stop_loss": {"percent": "1"}, "take_profit": {"percent": "2"}}
REQUEST_FAULTS = ["drop_before", "drop_after", "400_timed_out_after", "503_after", "504_before", "429"]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_goes_wrong_closing_never_opens(tmp_path: Path, seed: int) -> None:
    """Entries, exits, prices through the triggers and lost answers, as they come: the position at Kite never turns short, no
    trigger is left over, and both sides agree in the end.
    """
    chance = Random(seed)

    async def story(it: Guarded) -> None:
        for _ in range(12):
            what = chance.choice(["enter", "enter", "exit", "part", "target", "price", "price", "fault", "fault"])
            if what == "enter":
                await it.rig.accept(action="buy", quantity=str(chance.randint(1, 9)), **INTRADAY)
            elif what in ("exit", "part"):
                size = {"quantity": str(chance.randint(1, 5))} if what == "part" else {}
                await it.rig.accept(action="exit", product="MIS", **size)
            elif what == "target":
                await it.rig.accept(target=str(chance.randint(0, 9)), **INTRADAY)
            elif what == "price":
                it.desk.price(chance.choice(["780", "799", "812.5", "829", "831", "845"]))
            else:
                fault, scope = chance.choice(REQUEST_FAULTS), chance.choice(["triggers", "orders", "reads"])
                it.desk.faults(scope, **{f"_{fault}" if fault[0].isdigit() else fault: 1})
            await asyncio.sleep(chance.random() / 5)
        it.desk.http.delete("/sandbox/faults")
        it.desk.price("812.5")
        await it.settle_doubts()
        await until(lambda: not it.rig.ledger.alerts.values, "the end of every alert")
        await it.rig.ended(await it.rig.accept(target="0", product="MIS"))
        await it.settle_doubts()
        await it.flat()
        assert len(it.desk.client.trades()) > 1
        held = 0
        for trade in it.desk.client.trades():
            held += trade["quantity"] if trade["transaction_type"] == "BUY" else -trade["quantity"]
            assert held >= 0

    tell(tmp_path, story, protection_products=["MIS"])
