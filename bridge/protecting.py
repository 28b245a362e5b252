"""Protections: what rests at the broker for what entries opened; begun with their fills, kept true by looks at the books."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from bridge.core.clock import Clock
from bridge.core.enums import OrdType, Product, TimeInForce
from bridge.core.events import ProtectionDue
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.money import to_text
from bridge.core.order import Order
from bridge.core.order_states import OrderStatus
from bridge.core.protection import (
    LEGS_PER_ENTRY,
    Legs,
    PassedError,
    Protection,
    ProtectionStatus,
    make_legs,
    move_protection,
)
from bridge.core.protection import ProtectionEventKind as Kind
from bridge.core.reasons import AuditAction, Reason
from bridge.core.signal import OrderIntent
from bridge.core.values import evolve
from bridge.execution.orders import ask_cancel, open_order, queue_order
from bridge.risk.engine import approve_protection
from bridge.risk.protective import Step, coverable, next_step, passed_now, resting_order
from bridge.risk.usage import key_of
from bridge.store.store import Store
from bridge.store.tx import Tx

_NOTHING_RESTS = frozenset({ProtectionStatus.WATCHED, ProtectionStatus.CLOSING, ProtectionStatus.FAILED})
# Ends that nobody has wished for: one that was taken away was, and is not made up for.
_NOT_BY_HAND = frozenset({OrderStatus.REJECTED, OrderStatus.EXPIRED})


class Catalog(Protocol):
    """What is known of instruments."""

    def get(self, symbol: str) -> Instrument | None:
        """The instrument, or None."""
        ...

    def freeze_qty(self, symbol: str) -> Decimal | None:
        """The most units that the exchange takes in one order; None when that is not known."""
        ...


class HasSlippage(Protocol):
    """What a protection needs of an account's settings."""

    @property
    def protection_slippage_pct(self) -> Decimal:
        """How many percent worse than its trigger a leg may trade."""
        ...


def protective_orders(ledger: Ledger, account: str) -> list[Order]:
    """An account's protective orders that are open or ended lately."""
    orders = list(ledger.orders.values.values())
    return [order for order in orders if order.is_protection and order.intent.account == account]


# -- in the transaction of a fill or an end -----------------------------------------------------------------------------


def note_entry(tx: Tx, order: Order, now: datetime) -> None:
    """An entry that wants a protection has filled in part or whole: keep what it wants, in the commit of that fill."""
    intent = order.intent
    if intent.protect is None:
        return
    key = key_of(intent)
    position = tx.ledger.positions.get(key)
    share = position.by_strategy.get(intent.strategy) if position is not None else None
    if not share or share * intent.side.sign <= 0:
        return  # it has only closed what was there
    known = tx.ledger.protections.get((key, intent.strategy))
    if known is not None and known.side is not intent.side:
        if known.status is ProtectionStatus.RESTING:
            _alarm(tx, known, f"The entry {order.cl_ord_id} is not protected: the protection before it is still there.", now)
            return
        _put(tx, move_protection(known, Kind.FLAT, now))
        known = None
    asked: dict[str, Any] = {
        "protect": intent.protect,
        "entry_px": order.avg_px,
        "alert_id": intent.alert_id,
        "leg": intent.leg,
    }
    if known is None:
        one = Protection(
            protection_id=order.cl_ord_id, key=key, strategy=intent.strategy, side=intent.side, created_at=now, updated_at=now,
            status=ProtectionStatus.WANTED, orders=_made_before(tx, intent), **asked,
        )  # fmt: skip
    elif known.alert_id != intent.alert_id:
        one = move_protection(known, Kind.ENTERED, now, orders=_made_before(tx, intent), message="", **asked)
    elif known.status in _NOTHING_RESTS:
        _put(tx, evolve(known, **asked))  # more of the same entry: by its levels, and no order of its own
        return
    else:
        _put(tx, move_protection(known, Kind.ENTERED, now, **asked))
        return
    _put(tx, one)
    told = f"{intent.symbol} {key.product} is to be protected: {intent.protect}."
    tx.audit(
        AuditAction.PROTECTION_WANTED, now, alert_id=intent.alert_id, cl_ord_id=order.cl_ord_id, account=key.account,
        message=told,
    )  # fmt: skip


def _made_before(tx: Tx, entry: OrderIntent) -> int:
    """How many protective orders the entry has had, under this protection or one before it: a number is used once."""
    first = entry.leg * LEGS_PER_ENTRY
    return tx.last_leg(entry.alert_id, first, first + LEGS_PER_ENTRY) - first


def note_closed(tx: Tx, order: Order, now: datetime) -> None:
    """A protective order has ended: filled, withdrawn by us, or without our wish, which is an alarm."""
    one = tx.ledger.protections.get((key_of(order.intent), order.intent.strategy))
    if one is None or one.order_id != order.cl_ord_id or one.status is not ProtectionStatus.RESTING:
        return
    why = f"it ended {order.status.value}: {(order.message or 'no reason given').rstrip('.')}"
    if order.status is OrderStatus.FILLED:
        _put(tx, move_protection(one, Kind.FILLED, now))
    elif order.code == Reason.TRIGGER_MET:
        _pass(tx, one, order.message.rstrip("."), now)
    elif order.code and order.code != Reason.OUTCOME_UNKNOWN:
        _put(tx, move_protection(one, Kind.WITHDRAWN, now))
    elif order.status in _NOT_BY_HAND and not order.code:
        _watch(tx, one, why, now)
    else:
        _fail(tx, one, why, now)


def note_flat(tx: Tx, now: datetime) -> None:
    """After fills: who holds nothing more wishes for nothing more, also if he enters anew at once. What rests goes first."""
    for one in list(tx.ledger.protections.values.values()):
        if next_step(tx.ledger, one, now) is Step.FINISH:
            _put(tx, move_protection(one, Kind.FLAT, now))


# -- looking after them -------------------------------------------------------------------------------------------------


class Protector:
    """Keeps what rests equal to what is held. Decides on the books as they stand, so a restart is a look like any other.

    `close_passed` closes positions for which nothing could rest any more.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        catalog: Catalog,
        accounts: Mapping[str, HasSlippage],
        close_passed: Callable[[], Awaitable[None]],
    ):
        self._store = store
        self._clock = clock
        self._catalog = catalog
        self._accounts = accounts
        self._close_passed = close_passed

    async def look(self) -> None:
        """Do what is due; a look that finds nothing makes no commit. StoreError passes."""
        now = self._clock.now()
        if self._due(self._store.ledger, now):
            await self._store.write(self._perform)
        await self._close_passed()

    def _due(self, ledger: Ledger, now: datetime) -> list[tuple[Protection, Step]]:
        found = [(one, next_step(ledger, one, now)) for one in list(ledger.protections.values.values())]
        return [(one, step) for one, step in found if step is not Step.NOTHING]

    def _perform(self, tx: Tx) -> None:
        now = self._clock.now()
        for one, step in self._due(tx.ledger, now):
            if step is Step.FINISH:
                _put(tx, move_protection(one, Kind.FLAT, now))
            elif step is Step.LOST:
                _fail(tx, one, f"its order {one.order_id} is not known any more", now)
            elif step is Step.CLOSE:
                _pass(tx, one, passed_now(tx.ledger, one), now)
            elif step is Step.WITHDRAW:
                self._withdraw(tx, one, now)
            else:
                self._order(tx, one, now)

    def _withdraw(self, tx: Tx, one: Protection, now: datetime) -> None:
        order = resting_order(tx.ledger, one)
        if order is None:
            return
        quantity = coverable(tx.ledger, one)
        if order.leaves_qty <= quantity:
            try:
                self._make_legs(one, quantity)
            except PassedError:
                pass  # with nothing at the broker the position is closed
            except ValueError as error:  # less is better than none
                _keep(tx, one, order, str(error).rstrip("."), now)
                return
        ask_cancel(tx, order, now, f"{to_text(order.leaves_qty)} rest and {to_text(quantity)} are to be protected")
        ended = tx.ledger.orders.get(order.cl_ord_id)
        if ended is not None and ended.status.is_closed:  # it had not left yet
            note_closed(tx, ended, now)

    def _order(self, tx: Tx, one: Protection, now: datetime) -> None:
        """Make the order that rests, and put it into its lane as the exit that it is."""
        quantity = coverable(tx.ledger, one)
        if not quantity:  # another that was due with it has taken what there was
            return
        try:
            legs = self._make_legs(one, quantity)
        except PassedError as error:
            _pass(tx, one, str(error).rstrip("."), now)
            return
        except ValueError as error:
            _watch(tx, one, str(error).rstrip("."), now)
            return
        first = legs.stop or legs.target
        intent = OrderIntent(
            alert_id=one.alert_id,
            leg=one.next_leg,
            account=one.key.account,
            strategy=one.strategy,
            symbol=one.key.symbol,
            product=Product(one.key.product),
            side=one.side.opposite,
            order_qty=quantity,
            ord_type=OrdType.GTT,
            time_in_force=TimeInForce.DAY,
            price=None,
            trigger_price=None if first is None else first.trigger_px,
            reduce_only=True,
            signal_at=now,
            received_at=now,
            legs=legs,
        )
        order = open_order(tx, approve_protection(tx.ledger, intent), now)
        _put(tx, move_protection(one, Kind.ORDERED, now, order_id=order.cl_ord_id, orders=one.orders + 1, message=""))
        queue_order(tx, order, granted=False)

    def _make_legs(self, one: Protection, quantity: Decimal) -> Legs:
        """Triggers and limits; ValueError says why the position cannot be protected."""
        symbol, slippage_pct = one.key.symbol, self._accounts[one.key.account].protection_slippage_pct
        instrument, most = self._catalog.get(symbol), self._catalog.freeze_qty(symbol)
        if instrument is None:
            raise ValueError(f"{symbol} is no longer in the list of instruments")
        if most is not None and quantity > most:
            raise ValueError(f"the exchange takes at most {to_text(most)} units in one order, and {to_text(quantity)} are held")
        if one.orders + 1 >= LEGS_PER_ENTRY:
            raise ValueError(f"it was changed {one.orders} times already")
        return make_legs(one.protect, one.side, one.entry_px, tick=instrument.tick, slippage_pct=slippage_pct)


def _put(tx: Tx, one: Protection) -> None:
    tx.put(tx.ledger.protections, (one.key, one.strategy), one, keep=one.status is not ProtectionStatus.DONE)
    tx.emit(ProtectionDue(account=one.key.account))


def _pass(tx: Tx, one: Protection, why: str, now: datetime) -> None:
    """The market has passed a level with nothing at the broker: the position is to be closed, and a person is told."""
    closing = evolve(move_protection(one, Kind.PASSED, now), message=why)
    _put(tx, closing)
    tx.audit(
        AuditAction.PROTECTION_PASSED, now, alert_id=one.alert_id, cl_ord_id=one.order_id, account=one.key.account, message=why
    )
    told = f"The position in {one.key.symbol} is closed at market: its protection ({one.protect}) could not rest. {why}."
    _alarm(tx, closing, told, now)


def _watch(tx: Tx, one: Protection, why: str, now: datetime) -> None:
    """No order can rest, and it is not tried again by itself: the bridge looks at the price, and a person is told."""
    watched = evolve(move_protection(one, Kind.REFUSED, now), message=why)
    _put(tx, watched)
    told = f"The position in {one.key.symbol} is not protected at the broker ({one.protect}): {why}."
    _alarm(tx, watched, f"{told} As long as the bridge runs and hears prices, it closes it at market once one is passed.", now)


def _fail(tx: Tx, one: Protection, why: str, now: datetime) -> None:
    """It is not tried again by itself; a person is told."""
    failed = evolve(move_protection(one, Kind.FAILED, now), message=why)
    _put(tx, failed)
    _alarm(tx, failed, f"The position in {one.key.symbol} is not protected ({one.protect}): {why}. See to it yourself.", now)


def _keep(tx: Tx, one: Protection, order: Order, why: str, now: datetime) -> None:
    """What is wished instead of the order that rests cannot be: it stays, and a person is told."""
    _put(tx, evolve(one, message=why, updated_at=now))
    message = f"The position in {one.key.symbol} is not protected as a whole ({one.protect}): {why}."
    _alarm(tx, one, f"{message} What rests for {to_text(order.leaves_qty)} stays. See to the others yourself.", now)


def _alarm(tx: Tx, one: Protection, message: str, now: datetime) -> None:
    tx.audit(
        AuditAction.ALARM_RAISED, now, alert_id=one.alert_id, cl_ord_id=one.order_id, account=one.key.account, message=message
    )
