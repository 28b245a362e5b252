"""The runner: keeps the definitions that are enabled at work; stores bars, steps engines, asks definitions, raises wishes.

A turn reads everything from the books, the clock and the file of bars, so a bridge that was killed anywhere goes on as if it
had only been slow: the latest stored bar is asked about again as long as it is fresh, and the pipeline keeps each signal once.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from bridge.core.clock import Clock
from bridge.core.enums import Product
from bridge.core.errors import StoreError
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.market import Tick
from bridge.definitions import Definitions
from bridge.feed import Feed
from bridge.market.bars.doctor import Doctor
from bridge.market.bars.live import ClosedBars
from bridge.market.bars.series import BarsError
from bridge.market.bars.store import BarStore
from bridge.market.calendar import Calendar
from bridge.metrics import Metrics
from bridge.raising import held_with
from bridge.runner.books import Member, opened_times
from bridge.runner.fill import SETTLE, Fetch, Filler
from bridge.runner.hours import Hours, day_of
from bridge.runner.planning import Enabled, Planner, Universe
from bridge.runner.program import Program, Setting
from bridge.runner.raiser import AcceptOwn, Answer, Raiser
from bridge.scanner.columns import Columns
from bridge.scanner.decide import Evaluation
from bridge.scanner.programs import GroupKey

# Between two turns: what a bar waits at most beyond its grace.
TURN_S = 0.1
# From asking a feed for symbols until each of their prices is heard.
LISTEN_SLACK = timedelta(seconds=1)
# Prices of what is held are written twice a second.
WATCH_S = 0.4
# Between two tries at a file that cannot be read.
REST = timedelta(seconds=30)
OnFault = Callable[[str, BaseException], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a runner works with. `fresh` is how long after a bar's close its wishes may still be raised."""

    clock: Clock
    ledger: Ledger
    definitions: Definitions
    products: Mapping[str, Product]
    feed: Feed
    calendar: Calendar
    instrument: Callable[[str], Instrument | None]
    universe: Universe
    bars: BarStore
    columns: Columns
    accept_own: AcceptOwn
    fetch: Fetch | None
    fresh: timedelta
    metrics: Metrics
    on_fault: OnFault
    on_change: Callable[[], None]


class Runner:
    """All programs of one bridge. `evaluations` and `states` are by definition, for pages and commands."""

    def __init__(self, parts: Parts, evaluations: dict[str, Evaluation], states: dict[str, str]) -> None:
        self._parts = parts
        self._evaluations = evaluations
        self._states = states
        self._programs: dict[GroupKey, Program] = {}
        self._planner = Planner(parts.ledger, parts.definitions, parts.universe, parts.instrument, parts.products)
        self._planned: tuple[tuple[Enabled, ...], date] | None = None
        self._doctor = Doctor(parts.bars, parts.calendar)
        self._filler = Filler(parts.fetch)
        self._raiser = Raiser(
            clock=parts.clock, ledger=parts.ledger, accept_own=parts.accept_own, fresh=parts.fresh, on_fault=parts.on_fault
        )
        self._plan_again_at: datetime | None = None
        self._watched_s = parts.clock.monotonic()
        self._ticks: dict[int, Tick] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to turn."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="scans")

    async def stop(self) -> None:
        """Raise nothing more; what is undone is taken up at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._filler.stop()

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except StoreError:
                pass  # the store is away; the next turn finds the same work
            except Exception as error:  # one turn's fault must not be the end of all scans
                self._parts.on_fault("scans", error)
            await asyncio.sleep(TURN_S)

    async def turn(self) -> None:
        """Plan what is enabled now, take the bars that closed, ask and raise."""
        now = self._parts.clock.now()
        await self._plan(now)
        for program in list(self._programs.values()):
            self._note_heard(program)
            program.close_due(now)
            if program.rest_until is None or now >= program.rest_until:
                await self._try(program, now)
            self._tell(program)
        self._parts.metrics.scan_signals.inc(await self._raiser.raise_open(self._latest))
        if self._parts.clock.monotonic() - self._watched_s >= WATCH_S:
            self._watched_s = self._parts.clock.monotonic()
            for program in list(self._programs.values()):
                await self._watch_prices(program, now)

    # -- what there is to do -------------------------------------------------------------------------------------------

    async def _plan(self, now: datetime) -> None:
        enabled, today = self._planner.enabled(), day_of(now)
        is_retry = self._plan_again_at is not None and now >= self._plan_again_at
        if (enabled, today) == self._planned and not is_retry:
            return
        settings, troubles = await asyncio.to_thread(self._planner.plan, enabled, today)
        self._states.clear()
        self._states.update(troubles)
        names = {one.name for one in enabled}
        for name in [name for name in self._evaluations if name not in names]:
            del self._evaluations[name]
        self._use(settings, now, is_new_day=self._planned is None or self._planned[1] != today)
        self._planned = (enabled, today)
        self._plan_again_at = now + REST if troubles else None
        self._parts.on_change()

    def _use(self, settings: Sequence[Setting], now: datetime, *, is_new_day: bool) -> None:
        """Keep the programs of bars that are wanted still, and begin those that are new. A new day looks for gaps."""
        programs = {}
        for setting in settings:
            known = self._programs.get(setting.key)
            if known is not None and (is_new_day or known.setting != setting):
                known.use(setting)
            programs[setting.key] = known or self._make_program(setting, now)
        self._programs = programs
        symbols = [symbol for setting in settings for symbol in setting.key.symbols]
        self._parts.feed.listen(symbols, self.take)

    def _make_program(self, setting: Setting, now: datetime) -> Program:
        known = (self._parts.instrument(symbol) for symbol in setting.key.symbols)
        hours = Hours(self._parts.calendar, [one for one in known if one is not None])
        return Program(setting, store=self._parts.bars, doctor=self._doctor, hours=hours, heard_since=now + LISTEN_SLACK)

    def take(self, ticks: Sequence[Tick]) -> None:
        """What the feed tells."""
        for program in self._programs.values():
            program.live.take(ticks)
        for tick in ticks:
            known = self._ticks.get(tick.token)
            if known is None or known.at <= tick.at:
                self._ticks[tick.token] = tick

    def _note_heard(self, program: Program) -> None:
        since = self._parts.feed.heard_since()
        if since is not None and since + LISTEN_SLACK > program.heard_since:
            program.note_break(since + LISTEN_SLACK)

    # -- one program ---------------------------------------------------------------------------------------------------

    async def _try(self, program: Program, now: datetime) -> None:
        """One program's turn; what is wrong with its bars is no other's business."""
        try:
            await self._work(program, now)
        except BarsError as error:
            program.is_loaded = program.is_ready = False
            program.rest_until, program.state = now + REST, f"its bars cannot be worked with: {error}"

    async def _work(self, program: Program, now: datetime) -> None:
        if not program.is_loaded:
            await self._load(program, now)
            if not self._filler.is_able or program.known_until == program.group.closed_at:
                await self._ask_again(program)  # as after a kill between the bar and the order
        if not program.is_ready:
            await self._catch_up(program, now)
        for closed in program.take_closed():
            await self._take_closed(program, closed)
        if program.is_ready and program.is_daily:
            program.state = program.stale(now)
            if members := program.due_members(now):
                await self._ask(program, members)
                for member in members:
                    program.note_asked(member.definition, now)

    async def _load(self, program: Program, now: datetime) -> None:
        """Read its bars, and how far the prices of what is held have gone: a trail counts from that, also after a restart."""
        await asyncio.to_thread(program.load, now)
        await self._find_extremes(program)

    async def _find_extremes(self, program: Program) -> None:
        opened = opened_times(self._parts.ledger, program.members, program.key.symbols)
        await asyncio.to_thread(program.find_extremes, opened)

    async def _catch_up(self, program: Program, now: datetime) -> None:
        """Get ready: at once where nothing is missing, else when a broker has told what is."""
        gaps = program.missing(now)
        if gaps and self._filler.is_able:
            await self._fill(
                program, gaps[0][0] if program.known_until is not None else program.warm_from(now), gaps[-1][1], now
            )
            return
        program.is_ready, program.state = True, ""
        if gaps:
            program.state = f"bars since {gaps[0][0]:%d %b %H:%M} UTC are missing, and no account has any history; it goes on"

    async def _fill(self, program: Program, begin: datetime, end: datetime, now: datetime) -> None:
        name, due = program.mark, end + SETTLE
        asked_at = self._filler.done.get(name)
        if asked_at is not None and asked_at >= due:
            await asyncio.to_thread(program.note_known, end)
            await self._load(program, now)
            program.is_ready, program.state = True, ""
            await self._ask_again(program)
            return
        told = f"bars since {begin:%d %b %H:%M} UTC are missing"
        trouble = self._filler.trouble.get(name)
        program.state = f"{told}: {trouble}" if trouble else f"{told}; they are fetched"
        if now >= due:
            symbols = [symbol for symbol in program.key.symbols if self._parts.instrument(symbol) is not None]
            self._filler.ask(name, program.key.interval, symbols, day_of(begin), day_of(end), now)

    async def _take_closed(self, program: Program, closed: ClosedBars) -> None:
        """Store a bar, then step and ask. One that is not whole is left out: it decides nothing, and the history, if there is
        any, or a replay knows no such bar.
        """
        if not closed.is_whole:
            return
        await asyncio.to_thread(program.keep, closed)
        self._parts.metrics.bars_closed.labels(program.key.interval.value).inc()
        if program.is_ready and program.is_loaded and program.step(closed) and not program.is_daily:
            await self._ask(program, program.due_members(self._parts.clock.now()))

    async def _ask_again(self, program: Program) -> None:
        """Ask about the latest stored bar, if it has closed only just now; what was raised then is not raised twice."""
        closed_at = program.group.closed_at
        if closed_at is not None and not program.is_daily and self._raiser.is_fresh(closed_at):
            await self._ask(program, program.due_members(self._parts.clock.now()))

    async def _ask(self, program: Program, members: Iterable[Member]) -> None:
        """Ask definitions about the latest bar. One that fails is told on its line, and stops no other."""
        began_s = self._parts.clock.monotonic()
        await self._find_extremes(program)
        for member in members:
            name = member.definition.name
            try:
                evaluation = self._evaluate(program, member)
            except Exception as error:  # whatever it says, the other definitions go on
                self._parts.on_fault(f"scan {name}", error)
                self._states[name] = f"it failed: {type(error).__name__}: {error}"
                continue
            self._evaluations[name] = evaluation
            self._states.pop(name, None)  # it may have failed before
            self._parts.metrics.evaluations.labels(name).inc()
            at = self._parts.clock.now() if program.is_daily else evaluation.at
            if member.accounts:
                self._raiser.add(Answer(member=member, evaluation=evaluation, at=at))
        self._parts.metrics.scan_seconds.observe(self._parts.clock.monotonic() - began_s)
        self._parts.on_change()

    def _evaluate(self, program: Program, member: Member) -> Evaluation:
        today = day_of(self._parts.clock.now())
        held_back = self._parts.columns.held_back(member.definition, program.key.symbols, today)
        # Two bars may be asked about in one turn, as after a gap: what the first wishes is not wished again by the second.
        holdings = held_with(program.holdings(self._parts.ledger, member), self._raiser.coming(member))
        return program.evaluate(member, holdings, {**program.held_back, **held_back})

    async def _watch_prices(self, program: Program, now: datetime) -> None:
        if not program.hours.is_open(now) or self._parts.feed.heard_since() is None:
            return
        for member in program.members:
            if member.accounts and member.definition.exits.distances:
                self._parts.metrics.scan_signals.inc(await self._raiser.watch(program, member, self._latest()))

    def _latest(self) -> dict[str, Tick]:
        """The latest price of each symbol that a feed has told."""
        return {
            symbol: self._ticks[token]
            for program in self._programs.values()
            for token, symbol in program.tokens.items()
            if token in self._ticks
        }

    def _tell(self, program: Program) -> None:
        """Say on each definition's line what it waits for."""
        feed, state = self._parts.feed, program.state
        if not feed.has_source:
            state = "no account has a feed of prices, so no bar closes"
        elif feed.heard_since() is None:
            state = "the feed of prices is away"
        for member in program.members:
            name = member.definition.name
            if not member.accounts:
                self._states[name] = "its strategy has no account that it may trade at"
            elif not self._states.get(name, "").startswith("it failed"):
                self._states[name] = state
