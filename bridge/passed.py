"""Passed: where the market has passed a stop or target with nothing at the broker, the position is closed by an exit of ours.

The exit goes the way of every alert, so turns, halts, the cap at what is held and exactly once are the ones there are. What is
due is read from the books at every look, so a restart goes on where it was; while the market is closed or the broker away,
nothing is raised.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from bridge.closing import own_signal, strategy_of
from bridge.core.clock import Clock, elapsed, to_us
from bridge.core.enums import Action, OrdType, Source, TimeInForce
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.market import SessionQuestion, SessionState
from bridge.core.money import to_text
from bridge.core.position import PositionKey
from bridge.core.protection import Protection
from bridge.core.signal import Signal
from bridge.risk.protective import coverable, may_close
from bridge.square_off import HasStatus
from bridge.store.store import Store

BY = "protection"
# The second try comes so long after the first, each further one after twice the pause before it; then they come evenly.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=30)
DOUBLED = 9
DOUBLING = (2**DOUBLED - 1) * FIRST_PAUSE

AcceptOwn = Callable[[Signal, Source, str, str], Awaitable[str]]


class PassedExits:
    """Raises the exits of protections that are CLOSING; `sessions` and `brokers` are by account."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        accept_own: AcceptOwn,
        strategies: Collection[str],
        instrument: Callable[[str], Instrument | None],
        sessions: Mapping[str, Callable[[SessionQuestion], SessionState]],
        brokers: Mapping[str, HasStatus],
        raise_alarm: Callable[[str, str], None],
    ):
        self._store = store
        self._clock = clock
        self._accept_own = accept_own
        self._strategies = strategies
        self._instrument = instrument
        self._sessions = sessions
        self._brokers = brokers
        self._raise_alarm = raise_alarm
        self._raised: dict[str, str] = {}  # the latest try of each protection, by this process

    async def look(self) -> None:
        """Raise what is due; StoreError leaves it to the next look, which finds the same."""
        now, ledger = self._clock.now(), self._store.ledger
        for one in list(ledger.protections.values.values()):
            if may_close(ledger, one, now) and self._takes_exits(one.key, now):
                await self._close(ledger, one, now)

    def _takes_exits(self, key: PositionKey, now: datetime) -> bool:
        """Whether a market order could trade now. One that waits for a login could leave when the broker holds nothing more."""
        instrument = self._instrument(key.symbol)
        if instrument is None or not self._brokers[key.account].status().connected:
            return False
        market, day = OrdType.MARKET, TimeInForce.DAY
        question = SessionQuestion(instrument=instrument, ord_type=market, time_in_force=day, at=now)
        return self._sessions[key.account](question).is_open

    async def _close(self, ledger: Ledger, one: Protection, now: datetime) -> None:
        """The exit of this try. A try is named by what it closes and its number, so it is made once, whoever comes to it."""
        number = count_tries(elapsed(one.updated_at, now))
        name = f"{one.protection_id} {to_us(one.updated_at)} {number}"
        if self._raised.get(one.protection_id) == name:
            return
        position = ledger.positions.get(one.key)
        if position is None:
            return
        strategy = one.strategy if one.strategy in self._strategies else strategy_of(position, self._strategies)
        quantity = coverable(ledger, one)
        notes = {"why": f"{one.message}.", "protection of": one.alert_id}
        signal = replace(own_signal(Action.EXIT, strategy, one.key, now), quantity=quantity, notes=notes)
        alert_id = await self._accept_own(signal, Source.PROTECTION, BY, name)
        self._raised[one.protection_id] = name
        if number:
            told = f"{to_text(quantity)} {one.key.symbol} of account {one.key.account}"
            self._raise_alarm(one.key.account, f"{told} are not closed yet ({one.message}); exit {alert_id} is sent.")


def count_tries(age: timedelta) -> int:
    """How many tries came before the one that is due at this age: 0 at first, 1 after 5 s, 2 after 15 s, 3 after 35 s, …"""
    if age < DOUBLING:
        periods: int = age // FIRST_PAUSE
        return (periods + 1).bit_length() - 1
    more: int = (age - DOUBLING) // LONGEST_PAUSE
    return DOUBLED + more
