"""The calendar's data file: the shipped one is whole, a wrong one names the place and stops the start."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import OrdType, TimeInForce
from bridge.core.errors import ConfigError
from bridge.market.schedule import MAX_BYTES, SHIPPED, Board, DayKind, Schedule, Segment, load_schedule

GOOD: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "calendar.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A copy of the shipped file with one thing changed."""
    copy: dict[str, Any] = json.loads(json.dumps(GOOD))
    change(copy)
    return copy


def put(*steps: Any) -> Callable[[dict[str, Any]], None]:
    """`put("hours", 0, "from", "x")` sets that place to the last of the steps."""

    def change(content: Any) -> None:
        for step in steps[:-2]:
            content = content[step]
        content[steps[-2]] = steps[-1]

    return change


def drop(*steps: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for step in steps[:-1]:
            content = content[step]
        del content[steps[-1]]

    return change


# --- the shipped file ---


def test_shipped_file_knows_every_segment_on_every_day_of_its_years():
    """No day of a known year is without an answer, but for those whose hours are said to be unknown."""
    schedule = load_schedule()
    unknown = set()
    for number in range(365):
        day = date(2026, 1, 1) + timedelta(days=number)
        unknown |= {day for segment in Segment if not schedule.plan(segment, day).is_known}

    assert unknown == {date(2026, 11, 8)}
    assert not schedule.plan(Segment.EQUITY, date(2027, 1, 1)).is_known
    assert not schedule.plan(Segment.EQUITY, date(2025, 12, 31)).is_known


def test_every_row_of_the_shipped_file_has_its_source():
    """Each row names a circular; what is not first-hand says so."""
    for row in (*GOOD["hours"], *GOOD["days"]):
        assert row["source"].strip()


def test_shipped_file_lies_inside_the_package():
    """Package data: the wheel carries everything under bridge/."""
    assert SHIPPED.parent.parent.name == "market"
    assert SHIPPED.is_file()


def test_phases_of_the_shipped_file():
    """Only continuous trading takes stops and IOC."""
    schedule = load_schedule()
    phases = {w.phase.title: w.phase for h in schedule.hours for w in h.windows}

    assert phases["continuous trading"].takes(OrdType.SL_M, TimeInForce.IOC)
    auction = phases["the closing auction"]
    assert auction.takes(OrdType.MARKET, TimeInForce.DAY)
    assert not auction.takes(OrdType.SL, TimeInForce.DAY)
    assert not auction.takes(OrdType.LIMIT, TimeInForce.IOC)


def test_segments_keep_the_holidays_of_their_board():
    """Shares and their derivatives rest together; currencies and commodities have their own lists."""
    assert {s: s.board for s in Segment} == {
        Segment.EQUITY: Board.CAPITAL,
        Segment.EQUITY_FNO: Board.CAPITAL,
        Segment.DERIVATIVES: Board.CAPITAL,
        Segment.INDEX_EXPIRY: Board.CAPITAL,
        Segment.CURRENCY: Board.CURRENCY,
        Segment.COMMODITY: Board.COMMODITY,
    }
    assert load_schedule().days[date(2026, 11, 24), Board.CAPITAL].kind is DayKind.CLOSED


# --- wrong files ---


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop("years"), r"the file: lacks 'years'"),
        (put("yeers", [2026]), r"the file: has the unknown key 'yeers'"),
        (put("years", []), r"years: must be a list that is not empty"),
        (put("years", 0, "2026"), r"years\[0\]: must be a year such as 2026"),
        (put("years", 0, 1999), r"years\[0\]: must be a year"),
        (put("years", [2026, 2027]), r"hours: equity has no hours from 2027-01-01 on"),
        (put("as_of", "today"), r"as_of: 'today' is not a date"),
        (put("title", 7), r"title: must be a text"),
        (put("index_names", 0, ""), r"index_names\[0\]: must be a text that is not empty"),
        (put("phases", []), r"phases: must be an object"),
        (
            put("phases", "continuous", "ord_types", ["STOP"]),
            r"phases.continuous.ord_types\[0\]: 'STOP' is none of MARKET",
        ),
        (put("phases", "continuous", "ord_types", [[]]), r"phases.continuous.ord_types\[0\]: \[\] is none of"),
        (put("phases", "continuous", "times_in_force", ["GTC"]), r"times_in_force\[0\]: 'GTC' is none of DAY, IOC"),
        (put("phases", "continuous", 5), r"phases.continuous: must be an object with title"),
        (drop("phases", "auction", "title"), r"phases.auction: lacks 'title'"),
        (put("hours", 0, "from", "20260101"), r"hours\[0\].from: '20260101' is not a date"),
        (put("hours", 0, "from", "2025-12-31"), r"hours\[0\].from: 2025-12-31 lies outside the years"),
        (put("hours", 0, "to", "2026-12-30"), r"hours: equity has no hours from 2026-12-31 on"),
        (put("hours", 0, "from", "2026-01-02"), r"hours: equity needs exactly one row of hours for 2026-01-01"),
        (put("hours", 2, "from", "2026-08-02"), r"hours: equity-fno needs exactly one row of hours for 2026-08-03"),
        (put("hours", 2, "from", "2026-08-04"), r"hours: equity-fno needs exactly one row of hours for 2026-08-03"),
        (put("hours", 2, "to", "2026-08-01"), r"hours\[2\].to: lies before 2026-08-03"),
        (put("hours", 0, "segments", ["shares"]), r"hours\[0\].segments\[0\]: 'shares' is none of equity"),
        (put("hours", 0, "source", " "), r"hours\[0\].source: must be a text"),
        (drop("hours", 0, "source"), r"hours\[0\]: lacks 'source'"),
        (put("hours", 0, "windows", []), r"hours\[0\].windows: must be a list that is not empty"),
        (put("hours", 0, "windows", [["continuous", "9:15", "15:30"]]), r"windows\[0\]: '9:15' is not a time"),
        (put("hours", 0, "windows", [["continuous", "09:15", "24:00"]]), r"windows\[0\]: '24:00' is not a time"),
        (put("hours", 0, "windows", [["continuous", "09:15", 930]]), r"windows\[0\]: must be a text"),
        (put("hours", 0, "windows", [["continuous", "15:30", "09:15"]]), r"windows\[0\]: must end after it begins"),
        (put("hours", 0, "windows", [["continuous", "09:15"]]), r'windows\[0\]: must be like \["continuous"'),
        (put("hours", 0, "windows", [["opening", "09:15", "15:30"]]), r"'opening' is none of the phases continuous"),
        (
            put("hours", 0, "windows", [["continuous", "09:15", "12:00"], ["continuous", "11:59", "15:30"]]),
            r"windows\[1\]: must end after it begins, and begin after the window before it ended",
        ),
        (put("days", {}), r"days: must be a list"),
        (put("days", 0, "boards", ["gold"]), r"days\[0\].boards\[0\]: 'gold' is none of capital"),
        (put("days", 0, "hours", "open"), r"days\[0\].hours: must be closed, usual, unknown or a list"),
        (put("days", 0, "hours", {}), r"days\[0\].hours: must be closed"),
        (put("days", 0, "date", "2026-13-01"), r"days\[0\].date: '2026-13-01' is not a date"),
        (put("days", 0, "date", None), r"days\[0\].date: must be a text"),
        (put("days", 0, "closed", True), r"days\[0\]: has the unknown key 'closed'"),
        (put("days", 0, "name", ""), r"days\[0\].name: must be a text"),
        (lambda c: c["days"].append(c["days"][-1]), r"days\[\d+\].date: 2026-12-25 is listed twice for commodity"),
    ],
)
def test_wrong_place_is_named(tmp_path, change, complaint):
    """ConfigError names the file, the place and what belongs there."""
    path = write(tmp_path, changed(change))
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_schedule(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not JSON in UTF-8"),
        (b"{", "is not JSON in UTF-8"),
        (b"\xff\xfe{}", "is not JSON in UTF-8"),
        (b"[" * 100_000, "is not JSON in UTF-8"),
        (b"[]", "must be an object with title"),
        (b'{"years": [2026], "years": [2027]}', "names a key twice"),
        (b" " * (MAX_BYTES + 1), "is larger than a calendar can be"),
    ],
)
def test_file_that_is_no_calendar(tmp_path, content, complaint):
    """Anything on disk is a ConfigError, never a traceback."""
    with pytest.raises(ConfigError, match=complaint):
        load_schedule(write(tmp_path, content))


def test_folder_instead_of_a_file(tmp_path):
    """The system's own words are in the message."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_schedule(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from(
    [
        *(("title",), ("years",), ("years", 0), ("index_names",), ("phases",), ("phases", "auction"), ("hours",)),
        *(("hours", 0), ("hours", 0, "segments"), ("hours", 0, "from"), ("hours", 0, "windows"), ("days",)),
        *(("hours", 0, "windows", 0), ("hours", 0, "windows", 0, 0), ("days", 0), ("days", 0, "hours")),
        *(
            ("days", 0, "boards"),
            ("days", 0, "date"),
            ("phases", "auction", "ord_types"),
            ("hours", 0, "windows", 0, 1),
        ),
    ]
)


@given(place=PLACES, value=JSON)
def test_any_value_in_any_place_is_a_schedule_or_a_config_error(tmp_path_factory, place, value):
    """Strict reading has no third way out."""
    path = write(tmp_path_factory.mktemp("any"), changed(put(*place, value)))
    with suppress(ConfigError):
        assert isinstance(load_schedule(path), Schedule)


def test_hours_may_cross_a_year_when_both_are_known(tmp_path):
    """A file for two years may give one row of hours across New Year."""

    def extend(content):
        content["years"] = [2026, 2027]
        for row in content["hours"]:
            if row["to"] == "2026-12-31":
                row["to"] = "2027-12-31"

    schedule = load_schedule(write(tmp_path, changed(extend)))

    assert schedule.plan(Segment.DERIVATIVES, date(2027, 1, 4)).windows
    assert schedule.plan(Segment.EQUITY, date(2027, 1, 2)).why == "Saturday"
