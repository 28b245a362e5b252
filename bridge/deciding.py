"""Deciding: one account's wish put to the risk engine, and what comes of it written down: orders, or an ending."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from bridge.core.alert import Alert, Ending
from bridge.core.decision import Approved, Denied
from bridge.core.enums import Disposition
from bridge.core.instrument import Instrument
from bridge.core.limits import Limits
from bridge.core.market import Ruling, SessionQuestion, SessionState, question_of
from bridge.core.money import ONE
from bridge.core.offer import Offer
from bridge.core.order import Order
from bridge.core.reasons import AuditAction
from bridge.core.replacement import Terms, terms_of
from bridge.core.scope import account_scope, strategy_scope
from bridge.core.signal import OrderIntent
from bridge.core.trade import TradeEventKind
from bridge.core.values import evolve
from bridge.endings import denied_ending, sliced_message, tell_intent
from bridge.execution.orders import open_order
from bridge.halves import split_message
from bridge.portfolio.book import note_exit
from bridge.risk.changes import UNCHANGED, beyond_freeze, intent_left, wished_terms
from bridge.risk.context import RiskContext
from bridge.risk.engine import check_risk
from bridge.risk.halt import HaltCommand, next_state
from bridge.risk.slicing import slice_order
from bridge.risk.usage import key_of
from bridge.risk.wishes import Nothing, Reversal
from bridge.store.tx import Tx


class AccountTerms(Protocol):
    """What deciding needs of an account's rules."""

    @property
    def session(self) -> Callable[[SessionQuestion], SessionState]:
        """Says whether an order may be entered."""
        ...

    @property
    def offer(self) -> Offer:
        """What its broker takes."""
        ...

    @property
    def limits(self) -> Limits:
        """Its own limits."""
        ...

    @property
    def leverage(self) -> Mapping[str, Decimal]:
        """Rupees of order per rupee of buying power, by product."""
        ...

    @property
    def intraday_end(self) -> Callable[[Instrument, datetime], datetime | None]:
        """When its MIS positions in an instrument are closed on the day of a moment; None for never."""
        ...


class StrategyTerms(Protocol):
    """What deciding needs of a strategy's rules."""

    @property
    def limits(self) -> Limits:
        """Its own limits."""
        ...


class Deciding:
    """Holds the tables that decisions rest on, and no state of its own."""

    def __init__(
        self,
        *,
        accounts: Mapping[str, AccountTerms],
        strategies: Mapping[str, StrategyTerms],
        instrument: Callable[[str], Instrument],
        send_within: timedelta,
        multipliers: Mapping[str, Decimal],
        freeze_qty: Callable[[str], Decimal | None],
        ruling: Callable[[Instrument, datetime], Ruling],
    ):
        self._accounts = accounts
        self._strategies = strategies
        self._instrument = instrument
        self._send_within = send_within
        self._multipliers = multipliers
        self._freeze_qty = freeze_qty
        self._ruling = ruling

    def decide(
        self, tx: Tx, alert: Alert, account: str, sized: OrderIntent | Reversal | Nothing | Denied, now: datetime
    ) -> list[Order] | Ending:
        """Put one account's wish to the risk engine: an order comes of it, in parts if it must be, or an ending."""
        if isinstance(sized, Nothing):
            ending = Ending(disposition=Disposition.NOOP, code=sized.reason.value, message=sized.message)
            tell_intent(tx, AuditAction.INTENT_NOOP, alert, account, ending, now)
            return ending
        wished = sized.close if isinstance(sized, Reversal) else sized
        decision = wished if isinstance(wished, Denied) else check_risk(self._risk_context(tx, account, wished, now))
        sliced = decision if isinstance(decision, Denied) else self._slice(decision)
        if isinstance(sliced, Denied):
            ending = denied_ending(sliced)
            tell_intent(tx, AuditAction.INTENT_DENIED, alert, account, ending, now, sliced)
            self._trip(tx, account, alert.signal.strategy, sliced, now)
            return ending
        if len(sliced) > 1:
            message = sliced_message(sliced)
            tx.audit(AuditAction.INTENT_SLICED, now, alert_id=alert.alert_id, account=account, message=message)
        orders = [open_order(tx, approved, now) for approved in sliced]
        order, capped_by = orders[0], sliced[0].capped_by
        if capped_by is not None:
            ending = denied_ending(capped_by)
            tell_intent(tx, AuditAction.INTENT_CAPPED, alert, account, ending, now, capped_by)
            self._trip(tx, account, alert.signal.strategy, capped_by, now)
        if isinstance(sized, Reversal):
            message = split_message(sized.close.order_qty, sized.rest)
            tx.audit(AuditAction.INTENT_SPLIT, now, alert_id=alert.alert_id, account=account, message=message)
            tx.put(tx.ledger.waiting, alert.alert_id, alert)  # for the half that opens
        if order.intent.reduce_only:
            note_exit(tx, key_of(order.intent), TradeEventKind.EXIT_SENT)
        return orders

    def judge_change(self, tx: Tx, alert: Alert, order: Order, now: datetime) -> Terms | Nothing | Denied:
        """The terms that a working order may get by the alert: judged like an entry or exit of what is left under them."""
        terms = wished_terms(alert.signal, order)
        if not isinstance(terms, Terms):
            return terms
        left = intent_left(alert, order, terms)
        decision = check_risk(self._risk_context(tx, left.account, left, now, replaced=order))
        denied = decision if isinstance(decision, Denied) else decision.capped_by
        if denied is not None:
            self._trip(tx, left.account, left.strategy, denied, now)
        if isinstance(decision, Denied):
            return decision
        if denied is not None and not left.reduce_only:
            return denied  # an entry does not become an exit by being changed
        most = self._freeze_qty(left.symbol)
        if most is not None and terms.order_qty > most:
            return beyond_freeze(left.symbol, terms.order_qty, most)
        if denied is not None:
            ending = denied_ending(denied)
            tell_intent(tx, AuditAction.INTENT_CAPPED, alert, left.account, ending, now, denied)
        allowed = evolve(terms, order_qty=decision.intent.order_qty + order.cum_qty)
        return UNCHANGED if allowed == terms_of(order.intent) else allowed

    def _slice(self, approved: Approved) -> list[Approved] | Denied:
        """The orders that an approved one is sent as: the exchange takes only so much in one."""
        symbol = approved.intent.symbol
        return slice_order(approved, self._instrument(symbol), self._freeze_qty(symbol))

    def _risk_context(
        self, tx: Tx, account: str, intent: OrderIntent, now: datetime, replaced: Order | None = None
    ) -> RiskContext:
        rules, instrument = self._accounts[account], self._instrument(intent.symbol)
        return RiskContext(
            intent=intent,
            instrument=instrument,
            ledger=tx.ledger,
            now=now,
            session=rules.session(question_of(intent, instrument, now)),
            account_limits=rules.limits,
            strategy_limits=self._strategies[intent.strategy].limits,
            leverage=rules.leverage.get(intent.product, ONE),
            max_age_s=int(self._send_within.total_seconds()),
            multipliers=self._multipliers,
            offer=rules.offer,
            intraday_end=rules.intraday_end(instrument, now),
            ruling=self._ruling(instrument, now),
            replaced=replaced,
        )

    def _trip(self, tx: Tx, account: str, strategy: str, denied: Denied, now: datetime) -> None:
        """A limit that ends the day halts its account, or its strategy if it was that one's own, until a person resumes it."""
        if denied.trips_halt:
            scope = strategy_scope(strategy) if denied.scope == str(strategy_scope(strategy)) else account_scope(account)
            current = tx.ledger.states.get(scope)
            state = next_state(
                scope, HaltCommand.HALT, current=current, at=now, by="risk", message=denied.message, cancels=True
            )
            if state is not current:
                tx.put(tx.ledger.states, scope, state)
                tx.audit(AuditAction.TRADING_HALTED, now, account=account, code=denied.reason, message=denied.message)
                tx.touch("state")
