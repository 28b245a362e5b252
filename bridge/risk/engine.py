"""The risk engine: an intent in, a decision out; the only place that approves."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from bridge.core.decision import Approved, Decision, Denied
from bridge.core.errors import InvariantError
from bridge.core.ledger import Ledger
from bridge.core.signal import OrderIntent
from bridge.risk import limit_rules, rules
from bridge.risk.context import Case, RiskContext, Scoped
from bridge.risk.usage import closable, key_of

__all__ = ["ENTRY_RULES", "EXIT_RULES", "RiskContext", "approve_protection", "check_risk"]

Rule = Callable[[Case], Denied | None]


def per_scope(rule: Callable[[Scoped], Denied | None]) -> Rule:
    """A limit asked twice: against the account's limits and usage, then against the strategy's."""

    @wraps(rule)
    def ask(case: Case) -> Denied | None:
        return rule(case.account) or rule(case.strategy)

    return ask


# In this order; the first that denies names the reason. A rule may rely on those before it: limits have a price.
ENTRY_RULES: tuple[Rule, ...] = (
    rules.signal_fresh,
    rules.trading_state,
    rules.position_sure,
    rules.tradable,
    rules.offered,
    rules.session_open,
    rules.before_square_off,
    per_scope(limit_rules.symbol_allowed),
    per_scope(limit_rules.not_banned),
    rules.whole_lots,
    rules.prices_on_tick,
    per_scope(limit_rules.price_in_band),
    rules.short_allowed,
    rules.price_known,
    per_scope(limit_rules.price_young),
    per_scope(limit_rules.order_qty),
    per_scope(limit_rules.order_value),
    per_scope(limit_rules.position_qty),
    per_scope(limit_rules.exposure),
    per_scope(limit_rules.open_positions),
    per_scope(limit_rules.order_rate),
    per_scope(limit_rules.symbol_order_rate),
    per_scope(limit_rules.order_gap),
    per_scope(limit_rules.daily_loss),
    per_scope(limit_rules.daily_loss_pct),
    per_scope(limit_rules.buying_power),
    rules.token_notional,
)

# An order that can only close obeys these alone: nothing that limits adding may keep a trader in a position.
EXIT_RULES: tuple[Rule, ...] = (
    rules.only_closes,
    rules.trading_state,
    rules.tradable,
    rules.offered,
    rules.session_open,
    rules.whole_lots,
    rules.prices_on_tick,
)


def check_risk(ctx: RiskContext) -> Decision:
    """Approved as wished, or capped at the part that only closes, or denied by the first rule that is not kept."""
    case = Case(ctx)
    denied = _first_denial(case)
    if denied is None:
        return Approved(intent=ctx.intent, reference_px=case.price)
    part = min(case.closable, ctx.intent.order_qty)
    if not part or (ctx.intent.reduce_only and part == ctx.intent.order_qty):
        return denied
    capped = Case(replace(ctx, intent=replace(ctx.intent, order_qty=part, reduce_only=True)))
    if _first_denial(capped) is not None:
        return denied
    return Approved(intent=capped.intent, reference_px=capped.price, capped_by=denied)


def approve_protection(ledger: Ledger, intent: OrderIntent) -> Approved:
    """An order that rests to close what is held obeys the halt gate and the cap at sending, and no limit on adding."""
    if not intent.reduce_only or intent.legs is None or intent.order_qty > closable(ledger, key_of(intent), intent.side):
        raise InvariantError(f"a protection of {intent.order_qty} {intent.symbol} could open a position")
    return Approved(intent=intent, reference_px=None)


def _first_denial(case: Case) -> Denied | None:
    for rule in EXIT_RULES if case.intent.reduce_only else ENTRY_RULES:
        denied = rule(case)
        if denied is not None:
            return denied
    return None
