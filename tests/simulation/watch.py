"""Watches what leaves the bridge and what arrives at the venues: the promises that must hold at every instant."""

from collections.abc import Callable
from decimal import Decimal

from bridge.core.enums import Side, TradingMode
from bridge.core.money import ZERO
from bridge.core.order import Order
from bridge.core.scope import GLOBAL, Scope, account_scope, strategy_scope
from tests.simulation.plan import LOWEST_PX, Plan
from tests.simulation.venue import Key, Row, Venue

Flight = tuple[str, Key, Side, Decimal]


class Watch:
    """Holds each order against the truth of the instant in which it leaves. `tell` hears of broken promises.

    `halted` are the halts that were acknowledged and not asked to end since.
    """

    def __init__(self, plan: Plan, break_promise: Callable[[str], None]) -> None:
        self._plan = plan
        self._break = break_promise
        self.halted: dict[Scope, TradingMode] = {}
        self._asked: set[Scope] = set()
        self._flying: list[Flight] = []

    # -- halts --------------------------------------------------------------------------------------------------------

    def halt_asked(self, scope: Scope) -> None:
        self._asked.add(scope)

    def halt_acknowledged(self, scope: Scope, mode: TradingMode) -> None:
        """From now on it holds, unless somebody asked for the resumption meanwhile: either may have come last."""
        if scope in self._asked:
            known = self.halted.get(scope, TradingMode.ACTIVE)
            self.halted[scope] = max(known, mode, key=lambda one: one.strictness)

    def resume_asked(self, scope: Scope) -> None:
        """From the asking on, entries may leave."""
        self.halted.pop(scope, None)
        self._asked.discard(scope)

    def _check_halts(self, order: Order) -> None:
        intent = order.intent
        for scope, mode in self.halted.items():
            bears = scope in (GLOBAL, account_scope(intent.account), strategy_scope(intent.strategy))
            if bears and (mode is TradingMode.HALTED or not intent.reduce_only):
                self._break(f"P6 {order.tag} left although {scope} is {mode}")

    # -- what leaves --------------------------------------------------------------------------------------------------

    def order_leaves(self, venue: Venue, order: Order) -> None:
        """P4, P5, P6 at the instant of the broker call."""
        intent = order.intent
        self._check_halts(order)
        key = (intent.symbol, intent.product.value)
        if key in venue.late or intent.symbol in venue.by_hand:
            return  # what nobody could know: the venue filled what had ended, or a person traded
        held = venue.positions.get(key, ZERO) * intent.side.sign
        after = held + self._possible(venue, key, intent.side) + intent.order_qty
        if intent.reduce_only:
            if after > 0:
                self._break(f"P4 exit {order.tag} of {intent.order_qty} {key} may open {after}")
            return
        if after > self._plan.max_position_qty:
            self._break(f"P5 {order.tag}: the position of {key} may become {after}")
        self._check_exposure(venue, order)

    def change_leaves(self, venue: Venue, order: Order) -> None:
        """P4, P5, P6 of an order that is to have other terms: what may come of it, were it placed under them now."""
        intent, rows = order.intent, [row for row in venue.with_tag(order.tag) if not row.status.is_closed]
        self._check_halts(order)
        key = (intent.symbol, intent.product.value)
        if key in venue.late or intent.symbol in venue.by_hand or order.replace is None or not rows:
            return
        own = sum((row.leaves_qty for row in rows), ZERO)
        left = max(own, order.replace.terms.order_qty - rows[0].cum_qty)
        held = venue.positions.get(key, ZERO) * intent.side.sign
        after = held + self._possible(venue, key, intent.side) - own + left
        if intent.reduce_only and after > 0 and left > own:
            self._break(f"P4 exit {order.tag} changed to {left} {key} may open {after}")
        elif not intent.reduce_only and after > self._plan.max_position_qty:
            self._break(f"P5 {order.tag} changed to {left}: the position of {key} may become {after}")

    def fly(self, venue: Venue, order: Order) -> Callable[[], None]:
        """An order is on the wire and will arrive; call the result when it has."""
        intent = order.intent
        flight = (venue.account, (intent.symbol, intent.product.value), intent.side, intent.order_qty)
        self._flying.append(flight)
        return lambda: self._flying.remove(flight)

    def _possible(self, venue: Venue, key: Key, side: Side) -> Decimal:
        """Units that what was sent may still trade on a side."""
        working = (row.leaves_qty for row in venue.working() if row.key == key and row.side is side)
        flying = (qty for account, where, way, qty in self._flying if (account, where, way) == (venue.account, key, side))
        return sum(working, ZERO) + sum(flying, ZERO)

    def _check_exposure(self, venue: Venue, order: Order) -> None:
        """Rupees at risk if all that was sent filled, this order among it, at the lowest price there is."""
        if venue.late or venue.by_hand:
            return
        own, total = (order.intent.symbol, order.intent.product.value), ZERO
        for key in sorted({row.key for row in venue.rows} | {own}):
            held = venue.positions.get(key, ZERO)
            buys, sells = self._possible(venue, key, Side.BUY), self._possible(venue, key, Side.SELL)
            if key == own and order.intent.side is Side.BUY:
                buys += order.intent.order_qty
            elif key == own:
                sells += order.intent.order_qty
            total += max(abs(held + buys), abs(held - sells), abs(held)) * LOWEST_PX
        if total > self._plan.max_exposure:
            self._break(f"P5 {order.tag}: exposure may become {total}")

    # -- what arrives -------------------------------------------------------------------------------------------------

    def order_arrives(self, venue: Venue, row: Row) -> None:
        """P2 at the instant of arrival."""
        others = [other for other in venue.with_tag(row.tag) if other is not row]
        if any(other.leaves_qty or other.cum_qty for other in others):
            self._break(f"P2 {row.tag} arrived again while its first order lives or was filled")
