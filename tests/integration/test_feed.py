"""Ticks become marks: which symbols, how often, and what a mark may not overtake."""

import asyncio
from collections.abc import Awaitable, Callable, Set
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.core.errors import StoreError
from bridge.core.events import Changed, PriceSeen
from bridge.core.market import Mark, Tick
from bridge.feed import MAX_WANTED, Feed
from tests.support.clocks import NOON, RunningClock
from tests.support.plays import play
from tests.support.rigs import Rig, ScriptedBridge, make_settings, running
from tests.support.samples import SBIN
from tests.support.stores import Watched, fresh_sqlite, look, opened
from tests.support.waiting import until

INFY = "NSE:INFY"
TOKENS = {SBIN: 1, INFY: 2}


class Source:
    """A feed that remembers what was wanted of it."""

    def __init__(self) -> None:
        self.wanted: list[set[int]] = []

    def subscribe(self, tokens: Set[int]) -> None:
        self.wanted.append(set(tokens))


def make_feed(store: Watched, *asked: str) -> tuple[Feed, Source]:
    feed = Feed(store=store, token_of=TOKENS.get, on_fault=lambda _where, error: store.faults.append(error), asked=asked)
    source = Source()
    feed.add_source(source.subscribe)
    return feed, source


def tell(folder: Path, story: Callable[[Watched], Awaitable[None]]) -> None:
    """A story with a store of its own."""
    url = fresh_sqlite(folder)

    async def whole() -> None:
        async with opened(url) as store:
            await story(store)

    play(whole)


def tick(token: int, price: str, **later: float) -> Tick:
    return Tick(token=token, price=Decimal(price), at=NOON + timedelta(**later))


def test_a_tick_of_what_is_wanted_becomes_a_mark_on_disk(tmp_path):
    """In memory for risk, in the table for pages and the next start, and told to whoever follows prices."""

    async def story(store: Watched) -> None:
        feed, source = make_feed(store, SBIN)
        await feed.turn()
        assert source.wanted == [{1}]
        feed.take([tick(1, "812.05"), tick(2, "1500"), tick(77, "5")])
        await feed.turn()
        assert store.ledger.marks.values == {SBIN: Mark(symbol=SBIN, price=Decimal("812.05"), at=NOON, source="feed")}
        assert store.seen == [PriceSeen(symbol=SBIN, price=Decimal("812.05")), Changed(what="position")]

    tell(tmp_path, story)
    url = f"sqlite:///{tmp_path / 'bridge.db'}"
    assert look(url, "SELECT symbol, price, source FROM marks") == [(SBIN, "812.05", "feed")]


def test_a_turn_without_prices_commits_nothing(tmp_path):
    """A quiet market costs no disk."""

    async def story(store: Watched) -> None:
        groups: list[int] = []
        store.writer.on_group = lambda size, _s: groups.append(size)
        feed, source = make_feed(store, SBIN)
        for _ in range(3):
            await feed.turn()
        assert (groups, source.wanted) == ([], [{1}])
        for price in range(100, 200):
            feed.take([tick(1, str(price))])
        await feed.turn()
        await feed.turn()
        assert groups == [1]
        assert store.ledger.marks.values[SBIN].price == 199

    tell(tmp_path, story)


def test_the_newest_price_stays_whoever_told_it_and_in_whatever_order(tmp_path):
    """Of two feeds, or of a feed and an alert, the price that was true last is the mark."""

    async def story(store: Watched) -> None:
        feed, _ = make_feed(store, SBIN)
        await feed.turn()
        feed.take([tick(1, "812", seconds=5), tick(1, "810", seconds=3)])
        await feed.turn()
        assert store.ledger.marks.values[SBIN].price == 812
        feed.take([tick(1, "809", seconds=4)])
        await feed.turn()
        assert store.ledger.marks.values[SBIN].price == 812
        feed.take([tick(1, "812", seconds=9)])
        await feed.turn()
        assert store.ledger.marks.values[SBIN].at == NOON + timedelta(seconds=9)
        assert store.seen.count(PriceSeen(symbol=SBIN, price=Decimal(812))) == 1  # the same price later is no news

    tell(tmp_path, story)


def test_prices_that_could_not_be_stored_are_stored_at_the_next_turn(tmp_path):
    """A disk that was full for a while loses no price, and a newer one takes the place of what waits."""

    async def story(store: Watched) -> None:
        feed, _ = make_feed(store, SBIN, INFY)
        await feed.turn()
        feed.take([tick(1, "812"), tick(2, "1500")])
        write, store.write = store.write, _away  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreError):
            await feed.turn()
        store.write = write  # type: ignore[method-assign]
        feed.take([tick(1, "813", seconds=1)])
        await feed.turn()
        assert {s: m.price for s, m in store.ledger.marks.values.items()} == {SBIN: Decimal(813), INFY: Decimal(1500)}

    tell(tmp_path, story)


def test_who_listens_hears_every_tick_and_makes_no_marks(tmp_path):
    """A scan's symbols are asked for, besides what is held; their prices are not written."""

    async def story(store: Watched) -> None:
        feed, source = make_feed(store, SBIN)
        heard: list[Tick] = []
        feed.listen([INFY, SBIN], heard.extend)
        await feed.turn()
        assert source.wanted == [{1, 2}]
        feed.take([tick(1, "812"), tick(2, "1500"), tick(2, "1501")])
        await feed.turn()
        assert [one.price for one in heard] == [812, 1500, 1501]
        assert list(store.ledger.marks.values) == [SBIN]
        late = Source()
        feed.add_source(late.subscribe)
        assert late.wanted == [{1, 2}]

    tell(tmp_path, story)


def test_prices_are_heard_since_the_feed_that_has_been_there_longest(tmp_path):
    """None while all are away; a listener that asks again wants what it names then."""

    async def story(store: Watched) -> None:
        feed, source = make_feed(store)
        assert feed.heard_since() is None
        since: dict[str, datetime | None] = {"one": None, "two": None}
        feed.add_source(lambda _tokens: None, lambda: since["one"])
        feed.add_source(lambda _tokens: None, lambda: since["two"])
        assert feed.heard_since() is None
        since["two"] = NOON
        assert feed.heard_since() == NOON
        since["one"] = NOON - timedelta(minutes=5)
        assert feed.heard_since() == NOON - timedelta(minutes=5)
        since["one"] = None
        assert feed.heard_since() == NOON
        heard: list[Tick] = []
        feed.listen([SBIN], heard.extend)
        await feed.turn()
        feed.listen([INFY], heard.extend)
        await feed.turn()
        feed.take([tick(2, "1500")])
        assert (source.wanted, len(heard)) == ([{1}, {2}], 1)

    tell(tmp_path, story)


def _away(*_words: object) -> "asyncio.Future[None]":
    raise StoreError("away")


def test_the_store_being_away_or_a_source_failing_does_not_end_the_feed(tmp_path, monkeypatch):
    """The loop goes on; what is no fault of the store's is counted."""
    monkeypatch.setattr("bridge.feed.TURN_S", 0.01)

    async def story(store: Watched) -> None:
        feed, _ = make_feed(store, SBIN)
        failing = [ValueError("no"), StoreError("away")]

        def token_of(symbol: str) -> int | None:
            if failing:
                raise failing.pop()
            return TOKENS[symbol]

        feed._token_of = token_of
        await feed.start()
        await until(lambda: feed._symbols, "a turn that works")
        feed.take([tick(1, "812")])
        await until(lambda: SBIN in store.ledger.marks.values, "the mark")
        await feed.stop()
        assert [str(fault) for fault in store.faults] == ["no"]

    tell(tmp_path, story)


def test_what_one_connection_carries_is_the_bound_of_what_is_wanted(tmp_path):
    """More is left out, and what nobody knows the number of."""

    async def story(store: Watched) -> None:
        names = [f"NSE:S{number}" for number in range(MAX_WANTED + 10)]
        feed, source = make_feed(store, "NSE:UNKNOWN", *names)
        feed._token_of = lambda symbol: int(symbol[5:]) + 1 if symbol != "NSE:UNKNOWN" else None
        await feed.turn()
        assert len(source.wanted[0]) == MAX_WANTED - 1

    tell(tmp_path, story)


def test_what_is_held_or_ordered_is_wanted_and_no_longer_when_it_is_not(tmp_path, monkeypatch):
    """Symbols follow the books; a source that is added late is told at once."""
    monkeypatch.setattr("bridge.feed.TURN_S", 0.01)

    async def story(rig: Rig) -> None:
        feed, catalog = rig.bridge.feed, rig.bridge.catalog
        sbin = catalog.get(SBIN)
        assert sbin is not None
        source = Source()
        feed.add_source(source.subscribe)
        await feed.start()
        rig.broker.fill_px = Decimal("812.5")
        await rig.accept(action="buy", quantity="10", price="812.5")
        await until(lambda: source.wanted and source.wanted[-1] == {sbin.token}, "SBIN to be wanted")
        await until(lambda: rig.bridge.store.ledger.positions.values, "the position")
        late = Source()
        feed.add_source(late.subscribe)
        assert late.wanted == [{sbin.token}]
        feed.take([Tick(token=sbin.token, price=Decimal("820.5"), at=rig.clock.now())])
        await until(lambda: rig.bridge.store.ledger.marks.values[SBIN].price == Decimal("820.5"), "the mark")
        await rig.accept(action="exit", price="821")
        await until(lambda: source.wanted[-1] == set(), "nothing to be wanted")

    async def whole() -> None:
        clock = RunningClock()
        async with running(ScriptedBridge(make_settings(Path(tmp_path)), clock), clock) as rig:
            await story(rig)

    play(whole)
