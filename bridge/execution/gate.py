"""The gate right before a broker call: a halt closes it at once, before its own record is on disk."""

from datetime import datetime

from bridge.core.enums import TradingMode
from bridge.core.order import Order
from bridge.core.scope import GLOBAL, Scope, account_scope, strategy_scope


class Gate:
    """Holds only what was halted since this process started; what was halted before is in the store and read there."""

    def __init__(self) -> None:
        self._modes: dict[Scope, TradingMode] = {}
        self._since: dict[Scope, datetime] = {}
        self._closings: dict[Scope, int] = {}

    def close(self, scope: Scope, mode: TradingMode, at: datetime) -> None:
        """Let out no more than `mode` allows, from this instant on."""
        self._closings[scope] = self.closings(scope) + 1
        if mode.strictness > self._modes.get(scope, TradingMode.ACTIVE).strictness:
            self._modes[scope] = mode
            self._since[scope] = at

    def closings(self, scope: Scope) -> int:
        """How often this scope was closed; a resume opens only what was closed before it."""
        return self._closings.get(scope, 0)

    def modes(self) -> list[tuple[Scope, TradingMode, datetime]]:
        """What was halted, how strictly, and since when."""
        return [(scope, mode, self._since[scope]) for scope, mode in self._modes.items()]

    def open(self, scope: Scope) -> None:
        """Forget the halt of this scope."""
        self._modes.pop(scope, None)

    def lets_out(self, order: Order) -> bool:
        """True when the order may leave as far as this gate knows."""
        if not self._modes:
            return True
        intent = order.intent
        for scope in (GLOBAL, account_scope(intent.account), strategy_scope(intent.strategy)):
            mode = self._modes.get(scope, TradingMode.ACTIVE)
            if mode is TradingMode.HALTED or (mode is TradingMode.REDUCING and not intent.reduce_only):
                return False
        return True
