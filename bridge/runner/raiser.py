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
from bridge.core.market import Tick
from bridge.core.money import ZERO
from bridge.core.signal import Signal
from bridge.core.values import evolve
from bridge.raising import signal_of
from bridge.runner.books import Member, is_leaving, trade_of, wanted_units
from bridge.runner.program import Program
from bridge.scanner.decide import LONG, SHORT, Evaluation, Holding, Wish, price_exit
from bridge.scanner.programs import once_key
from bridge.scanner.terms import library

AcceptOwn = Callable[[Signal, Source, str, str], Awaitable[str]]
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

    def coming(self, member: Member) -> list[Wish]:
        """What a definition has wished at a bar before, and is raised in the next moment."""
        fresh = [answer for answer in self._open if answer.member.definition == member.definition and self.is_fresh(answer.at)]
        return [wish for answer in fresh for wish in answer.evaluation.wishes]

    async def raise_open(self, latest: Callable[[], Mapping[str, Tick]]) -> int:
        """Raise what is open, in order; how many signals. StoreError leaves the rest to the next time."""
        count = 0
        while self._open:
            answer = self._open[0]
            if self.is_fresh(answer.at):
                count += await self._raise(answer, latest())
            self._open.popleft()
        return count

    async def _raise(self, answer: Answer, latest: Mapping[str, Tick]) -> int:
        member, evaluation, count = answer.member, answer.evaluation, 0
        for wish in evaluation.wishes:
            once = once_key(member.definition, evaluation.at, wish.symbol, wish.action.value)
            if wish.action is not Action.EXIT:
                count += await self._accept(member, _signal(answer, wish, latest), once)
                continue
            for account in member.accounts:
                units = self._to_close(answer, wish, account)
                if units:
                    signal = evolve(_signal(answer, wish, latest), accounts=(account,), quantity=units)
                    count += await self._accept(member, signal, f"{once} {account}")
        return count

    def _to_close(self, answer: Answer, wish: Wish, account: str) -> Decimal:
        """Units that an exit has to close at one account; none of a holding that was opened after the bar had closed, since
        that bar says nothing of it, or that is being closed.
        """
        member, trade = answer.member, trade_of(self._ledger, answer.member, account, wish.symbol)
        if trade is not None and trade.opened_at >= answer.evaluation.at:
            return ZERO
        if is_leaving(self._ledger, member, account, wish.symbol):
            return ZERO
        return abs(wanted_units(self._ledger, member, account, wish.symbol))

    async def watch(self, program: Program, member: Member, latest: Mapping[str, Tick]) -> int:
        """Exits that the latest price of a feed decides, at each account by its own entry; how many were raised."""
        count, minute = 0, self._clock.now().replace(second=0, microsecond=0)
        for account in member.accounts:
            for symbol, holding in program.holdings(self._ledger, member, account).items():
                trade, tick = trade_of(self._ledger, member, account, symbol), latest.get(symbol)
                if trade is None or tick is None or tick.at <= trade.opened_at or holding.is_leaving:
                    continue
                wish = _exit_at_price(program, member, holding, symbol, tick.price)
                if wish is not None:
                    signal = signal_of(wish, member.definition, (account,), member.product, self._clock.now())
                    # What failed at last is tried again in the next minute, while its price still says so.
                    once = f"{member.definition.name} {account} {trade.trade_id} {minute.isoformat()}"
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


def _exit_at_price(program: Program, member: Member, holding: Holding, symbol: str, traded: Decimal) -> Wish | None:
    price, side = float(traded), LONG if holding.quantity > 0 else SHORT
    why = price_exit(member.definition.exits, holding, side, high=price, low=price, atr=_atr_of(program, symbol))
    if not why:
        return None
    told = f"{why}; {traded} was traded"
    return Wish(symbol=symbol, action=Action.EXIT, quantity=abs(holding.quantity), price=traded, why=told)


def _signal(answer: Answer, wish: Wish, latest: Mapping[str, Tick]) -> Signal:
    member, evaluation = answer.member, answer.evaluation
    signal = signal_of(wish, member.definition, member.accounts, member.product, answer.at)
    signal = evolve(signal, notes={**signal.notes, **notes_of(evaluation, wish)})
    # Of days: the close is yesterday's, and an order needs today's price.
    if answer.at == evaluation.at:
        return signal
    tick = latest.get(wish.symbol)
    return evolve(signal, price=None if tick is None else tick.price)


def _atr_of(program: Program, symbol: str) -> Callable[[int], float]:
    """The average true range of a symbol at the latest bar; NaN, by which nothing is closed, while it is not known."""
    place = program.key.symbols.index(symbol)
    return lambda bars: float(program.group.engine.read().value(library.atr(bars))[place])


def notes_of(evaluation: Evaluation, wish: Wish) -> dict[str, str]:
    """What the alert's page tells of a wish: the bar, and each rule with the numbers that it compared."""
    line = evaluation.line(evaluation.symbols.index(wish.symbol))
    day = evaluation.day
    told = {"bar closed at": evaluation.at.isoformat()} if day is None else {"bar of": day.isoformat()}
    for check in line.checks:
        numbers = ", ".join(f"{name} = {value:.6g}" for name, value in check.values)
        told[check.name] = f"{check.rule}: {'unknown' if check.passed is None else 'yes' if check.passed else 'no'} ({numbers})"
    return told
