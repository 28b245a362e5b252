"""Square-off: intraday positions (MIS) are closed by us, some minutes before the broker would do it at a fee.

From its moment on, each account's MIS orders in an instrument are withdrawn and its MIS position is closed by an exit at
market that goes the way of every alert. What is to be done is read from the books and the clock at every tick, so a bridge
that was down at the moment does it when it comes up, if the market is still open then.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from bridge.brokers.base import BrokerStatus
from bridge.closing import own_signal, strategy_of
from bridge.core.clock import IST, Clock, market_day
from bridge.core.enums import Action, OrdType, Product, Side, Source, TimeInForce, Variety
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.market import SessionQuestion, SessionState
from bridge.core.money import to_text
from bridge.core.position import Position, PositionKey
from bridge.core.reasons import AuditAction
from bridge.pipeline import Pipeline
from bridge.risk.protective import is_closing
from bridge.risk.turns import EXIT_WAIT, ends_soon
from bridge.risk.usage import lacking_units, missing_units
from bridge.store.store import Store
from bridge.store.tx import Tx
from bridge.withdrawals import Unwanted, withdrawable

BY = "square-off"
_MINUTE = timedelta(minutes=1)
# By account: when the intraday positions of an instrument are closed on the day of a moment; None for never.
Ends = Mapping[str, Callable[[Instrument, datetime], datetime | None]]


class HasStatus(Protocol):
    """A broker, as far as the square-off asks it."""

    def status(self) -> BrokerStatus:
        """Whether it can be worked with now."""
        ...


class SquareOff:
    """Closes what must not stay overnight; `strategies` are those that a signal may be raised for."""

    def __init__(
        self,
        *,
        ends: Ends,
        strategies: Collection[str],
        clock: Clock,
        store: Store,
        pipeline: Pipeline,
        instrument: Callable[[str], Instrument | None],
        session: Callable[[SessionQuestion], SessionState],
        brokers: Mapping[str, HasStatus],
        raise_alarm: Callable[[str, str], None],
    ):
        self._ends = ends
        self._strategies = strategies
        self._clock = clock
        self._store = store
        self._pipeline = pipeline
        self._instrument = instrument
        self._session = session
        self._brokers = brokers
        self._raise_alarm = raise_alarm
        self._done: set[str] = set()
        self._found_s: dict[PositionKey, float] = {}  # when a position was first found to be closed
        self._day = 0

    def unwanted(self, ledger: Ledger) -> list[Unwanted]:
        """Orders that may not rest any more: MIS orders whose moment has come, but for exits at market and protections.

        The exit that closes the position withdraws its protection itself.
        """
        now, found = self._clock.now(), []
        for order in withdrawable(ledger):
            intent = order.intent
            if intent.product is not Product.MIS or (intent.reduce_only and (ends_soon(order) or order.is_protection)):
                continue
            end = self._end_of(intent.account, intent.symbol, now)
            is_for_next = intent.variety is Variety.AMO and end is not None and order.created_at >= end
            if end is not None and now >= end and not is_for_next:
                found.append((order, f"MIS is squared off from {_clock_text(end)} on"))
        return found

    async def tick(self) -> None:
        """Close the positions whose moment has come; StoreError leaves it to the next tick, which finds the same."""
        now = self._clock.now()
        if market_day(now) != self._day:
            self._day, self._done, self._found_s = market_day(now), set(), {}
        for key, position in self._held():
            end = self._end_of(key.account, key.symbol, now)
            if end is None or now < end or not self._takes_exits(key, now):
                continue
            is_open = missing_units(self._store.ledger, key, position.closing_side) < abs(position.quantity)
            if is_open and not is_closing(self._store.ledger, key, now) and not self._is_in_the_way(key):
                await self._close(key, position, end, now)

    async def _close(self, key: PositionKey, position: Position, end: datetime, now: datetime) -> None:
        """Raise the exit of this try: the first at the moment itself, the next ones 1, 3, 7, … minutes later.

        A try is named by day, position and number, so it is made once, whichever process comes to it.
        """
        minutes = (now - end) // _MINUTE
        name = f"{key.account} {key.symbol} {self._day} {(minutes + 1).bit_length() - 1}"
        if name in self._done:
            return
        if obstacle := self._obstacle(key, position.closing_side):
            self._done.add(name)
            self._raise_alarm(key.account, f"MIS position {_told(key, position)} is not squared off by the bridge: {obstacle}")
            return
        signal = own_signal(Action.EXIT, strategy_of(position, self._strategies), key, now)
        alert_id = await self._pipeline.accept_own(signal, Source.SQUARE_OFF, BY, name)
        message = f"MIS position {_told(key, position)} is closed, as from {_clock_text(end)} on."

        def note(tx: Tx) -> None:
            tx.audit(AuditAction.SQUARE_OFF, now, alert_id=alert_id, account=key.account, message=message)

        await self._store.write(note)
        self._done.add(name)
        if minutes:
            told = f"MIS position {_told(key, position)} is open {minutes} min after its square-off was due; an exit is sent."
            self._raise_alarm(key.account, told)

    def _held(self) -> Iterator[tuple[PositionKey, Position]]:
        for account in self._ends:
            for key, position in sorted(self._store.ledger.positions.held[account].items()):
                if key.product == Product.MIS:
                    yield key, position

    def _end_of(self, account: str, symbol: str, now: datetime) -> datetime | None:
        ends, instrument = self._ends.get(account), self._instrument(symbol)
        return None if ends is None or instrument is None else ends(instrument, now)

    def _takes_exits(self, key: PositionKey, now: datetime) -> bool:
        """Between continuous trading and the closing auction nothing is taken; the auction's first half takes market orders."""
        instrument = self._instrument(key.symbol)
        assert instrument is not None
        return self._session(
            SessionQuestion(instrument=instrument, ord_type=OrdType.MARKET, time_in_force=TimeInForce.DAY, at=now)
        ).is_open

    def _is_in_the_way(self, key: PositionKey) -> bool:
        """Whether an order that rests would make the exit too small; its cancel is waited for, but not for ever."""
        found_s = self._found_s.setdefault(key, self._clock.monotonic())
        if self._clock.monotonic() - found_s >= EXIT_WAIT.total_seconds():
            return False
        orders = self._store.ledger.open_orders(key.account, key.symbol)
        mine = [order for order in orders if order.intent.product == key.product and not order.is_protection]
        return any(not ends_soon(order) for order in mine)

    def _obstacle(self, key: PositionKey, side: Side) -> str:
        """Why an exit of ours could do harm: it might open what the broker has closed already."""
        ledger = self._store.ledger
        if lacking_units(ledger, key, side) > missing_units(ledger, key, side):
            return "the broker's position and ours differ; look there, and close it by hand."
        status = self._brokers[key.account].status()
        return "" if status.connected else f"{status.message or 'the broker is away'}; the broker may close it at a fee."


def _told(key: PositionKey, position: Position) -> str:
    return f"{key.symbol} {to_text(position.quantity)} of account {key.account}"


def _clock_text(at: datetime) -> str:
    return f"{at.astimezone(IST):%H:%M} IST"
