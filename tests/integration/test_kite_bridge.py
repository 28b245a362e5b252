"""A whole bridge that trades at Kite with the vendor's own client, through every fault a broker and a network may have."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.brokers.kite import limits
from bridge.brokers.kite.client import HeldToken
from bridge.core.scope import account_scope
from tests.support.kite import open_desk
from tests.support.kite_bridge import ACCOUNT, KiteBridge, Traded, hurry, kite_settings, tell, trading_clock
from tests.support.plays import play
from tests.support.rigs import abandoned, running
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


# -- orders -------------------------------------------------------------------------------------------------------------


def test_a_buy_is_filled_protected_and_an_exit_closes_it(tmp_path: Path) -> None:
    """A market order goes with Kite's own protection; our books and theirs agree."""

    async def story(it: Traded) -> None:
        assert (await it.rig.ended(await it.rig.accept(action="buy", quantity="10"))).code == "FILLED"
        order = it.placed()
        assert (order.market_protection, order.product, order.filled_quantity) == (Decimal(-1), "MIS", 10)
        assert (await it.rig.ended(await it.rig.accept(action="exit"))).code == "FILLED"
        assert [order.quantity for order in it.at_kite()] == [10, 10]

    tell(tmp_path, story)


def test_the_protection_is_the_one_that_is_set(tmp_path: Path) -> None:
    """A percentage instead of Kite's own band."""

    async def story(it: Traded) -> None:
        await it.rig.ended(await it.rig.accept(action="buy", quantity="1"))
        assert it.placed().market_protection == Decimal("2.5")

    tell(tmp_path, story, account={"market_protection": "2.5"})


def test_an_order_is_filled_in_parts_at_their_own_prices(tmp_path: Path) -> None:
    """Each execution counts once, and the order is PARTIAL between."""

    async def story(it: Traded) -> None:
        alert = await it.rig.accept(action="buy", quantity="10", order_type="LIMIT", price="800")
        await it.rig.order_in(alert, "PLACED")
        it.fill(3, "800")
        part = await it.rig.order_in(alert, "PARTIAL")
        assert part.cum_qty == 3
        it.fill(7, "799.5")
        assert (await it.rig.ended(alert)).code == "FILLED"
        (order,) = it.rig.orders(alert)
        assert order.avg_px == Decimal("799.65")

    tell(tmp_path, story)


def test_a_stop_order_waits_for_its_trigger(tmp_path: Path) -> None:
    """SL-M goes with its trigger and a protection, rests as TRIGGER PENDING, and fills after it."""

    async def story(it: Traded) -> None:
        await it.rig.ended(await it.rig.accept(action="buy", quantity="5"))
        stop = await it.rig.accept(action="sell", quantity="5", order_type="SL-M", trigger_price="805")
        await it.rig.order_in(stop, "PLACED")
        order = it.at_kite()[-1]
        assert order.status == "TRIGGER PENDING"
        assert (order.trigger_price, order.market_protection) == (Decimal(805), Decimal(-1))
        it.desk.price("804")
        assert (await it.rig.ended(stop)).code == "FILLED"

    tell(tmp_path, story)


def test_a_resting_order_is_cancelled_and_keeps_what_was_filled(tmp_path: Path) -> None:
    """The end comes as a report, with the part that was filled before."""

    async def story(it: Traded) -> None:
        alert = await it.rig.accept(action="buy", quantity="10", order_type="LIMIT", price="800")
        await it.rig.order_in(alert, "PLACED")
        it.fill(4, "800")
        await it.rig.order_in(alert, "PARTIAL")
        assert (await it.rig.ended(await it.rig.accept(action="cancel"))).disposition == "done"
        order = await it.rig.order_in(alert, "CANCELLED")
        assert order.cum_qty == 4

    tell(tmp_path, story)


def test_a_rejected_order_ends_with_the_brokers_sentence(tmp_path: Path) -> None:
    """A row that the exchange rejects after a 200."""

    async def story(it: Traded) -> None:
        it.desk.faults("book", reject=1)
        ended = await it.rig.ended(await it.rig.accept(action="buy", quantity="10"))
        assert ended.disposition == "failed"
        sentence = it.placed().status_message
        assert sentence
        assert sentence in ended.message

    tell(tmp_path, story)


# -- faults -------------------------------------------------------------------------------------------------------------

TAKEN = ["drop_after", "400_timed_out_after", "502_after", "503_after", "504_after", "no_content_type", "json_list",
         "gzip", "slow_body", "stalled_body"]  # fmt: skip
NOT_TAKEN = ["drop_before", "400_timed_out_before", "502_before", "503_before", "504_before", "429", "429_retry_after",
             "empty_error_type", "ip_refused"]  # fmt: skip


@pytest.mark.parametrize("fault", TAKEN + NOT_TAKEN)
def test_one_spoilt_answer_leaves_one_order_filled(tmp_path: Path, fault: str) -> None:
    """Whatever becomes of the answer: the order is there once in the end, and filled."""

    async def story(it: Traded) -> None:
        it.desk.faults("orders", **{f"_{fault}" if fault[0].isdigit() else fault: 1})
        alert = await it.rig.accept(action="buy", quantity="10", order_type="LIMIT", price="820")
        await it.settle_doubts()
        assert (await it.rig.ended(alert)).code == "FILLED"
        assert it.placed().filled_quantity == 10

    tell(tmp_path, story, slow_ms=200)


def test_a_refusal_for_want_of_money_ends_the_order(tmp_path: Path) -> None:
    """400 with the broker's own error proves that nothing was taken."""

    async def story(it: Traded) -> None:
        it.desk.faults("orders", _400_margin=1)
        ended = await it.rig.ended(await it.rig.accept(action="buy", quantity="10"))
        assert ended.disposition == "failed"
        assert "Insufficient funds" in ended.message
        assert it.at_kite() == []

    tell(tmp_path, story)


def test_a_dead_session_holds_orders_until_somebody_logs_in(tmp_path: Path) -> None:
    """403 TokenException: the token is dropped, the account says why, and the exit goes on after a login."""

    async def story(it: Traded) -> None:
        await it.rig.ended(await it.rig.accept(action="buy", quantity="10"))
        it.desk.faults("orders", token_dead=1)
        alert = await it.rig.accept(action="exit")
        status = it.broker.status
        await until(lambda: not status().connected, "the session's end")
        assert "Log in to Kite" in status().message
        assert len(it.at_kite()) == 1
        it.token.give(it.desk.log_in())
        assert (await it.rig.ended(alert)).code == "FILLED"

    tell(tmp_path, story)


def test_a_token_that_dies_overnight_is_noticed_by_reading(tmp_path: Path) -> None:
    """No order has to run into it."""

    async def story(it: Traded) -> None:
        it.desk.http.delete("/sandbox/session")
        it.broker.poke("test")
        await until(lambda: it.token.token() is None, "the dropped token")
        it.token.give(it.desk.log_in())
        assert (await it.rig.ended(await it.rig.accept(action="buy", quantity="1"))).code == "FILLED"

    tell(tmp_path, story)


def test_a_book_that_lags_behind_its_answers_doubles_nothing(tmp_path: Path) -> None:
    """The lost answer's order is absent at first; absence counts only when it lasts."""

    async def story(it: Traded) -> None:
        it.desk.faults("orders", drop_after=1)
        alert = await it.rig.accept(action="buy", quantity="10", order_type="LIMIT", price="820")
        await it.rig.order_in(alert, "IN_DOUBT", "PLACED", "FILLED")
        assert (await it.rig.ended(alert)).code == "FILLED"
        assert it.placed().filled_quantity == 10

    tell(tmp_path, story, book_lag_ms=1_500)


def test_a_row_that_is_stuck_is_followed_as_working(tmp_path: Path) -> None:
    """PUT ORDER REQ RECEIVED can last: the order is there, and ends when it goes on."""

    async def story(it: Traded) -> None:
        it.desk.faults("book", stuck=1)
        it.desk.faults("orders", drop_after=1)
        alert = await it.rig.accept(action="buy", quantity="10")
        await it.rig.order_in(alert, "PLACED")
        it.desk.http.post("/sandbox/release", json={})
        assert (await it.rig.ended(alert)).code == "FILLED"

    tell(tmp_path, story)


@pytest.mark.parametrize("fault", ["drop_before", "502_before", "429", "json_list", "no_content_type", "empty_error_type"])
def test_reads_that_fail_lose_no_fill(tmp_path: Path, fault: str) -> None:
    """What cannot be read is unknown, never empty; the next look tells it."""

    async def story(it: Traded) -> None:
        it.desk.faults("reads", **{f"_{fault}" if fault[0].isdigit() else fault: 2})
        assert (await it.rig.ended(await it.rig.accept(action="buy", quantity="10"))).code == "FILLED"

    tell(tmp_path, story)


# -- restarts -----------------------------------------------------------------------------------------------------------


def test_an_order_on_its_way_in_a_crash_is_found_by_the_next_process(tmp_path: Path) -> None:
    """It was taken, nobody heard the answer, and it is not sent again."""

    async def story() -> None:
        clock = trading_clock()
        with open_desk(clock, delay_ms=1_000) as desk:
            token = HeldToken(str(desk.client.access_token))
            settings = kite_settings(tmp_path, desk)
            async with abandoned(KiteBridge(settings, clock, token), clock) as rig:
                await rig.resume(account_scope(ACCOUNT))
                desk.faults("orders", delay=1, drop_after=1)
                alert = await rig.accept(action="buy", quantity="10")
                await until(lambda: desk.count() == 1, "the order at the broker")
            async with running(KiteBridge(settings, clock, token), clock) as rig:
                it = Traded(rig, desk, token)
                await it.settle_doubts()
                assert (await rig.ended(alert)).code == "FILLED"
                assert it.placed().filled_quantity == 10
                it.check()

    play(story)


def test_a_restart_does_not_let_out_more_orders_a_second(tmp_path: Path) -> None:
    """The second's orders count on, whichever process sent them."""

    async def story() -> None:
        clock = trading_clock()
        with open_desk(clock) as desk:
            token = HeldToken(str(desk.client.access_token))
            settings = kite_settings(tmp_path, desk, orders_per_second=1)
            async with running(KiteBridge(settings, clock, token), clock) as rig:
                await rig.resume(account_scope(ACCOUNT))
                alert = await rig.accept(action="buy", quantity="1")
                await rig.ended(alert)
                sent_at = (await rig.order_in(alert, "FILLED")).sent_at
            assert sent_at is not None
            async with running(KiteBridge(settings, clock, token), clock) as rig:
                throttle = rig.bridge.throttles[ACCOUNT]
                assert throttle.take(sent_at) > 0
                assert throttle.take(clock.now() + timedelta(seconds=1)) == 0

    play(story)


# -- limits -------------------------------------------------------------------------------------------------------------


def test_the_minutes_orders_wait_for_the_next_and_a_person_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders placed elsewhere count too; the one too many leaves when the minute is over."""
    monkeypatch.setattr(limits, "PER_MINUTE", 3)

    async def story(it: Traded) -> None:
        it.rig.clock.jump(seconds=60 - it.rig.clock.now().second)
        for _ in range(2):
            it.desk.buy(price=700)
        it.broker.poke("test")
        await until(lambda: it.broker.count.wait_s(it.rig.clock.now()) == 0 and len(it.at_kite()) == 2)
        await it.rig.ended(await it.rig.accept(action="buy", quantity="1"))
        late = await it.rig.accept(action="exit")
        await until(lambda: any("of the minute" in alarm for alarm in it.rig.alarms()), "the alarm")
        assert len(it.at_kite()) == 3
        it.rig.clock.jump(seconds=60)
        assert (await it.rig.ended(late)).code == "FILLED"
        for order in it.at_kite()[:2]:
            it.desk.client.cancel_order("regular", order.order_id)

    tell(tmp_path, story)


def test_a_day_that_is_used_up_refuses_with_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order ends before the broker is asked."""
    monkeypatch.setattr(limits, "PER_DAY", 1)

    async def story(it: Traded) -> None:
        await it.rig.ended(await it.rig.accept(action="buy", quantity="1"))
        ended = await it.rig.ended(await it.rig.accept(action="buy", quantity="1"))
        assert ended.disposition == "failed"
        assert "orders a day" in ended.message
        assert len(it.at_kite()) == 1

    tell(tmp_path, story)


def test_nothing_secret_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither key, secret nor token in logs, alarms, audit or status, through faults as well."""

    async def story(it: Traded) -> None:
        sessions, token = it.desk.box.sessions, str(it.token.token())
        it.desk.faults("orders", drop_after=1)
        await it.rig.ended(await it.rig.accept(action="buy", quantity="1"))
        it.desk.faults("orders", token_dead=1)
        alert = await it.rig.accept(action="exit")
        await until(lambda: not it.broker.status().connected, "the session's end")
        said = it.broker.status().message + repr(it.rig.bridge.faults) + repr(it.rig.bridge.store.reads.audit_rows())
        it.token.give(it.desk.log_in())
        assert (await it.rig.ended(alert)).code == "FILLED"
        out, err = capfd.readouterr()
        for secret in (sessions.api_secret, token, f"{sessions.api_key}:"):
            assert secret not in said + out + err

    tell(tmp_path, story)
