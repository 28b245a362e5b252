"""READ THIS FIRST. The whole way of an alert, from bytes to position; each step is one call, named like its folder.

accept          verify → parse → claim → commit → answer            in the event loop, then the writer
process         its turn? → size → risk → order NEW                 rides in the same commit
begin_send      halted? stale? still closing? a place this second?  the last gate; rides too when nothing is before it
apply_outcome   what the broker command came to                     after the call
apply_reports   report → order → fill → position → trade            whatever tells: stream, postback, the broker's book

All but `accept` run inside a store transaction, one after the other, never two at once: what they read stays true until they
have written. No broker is called in here; `execution/outbox` does that between transactions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from bridge.answer import Answer, accepted, duplicate, refused, unavailable
from bridge.core.alert import Alert, Ending
from bridge.core.clock import Clock, elapsed
from bridge.core.decision import Denied
from bridge.core.enums import Action, Disposition, OutcomeKind, Product, Source
from bridge.core.errors import DuplicateError, InvariantError, RefusedError, StoreError
from bridge.core.events import BookWanted, PriceSeen
from bridge.core.instrument import Instrument
from bridge.core.ledger import newest_key
from bridge.core.limits import Limits
from bridge.core.market import FEED, Mark, Ruling, SessionQuestion, SessionState
from bridge.core.money import ZERO, to_text
from bridge.core.offer import PLAIN, Offer
from bridge.core.order import Order
from bridge.core.order_states import UNACKNOWLEDGED, OrderEventKind, OrderStatus
from bridge.core.position import PositionKey
from bridge.core.reasons import AuditAction, Reason, RefusalCode
from bridge.core.report import Outcome, Report
from bridge.core.signal import OrderIntent, Signal
from bridge.deciding import Deciding
from bridge.endings import cancel_ending, tell_intent, worst_of
from bridge.execution.orders import adopt_broker_id, ask_cancel, queue_order, record, record_outcome, shrink
from bridge.execution.throttle import Throttle
from bridge.following import Following, after_close, alert_ending, cancel_if_wished
from bridge.halves import Half, halves_due
from bridge.intake.admit import Admission, Intake, Refusal
from bridge.intake.verify import Delivery
from bridge.queueing import Queue
from bridge.replacing import Replacing, release
from bridge.risk.halt import may_send
from bridge.risk.overtaking import overtaken, unsent_overtaken, unsettled_entry, withdrawal_of
from bridge.risk.sizing import size_signal
from bridge.risk.turns import EXIT_WAIT, OF_ORDERS, check_turn, exit_before, withdrawn_by
from bridge.risk.usage import entries_behind, key_of, reach
from bridge.risk.wishes import Nothing, Reversal, Sized, Wait
from bridge.store.store import Store
from bridge.store.tx import Tx

STOPPING = "The bridge is stopping."
# A feed tells what trades; an instrument that has not traded for so long may well be worth what an alert says.
FEED_COUNTS = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRules:
    """What the pipeline knows of an account. `max_in_flight` orders may be on their way to its broker at once, which changes
    one at most `max_replaces` times; one order may go through zero in the products of `reverses_in_one`. `intraday_end` is
    when its MIS positions are closed.
    """

    name: str
    is_paper: bool
    limits: Limits
    leverage: Mapping[str, Decimal]
    session: Callable[[SessionQuestion], SessionState]
    throttle: Throttle
    max_in_flight: int
    max_replaces: int | None
    reverses_in_one: frozenset[Product]
    intraday_end: Callable[[Instrument, datetime], datetime | None]
    offer: Offer = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRules:
    """What the pipeline knows of a strategy."""

    limits: Limits
    quantity: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Whether an order may leave now: after `wait_s` seconds, or not at all when `order` is None: it has ended, or we stop."""

    order: Order | None
    wait_s: float = 0


class Pipeline:
    """The steps, over a store and the tables of rules; holds no state of its own."""

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        intake: Intake,
        accounts: Mapping[str, AccountRules],
        strategies: Mapping[str, StrategyRules],
        instrument: Callable[[str], Instrument | None],
        send_within: timedelta,
        multipliers: Mapping[str, Decimal],
        freeze_qty: Callable[[str], Decimal | None],
        ruling: Callable[[Instrument, datetime], Ruling],
    ):
        self._clock = clock
        self._store = store
        self._intake = intake
        self._accounts = accounts
        self._strategies = strategies
        self._instrument = instrument
        self._send_within = send_within
        self._deciding = Deciding(
            accounts=accounts,
            strategies=strategies,
            instrument=self._known,
            send_within=send_within,
            multipliers=multipliers,
            freeze_qty=freeze_qty,
            ruling=ruling,
        )
        self._replacing = Replacing(self._deciding, accounts, self._hand_over, self._end)
        self._following = Following(self._settle, accounts, instrument)
        self._queue = Queue(clock, self._process, self._end, lambda error: self.on_fault("process", error))
        self._is_stopping = False
        self.on_answer: Callable[[Answer, datetime], None] = lambda _answer, _received_at: None
        self.asks_first: Callable[[Order], bool] = lambda _order: False  # the lane asks the broker before it lets it go
        self.on_fault: Callable[[str, BaseException], None] = lambda _where, _error: None

    def begin_stop(self) -> None:
        """Take nothing new and let no order out, from now on; reports and outcomes are booked as before."""
        self._is_stopping = True

    # -- accept: in the event loop ------------------------------------------------------------------------------------

    async def accept(self, delivery: Delivery) -> Answer:
        """Answer one delivery; a 200 only once the alert is on disk. Never raises for anything a sender can do."""
        answer = await self._answer(delivery)
        self.on_answer(answer, delivery.received_at)
        return answer

    async def _answer(self, delivery: Delivery) -> Answer:
        if self._is_stopping:
            return unavailable(STOPPING)
        admitted = self._intake.admit(delivery)  # verify → parse → claim
        if isinstance(admitted, Refusal):
            return await self._refuse(admitted)
        try:
            return await self._store.write(lambda tx: self._accept(tx, admitted), admitted.claim)
        except RefusedError as error:
            return await self._refuse(self._intake.refuse_repeated_id(admitted, error))
        except StoreError as error:
            return unavailable(str(error))
        except (DuplicateError, InvariantError) as error:
            self.on_fault("accept", error)
            return unavailable("The alert could not be stored.")

    async def accept_own(self, signal: Signal, source: Source, by: str, once: str = "") -> str:
        """Take a signal that the bridge raises itself the same way, of several with one `once` the first; the alert's id."""
        if self._is_stopping:
            raise StoreError(STOPPING)
        admission = self._intake.admit_own(signal, source, by, self._clock.now(), once)
        answer = await self._store.write(lambda tx: self._accept(tx, admission), admission.claim)
        return answer.alert_id

    def _accept(self, tx: Tx, admission: Admission) -> Answer:
        alert = admission.alert
        if tx.claimed is not None:
            if tx.claimed.content != admission.claim.content:
                raise RefusedError(
                    RefusalCode.E_CONFLICT,
                    field="id",
                    hint=f"Alert {tx.claimed.alert_id} used this id for other content; give each alert an id of its own.",
                )
            return duplicate(tx.claimed.alert_id)
        tx.put(tx.ledger.alerts, alert.alert_id, alert)
        tx.audit(
            AuditAction.ALERT_ACCEPTED,
            alert.received_at,
            alert_id=alert.alert_id,
            data={"source": alert.source.value, "credential": alert.credential, "strategy": alert.signal.strategy},
        )
        tx.touch("alert")
        self.process(tx, alert)
        return accepted(alert.alert_id)

    async def _refuse(self, refusal: Refusal) -> Answer:
        """Say no; keep what was authentic, so that the trader sees it."""
        kept = refusal.kept
        if kept is None:
            return refused(refusal.error)

        def store_refused(tx: Tx) -> None:
            tx.add_refused(kept)
            tx.audit(
                AuditAction.ALERT_REFUSED,
                kept.received_at,
                alert_id=kept.alert_id,
                code=kept.code,
                message=f"{kept.message} {kept.hint}".rstrip(),
            )
            tx.touch("alert")

        try:
            await self._store.write(store_refused)
        except StoreError:
            return refused(refusal.error)  # the refusal stands even when it cannot be kept
        return refused(refusal.error, kept.alert_id)

    # -- process: alert → signal → intent → decision → order ----------------------------------------------------------

    def process(self, tx: Tx, alert: Alert) -> None:
        """Carry an accepted alert to its orders or its end; a fault of ours leaves it open, to be tried again."""
        self._queue.carry_on(tx, alert)

    def take_up_due(self, tx: Tx, now: datetime) -> None:
        """Carry on, by the clock, the alerts that wait: their wait may be over, or a fault be mended."""
        self._queue.take_up_due(tx, now)

    def _process(self, tx: Tx, alert: Alert) -> None:
        now, signal = self._clock.now(), alert.signal
        waited = alert.alert_id in tx.ledger.waiting.values
        if not waited or alert.attempts:  # a price is news once
            self._note_price(tx, alert)
        if waited:
            tx.put(tx.ledger.waiting, alert.alert_id, None)
            if signal.action is not Action.MODIFY and tx.ledger.orders_of(alert):
                self._open_halves(tx, alert, now)
                return
        if signal.action in OF_ORDERS:
            deal = self._cancel_orders if signal.action is Action.CANCEL else self._replacing.process
            deal(tx, alert, now)
            return
        self._decide_all(tx, alert, now)

    def _decide_all(self, tx: Tx, alert: Alert, now: datetime) -> None:
        """Size the alert's wish in every account, and decide on it as soon as it is its turn in all."""
        signal, sized = alert.signal, self._size_all(tx, alert, now)
        wishes = [(account, wish) for account, wish in sized if not isinstance(wish, Wait)]
        self._clear_the_way(tx, alert, [wish for _account, wish in sized if isinstance(wish, Wait)], now)
        if len(wishes) < len(sized):
            tx.put(tx.ledger.waiting, alert.alert_id, alert)  # until an order or alert before it ends, or the wait is over
            return
        if not any(isinstance(wish, Denied) and wish.reason is Reason.OVERTAKEN for _account, wish in wishes):
            if tx.ledger.is_newest(alert):
                tx.put(tx.ledger.newest, newest_key(signal), alert)
            for key in tx.ledger.closings_of(alert):
                tx.put(tx.ledger.closings, key, alert)
        endings = [self._deciding.decide(tx, alert, account, wish, now) for account, wish in wishes]
        orders = [order for made in endings if isinstance(made, list) for order in made]
        self._hand_over(tx, orders, now)
        if not orders:
            parts = [(account, end) for (account, _), end in zip(sized, endings, strict=True) if isinstance(end, Ending)]
            self._end(tx, alert.alert_id, worst_of(parts), now)

    def _clear_the_way(self, tx: Tx, alert: Alert, waits: Sequence[Wait], now: datetime) -> None:
        """Withdraw the resting orders that an exit at market waits for."""
        for cl_ord_id in [name for wait in waits for name in wait.cancel]:
            order = tx.ledger.orders.get(cl_ord_id)
            if order is not None:
                self.cancel(tx, order, f"in the way of alert {alert.alert_id}", now)

    def cancel(self, tx: Tx, order: Order, message: str, now: datetime) -> None:
        """Withdraw an open order: at once while it is unsent, else through the broker as soon as that has it."""
        ask_cancel(tx, order, now, message)
        self._settle(tx, order.cl_ord_id, now)

    def _hand_over(self, tx: Tx, orders: Sequence[Order], now: datetime) -> None:
        """Give new orders to their lanes, with leave to send where nothing is before them."""
        for order in orders:
            may_ride = self._nothing_before(tx, order) and not self.asks_first(order)
            granted = may_ride and self.begin_send(tx, order.cl_ord_id, now).order
            current = tx.ledger.orders.get(order.cl_ord_id)
            if current is not None and not current.status.is_closed:
                queue_order(tx, order, granted=bool(granted) and current.status is OrderStatus.PENDING)

    def _open_halves(self, tx: Tx, alert: Alert, now: datetime) -> None:
        """Go on with an alert whose reversal was begun: what is to open goes when what closes has filled."""
        found = [(half, self._size_half(tx, alert, half, now)) for half in halves_due(tx, alert)]
        if any(isinstance(wish, Wait) for _half, wish in found):
            tx.put(tx.ledger.waiting, alert.alert_id, alert)
        wishes = [(half.account, wish) for half, wish in found if not isinstance(wish, Wait)]
        decided = [self._deciding.decide(tx, alert, account, wish, now) for account, wish in wishes]
        self._hand_over(tx, [order for made in decided if isinstance(made, list) for order in made], now)
        self._end_if_through(tx, alert.alert_id, now)

    def _note_price(self, tx: Tx, alert: Alert) -> None:
        """The alert's own price is the latest known of the instrument unless a newer one is there, or a feed's of this minute:
        that is the market's own word, where an alert may speak of another chart.
        """
        signal = alert.signal
        if signal.price is None or signal.ord_type.needs_price or signal.action is Action.MODIFY:
            return
        known = tx.ledger.marks.get(signal.symbol)
        if known is not None and known.at > signal.signal_at - (FEED_COUNTS if known.source == FEED else timedelta()):
            return
        mark = Mark(symbol=signal.symbol, price=signal.price, at=signal.signal_at, source="alert")
        tx.put(tx.ledger.marks, signal.symbol, mark)
        tx.emit(PriceSeen(symbol=signal.symbol, price=signal.price))

    def _size_all(self, tx: Tx, alert: Alert, now: datetime) -> Sequence[tuple[str, Sized]]:
        """The wish of an alert in each of its accounts, once it is its turn."""
        signal = alert.signal
        turn = check_turn(tx.ledger, alert, now)
        if turn is not None:
            return [(account, turn) for account in signal.accounts]
        self._withdraw_overtaken(tx, alert, now)
        may_be_behind = signal.symbol in tx.ledger.waiting.by_symbol and signal.action in (Action.BUY, Action.SELL)
        sized = []
        for leg, account in enumerate(signal.accounts, start=1):
            behind = exit_before(tx.ledger, alert, account) if may_be_behind else ""
            sized.append((account, self._size(tx, alert, signal, account, leg, now, behind)))
        if not any(isinstance(wish, OrderIntent | Reversal) for _account, wish in sized):
            return [(account, self._unless_unsettled(tx, signal, account, wish)) for account, wish in sized]
        return sized

    def _unless_unsettled(self, tx: Tx, signal: Signal, account: str, wish: Sized) -> Sized:
        """Flat is not concluded while nobody knows whether an entry is at the broker, however long that takes."""
        if not isinstance(wish, Nothing) or wish.reason is Reason.EXIT_IN_FLIGHT:
            return wish
        entry = unsettled_entry(tx.ledger, PositionKey(account, signal.symbol, signal.product))
        return wish if entry is None else Wait(message=f"What became of the entry {entry.cl_ord_id} is not known yet.")

    def _withdraw_overtaken(self, tx: Tx, alert: Alert, now: datetime) -> None:
        """The entries before an exit or target that have not left when it has waited long enough never will.

        Of an entry in parts none leaves any more as soon as the exit is here: it would wait for one after the other.
        """
        has_waited = elapsed(alert.received_at, now) >= EXIT_WAIT
        for account in alert.signal.accounts:
            while order := unsent_overtaken(tx.ledger, alert, account, parts_only=not has_waited):
                self._withdraw(tx, order, OrderEventKind.CANCELLED, overtaken(alert), now)

    def _size_half(self, tx: Tx, alert: Alert, half: Half, now: datetime) -> Sized:
        """What is left of the wish after the half that closed; nothing may open unless that one has filled."""
        closing, signal = half.closing, alert.signal
        if closing.status is not OrderStatus.FILLED:
            if not closing.status.is_closed and elapsed(alert.received_at, now) < EXIT_WAIT:
                return Wait(message=f"The position is being closed ({closing.cl_ord_id}).")
            return half.unfinished()
        quantity = signal.quantity or self._strategies[signal.strategy].quantity
        if signal.target is None and quantity is not None:
            signal = replace(signal, quantity=quantity - closing.cum_qty)
        wish = self._size(tx, alert, signal, half.account, half.leg, now, "")
        return half.unfinished() if isinstance(wish, Reversal) else wish

    def _size(self, tx: Tx, alert: Alert, signal: Signal, account: str, leg: int, now: datetime, behind: str) -> Sized:
        return size_signal(
            alert_id=alert.alert_id,
            leg=leg,
            account=account,
            signal=signal,
            instrument=self._known(signal.symbol),
            ledger=tx.ledger,
            default_quantity=self._strategies[signal.strategy].quantity,
            received_at=alert.received_at,
            now=now,
            no_wait=elapsed(alert.received_at, now) >= EXIT_WAIT,
            behind=behind,
            in_one=self._reverses_in_one(account, signal.product),
        )

    def _reverses_in_one(self, account: str, product: Product) -> bool:
        """Whether one order may go through zero; a product that cannot be short never gets there."""
        return product in self._accounts[account].reverses_in_one or not product.may_short

    def _cancel_orders(self, tx: Tx, alert: Alert, now: datetime) -> None:
        """Withdraw the strategy's open orders of the instrument, once the broker has answered for all of them."""
        signal = alert.signal
        orders = [
            order
            for account in signal.accounts
            for order in tx.ledger.open_orders(account, signal.symbol)
            if order.intent.strategy == signal.strategy and not order.is_protection
            if signal.order in ("", order.cl_ord_id)
        ]
        if any(order.status in UNACKNOWLEDGED for order in orders) and elapsed(alert.received_at, now) < EXIT_WAIT:
            tx.put(tx.ledger.waiting, alert.alert_id, alert)
            return
        message = f"cancelled by alert {alert.alert_id}"
        waiting = withdrawn_by(tx.ledger, alert)
        asked = [ask_cancel(tx, order, now, message) for order in orders]
        for account in signal.accounts if not signal.order else ():  # for those that nobody can ask for yet
            tx.put(tx.ledger.cancels, (account, signal.strategy, signal.symbol), alert)
        for other in waiting:
            self._withdraw_waiting(tx, other, now, message)
        orders_waiting = sum(other.signal.action is not Action.MODIFY for other in waiting)
        self._end(tx, alert.alert_id, cancel_ending(sum(asked) + orders_waiting, len(asked) + orders_waiting), now)
        for order in orders:
            self._settle(tx, order.cl_ord_id, now)

    def _withdraw_waiting(self, tx: Tx, alert: Alert, now: datetime, message: str) -> None:
        """End an alert that was cancelled before an order was made or changed; of a reversal only the half that was to open."""
        what = "Nothing was changed" if alert.signal.action is Action.MODIFY else "No order was sent"
        told = Ending(disposition=Disposition.DONE, code=Reason.CANCELLED_UNFILLED.value, message=f"{what}: {message}.")
        tx.put(tx.ledger.waiting, alert.alert_id, None)
        if not tx.ledger.orders_of(alert):
            self._end(tx, alert.alert_id, told, now)
            return
        for half in halves_due(tx, alert):
            tell_intent(tx, AuditAction.INTENT_NOOP, alert, half.account, told, now)
        self._end_if_through(tx, alert.alert_id, now)

    # -- begin_send: the last gate before the broker ------------------------------------------------------------------

    def _nothing_before(self, tx: Tx, order: Order) -> bool:
        """True when the lane has nothing to send before this order and the broker can take one more at once."""
        account = order.intent.account
        unsent, sending = tx.ledger.orders.unsent[account], tx.ledger.orders.sending[account]
        return len(unsent) == 1 and order.cl_ord_id in unsent and len(sending) < self._accounts[account].max_in_flight

    def begin_send(self, tx: Tx, cl_ord_id: str, now: datetime) -> Grant:
        """Record that the order is on its way, if it still may go; after this only the broker's word moves it."""
        if self._is_stopping:
            return Grant(order=None)  # NEW, it waits on disk for the next start
        order = tx.ledger.orders.get(cl_ord_id)
        if order is None or order.status is not OrderStatus.NEW:
            return Grant(order=None)
        intent = order.intent
        halted = may_send(tx.ledger.states_over(intent.account, intent.strategy), reduce_only=intent.reduce_only)
        if halted is not None:
            return self._withdraw(tx, order, OrderEventKind.CANCELLED, halted, now)
        if self._is_too_late(order, now):
            return self._expire(tx, order, now)
        if revoked := withdrawal_of(tx.ledger, order, now):
            return self._withdraw(tx, order, OrderEventKind.CANCELLED, revoked, now)
        if intent.reduce_only:
            ahead = reach(tx.ledger, key_of(intent), intent.side) - entries_behind(tx.ledger, order)
            left = intent.order_qty - max(ZERO, ahead)
            if left <= 0:
                flat = Denied(reason=Reason.FLAT, message="The position was closed before the exit was sent.")
                return self._withdraw(tx, order, OrderEventKind.CANCELLED, flat, now)
            if left < intent.order_qty:
                order = shrink(tx, order, left, now, f"Only {to_text(left)} are left to close.")
        wait_s = self._accounts[intent.account].throttle.take(now, "" if order.is_protection else order.tag)
        if wait_s:
            return Grant(order=order, wait_s=wait_s)
        return Grant(order=record(tx, order, OrderEventKind.SENDING, now))

    def expire_unsent(self, tx: Tx, now: datetime) -> None:
        """End the entries that became too old while their lane was held up; exits keep their place."""
        for orders in list(tx.ledger.orders.unsent.values()):
            for order in list(orders.values()):
                if self._is_too_late(order, now):
                    self._expire(tx, order, now)

    def _is_too_late(self, order: Order, now: datetime) -> bool:
        """An entry leaves within `send_within` of its own time or never; exits are never too late."""
        left_s = self.seconds_left(order, now)
        return left_s is not None and left_s < 0

    def seconds_left(self, order: Order, now: datetime) -> float | None:
        """Seconds in which an entry may still leave, negative when it is too late; None for exits."""
        if order.intent.reduce_only:
            return None
        return (order.intent.signal_at + self._send_within - now).total_seconds()

    def note_refusal(self, tx: Tx, order: Order, event: OrderEventKind, message: str, now: datetime) -> None:
        """The broker did not cancel or change an order: it goes on as it was, which may be filled already."""
        record(tx, order, event, now, message=message)
        self._settle(tx, order.cl_ord_id, now)

    def why_not_change(self, order: Order, now: datetime) -> str:
        """Why the broker must not be asked any more for the change that is wished; empty when it may be."""
        intent, asked = order.intent, order.replace
        halted = may_send(self._store.ledger.states_over(intent.account, intent.strategy), reduce_only=intent.reduce_only)
        if halted is not None:
            return halted.message
        is_late = asked is None or (not intent.reduce_only and now > asked.signal_at + self._send_within)
        return Reason.STALE_BEFORE_SEND.sentence if is_late else ""

    def expire(self, tx: Tx, order: Order, now: datetime, message: str) -> None:
        """End an entry whose next try would come too late; `message` is what the last one came to."""
        stale = Denied(reason=Reason.STALE_BEFORE_SEND, message=f"The next try would come too late ({message}).")
        self._withdraw(tx, order, OrderEventKind.EXPIRED, stale, now)

    def deny_unsent(self, tx: Tx, order: Order, message: str, now: datetime) -> None:
        """End an entry that has not left, for the broker says that there is not money enough."""
        short = Denied(reason=Reason.BUYING_POWER, message=message)
        self._withdraw(tx, order, OrderEventKind.CANCELLED, short, now)

    def _expire(self, tx: Tx, order: Order, now: datetime) -> Grant:
        stale = Denied(reason=Reason.STALE_BEFORE_SEND, message=Reason.STALE_BEFORE_SEND.sentence)
        return self._withdraw(tx, order, OrderEventKind.EXPIRED, stale, now)

    def _withdraw(self, tx: Tx, order: Order, event: OrderEventKind, why: Denied, now: datetime) -> Grant:
        record(tx, order, event, now, code=why.reason, message=why.message)
        self._settle(tx, order.cl_ord_id, now)
        return Grant(order=None)

    # -- after the call -----------------------------------------------------------------------------------------------

    def apply_outcome(self, tx: Tx, sent: Order, outcome: Outcome, now: datetime) -> Order | None:
        """Write down what a send came to, if the order still stands where that send left it.

        Reports may have overtaken the answer; and where writing it down took several tries, the order may be on its way
        a second time, which is for that send's own answer to end.
        """
        cl_ord_id = sent.cl_ord_id
        self._accounts[sent.intent.account].throttle.note_answer(sent.sent_at, now, outcome.kind)
        order = tx.ledger.orders.get(cl_ord_id)
        if order is None:
            return None
        if order.status is not OrderStatus.PENDING or order.sends != sent.sends:
            self.apply_reports(tx, outcome.reports, now)
            order = tx.ledger.orders.get(cl_ord_id) or order
            return adopt_broker_id(tx, order, outcome.broker_order_id, now) if outcome.broker_order_id else order
        order = record_outcome(tx, order, outcome, now)
        cancel_if_wished(tx, order, now)
        if outcome.kind is OutcomeKind.REFUSED:
            tx.emit(BookWanted(account=order.intent.account))  # some refuse an order and take it all the same
        if outcome.reports:
            self.apply_reports(tx, outcome.reports, now)
        else:
            self._settle(tx, cl_ord_id, now)
        return tx.ledger.orders.get(cl_ord_id)

    def apply_reports(self, tx: Tx, reports: Sequence[Report], now: datetime) -> None:
        """Apply what a broker says; repeats and disorder change nothing twice."""
        self._following.apply_reports(tx, reports, now)

    def give_up(self, tx: Tx, order: Order, message: str, now: datetime) -> None:
        """End an order in doubt of which nobody can say what became of it; its alert ends with it, as failed."""
        lost = Denied(reason=Reason.OUTCOME_UNKNOWN, message=message)
        self._withdraw(tx, order, OrderEventKind.EXPIRED, lost, now)

    # -- endings ------------------------------------------------------------------------------------------------------

    def _settle(self, tx: Tx, cl_ord_id: str, now: datetime) -> None:
        """After an order changed: end its alert when that was the last of its orders, and take up who waited for it."""
        order = tx.ledger.orders.get(cl_ord_id)
        if order is None:
            return
        if not order.status.is_closed:
            self._queue.take_up_changes(tx, order.intent.symbol)
            return
        if order.replace is None:  # else it is to be placed anew, and its end is not the end of it
            after_close(tx, order, now)
        alert = tx.ledger.alerts.get(order.intent.alert_id)
        if order.status is OrderStatus.REJECTED and order.intent.parts > 1:
            self._withdraw_other_parts(tx, order, now)
        if alert is not None and self._is_split(order) and halves_due(tx, alert):
            tx.put(tx.ledger.waiting, alert.alert_id, alert)  # the half that opens is sized by this end
        self._end_if_through(tx, order.intent.alert_id, now)
        self._queue.take_up(tx, order.intent.symbol)

    def _end_if_through(self, tx: Tx, alert_id: str, now: datetime) -> None:
        """End an open alert that has nothing more to come: no order is open, and no half of a reversal is due."""
        alert = tx.ledger.alerts.get(alert_id)
        if alert is None or alert_id in tx.ledger.waiting.values:
            return
        orders = tx.ledger.orders_of(alert)
        if all(order.status.is_closed for order in orders):
            is_split = any(self._is_split(order) for order in orders)
            self._end(tx, alert_id, alert_ending(tx, alert, orders, is_split=is_split), now)

    def _withdraw_other_parts(self, tx: Tx, rejected: Order, now: datetime) -> None:
        """A broker that rejects one part of an entry would reject the others; of an exit each part that goes helps."""
        if rejected.intent.reduce_only:
            return
        why = Denied(reason=Reason.PART_REJECTED, message=f"Part {rejected.intent.part} was rejected: {rejected.message}")
        for order in tx.ledger.parts_of(rejected):
            if order.status is OrderStatus.NEW:
                self._withdraw(tx, order, OrderEventKind.CANCELLED, why, now)

    def _is_split(self, order: Order) -> bool:
        """True for an order that may be the closing half of a reversal in two orders."""
        intent = order.intent
        return intent.reduce_only and not self._reverses_in_one(intent.account, intent.product)

    def _end(self, tx: Tx, alert_id: str, ending: Ending, now: datetime) -> None:
        if alert_id in tx.ledger.waiting.values:
            tx.put(tx.ledger.waiting, alert_id, None)
        alert = tx.end_alert(alert_id, ending, now)
        if alert.signal.action is Action.MODIFY:
            release(tx, alert, now)
        tx.audit(
            AuditAction.ALERT_ENDED,
            now,
            alert_id=alert_id,
            code=ending.code,
            message=ending.message,
            data={"disposition": ending.disposition.value},
        )
        tx.touch("alert")

    def _known(self, symbol: str) -> Instrument:
        instrument = self._instrument(symbol)
        if instrument is None:
            raise LookupError(f"{symbol} is no longer in the list of instruments")
        return instrument
