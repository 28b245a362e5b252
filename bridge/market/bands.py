"""Price bands: between which prices the exchange takes orders today, asked of a broker for what is held, ordered or wished.

A band that is older than a quarter of an hour, or of another day, is not known: those of shares with futures are moved
during the day. The first entry in an instrument that nobody asked about yet meets an unknown band; the answer comes after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from bridge.core.clock import Clock, elapsed, market_day

KNOWN_FOR = timedelta(minutes=15)
AGAIN_AFTER = timedelta(minutes=5)
# Zerodha answers one such question a second, for 500 instruments at most.
GAP_S, GAP_AFTER_FAULT_S = 2.0, 60.0
MAX_ASKED = 500

Limits = tuple[Decimal, Decimal]
# The bands of these symbols as far as they are known; None when nothing could be had.
Source = Callable[[Sequence[str]], Awaitable[Mapping[str, Limits] | None]]


@dataclass(frozen=True, slots=True)
class _Band:
    limits: Limits | None
    at: datetime


class Bands:
    """Answers from memory, and asks in the background; without a source nothing is ever known."""

    def __init__(self, *, clock: Clock, used: Callable[[], Iterable[str]], on_fault: Callable[[str, BaseException], None]):
        self._sources: list[Source] = []
        self._closers: list[Callable[[], None]] = []
        self._clock = clock
        self._used = used
        self._on_fault = on_fault
        self._known: dict[str, _Band] = {}
        self._asked: dict[str, None] = {}  # the latest last
        self._task: asyncio.Task[None] | None = None
        self._next_s = 0.0
        self._has_asked = False

    def add_source(self, read: Source, close: Callable[[], None]) -> None:
        """One more broker that may be asked, in the order they are added; `close` lets go of it."""
        self._sources.append(read)
        self._closers.append(close)

    def of(self, symbol: str, at: datetime) -> Limits | None:
        """The lowest and highest price; None while it is not known, and then it is asked for."""
        if not self._sources:
            return None
        self._asked.pop(symbol, None)
        self._asked[symbol] = None
        if len(self._asked) > MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        band = self._known.get(symbol)
        is_known = band is not None and elapsed(band.at, at) <= KNOWN_FOR and market_day(band.at) == market_day(at)
        return band.limits if band is not None and is_known else None

    def tick(self) -> None:
        """Begin to ask for what is due; no answer is waited for here."""
        is_early = self._has_asked and self._clock.monotonic() < self._next_s
        if not self._sources or is_early or (self._task is not None and not self._task.done()):
            return
        due = self._find_due()
        if due:
            self._has_asked = True
            self._task = asyncio.get_running_loop().create_task(self._ask(due), name="bands")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for close in self._closers:
            close()

    def _find_due(self) -> list[str]:
        now = self._clock.now()
        wanted = dict.fromkeys([*self._used(), *reversed(list(self._asked))])
        due = [s for s in wanted if (band := self._known.get(s)) is None or elapsed(band.at, now) >= AGAIN_AFTER]
        return due[:MAX_ASKED]

    async def _ask(self, symbols: Sequence[str]) -> None:
        for source in self._sources:
            try:
                found = await source(symbols)
            except Exception as error:  # a quote that fails leaves bands unknown, and must not end the asking
                self._on_fault("bands", error)
                found = None
            if found is not None:
                at = self._clock.now()
                self._known |= {symbol: _Band(found.get(symbol), at) for symbol in symbols}
                self._next_s = self._clock.monotonic() + GAP_S
                return
        self._next_s = self._clock.monotonic() + GAP_AFTER_FAULT_S
