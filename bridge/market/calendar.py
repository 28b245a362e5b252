"""Calendar: whether an order may trade now, and when the market opens next; what it does not know counts as closed."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import count, takewhile
from pathlib import Path

from bridge.core.clock import EPOCH, IST
from bridge.core.enums import OrdType, TimeInForce, Variety
from bridge.core.instrument import Instrument
from bridge.core.market import ALWAYS_OPEN, SessionQuestion, SessionState
from bridge.core.reasons import Reason
from bridge.market.schedule import SHIPPED, DayPlan, Phase, Schedule, Segment, Window, load_schedule

_SEGMENTS = {
    **dict.fromkeys(("NSE", "BSE"), Segment.EQUITY),
    **dict.fromkeys(("NFO", "BFO"), Segment.DERIVATIVES),
    **dict.fromkeys(("CDS", "BCD"), Segment.CURRENCY),
    **dict.fromkeys(("MCX", "NCO"), Segment.COMMODITY),
}
_SECOND = timedelta(seconds=1)
_DAY_S = 86_400
# India's offset has not changed since 1945. Whole numbers stay right at both ends of datetime, where astimezone raises.
_IST_S = 19_800
_EPOCH_ORDINAL = EPOCH.toordinal()
_MAX_PLANS = 512  # days x segments; a working day asks for six
_LOOK_AHEAD_DAYS = 60  # the longest break ever was under two weeks
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NO_DATE = DayPlan(is_known=False)


def load_calendar(path: Path | None = None) -> "Calendar":
    """The calendar of the file that the setting `calendar` names, else of the shipped one; may raise ConfigError."""
    return Calendar(load_schedule(SHIPPED if path is None else path))


class Calendar:
    """Answers from a schedule; remembers the days it was asked about."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._plans: dict[tuple[Segment, int], DayPlan] = {}

    @property
    def index_names(self) -> frozenset[str]:
        """Underlyings that are indices."""
        return self._schedule.index_names

    def session(self, question: SessionQuestion) -> SessionState:
        """Whether this order can be entered at this moment; when not, why, and when it can.

        Answers for every aware moment and every instrument; a naive one raises TypeError.
        """
        day, second = _local(question.at)
        segment = self._segment(question.instrument, day)
        if segment is None:
            return _unknown(f"The calendar does not know the exchange {question.instrument.exchange}")
        plan = self._plan(segment, day)
        if question.variety is Variety.AMO:
            return self._after_market(question, plan, day, second)
        for window in plan.windows:
            if window.start_s <= second < window.end_s:
                if window.phase.takes(question.ord_type, question.time_in_force):
                    return ALWAYS_OPEN
                return self._not_taken(question, window.phase)
        if not plan.is_known:
            return self._unknown_day(plan, day)
        return self._closed(question, plan)

    def _after_market(self, question: SessionQuestion, plan: DayPlan, day: int, second: int) -> SessionState:
        """For an order that waits at the broker for the next session: before the day's first window or after its last.

        The broker's own hours for such orders are not in the file; what it does not take it rejects.
        """
        if not plan.is_known:
            return self._unknown_day(plan, day)
        if plan.windows and plan.windows[0].start_s <= second < plan.windows[-1].end_s:
            return SessionState(is_open=False, reason=Reason.MARKET_OPEN, message=_open_message(question))
        return ALWAYS_OPEN

    def next_open(self, instrument: Instrument, at: datetime) -> datetime | None:
        """The first moment, `at` or later, when some order in `instrument` can be entered; None when nobody can say."""
        day, second = _local(at)
        segment = self._segment(instrument, day)
        if segment is None or not self._plan(segment, day).is_known:
            return None
        if any(window.start_s <= second < window.end_s for window in self._plan(segment, day).windows):
            return at
        found = next(self._ahead(instrument, at), None)
        return None if found is None else found[0]

    def continuous(self, instrument: Instrument, at: datetime) -> tuple[datetime, datetime] | None:
        """From when to when `instrument` trades continuously on the day of `at` in India; None when it does not, or is unknown.

        That is from the first to the last phase that takes stop orders, which no auction does.
        """
        day, _second = _local(at)
        segment = self._segment(instrument, day)
        windows = self._plan(segment, day).windows if segment else ()
        found = [window for window in windows if window.phase.takes(OrdType.SL_M, TimeInForce.DAY)]
        return (_moment(day, found[0].start_s), _moment(day, found[-1].end_s)) if found else None

    def segment(self, instrument: Instrument, at: datetime) -> Segment | None:
        """Whose hours `instrument` keeps on the day of `at`; None for an exchange that is not known."""
        return self._segment(instrument, _local(at)[0])

    def hours(self, day: date, exchange: str = "NSE") -> tuple[datetime, datetime] | None:
        """When on `day` the first order can be entered at `exchange` and the last; None when it is closed or not known."""
        segment = _SEGMENTS.get(exchange)
        number = day.toordinal() - _EPOCH_ORDINAL
        windows = self._plan(segment, number).windows if segment else ()
        if not windows:
            return None
        return _moment(number, windows[0].start_s), _moment(number, windows[-1].end_s)

    def is_trading_day(self, day: date, exchange: str = "NSE") -> bool:
        """True when `exchange` trades on `day`, if only for an hour; a day or exchange that is not known is none."""
        segment = _SEGMENTS.get(exchange)
        if segment is None or day.year not in self._schedule.years:
            return False
        plan = self._schedule.plan(segment, day)
        return bool(plan.windows) or not plan.is_known

    def is_session(self, at: datetime, exchange: str = "NSE") -> bool:
        """True while `exchange` is in session, from its opening to its close; a day that is not known has none."""
        hours = self.hours(at.astimezone(IST).date(), exchange)
        return hours is not None and hours[0] <= at < hours[1]

    def knows(self, day: date) -> bool:
        """True when the day lies in a year of which the calendar has the holidays."""
        return day.year in self._schedule.years

    def known_until(self, day: date) -> date | None:
        """The last day that is known without a gap after `day`; None when `day` itself is not."""
        years = self._schedule.years
        ahead = takewhile(years.__contains__, count(day.year))
        return max((date(year, 12, 31) for year in ahead), default=None)

    def _segment(self, instrument: Instrument, day: int) -> Segment | None:
        segment = _SEGMENTS.get(instrument.exchange)
        if segment is Segment.EQUITY and instrument.has_derivatives:
            return Segment.EQUITY_FNO
        if segment is Segment.DERIVATIVES and instrument.expiry is not None:
            ends_today = instrument.expiry.toordinal() == day + _EPOCH_ORDINAL
            if ends_today and instrument.name in self._schedule.index_names:
                return Segment.INDEX_EXPIRY
        return segment

    def _plan(self, segment: Segment, day: int) -> DayPlan:
        plan = self._plans.get((segment, day))
        if plan is None:
            ordinal = day + _EPOCH_ORDINAL
            is_date = 1 <= ordinal <= date.max.toordinal()
            plan = self._schedule.plan(segment, date.fromordinal(ordinal)) if is_date else _NO_DATE
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[segment, day] = plan
        return plan

    def _ahead(self, instrument: Instrument, at: datetime) -> Iterator[tuple[datetime, Window]]:
        """The windows that begin after `at`, in order, up to the contract's end or the end of what is known."""
        today, second = _local(at)
        last = today + _LOOK_AHEAD_DAYS
        if instrument.expiry is not None:
            last = min(last, instrument.expiry.toordinal() - _EPOCH_ORDINAL)
        for day in range(today, last + 1):
            segment = self._segment(instrument, day)
            for window in self._plan(segment, day).windows if segment else ():
                if day > today or window.start_s > second:
                    yield _moment(day, window.start_s), window

    def _not_taken(self, question: SessionQuestion, phase: Phase) -> SessionState:
        order = f"{question.ord_type} {question.time_in_force}"
        taken = f"{' and '.join(sorted(phase.ord_types, reverse=True))} {' or '.join(sorted(phase.times_in_force))}"
        message = f"{phase.title[:1].upper()}{phase.title[1:]} takes {taken} orders, not {order}"
        return _closed_state(f"{message}; {self._opens(question, f'for that {question.instrument.exchange}')}.")

    def _closed(self, question: SessionQuestion, plan: DayPlan) -> SessionState:
        at = question.at.astimezone(IST)
        when = f"on {_day_text(at)} ({plan.why})" if plan.why else f"at {at:%H:%M} IST"
        return _closed_state(f"{question.instrument.exchange} is closed {when}; {self._opens(question, 'it')}.")

    def _opens(self, question: SessionQuestion, subject: str) -> str:
        for moment, window in self._ahead(question.instrument, question.at):
            if window.phase.takes(question.ord_type, question.time_in_force):
                local = moment.astimezone(IST)
                return f"{subject} opens {_day_text(local)} {local:%H:%M} IST"
        expiry = question.instrument.expiry
        if expiry is not None and expiry.year in self._schedule.years:
            return "the contract does not trade again"
        return "the calendar does not know when it opens next"

    def _unknown_day(self, plan: DayPlan, day: int) -> SessionState:
        if plan.why:
            hours = f"the hours of {plan.why} on {_day_text(_moment(day, 0).astimezone(IST))}"
            return _unknown(f"The calendar does not know {hours}")
        years = ", ".join(str(year) for year in sorted(self._schedule.years))
        return _unknown(f"The calendar knows {years} and not this day", "; name a newer file in the setting `calendar`")


def _open_message(question: SessionQuestion) -> str:
    exchange, at = question.instrument.exchange, question.at.astimezone(IST)
    return f'{exchange} is open at {at:%H:%M} IST; "variety": "amo" is for the closed market. Leave it out.'


def _local(at: datetime) -> tuple[int, int]:
    """Days since 1970 and seconds since midnight, both in India."""
    return divmod((at - EPOCH) // _SECOND + _IST_S, _DAY_S)


def _moment(day: int, second: int) -> datetime:
    return EPOCH + timedelta(days=day, seconds=second - _IST_S)


def _day_text(local: date) -> str:
    return f"{_WEEKDAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]}"


def _unknown(why: str, mend: str = "") -> SessionState:
    message = f"{why}, so the market counts as closed{mend}."
    return SessionState(is_open=False, reason=Reason.CALENDAR_UNKNOWN, message=message)


def _closed_state(message: str) -> SessionState:
    return SessionState(is_open=False, reason=Reason.MARKET_CLOSED, message=message)
