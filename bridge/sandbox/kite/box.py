"""The whole sandbox as one object, which outlives the servers that are started around it."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from bridge.core.clock import Clock, SystemClock
from bridge.sandbox.kite.account import Account
from bridge.sandbox.kite.book import Book
from bridge.sandbox.kite.faults import Faults, Knobs, turn_knobs
from bridge.sandbox.kite.gtt import Gtts
from bridge.sandbox.kite.journal import Journal
from bridge.sandbox.kite.limits import Limits
from bridge.sandbox.kite.market import Market
from bridge.sandbox.kite.sessions import Sessions
from bridge.sandbox.kite.stream import Stream
from bridge.sandbox.kite.values import order_row

API_KEY, API_SECRET, USER_ID = "sandboxkey", "sandboxsecret", "SB0001"


class KiteSandbox:
    """One app, one user, one market. Nothing in it is left to chance: ids and tokens derive from `seed` and from counts.

    `instruments` is the vendor's list as lines of CSV. With a journal that has a file, orders, trades, triggers, prices,
    holdings and the login are there again in the next process; faults and settings are not.
    """

    def __init__(
        self,
        instruments: Iterable[str],
        *,
        clock: Clock | None = None,
        journal: Journal | None = None,
        seed: str = "bridge",
        api_key: str = API_KEY,
        api_secret: str = API_SECRET,
        user_id: str = USER_ID,
        cash: Decimal = Decimal(1_000_000),
        **knobs: Any,
    ) -> None:
        self.clock = clock or SystemClock()
        self.journal = journal or Journal()
        self.knobs = turn_knobs(Knobs(), knobs)
        self.faults = Faults()
        self.limits = Limits()
        parts = (self.clock, self.journal)
        self.sessions = Sessions(*parts, seed=seed, api_key=api_key, api_secret=api_secret, user_id=user_id)
        self.market = Market(instruments, *parts)
        self.book = Book(*parts, self.market, self.faults, self._knobs_now, user_id)
        self.account = Account(*parts, self.market, self.book, self._knobs_now)
        self.account.cash["equity"] = cash
        self.gtts = Gtts(*parts, self.market, self.book.place, user_id)
        self.stream = Stream(self.clock, self.market, self.sessions, self.faults, self._knobs_now)
        self.book.judge = self.account.judge
        self._load()
        self.book.tell = self.stream.tell

    def _knobs_now(self) -> Knobs:
        return self.knobs

    def _load(self) -> None:
        for kind, content in self.journal.read():
            if kind == "order":
                self.book.load_order(content)
            elif kind == "note":
                self.book.load_note(content)
            elif kind == "trade":
                self.book.load_trade(content)
            elif kind == "session":
                self.sessions.load(content)
            elif kind == "gtt":
                self.gtts.load(content)
            elif kind == "holding":
                self.account.load_holding(content)
            elif kind == "price":
                self.market.load_line(content)

    def turn(self, **knobs: Any) -> None:
        """Set knobs by name; ValueError names what is wrong, and then nothing is changed."""
        self.knobs = turn_knobs(self.knobs, knobs)

    def set_price(self, symbol: str, price: Decimal, volume: int = 0) -> None:
        """The market trades here: resting orders meet the price, triggers fire, listeners hear of it."""
        self.market.set_price(symbol, price, volume)
        self.book.on_price(symbol)
        self.gtts.on_price(symbol)
        self.stream.on_price(symbol)

    def stats(self) -> dict[str, Any]:
        """What has been counted, for tests and for the curious."""
        rows = [order_row(history[-1]) for history in self.book.orders.values()]
        statuses: dict[str, int] = {}
        for row in rows:
            statuses[row["status"]] = statuses.get(row["status"], 0) + 1
        tags: dict[str, int] = {}
        for row in rows:
            if row["tag"]:
                tags[row["tag"]] = tags.get(row["tag"], 0) + 1
        return {
            **self.limits.show(), "orders": len(rows), "trades": len(self.book.trades), "statuses": statuses,
            "orders_by_tag": tags, "updates_sent": len(self.stream.sent), "listeners": len(self.stream.listeners),
            "postbacks_failed": self.stream.postbacks_failed, "logins": self.sessions.logins,
        }  # fmt: skip

    def close(self) -> None:
        """Let go of the file."""
        self.journal.close()
