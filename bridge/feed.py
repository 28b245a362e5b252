"""Prices of brokers' feeds become marks: only of what is held, ordered or asked for, and a few commits a second at most."""

import asyncio
from collections.abc import Callable, Iterable, Sequence, Set
from datetime import datetime
from functools import partial

from bridge.core.errors import StoreError
from bridge.core.events import PriceSeen
from bridge.core.ledger import Ledger
from bridge.core.market import FEED, Mark, Tick
from bridge.store.store import Store
from bridge.store.tx import Tx

# Between two commits, and two looks at what is wanted.
TURN_S = 0.5
# What one connection of a feed carries; what is held comes first.
MAX_WANTED = 3_000
Listener = Callable[[Sequence[Tick]], None]


class Feed:
    """Takes ticks, keeps the newest of each instrument, and writes them as marks in batches.

    Whatever is wanted by anybody is asked of every feed, so that prices go on when one account's session has ended. A feed
    that is away leaves the older mark, whose age the price rules judge. `asked` are symbols whose price is wanted always.
    Listeners hear every tick of theirs; what only they want becomes no mark.
    """

    def __init__(
        self,
        *,
        store: Store,
        token_of: Callable[[str], int | None],
        on_fault: Callable[[str, BaseException], None],
        asked: Iterable[str] = (),
    ) -> None:
        self._store = store
        self._token_of = token_of
        self._on_fault = on_fault
        self._asked = tuple(asked)
        self._sources: list[Callable[[Set[int]], None]] = []
        self._since: list[Callable[[], datetime | None]] = []
        self._listeners: dict[Listener, tuple[str, ...]] = {}
        self._told: Set[int] = frozenset()
        self._symbols: dict[int, str] = {}
        self._newest: dict[str, Mark] = {}
        self._task: asyncio.Task[None] | None = None

    def add_source(
        self, subscribe: Callable[[Set[int]], None], connected_at: Callable[[], datetime | None] | None = None
    ) -> None:
        """Have one more feed told what is wanted; its ticks go to `take`. `connected_at`: None while it is away."""
        self._sources.append(subscribe)
        if connected_at is not None:
            self._since.append(connected_at)
        if self._told:
            subscribe(self._told)

    def listen(self, symbols: Iterable[str], listener: Listener) -> None:
        """Have `listener` told the ticks as they come, and the feeds, at the next turn, that it wants these symbols now."""
        self._listeners[listener] = tuple(symbols)

    def heard_since(self) -> datetime | None:
        """Since when every tick is heard by one feed or another; None while all are away, or there is none."""
        return min((at for since in self._since if (at := since()) is not None), default=None)

    @property
    def has_source(self) -> bool:
        """True when there is a feed at all."""
        return bool(self._sources)

    def take(self, ticks: Sequence[Tick]) -> None:
        """Keep the newest price of each instrument until the next turn; what nobody wants is left out."""
        for listener in self._listeners:
            listener(ticks)
        for tick in ticks:
            symbol = self._symbols.get(tick.token)
            if symbol is None:
                continue
            known = self._newest.get(symbol)
            if known is None or known.at <= tick.at:
                self._newest[symbol] = Mark(symbol=symbol, price=tick.price, at=tick.at, source=FEED)

    async def start(self) -> None:
        """Begin to look and to write; without a source there is nothing to do."""
        if self._sources:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="feed")

    async def stop(self) -> None:
        """Write no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except StoreError:
                pass  # the prices are kept, and newer ones take their place
            except Exception as error:  # one turn's fault must not be the end of prices
                self._on_fault("feed", error)
            await asyncio.sleep(TURN_S)

    async def turn(self) -> None:
        """Tell the feeds what is wanted, if that has changed, and write the prices that came; StoreError: not written."""
        symbols, told = self._find_wanted()
        if symbols != self._symbols:
            self._symbols = symbols
            wanted = set(symbols.values())
            self._newest = {symbol: mark for symbol, mark in self._newest.items() if symbol in wanted}
        if told != self._told:
            self._told = told
            for subscribe in self._sources:
                subscribe(told)
        marks = list(self._newest.values())
        if not marks:
            return
        await self._store.write(partial(put_marks, marks=marks))
        for mark in marks:
            if self._newest.get(mark.symbol) is mark:
                del self._newest[mark.symbol]

    def _find_wanted(self) -> tuple[dict[int, str], Set[int]]:
        """What becomes marks, by token, and all that feeds are asked for."""
        names = dict.fromkeys((*find_used(self._store.ledger), *self._asked))
        marked = self._find_tokens(list(names)[:MAX_WANTED])
        told = dict.fromkeys(symbol for symbols in self._listeners.values() for symbol in symbols)
        heard = self._find_tokens(list(told)[: MAX_WANTED - len(marked)])
        return marked, frozenset(marked) | frozenset(heard)

    def _find_tokens(self, names: Sequence[str]) -> dict[int, str]:
        tokens = ((self._token_of(symbol), symbol) for symbol in names)
        return {token: symbol for token, symbol in tokens if token}


def find_used(ledger: Ledger) -> list[str]:
    """Symbols that are held, then those with an open order. The writer may work in its thread meanwhile: copies are read."""
    held = {position.key.symbol for position in list(ledger.positions.values.values()) if position.quantity}
    ordered = {
        symbol for lanes in list(ledger.orders.open.values()) for symbol, orders in list(lanes.items()) if orders
    }  # fmt: skip
    return [*sorted(held), *sorted(ordered - held)]


def put_marks(tx: Tx, marks: Sequence[Mark]) -> None:
    """Keep each price unless a newer one is known, and tell those that are not the same as before."""
    for mark in marks:
        known = tx.ledger.marks.get(mark.symbol)
        if known is not None and known.at > mark.at:
            continue
        tx.put(tx.ledger.marks, mark.symbol, mark)
        if known is None or known.price != mark.price:
            tx.emit(PriceSeen(symbol=mark.symbol, price=mark.price))
            tx.touch("position")
