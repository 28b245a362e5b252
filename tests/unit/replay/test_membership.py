"""Dated membership in a replay: entries and ranks of each day's members alone, and no list before its date."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bridge.core.bar import Interval
from bridge.core.enums import Action
from bridge.core.universe import Members, PointInTime
from bridge.market.bars.series import Series
from bridge.market.bars.store import BarStore
from bridge.market.bars.synthetic import weekdays
from bridge.replay.membership import everybody, membership_rows, membership_stamps, outside_of, spans_of
from bridge.replay.run import Outcome
from tests.support.replays import daily_times, minute_times, play, store_of, walk

NAMES = tuple(f"NSE:S{number}" for number in range(5))
DAYS = weekdays(date(2026, 6, 1), date(2026, 7, 10))
MONTH = weekdays(date(2026, 6, 1), date(2026, 6, 12))
DAILY = {
    "name": "rank", "universe": "mine", "interval": "1d", "score": "roc(close, 2)", "top": 2, "keep": 3, "long": {},
    "size": {"quantity": 1},
}  # fmt: skip
MINUTES = {**DAILY, "interval": "15m", "exits": {"stop": {"percent": 2}}}


def listed(*lists: tuple[date, tuple[str, ...]]) -> list[Members]:
    """A universe as its lists tell it, each from its day on."""
    return [
        Members(universe="mine", day=day, symbols=names, point_in_time=PointInTime.YES, source="recorded")
        for day, names in lists
    ]


def replay(folder: Path, store: BarStore, source: dict, found: list[Members], days=DAYS) -> Outcome:
    spans = spans_of(found, days)
    return play(
        folder, store, source, days=days, product="CNC", symbols={"rank": everybody(spans)}, outside={"rank": outside_of(spans)}
    )


def stored(folder: Path, found: dict[str, Series], interval: Interval = Interval.DAY) -> BarStore:
    folder.mkdir(parents=True, exist_ok=True)
    return store_of(folder, interval, found)


def wished(closes: dict[str, np.ndarray], members: dict[date, tuple[str, ...]]) -> list[tuple[date, str, Action]]:
    """A literal reading of the definition of days: at each day's open, exits by name and then entries of the best."""
    told, held = [], set[str]()
    for place, day in enumerate(DAYS[3:], start=3):
        change = {name: 100 * (close[place - 1] / close[place - 3] - 1) for name, close in closes.items()}
        among = [change[name] for name in members[day]]
        ranks = {name: 1 + sum(other > change[name] for other in among) for name in closes}
        exits = [name for name in NAMES if name in held and ranks[name] > 3]
        held -= set(exits)
        best = [name for name in sorted(members[day], key=lambda name: ranks[name]) if ranks[name] <= 2 and name not in held]
        entries = [name for name in best if name not in exits][: 2 - len(held)]
        held |= set(entries)
        told += [(day, name, Action.EXIT) for name in exits] + [(day, name, Action.BUY) for name in entries]
    return told


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99),
    lists=st.lists(
        st.tuples(st.integers(0, len(DAYS) - 1), st.sets(st.sampled_from(NAMES), min_size=2)), min_size=1, max_size=6
    ),
)
@example(seed=55, lists=[(0, {NAMES[0], NAMES[3]}), (1, {NAMES[0], NAMES[2]}), (27, set(NAMES))])  # two leave on one day
def test_each_day_has_its_own_members(tmp_path_factory, seed, lists):
    """Who leaves and joins, and back: what is wished is what a literal reading of the rules wishes."""
    folder = tmp_path_factory.mktemp("days")
    found = {name: walk(seed + number, daily_times(DAYS)) for number, name in enumerate(NAMES)}
    dated = {DAYS[0]: NAMES} | {DAYS[place]: tuple(sorted(names)) for place, names in lists}
    outcome = replay(folder, stored(folder, found), DAILY, listed(*sorted(dated.items())))
    members = {day: next(names for since, names in sorted(dated.items(), reverse=True) if since <= day) for day in DAYS}
    told = [(one.at.date(), one.wish.symbol, one.wish.action) for one in outcome.raised]
    assert told == wished({name: series.close for name, series in found.items()}, members)
    assert told


@pytest.mark.parametrize("interval", [Interval.DAY, Interval.MINUTES_15])
def test_who_left_the_universe_is_left_by_the_rules_and_entered_again_only_as_a_member(tmp_path, interval):
    """The steepest of all is bought; outside it is kept as long as it would rank, and sold when it falls."""
    times = daily_times(DAYS) if interval is Interval.DAY else minute_times(DAYS, interval)
    per_day = len(times) // len(DAYS)
    slopes = dict(zip(NAMES, (0.002, 0.001, 0.0005, 0.0002, 0.0001), strict=True))
    found = {name: rising(times, slope / per_day) for name, slope in slopes.items()}
    steep = found[NAMES[0]]
    fall = slice(15 * per_day, 20 * per_day)
    drop = np.ones(len(times))
    drop[fall] = np.linspace(1, 0.5, 5 * per_day)
    drop[20 * per_day :] = 0.5
    found[NAMES[0]] = Series(
        times=times, volume=steep.volume, **{n: np.round(getattr(steep, n) * drop, 2) for n in ("open", "high", "low", "close")}
    )
    source = {**DAILY, "keep": 2, "interval": interval.value, "score": f"roc(close, {2 * per_day})"}
    lists = listed((DAYS[0], NAMES), (DAYS[8], NAMES[1:]), (DAYS[26], NAMES))
    outcome = replay(tmp_path, stored(tmp_path, found, interval), source, lists)
    mine = [(one.at.date(), one.wish.action) for one in outcome.raised if one.wish.symbol == NAMES[0]]
    (bought, entered), (sold, left), (again, _entered) = mine
    assert (entered, left, _entered) == (Action.BUY, Action.EXIT, Action.BUY)
    assert bought < DAYS[8] < DAYS[15] <= sold <= DAYS[17]
    assert again == DAYS[26]
    others = {one.wish.symbol for one in outcome.raised if DAYS[17] < one.at.date() < DAYS[26]}
    assert NAMES[0] not in others


def rising(times: np.ndarray, slope: float) -> Series:
    close = np.round(500 * np.cumprod(np.full(len(times), 1 + slope)), 2)
    return Series(times=times, open=close, high=close, low=close, close=close, volume=np.full(len(times), 100.0))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99), cut=st.integers(3, len(MONTH) - 2), thin=st.booleans(),
    future=st.lists(st.sets(st.sampled_from((*NAMES, "NSE:NEW", "NSE:OTHER")), min_size=1), min_size=1, max_size=4),
)  # fmt: skip
def test_a_list_never_changes_what_was_done_before_its_date(tmp_path_factory, seed, cut, thin, future):
    """Also when it names shares that nobody had heard of before, which trade at minutes and on days when no other does."""
    folder = tmp_path_factory.mktemp("lists")
    times = minute_times(MONTH)
    kept = np.random.default_rng(seed).random((len(NAMES), len(times))) < (0.3 if thin else 1.0)
    saturday = minute_times([MONTH[4] + timedelta(days=1)])
    found = {name: walk(seed + n, times[kept[n]]) for n, name in enumerate(NAMES)}
    found |= {name: walk(seed + 50 + n, np.union1d(times, saturday)) for n, name in enumerate(("NSE:NEW", "NSE:OTHER"))}
    store = stored(folder, found, Interval.MINUTES_15)
    past = [(MONTH[0], NAMES[:3]), (MONTH[1], NAMES[1:])]
    dated = {MONTH[cut] + timedelta(days=number): tuple(sorted(names)) for number, names in enumerate(future)}
    alone = replay(folder / "a", store, MINUTES, listed(*past), MONTH)
    both = replay(folder / "b", store, MINUTES, listed(*past, *dated.items()), MONTH)
    until = f"{MONTH[cut]}T03:45"
    before = [[line for line in each.journal if json.loads(line)["at"] < until] for each in (alone, both)]
    assert before[0] == before[1]
    assert len(before[0]) > 10
    days = [[point for point in each.days if point.day < MONTH[cut]] for each in (alone, both)]
    assert days[0] == days[1]


def test_the_report_says_which_list_stood_for_which_days():
    """Of its day, an older one, and one that nobody had then; only the last makes results look better."""

    def one(day: date, symbols: tuple[str, ...], listed_on: date | None) -> Members:
        known = PointInTime.YES if listed_on is None else PointInTime.BIASED
        return Members(universe="mine", day=day, symbols=symbols, point_in_time=known, source="s", listed_on=listed_on)

    found = [
        one(DAYS[0], NAMES[:2], DAYS[5]), one(DAYS[5], NAMES[:2], None), one(DAYS[10], NAMES[:3], None),
        one(DAYS[10] + timedelta(days=1), NAMES[:3], DAYS[10]), one(DAYS[15], NAMES[1:3], None),
    ]  # fmt: skip
    spans = spans_of(found, DAYS)
    assert [span.days for span in spans] == [5, 5, 1, 4, 15]
    stamps = membership_stamps("mine", spans)
    assert [stamp.tone for stamp in stamps] == ["warn", "warn", "quiet"]
    assert f"{DAYS[0]} to {DAYS[4]}" in stamps[0].message
    assert f"the list of {DAYS[5]} stood in, which nobody had then" in stamps[0].message
    assert "better" not in stamps[1].message
    assert f"the list of {DAYS[10]} stood in" in stamps[1].message
    assert "the members of 21 of 30 days were written down at the time" in stamps[2].message
    assert "1 joined and 1 left" in stamps[2].message
    rows = membership_rows(spans)
    assert [(row["came"], row["went"]) for row in rows] == [([], []), ([], []), ([NAMES[2]], []), ([], []), ([], [NAMES[0]])]
    assert outside_of(spans_of(found[:2], DAYS)) == ()


def test_many_gaps_are_told_in_one_line():
    """A universe that was written down every other day."""
    found = [
        Members(
            universe="mine", day=day, symbols=NAMES, source="s", listed_on=DAYS[place - 1] if place % 2 else None,
            point_in_time=PointInTime.BIASED if place % 2 else PointInTime.YES,
        )
        for place, day in enumerate(DAYS)
    ]  # fmt: skip
    stamps = membership_stamps("mine", spans_of(found, DAYS))
    assert [stamp.tone for stamp in stamps] == ["warn", "quiet"]
    assert "older lists stood in on 15 days" in stamps[0].message
