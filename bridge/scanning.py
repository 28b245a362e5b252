"""Scanning: the definitions of one bridge and what each saw at the latest bar it was asked about."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bridge.core.clock import Clock
from bridge.core.errors import RefusedError
from bridge.core.reasons import RefusalCode
from bridge.definitions import Definitions
from bridge.recent_bars import trace_recent
from bridge.settings import Settings
from bridge.store.store import Store

if TYPE_CHECKING:
    from bridge.runner.runner import Runner
    from bridge.scanner.decide import Evaluation, Line
    from bridge.scanner.definition import Definition
    from bridge.scanner.traces import Traces


class Scanning:
    """What pages and commands ask of scans and strategies of our own."""

    def __init__(self, settings: Settings, store: Store, clock: Clock):
        self._bars_file = settings.bars_file()
        self._clock = clock
        self.definitions = Definitions(settings, store, clock)
        self.evaluations: dict[str, Evaluation] = {}
        self.states: dict[str, str] = {}
        self._runner: Runner | None = None

    def begin_if_due(self, make: Callable[[], "Runner"]) -> None:
        """Start the runner as soon as a definition is enabled: what it needs is loaded only then."""
        if self._runner is None and self.definitions.any_enabled:
            self._runner = make()
            self._runner.start()

    async def stop(self) -> None:
        """Raise nothing more."""
        if self._runner is not None:
            await self._runner.stop()

    def state_of(self, name: str) -> str:
        """What an enabled definition waits for; empty when for nothing but its next bar."""
        return self.states.get(name, "")

    def evaluation(self, name: str) -> "Evaluation | None":
        """What a definition saw at the latest bar it was asked about; None before the first."""
        return self.evaluations.get(name)

    def recent(self, definition: "Definition", symbol: str) -> "Traces | None":
        """The latest closes of a symbol with what its rules compare them with; for a thread that may wait for a disk."""
        found = self.evaluations.get(definition.name)
        return trace_recent(self._bars_file, definition, symbol, found.at if found else self._clock.now())

    def explain(self, name: str, symbol: str | None = None) -> Mapping[str, object]:
        """What a definition saw at the latest bar: all its symbols, or the one that is named."""
        found = self.evaluations.get(name)
        if found is None:
            why = self.state_of(name) or "no bar has closed since."
            return {"name": name, "at": None, "lines": [], "message": f"It has not been asked yet: {why}"}
        if symbol is not None and symbol not in found.symbols:
            hint = f"It looks at {len(found.symbols)} others."
            raise RefusedError(RefusalCode.E_SYMBOL, f"{symbol[:40]} is not in its universe.", field="symbol", hint=hint)
        lines = found.lines() if symbol is None else [found.line(found.symbols.index(symbol))]
        return {
            "name": name,
            "version": found.definition.version,
            "at": found.at,
            "state": self.state_of(name),
            "wishes": [
                {"symbol": wish.symbol, "action": wish.action.value, "quantity": wish.quantity, "why": wish.why}
                for wish in found.wishes
            ],
            "lines": [line_row(line) for line in lines],
        }


def line_row(line: "Line") -> dict[str, object]:
    """One symbol explained; numbers that are not known are null."""
    return {
        "symbol": line.symbol,
        "verdict": line.verdict.value,
        "why": line.why,
        "close": _known(line.close),
        "bars_ago": line.age,
        "held": line.held,
        "score": line.score,
        "rank": line.rank,
        "checks": [
            {
                "name": check.name,
                "rule": check.rule,
                "passed": check.passed,
                "values": {name: _known(value) for name, value in check.values},
            }
            for check in line.checks
        ],
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
