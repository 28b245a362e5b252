"""The runner's way into the pipeline: wishes become signals, each once, exits before entries, also after a crash."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from bridge.core.clock import Clock
from bridge.core.enums import Action, Source
from bridge.core.errors import DuplicateError, InvariantError
from bridge.core.ledger import Ledger
from bridge.core.signal import Signal
from bridge.core.values import evolve
from bridge.raising import signal_of
from bridge.runner.program import Member, Program, trade_of
from bridge.scanner.decide import LONG, SHORT, Evaluation, Wish, price_exit
from bridge.scanner.programs import once_key
from bridge.scanner.terms import library

AcceptOwn = Callable[[Signal, Source, str, str], Awaitable[str]]
FEED = "feed"
# Keys of what this process has raised, so that nothing is asked of the store again and again.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a definition wants, and when it was asked."""

    member: Member
    evaluation: Evaluation
    at: datetime


class Raiser:
    """Hands wishes to the pipeline. What could not be stored is raised again while it is fresh; the store keeps each once."""

    def __init__(
        self,
        *,
        clock: Clock,
        ledger: Ledger,
        accept_own: AcceptOwn,
        fresh: timedelta,
        on_fault: Callable[[str, BaseException], None],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._accept_own = accept_own
        self._fresh = fresh
        self._on_fault = on_fault
        self._done: dict[str, None] = {}
        self._open: deque[Answer] = deque()

    def is_fresh(self, at: datetime) -> bool:
        """Whether something that was decided at this moment may still be acted upon."""
        return self._clock.now() - at <= self._fresh

    def add(self, answer: Answer) -> None:
        """Have all that a definition wants raised."""
        if answer.evaluation.wishes:
            self._open.append(answer)

    async def raise_open(self, prices: Callable[[], Mapping[str, Decimal]]) -> int:
        """Raise what is open, in order; how many signals. StoreError leaves the rest to the next time."""
        count = 0
        while self._open:
            answer = self._open[0]
            if self.is_fresh(answer.at):
                count += await self._raise(answer, prices())
            self._open.popleft()
        return count

    async def _raise(self, answer: Answer, prices: Mapping[str, Decimal]) -> int:
        member, evaluation = answer.member, answer.evaluation
        definition, count = member.definition, 0
        for wish in evaluation.wishes:
            if wish.action is Action.EXIT and self._is_younger(member, evaluation, wish):
                continue
            once = once_key(definition, evaluation.at, wish.symbol, wish.action.value)
            signal = signal_of(wish, definition, member.accounts, member.product, answer.at)
            signal = evolve(signal, notes={**signal.notes, **notes_of(evaluation, wish)})
            if answer.at != evaluation.at:  # of days: the close is yesterday's, and an order needs today's price
                signal = evolve(signal, price=prices.get(wish.symbol))
            count += await self._accept(member, signal, once)
        return count

    def _is_younger(self, member: Member, evaluation: Evaluation, wish: Wish) -> bool:
        """True for a holding that was opened after the bar had closed: that bar says nothing of it."""
        trade = trade_of(self._ledger, member, wish.symbol)
        return trade is not None and trade.opened_at >= evaluation.at

    async def watch(self, program: Program, member: Member) -> int:
        """Exits that the latest price of a feed decides, each level once in a round trip; how many were raised."""
        exits, count = member.definition.exits, 0
        if not exits.distances:
            return 0
        for symbol, holding in program.holdings(self._ledger, member, at_price=True).items():
            trade, mark = trade_of(self._ledger, member, symbol), self._ledger.marks.get(symbol)
            if trade is None or mark is None or mark.source != FEED or mark.at <= trade.opened_at:
                continue
            price, side = float(mark.price), LONG if holding.quantity > 0 else SHORT
            why = price_exit(exits, holding, side, high=price, low=price, atr=_atr_of(program, symbol))
            if not why:
                continue
            told = f"{why}; {mark.price} was traded"
            wish = Wish(symbol=symbol, action=Action.EXIT, quantity=abs(holding.quantity), price=mark.price, why=told)
            signal = signal_of(wish, member.definition, member.accounts, member.product, self._clock.now())
            once = f"{member.definition.name} {trade.trade_id} {why.partition(' at ')[0]}"
            count += await self._accept(member, signal, once)
        return count

    async def _accept(self, member: Member, signal: Signal, once: str) -> int:
        if once in self._done:
            return 0
        by = f"{member.definition.name} {member.definition.version}"
        try:
            await self._accept_own(signal, Source.SCAN, by, once)
        except (DuplicateError, InvariantError) as error:
            self._on_fault(f"scan {member.definition.name}", error)
            return 0
        self._done[once] = None
        if len(self._done) > _REMEMBERED:
            del self._done[next(iter(self._done))]
        return 1


def _atr_of(program: Program, symbol: str) -> Callable[[int], float]:
    """The average true range of a symbol at the latest bar; NaN, by which nothing is closed, while it is not known."""
    place = program.key.symbols.index(symbol)
    return lambda bars: float(program.group.engine.read().value(library.atr(bars))[place])


def notes_of(evaluation: Evaluation, wish: Wish) -> dict[str, str]:
    """What the alert's page tells of a wish: the bar, and each rule with the numbers that it compared."""
    line = evaluation.line(evaluation.symbols.index(wish.symbol))
    told = {"bar closed at": evaluation.at.isoformat()}
    for check in line.checks:
        numbers = ", ".join(f"{name} = {value:.6g}" for name, value in check.values)
        told[check.name] = f"{check.rule}: {'unknown' if check.passed is None else 'yes' if check.passed else 'no'} ({numbers})"
    return told
