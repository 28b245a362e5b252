"""Program: the definitions of one group at work on live bars; what is stored, what is missing, and what they want."""

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from bridge.core.bar import Interval, day_of_bar
from bridge.core.clock import from_us
from bridge.core.ledger import Ledger
from bridge.market.bars.doctor import Doctor
from bridge.market.bars.findings import Complaint, Verdict
from bridge.market.bars.live import GRACE, ClosedBars, LiveBars, parts_of
from bridge.market.bars.series import extremes
from bridge.market.bars.store import BarStore
from bridge.market.bars.times import day_numbers, number_of_day
from bridge.runner.books import Member, holdings_at
from bridge.runner.hours import Hours, Stretch, day_of, midnight
from bridge.scanner.decide import Evaluation, Holding
from bridge.scanner.definition import Definition
from bridge.scanner.programs import Group, GroupKey, due_on, is_due, warm_begin, warm_place
from bridge.scanner.terms import Bar, Bars

_US = 1_000_000
# A session's last ticks are on their way for no longer.
SESSION_GRACE = timedelta(minutes=1)
# Of a new day the first prices are waited for.
OPENING_GRACE = timedelta(seconds=5)
_NO_EXTREMES = (None, None)
# By symbol and the time since when it is held.
Found = dict[tuple[str, datetime], tuple[float | None, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a program looks at besides its bars: the symbols' tokens and lots, and why some may not be entered."""

    key: GroupKey
    members: tuple[Member, ...]
    tokens: Mapping[int, str]
    lots: Mapping[str, Decimal]
    held_back: Mapping[str, str]


class Program:
    """One group. All calls in the event loop, but `load` and `keep`, which read and write the file of bars."""

    def __init__(self, setting: Setting, *, store: BarStore, doctor: Doctor, hours: Hours, heard_since: datetime) -> None:
        self.key = setting.key
        self.hours = hours
        self.heard_since = heard_since
        self.state = "its bars are being read"
        self.rest_until: datetime | None = None
        self.known_until: datetime | None = None
        self._store = store
        self._doctor = doctor
        self._closed: list[ClosedBars] = []
        self._due: dict[str, date] = {}  # by definition and version: the day on which one of daily bars was asked last
        self._before: datetime | None = None
        self._extremes: tuple[Found, Found] = ({}, {})
        self.use(setting)
        self.live = LiveBars(
            setting.key.interval, setting.tokens, heard_since=heard_since, is_open=hours.is_open, on_bars=self._closed.append
        )

    def use(self, setting: Setting) -> None:
        """Have these definitions from now on; they begin where the stored bars end."""
        self.setting = setting
        self.members = setting.members
        self.tokens = setting.tokens
        self.lots = setting.lots
        self.held_back = setting.held_back
        self.group = Group(self.key, self.definitions)
        self.is_loaded = self.is_ready = False

    @property
    def definitions(self) -> list[Definition]:
        """Its definitions."""
        return [member.definition for member in self.members]

    @property
    def is_daily(self) -> bool:
        """True for bars of days, which are asked about on the next trading day."""
        return self.key.interval is Interval.DAY

    @property
    def mark(self) -> str:
        """The name under which the file says up to when every bar of these symbols is there."""
        digest = hashlib.sha256("\n".join(self.key.symbols).encode()).hexdigest()[:24]
        return f"known {self.key.interval} {digest}"

    # -- bars ----------------------------------------------------------------------------------------------------------

    def load(self, now: datetime) -> None:
        """Read the stored bars and step through them; in a thread. BarsError when they cannot be read."""
        interval, symbols, today = self.key.interval, self.key.symbols, day_of(now)
        begin = warm_begin(interval, today)
        stored = self._store.read(interval, symbols, begin, today)
        group = Group(self.key, self.definitions, self._examine(begin, today))
        place = warm_place(interval, day_numbers(stored.times), number_of_day(today))
        ends = [from_us(int(second) * _US) + interval.length for second in stored.times[-2:]]
        group.warm(Bars(stored.fields[place:], stored.days()[place:]), ends[-1] if ends else None)
        told = self._store.mark(self.mark)
        self.known_until = None if told is None else datetime.fromisoformat(told)
        self._before = ends[0] if len(ends) > 1 else None
        self.group, self.is_loaded = group, True

    def _examine(self, begin: date, today: date) -> dict[str, str]:
        verdicts = self._doctor.examine(self.key.interval, self.key.symbols, begin, today)
        return {symbol: verdict.reason for symbol, verdict in verdicts.items() if not _is_usable(verdict)}

    def take_closed(self) -> list[ClosedBars]:
        """The bars that closed since the last call, oldest first."""
        found, self._closed[:] = list(self._closed), []
        return found

    def close_due(self, now: datetime) -> None:
        """Close the bars that are over; a day's when its session is."""
        hours = self.hours.of(now) if self.is_daily else None
        if hours is not None and now >= hours[1] + SESSION_GRACE:
            now = midnight(day_of(now)) + timedelta(days=1) + GRACE
        self.live.close_due(now)

    def keep(self, closed: ClosedBars) -> None:
        """Store a closed bar before anything is decided by it; in a thread."""
        known = self.is_ready and closed.is_whole
        until = closed.opened_at + self.key.interval.length
        marks = {self.mark: until.isoformat()} if known else None
        self._store.merge(self.key.interval, parts_of(closed), marks=marks)
        if known:
            self.known_until = until

    def note_known(self, until: datetime) -> None:
        """Write down that nothing is missing up to then; in a thread."""
        self._store.merge(self.key.interval, (), marks={self.mark: until.isoformat()})
        self.known_until = until

    def step(self, closed: ClosedBars) -> bool:
        """Go one bar on; False for one that it has seen."""
        until = closed.opened_at + self.key.interval.length
        if self.group.closed_at is not None and until <= self.group.closed_at:
            return False
        self._before = self.group.closed_at
        self.group.step(Bar(closed.fields, day_of(closed.opened_at)), until)
        return True

    def note_break(self, heard_since: datetime) -> None:
        """The feed was away until then."""
        self.heard_since = heard_since
        self.live.note_break(heard_since)
        self.is_ready = False

    def warm_from(self, now: datetime) -> datetime:
        """When the first of the days begins whose bars are wanted; the calendar may not know its year."""
        return midnight(warm_begin(self.key.interval, day_of(now)))

    def missing(self, now: datetime) -> list[Stretch]:
        """The parts of sessions, those of days whole, of which bars may be missing: what was traded and nobody heard."""
        until = midnight(day_of(now)) if self.is_daily else self.hours.whole_from(self.key.interval, self.heard_since)
        begin = self.warm_from(now)
        return list(self.hours.between(max(begin, self.known_until or begin), until))

    # -- asking --------------------------------------------------------------------------------------------------------

    def due_members(self, now: datetime) -> list[Member]:
        """Those that are to be asked about the latest bar, just after it was stepped or loaded."""
        closed_at, hours = self.group.closed_at, self.hours.of(now)
        if closed_at is None or hours is None:
            return []
        if self.is_daily:
            return [] if self.stale(now) else [member for member in self.members if self._is_due_today(member, now, hours)]
        return [
            member
            for member in self.members
            if closed_at > member.since and is_due(member.definition, closed_at, self._before, hours[0])
        ]

    def stale(self, now: datetime) -> str:
        """Of bars of days: which day's are missing at last, if any; nothing is decided without them."""
        closed_at = self.group.closed_at
        if not self.is_daily or closed_at is None:
            return ""
        days = self.hours.days_between(closed_at, midnight(day_of(now)))
        return f"there are no bars of {days[-1]}" if days else ""

    def _is_due_today(self, member: Member, now: datetime, hours: Stretch) -> bool:
        today, definition = day_of(now), member.definition
        if self._due.get(f"{definition.name} {definition.version}") == today or now >= hours[1]:
            return False
        assert self.group.closed_at is not None
        due = due_on(definition, hours[0], day_of_bar(self.group.closed_at))
        return due is not None and now >= due + OPENING_GRACE and due > member.since

    def note_asked(self, definition: Definition, now: datetime) -> None:
        """One of daily bars was asked today."""
        self._due[f"{definition.name} {definition.version}"] = day_of(now)

    def find_extremes(self, opened: Set[tuple[str, datetime]]) -> None:
        """Read the highest and lowest price of what is held, since it was opened; in a thread."""
        before, now = Found(), Found()
        until = self.group.closed_at
        if opened and until is not None:
            names, length_s = sorted({symbol for symbol, _ in opened}), self.key.interval.seconds
            first, last = day_of(min(at for _, at in opened)), day_of(until)
            latest_s = int(until.timestamp()) - length_s
            read = dict(zip(names, self._store.read_each(self.key.interval, names, first, last), strict=True))
            for symbol, at in opened:
                since_s = int(at.timestamp()) - length_s + 1  # the bar that the entry fell into is one of them
                before[symbol, at] = extremes(read[symbol], since_s, latest_s)  # the bar that is judged is none
                now[symbol, at] = extremes(read[symbol], since_s, latest_s + 1)
        self._extremes = before, now

    def holdings(self, ledger: Ledger, member: Member, account: str = "") -> dict[str, Holding]:
        """What the definition's strategy holds of these symbols at all its accounts, to be judged by the latest bar; with
        `account` what it holds there, to be judged by what is traded now.
        """
        found = self._extremes[bool(account)]
        accounts = (account,) if account else member.accounts
        held = holdings_at(ledger, member, accounts, lambda symbol, at: found.get((symbol, at), _NO_EXTREMES))
        return {symbol: holding for symbol, holding in held.items() if symbol in self.key.symbols}

    def evaluate(self, member: Member, holdings: Mapping[str, Holding], held_back: Mapping[str, str]) -> Evaluation:
        """What one definition wants after the latest bar."""
        return self.group.evaluate(member.definition, holdings, lots=self.lots, held_back=held_back)


def _is_usable(verdict: Verdict) -> bool:
    """A series without bars so far is no fault of its own: its terms are unknown until it has some."""
    grave = [finding.complaint for finding in verdict.findings if finding.complaint.is_grave]
    return all(complaint is Complaint.NO_BARS for complaint in grave)
