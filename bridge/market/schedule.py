"""Schedule: the exchanges' sessions of the known years, read strictly from a dated data file."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from bridge.core.enums import OrdType, TimeInForce
from bridge.core.errors import ConfigError

SHIPPED = Path(__file__).parent / "data" / "nse-2026.json"
MAX_BYTES = 1 << 20
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_WEEKEND = {5: "Saturday", 6: "Sunday"}
_Word = TypeVar("_Word", bound=StrEnum)


class Board(StrEnum):
    """What has holidays of its own."""

    CAPITAL = "capital"
    CURRENCY = "currency"
    COMMODITY = "commodity"


class Segment(StrEnum):
    """What has hours of its own; EQUITY_FNO are shares with futures, INDEX_EXPIRY index contracts on their last day."""

    EQUITY = "equity"
    EQUITY_FNO = "equity-fno"
    DERIVATIVES = "derivatives"
    INDEX_EXPIRY = "index-expiry"
    CURRENCY = "currency"
    COMMODITY = "commodity"

    @property
    def board(self) -> Board:
        """The board whose holidays the segment keeps."""
        return Board(self.value) if self in (Segment.CURRENCY, Segment.COMMODITY) else Board.CAPITAL


class DayKind(StrEnum):
    """What a row of the file says of a day; HOURS means that it brings hours of its own."""

    CLOSED = "closed"
    USUAL = "usual"
    UNKNOWN = "unknown"
    HOURS = "hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a session, with the orders it takes."""

    title: str
    ord_types: frozenset[OrdType]
    times_in_force: frozenset[TimeInForce]

    def takes(self, ord_type: OrdType, time_in_force: TimeInForce) -> bool:
        """True when such an order can be entered."""
        return ord_type in self.ord_types and time_in_force in self.times_in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A phase from `start_s` until before `end_s`, in seconds since midnight in India."""

    phase: Phase
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """The usual windows of some segments, from `first` to `last` inclusive."""

    segments: frozenset[Segment]
    first: date
    last: date
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDay:
    """A holiday or special session of some boards."""

    name: str
    kind: DayKind
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPlan:
    """The windows of a segment on a day; `is_known` False means that nobody can say. `why` names what is special."""

    is_known: bool
    windows: tuple[Window, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The sessions of `years`; a day outside them is unknown."""

    file: str
    years: frozenset[int]
    index_names: frozenset[str]
    hours: tuple[Hours, ...]
    days: Mapping[tuple[date, Board], SpecialDay]

    def plan(self, segment: Segment, day: date) -> DayPlan:
        """What `segment` does on `day`."""
        if day.year not in self.years:
            return DayPlan(is_known=False)
        special = self.days.get((day, segment.board))
        if special is None:
            weekend = _WEEKEND.get(day.weekday())
            windows = () if weekend else self._usual(segment, day)
            return DayPlan(is_known=True, windows=windows, why=weekend or "")
        windows = self._usual(segment, day) if special.kind is DayKind.USUAL else special.windows
        return DayPlan(is_known=special.kind is not DayKind.UNKNOWN, windows=windows, why=special.name)

    def _usual(self, segment: Segment, day: date) -> tuple[Window, ...]:
        return next(h.windows for h in self.hours if segment in h.segments and h.first <= day <= h.last)


def load_schedule(path: Path = SHIPPED) -> Schedule:
    """The schedule of a file such as the shipped one; ConfigError names the file, the place in it and the mend."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"calendar: {path} cannot be read ({error.strerror}); name another file") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"calendar: {path} is larger than a calendar can be ({MAX_BYTES} bytes)")
    return _Reader(str(path)).read(raw)


class _Reader:
    """Reads one file; every complaint names the file and the place in it."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._years: frozenset[int] = frozenset()
        self._phases: dict[str, Phase] = {}

    def read(self, raw: bytes) -> Schedule:
        """The whole schedule, checked."""
        try:
            decoded = json.loads(raw.decode(), object_pairs_hook=self._unique)
        except (ValueError, RecursionError) as error:
            raise self._fault("the file", f"is not JSON in UTF-8 ({error})") from None
        required = ("title", "as_of", "years", "index_names", "phases", "hours", "days")
        top = self._row("the file", decoded, required, optional=("notes",))
        self._text("title", top["title"])
        self._date("as_of", top["as_of"], any_year=True)
        self._years = frozenset(self._year(place, year) for place, year in self._items("years", top["years"]))
        names = frozenset(self._text(place, name) for place, name in self._items("index_names", top["index_names"]))
        if not isinstance(top["phases"], dict):
            raise self._fault("phases", "must be an object of named phases")
        self._phases = {name: self._phase(f"phases.{name}", row) for name, row in top["phases"].items()}
        hours = tuple(self._hours(place, row) for place, row in self._items("hours", top["hours"]))
        self._check_cover(hours)
        days: dict[tuple[date, Board], SpecialDay] = {}
        for place, row in self._items("days", top["days"]):
            self._add_day(place, row, days)
        return Schedule(file=self._file, years=self._years, index_names=names, hours=hours, days=days)

    def _phase(self, place: str, raw: object) -> Phase:
        row = self._row(place, raw, ("title", "ord_types", "times_in_force"))
        return Phase(
            title=self._text(f"{place}.title", row["title"]),
            ord_types=self._words(f"{place}.ord_types", row["ord_types"], OrdType),
            times_in_force=self._words(f"{place}.times_in_force", row["times_in_force"], TimeInForce),
        )

    def _hours(self, place: str, raw: object) -> Hours:
        row = self._row(place, raw, ("segments", "from", "to", "windows", "source"))
        first, last = self._date(f"{place}.from", row["from"]), self._date(f"{place}.to", row["to"])
        if last < first:
            raise self._fault(f"{place}.to", f"lies before {first}, where the hours begin")
        return Hours(
            segments=self._words(f"{place}.segments", row["segments"], Segment),
            first=first,
            last=last,
            windows=self._windows(f"{place}.windows", row["windows"]),
        )

    def _add_day(self, place: str, raw: object, days: dict[tuple[date, Board], SpecialDay]) -> None:
        row = self._row(place, raw, ("date", "boards", "name", "hours", "source"))
        day, hours = self._date(f"{place}.date", row["date"]), row["hours"]
        windows: tuple[Window, ...] = ()
        if isinstance(hours, list):
            kind, windows = DayKind.HOURS, self._windows(f"{place}.hours", hours)
        elif hours in (DayKind.CLOSED, DayKind.USUAL, DayKind.UNKNOWN):
            kind = DayKind(hours)
        else:
            raise self._fault(f"{place}.hours", "must be closed, usual, unknown or a list of windows")
        special = SpecialDay(name=self._text(f"{place}.name", row["name"]), kind=kind, windows=windows)
        for board in self._words(f"{place}.boards", row["boards"], Board):
            if (day, board) in days:
                raise self._fault(f"{place}.date", f"{day} is listed twice for {board}; remove one of the rows")
            days[day, board] = special

    def _windows(self, place: str, raw: object) -> tuple[Window, ...]:
        windows: list[Window] = []
        for where, row in self._items(place, raw):
            if not (isinstance(row, list) and len(row) == 3 and isinstance(row[0], str)):
                raise self._fault(where, 'must be like ["continuous", "09:15", "15:30"]')
            if row[0] not in self._phases:
                raise self._fault(where, f"{row[0]!r} is none of the phases {', '.join(self._phases)}")
            start, end = self._seconds(where, row[1]), self._seconds(where, row[2])
            if not (windows[-1].end_s if windows else 0) <= start < end:
                raise self._fault(where, "must end after it begins, and begin after the window before it ended")
            windows.append(Window(phase=self._phases[row[0]], start_s=start, end_s=end))
        return tuple(windows)

    def _check_cover(self, hours: tuple[Hours, ...]) -> None:
        """Every segment has exactly one row of hours on every day of the known years."""
        for segment in Segment:
            rows = sorted((h for h in hours if segment in h.segments), key=lambda h: h.first)
            for year in sorted(self._years):
                expected = date(year, 1, 1)
                for row in (r for r in rows if r.first.year <= year <= r.last.year):
                    if max(row.first, date(year, 1, 1)) != expected:
                        raise self._fault("hours", f"{segment} needs exactly one row of hours for {expected}")
                    expected = row.last + timedelta(days=1)
                if expected.year <= year:
                    raise self._fault("hours", f"{segment} has no hours from {expected} on")

    # --- the small parts ---

    def _fault(self, place: str, problem: str) -> ConfigError:
        return ConfigError(f"calendar {self._file}: {place}: {problem}")

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise self._fault("the file", f"names a key twice among {', '.join(found)}")
        return found

    def _row(self, place: str, raw: object, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise self._fault(place, f"must be an object with {', '.join(required)}")
        for key in required:
            if key not in raw:
                raise self._fault(place, f"lacks {key!r}")
        for key in raw:
            if key not in (*required, *optional):
                raise self._fault(place, f"has the unknown key {key!r}")
        if "source" in raw:
            self._text(f"{place}.source", raw["source"])
        return raw

    def _items(self, place: str, raw: object) -> Iterator[tuple[str, Any]]:
        if not isinstance(raw, list) or not raw:
            raise self._fault(place, "must be a list that is not empty")
        return ((f"{place}[{number}]", item) for number, item in enumerate(raw))

    def _text(self, place: str, raw: object) -> str:
        if not isinstance(raw, str) or not raw.strip():
            raise self._fault(place, "must be a text that is not empty")
        return raw

    def _year(self, place: str, raw: object) -> int:
        if not isinstance(raw, int) or not 2000 <= raw <= 2100:
            raise self._fault(place, "must be a year such as 2026")
        return raw

    def _date(self, place: str, raw: object, *, any_year: bool = False) -> date:
        text = self._text(place, raw)
        try:
            day = date.fromisoformat(text if len(text) == 10 else "")  # it also takes 20261124 and 2026-W48-2
        except ValueError:
            raise self._fault(place, f"{text[:32]!r} is not a date such as 2026-11-24") from None
        if not any_year and day.year not in self._years:
            raise self._fault(place, f"{day} lies outside the years of the file")
        return day

    def _seconds(self, place: str, raw: object) -> int:
        found = _TIME.fullmatch(self._text(place, raw))
        if found is None:
            raise self._fault(place, f"{raw!r} is not a time such as 09:15")
        return int(found[1]) * 3600 + int(found[2]) * 60

    def _words(self, place: str, raw: object, words: type[_Word]) -> frozenset[_Word]:
        found = set()
        for where, word in self._items(place, raw):
            if word not in tuple(words):
                raise self._fault(where, f"{word!r} is none of {', '.join(words)}")
            found.add(words(word))
        return frozenset(found)
