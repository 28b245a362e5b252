"""A Kite sandbox in this process: the state alone, or served on a port for the vendor's own client."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from typing import Any

import httpx
from kiteconnect import KiteConnect

from bridge.core.clock import Clock
from bridge.sandbox.kite.box import KiteSandbox
from bridge.sandbox.kite.forms import read_order
from bridge.sandbox.kite.journal import Journal
from bridge.sandbox.kite.server import KiteServer
from bridge.sandbox.kite.values import Order
from tests.support.clocks import StillClock
from tests.support.rigs import ROOT
from tests.support.samples import SBIN

START = Decimal("812.5")
_SYMBOLS = ("NIFTY 50", "SBIN", "INFY", "MARUTI")


@cache
def kite_instruments() -> tuple[str, ...]:
    """A few shares, an index and the index derivatives of the shipped list, with the first currency added."""
    lines = (ROOT / "config" / "instruments.csv").read_text().splitlines()
    kept = [line for line in lines[1:] if line.split(",")[2] in _SYMBOLS or line.endswith(",NFO")]
    currency = "1234435,4822,USDINR26NOVFUT,USDINR,88.5,2026-11-26,0,0.0025,1,FUT,CDS-FUT,CDS"
    return (lines[0], *kept, currency)


def make_box(clock: Clock | None = None, journal: Journal | None = None, **knobs: Any) -> KiteSandbox:
    """A sandbox whose clock stands, without limits unless they are asked for; SBIN trades at 812.50."""
    given: dict[str, Any] = {"enforce_limits": False, **knobs}
    box = KiteSandbox(kite_instruments(), clock=clock or StillClock(), journal=journal, **given)
    box.set_price(SBIN, START)
    return box


def make_form(**fields: Any) -> dict[str, str]:
    """The form of a limit order for ten SBIN; a field of None is left out."""
    given = {
        "exchange": "NSE", "tradingsymbol": "SBIN", "transaction_type": "BUY", "quantity": 10, "product": "MIS",
        "order_type": "LIMIT", "price": "800", **fields,
    }  # fmt: skip
    return {name: str(value) for name, value in given.items() if value is not None}


def place(box: KiteSandbox, variety: str = "regular", **fields: Any) -> Order:
    """Place an order as the API does, and what it is now."""
    return box.book.current(box.book.place(read_order(make_form(**fields), variety, box.market)))


def statuses(box: KiteSandbox, order: Order) -> list[str]:
    """Every state the order has been in."""
    return [str(state.status) for state in box.book.orders[order.order_id]]


class Desk:
    """A served sandbox and the vendor's client, logged in to it."""

    def __init__(self, server: KiteServer) -> None:
        self.server = server
        self.box = server.box
        self.client = KiteConnect(self.box.sessions.api_key, root=server.root, timeout=5)
        self.http = httpx.Client(base_url=server.root, trust_env=False, timeout=10)
        self.log_in()

    def log_in(self) -> str:
        """Log the client in; the access token."""
        token = self.server.do(lambda box: box.sessions.give_request_token())
        self.client.generate_session(token, self.box.sessions.api_secret)
        return str(self.client.access_token)

    def price(self, price: str, symbol: str = SBIN) -> None:
        """The market trades here."""
        answer = self.http.post("/sandbox/price", json={"symbol": symbol, "price": price})
        assert answer.status_code == 200, answer.text

    def faults(self, scope: str, **counts: int) -> None:
        """Switch faults on; those with a digit first come as `_429`."""
        wanted = {scope: {name.removeprefix("_"): count for name, count in counts.items()}}
        answer = self.http.post("/sandbox/faults", json=wanted)
        assert answer.status_code == 200, answer.text

    def turn(self, **knobs: Any) -> None:
        """Turn knobs."""
        answer = self.http.post("/sandbox/settings", json=knobs)
        assert answer.status_code == 200, answer.text

    def buy(self, **fields: Any) -> str:
        """Place a limit order for ten SBIN by the client; its id."""
        given = {
            "variety": "regular", "exchange": "NSE", "tradingsymbol": "SBIN", "transaction_type": "BUY", "quantity": 10,
            "product": "MIS", "order_type": "LIMIT", "price": 800, **fields,
        }  # fmt: skip
        return str(self.client.place_order(**given))

    def count(self) -> int:
        """How many orders there are, whoever knows of them."""
        return self.server.do(lambda box: len(box.book.orders))

    def close(self) -> None:
        """Let go of the connections."""
        self.http.close()
        self.client.reqsession.close()


@contextmanager
def open_desk(clock: Clock | None = None, **knobs: Any) -> Iterator[Desk]:
    """A sandbox on a port of its own with the client logged in."""
    with KiteServer(make_box(clock, **knobs)) as server:
        desk = Desk(server)
        try:
            yield desk
        finally:
            desk.close()
