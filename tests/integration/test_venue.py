"""A whole bridge that trades at a venue in a process of its own, through every fault a broker and a network may have."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_fixed

from bridge.brokers.venue import adapter
from bridge.core.clock import SystemClock
from bridge.core.report import Report
from bridge.execution.breaker import BreakerState
from tests.support.clocks import RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, WatchedBridge, make_settings, running
from tests.support.samples import make_order
from tests.support.server import ServedVenue
from tests.support.waiting import until

SETTLE_S = 11
_NUMBERS = count(1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause between two looks is short; what counts in seconds is jumped over with the clock."""
    monkeypatch.setattr("bridge.execution.reconcile.POLL_S", 0.02)
    monkeypatch.setattr("bridge.execution.outbox.SESSION_POLL_S", 0.02)
    monkeypatch.setattr("bridge.worker.TICK_S", 0.05)
    monkeypatch.setattr("bridge.execution.retry._BACK_OFF", wait_fixed(0.02))
    monkeypatch.setattr(adapter, "LONGEST_PAUSE_S", 0.1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedVenue]:
    with ServedVenue(tmp_path_factory.mktemp("venue"), "--no-charges", "--slippage-bps", "0") as served:
        yield served


@pytest.fixture
def venue(shared: ServedVenue) -> ServedVenue:
    """The venue of all stories, without faults, SBIN at 800; each story has an account of its own there."""
    shared.start()
    shared.ask("POST", "/login")
    shared.ask("DELETE", "/faults")
    shared.price("800")
    return shared


class Traded:
    """What a story has: the bridge, its account's name, and the venue."""

    def __init__(self, rig: Rig, venue: ServedVenue, account: str) -> None:
        self.rig, self.venue, self.account = rig, venue, account

    def at_venue(self) -> list[tuple[Any, ...]]:
        return self.venue.orders(self.account)

    async def until_status(self, *, connected: bool) -> None:
        broker = self.rig.bridge.brokers[self.account]
        await until(lambda: broker.status().connected is connected, f"connected={connected}")

    def check(self) -> None:
        """One order per tag at the venue; executions and positions are the same on both sides."""
        tags = [tag for tag, *_ in self.at_venue()]
        assert len(tags) == len(set(tags)), tags
        theirs = {(s, p): Decimal(q) for s, p, q in self.venue.rows(_POSITIONS, self.account)}
        ours = {(p.symbol, p.product): p.quantity for p in self.rig.bridge.store.reads.positions()}
        assert {(s, str(p)): q for (s, p), q in ours.items()} == theirs
        filled = {order.tag: order.cum_qty for order in self.rig.orders() if order.cum_qty}
        assert filled == {tag: Decimal(qty) for tag, _status, qty in self.at_venue() if Decimal(qty)}
        self.rig.check_books()


_POSITIONS = "SELECT symbol, product, quantity FROM paper_positions WHERE account = ?"


def settings_for(folder: Path, venue: ServedVenue, account: str) -> Any:
    accounts = {account: {"broker": "venue", "root": venue.root, "session": "always"}}
    return make_settings(folder, accounts=accounts, strategies={"demo": {"accounts": [account], "product": "MIS"}})


def tell(folder: Path, venue: ServedVenue, story: Callable[[Traded], Awaitable[None]], account: str = "") -> None:
    """A story of a bridge with an account at the venue; at its end both sides have the same books."""
    account = account or f"story-{next(_NUMBERS)}"

    async def whole() -> None:
        clock = RunningClock()
        async with running(WatchedBridge(settings_for(folder, venue, account), clock), clock) as rig:
            traded = Traded(rig, venue, account)
            await story(traded)
            traded.check()

    play(whole)


# -- orders -------------------------------------------------------------------------------------------------------------


def test_alerts_are_traded_at_the_venue_and_both_sides_agree(tmp_path: Path, venue: ServedVenue) -> None:
    """Entry, resting order, cancel, exit: as at the paper broker, only further away."""

    async def story(it: Traded) -> None:
        rig = it.rig
        assert (await rig.ended(await rig.accept(action="buy", quantity="10"))).code == "FILLED"
        resting = await rig.accept(action="buy", quantity="3", order_type="LIMIT", price="700")
        await rig.order_in(resting, "PLACED")
        assert (await rig.ended(await rig.accept(action="cancel"))).disposition == "done"
        assert (await rig.ended(resting)).code == "CANCELLED_UNFILLED"
        assert (await rig.ended(await rig.accept(action="exit"))).code == "FILLED"
        assert [(status, qty) for _tag, status, qty in it.at_venue()] == [
            ("FILLED", "10"), ("CANCELLED", "0"), ("FILLED", "10"),
        ]  # fmt: skip
        account = next(view for view in rig.bridge.accounts() if view.name == it.account)
        assert (account.broker, account.is_paper, account.connected) == ("venue", True, True)
        assert account.cash == 1_000_000

    tell(tmp_path, venue, story)


def test_a_resting_order_fills_at_the_price_that_a_later_alert_brings(tmp_path: Path, venue: ServedVenue) -> None:
    """The venue has no feed: the bridge passes on what it learns, even from an alert that sends nothing there."""

    async def story(it: Traded) -> None:
        rig = it.rig
        resting = await rig.accept(action="sell", quantity="3", order_type="LIMIT", price="1200")
        await rig.order_in(resting, "PLACED")
        await rig.ended(await rig.accept(action="exit", price="1300", symbol="NSE:SBIN"))
        assert (await rig.ended(resting)).code == "FILLED"
        assert rig.orders(resting)[0].avg_px == 1200

    tell(tmp_path, venue, story)


def test_an_order_that_the_venue_refuses_fails_its_alert(tmp_path: Path, venue: ServedVenue) -> None:
    """CNC cannot be sold short there: rejected in its own words, and nothing is sent again."""

    async def story(it: Traded) -> None:
        rig = it.rig
        view = await rig.ended(await rig.accept(action="buy", quantity="10000000"))
        assert (view.disposition, view.code) == ("failed", "BROKER_REJECTED")
        assert "Insufficient funds" in view.message
        assert len(it.at_venue()) == 1

    tell(tmp_path, venue, story)


# -- faults -------------------------------------------------------------------------------------------------------------

# Where the order did arrive, it is adopted by its tag; where it did not, it is sent again once that is sure.
DOUBTS = ["drop_answer", "400_timed_out", "502_after", "503_after", "504_after"]
ABSENCES = ["drop_request", "502", "503", "504"]
NOT_SENT = ["429", "429_retry_after"]


@pytest.mark.parametrize("late_ms", [0, 20_000])
@pytest.mark.parametrize("fault", DOUBTS)
def test_an_order_that_arrived_without_a_proper_answer_is_adopted_by_its_tag(
    fault: str, late_ms: int, tmp_path: Path, venue: ServedVenue
) -> None:
    """The venue acted: the bridge hears of the order or finds it in the book, and there is one."""

    async def story(it: Traded) -> None:
        venue.faults(**{fault: 1, "late_reports_ms": late_ms})
        alert_id = await it.rig.accept(action="buy", quantity="10")
        view = await it.rig.ended(alert_id)
        assert (view.disposition, view.code) == ("done", "FILLED")
        assert [(status, qty) for _tag, status, qty in it.at_venue()] == [("FILLED", "10")]
        assert it.rig.orders(alert_id)[0].broker_order_id

    tell(tmp_path, venue, story)


@pytest.mark.parametrize("fault", ABSENCES)
def test_an_order_that_may_have_arrived_is_sent_again_only_when_its_absence_is_sure(
    fault: str, tmp_path: Path, venue: ServedVenue
) -> None:
    """The venue did not act, but nothing proves it: in doubt, several clean reads over the settle time, then once more."""

    async def story(it: Traded) -> None:
        rig = it.rig
        venue.faults(**{fault: 1})
        alert_id = await rig.accept(action="buy", quantity="10")
        await rig.order_in(alert_id, "IN_DOUBT")
        await until(lambda: rig.bridge.reconciler._watches[it.account].absences, "the look-up to begin")
        rig.clock.jump(seconds=SETTLE_S)
        assert (await rig.ended(alert_id)).code == "FILLED"
        assert rig.step_names(alert_id).count("order_sending") == 2
        assert len(it.at_venue()) == 1

    tell(tmp_path, venue, story)


@pytest.mark.parametrize("fault", NOT_SENT)
def test_too_many_requests_are_waited_out_without_a_doubt(fault: str, tmp_path: Path, venue: ServedVenue) -> None:
    """429 proves that nothing was taken: the same order again, after what the venue asks for."""

    async def story(it: Traded) -> None:
        rig = it.rig
        venue.faults(**{fault: 2, "retry_after_s": 1})
        began = rig.clock.monotonic()
        alert_id = await rig.accept(action="buy", quantity="10")
        assert (await rig.ended(alert_id)).code == "FILLED"
        names = rig.step_names(alert_id)
        assert (names.count("order_sending"), names.count("order_not_sent")) == (3, 2)
        assert "order_in_doubt" not in names
        assert rig.clock.monotonic() - began >= 2  # one that names no wait asks for a second
        assert rig.alarms() == []

    tell(tmp_path, venue, story)


def test_a_slow_venue_delays_and_nothing_else(tmp_path: Path, venue: ServedVenue) -> None:
    """An answer after half a second is an answer."""

    async def story(it: Traded) -> None:
        venue.faults(delay=1, delay_ms=500)
        alert_id = await it.rig.accept(action="buy", quantity="10")
        assert (await it.rig.ended(alert_id)).code == "FILLED"
        assert "order_in_doubt" not in it.rig.step_names(alert_id)

    tell(tmp_path, venue, story)


def test_an_answer_that_takes_too_long_leaves_a_doubt_that_the_book_settles(
    tmp_path: Path, venue: ServedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is acted upon after we stopped to wait: it is found, not sent again."""
    monkeypatch.setattr("bridge.brokers.venue.link.COMMAND_S", 0.2)

    async def story(it: Traded) -> None:
        venue.faults(delay=1, delay_ms=900)
        alert_id = await it.rig.accept(action="buy", quantity="10")
        await it.rig.order_in(alert_id, "IN_DOUBT")
        assert (await it.rig.ended(alert_id)).code == "FILLED"
        assert it.rig.step_names(alert_id).count("order_sending") == 1

    tell(tmp_path, venue, story)


def test_four_deliveries_of_one_alert_make_one_order_while_the_venue_drops_its_answers(
    tmp_path: Path, venue: ServedVenue
) -> None:
    """TradingView sends up to four times; the venue has no idempotency key and answers none of them."""

    async def story(it: Traded) -> None:
        rig = it.rig
        venue.faults(drop_answer=4, late_reports_ms=20_000)
        delivery = await rig.delivery(action="buy", quantity="10")
        answers = [await rig.bridge.pipeline.accept(delivery) for _ in range(4)]
        assert [answer.status for answer in answers] == ["accepted", "duplicate", "duplicate", "duplicate"]
        assert len({answer.alert_id for answer in answers}) == 1
        assert (await rig.ended(answers[0].alert_id)).code == "FILLED"
        assert [(status, qty) for _tag, status, qty in it.at_venue()] == [("FILLED", "10")]
        assert venue.ask("GET", "/faults")["drop_answer"] == 3

    tell(tmp_path, venue, story)


def test_a_lost_session_holds_orders_until_the_login(tmp_path: Path, venue: ServedVenue) -> None:
    """403: nothing was taken, the lane waits, the page says why; after the login the order goes out once."""

    async def story(it: Traded) -> None:
        rig = it.rig
        venue.faults(session_lost=1)
        first = await rig.accept(action="buy", quantity="10")
        await it.until_status(connected=False)
        second = await rig.accept(action="buy", quantity="5", symbol="NSE:INFY")
        assert "sign in" in rig.bridge.brokers[it.account].status().message
        assert rig.bridge.ready()[f"broker {it.account}"][0] is False
        await rig.order_in(first, "NEW")
        await rig.order_in(second, "NEW")
        assert it.at_venue() == []
        venue.ask("POST", "/login")
        assert (await rig.ended(first)).code == "FILLED"
        assert (await rig.ended(second)).code == "FILLED"
        assert len(it.at_venue()) == 2

    tell(tmp_path, venue, story)


def test_nothing_waits_behind_a_slow_answer_where_a_halt_cannot_reach_it(tmp_path: Path, venue: ServedVenue) -> None:
    """One order is on its way, the others wait in the lane: after the halt none of them leaves."""

    async def story(it: Traded) -> None:
        rig = it.rig
        venue.faults(delay=1, delay_ms=400)
        first = await rig.accept(action="buy", quantity="10")
        await rig.order_in(first, "PENDING")
        others = [await rig.accept(action="buy", quantity="1", symbol=symbol) for symbol in ("NSE:INFY", "NSE:TCS")]
        await rig.halt()
        assert (await rig.ended(first)).code == "FILLED"
        assert [(await rig.ended(other)).code for other in others] == ["HALTED", "HALTED"]
        assert len(it.at_venue()) == 1

    tell(tmp_path, venue, story)


# -- the venue goes away ------------------------------------------------------------------------------------------------


def test_reports_missed_while_the_venue_was_restarted_arrive(
    tmp_path: Path, venue: ServedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill the new run is noticed, and the book told instead; meanwhile the breaker opens, with one alarm."""
    monkeypatch.setattr("bridge.worker.FUNDS_EVERY_S", 0.2)

    async def story(it: Traded) -> None:
        rig = it.rig
        resting = await rig.accept(action="buy", quantity="3", order_type="LIMIT", price="700")
        await rig.order_in(resting, "PLACED")
        venue.kill()
        await it.until_status(connected=False)
        await until(lambda: rig.bridge.guarded[it.account].state is not BreakerState.CLOSED, "the breaker to open")
        # The alarm is written down in the background, so a moment after the breaker has opened.
        await until(lambda: [told for told in rig.alarms() if "Nothing leaves" in told], "the alarm")
        venue.launch()
        await asyncio.to_thread(venue.start)
        venue.price("650")  # it may fill before the bridge has found back, or after
        assert (await rig.ended(resting)).code == "FILLED"
        await it.until_status(connected=True)
        assert len([told for told in rig.alarms() if "Nothing leaves" in told]) == 1

    tell(tmp_path, venue, story)


def test_what_happened_at_the_venue_while_the_bridge_was_away_arrives(tmp_path: Path, venue: ServedVenue) -> None:
    """A resting order fills between two lives of the bridge."""
    kept: list[str] = []

    async def before(it: Traded) -> None:
        kept.append(await it.rig.accept(action="buy", quantity="3", order_type="LIMIT", price="700"))
        await it.rig.order_in(kept[0], "PLACED")

    async def after(it: Traded) -> None:
        assert (await it.rig.ended(kept[0])).code == "FILLED"

    tell(tmp_path, venue, before, "twice")
    venue.price("600")
    tell(tmp_path, venue, after, "twice")


def test_a_bridge_starts_without_its_venue_and_trades_once_that_is_there(tmp_path: Path, venue: ServedVenue) -> None:
    """Disconnected is said at once; the order waits, and goes when contact is made."""
    venue.kill()

    async def story(it: Traded) -> None:
        rig = it.rig
        assert not rig.bridge.brokers[it.account].status().connected
        alert_id = await rig.accept(action="buy", quantity="10")
        await rig.order_in(alert_id, "NEW")
        venue.launch()
        await asyncio.to_thread(venue.start)
        assert (await rig.ended(alert_id)).code == "FILLED"

    tell(tmp_path, venue, story)


def test_nothing_that_was_acknowledged_is_lost_with_the_venue(tmp_path: Path, venue: ServedVenue) -> None:
    """An order is on disk before it is answered; prices and accounts come back too."""
    order = {"tag": "KEPT", "symbol": "NSE:SBIN", "side": "BUY", "product": "MIS", "order_qty": "7"}
    ident = venue.ask("POST", "/v1/kept/orders", order)["order_id"]
    before = {what: venue.ask("GET", f"/v1/kept/{what}") for what in ("orders", "positions")}
    venue.kill()
    venue.start()
    assert {what: venue.ask("GET", f"/v1/kept/{what}") for what in ("orders", "positions")} == before
    assert before["orders"]["orders"][0]["order_id"] == ident
    assert venue.ask("POST", "/v1/kept/orders", order)["order_id"] != ident  # the same tag twice is two orders
    assert len(venue.orders("kept")) == 2


# -- reports ------------------------------------------------------------------------------------------------------------


def test_reports_are_delivered_until_they_are_taken(tmp_path: Path, venue: ServedVenue) -> None:
    """A sink that fails gets the same again, and then what came after."""
    taken: list[Report] = []
    failures = iter((True, True, True))

    async def sink(reports: list[Report]) -> None:
        if next(failures, False):
            raise RuntimeError("the store is away")
        taken.extend(reports)

    async def story() -> None:
        broker = adapter.VenueBroker("sink", root=venue.root, token=None, latest_price=lambda _: None, clock=SystemClock())
        await broker.start(sink)
        for number in (1, 2):
            await broker.place(make_order(number, tag=f"T{number}"))
        await until(lambda: [report.tag for report in taken if report.exec_id] == ["T1", "T2"], "both executions")
        await broker.stop()

    play(story)


def test_a_reader_that_fell_too_far_behind_reads_the_book(
    tmp_path: Path, venue: ServedVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is no longer kept, or one that was never given, is a gap as a new run is."""
    order = {"tag": "GAP", "symbol": "NSE:SBIN", "side": "BUY", "product": "MIS", "order_qty": "7"}
    venue.ask("POST", "/v1/gap/orders", order)
    taken: list[Report] = []

    async def sink(reports: list[Report]) -> None:
        taken.extend(reports)

    async def story() -> None:
        broker = adapter.VenueBroker("gap", root=venue.root, token=None, latest_price=lambda _: None, clock=SystemClock())
        broker._epoch = venue.ask("GET", "/v1/gap/reports")["epoch"]
        broker._after = 1_000
        await broker.start(sink)
        await until(lambda: any(report.exec_id and report.tag == "GAP" for report in taken), "the execution")
        await broker.stop()

    play(story)
