"""What the exchange has ruled: its lists as it writes them, each for its own day, and unknown on every other."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.enums import InstrumentKind
from bridge.market.ban import BanList, ban_from_json, ban_to_json, parse_ban
from bridge.market.bands import Bands
from bridge.market.freeze import FreezeQuantities, freezes_to_json, parse_freezes
from bridge.market.rulings import BAN_FILE, FREEZE_FILE, Rulings
from tests.support.clocks import StillClock
from tests.unit.market.test_calendar import CALENDAR, make_instrument

DAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
HEADING = "Securities in Ban For Trade Date 20-NOV-2026:"
SBIN = make_instrument("NFO", "SBIN", InstrumentKind.FUT, date(2026, 11, 24))
M_M = make_instrument("NFO", "M&M", InstrumentKind.CE, date(2026, 11, 24))
NIFTY = make_instrument("NFO", "NIFTY", InstrumentKind.CE, date(2026, 11, 24))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"{HEADING}\n1,SBIN\n2,M&M\n3,BAJAJ-AUTO\n", {"SBIN", "M&M", "BAJAJ-AUTO"}),
        (f"{HEADING}\r\n1, SBIN \r\n\r\n", {"SBIN"}),
        (f"\ufeff{HEADING},\nNIL\n", set()),
        (f"{HEADING}\n", set()),
        ("Securities in Ban For Trade Date 20-Nov-2026\n1,SBIN", {"SBIN"}),
    ],
)
def test_the_exchanges_ban_list_is_read_in_every_shape_seen(text, names):
    """With names, with NIL, and with nothing under the heading."""
    assert parse_ban(text) == BanList(day=DAY, names=frozenset(names))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "heading"),
        ("1,SBIN\n", "heading"),
        ("<html>busy</html>", "heading"),
        ("Securities in Ban For Trade Date 31-NOV-2026:\n", "not a day"),
        (f"{HEADING}\nSBIN\n", "line 2"),
        (f"{HEADING}\n1,SBIN\nNIL\n", "line 3"),
        (f"{HEADING}\n" + "\n".join(f"{n % 9_999},A{n}" for n in range(1_001)), "more than"),
    ],
)
def test_what_is_no_ban_list_is_refused(text, told):
    """A page of an office that is busy must not read as an empty list."""
    with pytest.raises(ValueError, match=told):
        parse_ban(text)


@given(st.text(max_size=200))
def test_no_text_is_anything_but_read_or_refused(text):
    """Whatever the file holds."""
    for parse in (parse_ban, parse_freezes):
        try:
            parse(text)
        except ValueError:
            continue


@given(st.dates(), st.frozensets(st.text(min_size=1, max_size=20)))
def test_a_list_is_kept_as_it_was_taken(day, names):
    """Day and names survive the file."""
    ban = BanList(day=day, names=names)
    assert ban_from_json(ban_to_json(ban, source="x", as_of="y").encode()) == ban


def make_rulings(folder: Path, faults: list[str] | None = None, taken: list[FreezeQuantities] | None = None) -> Rulings:
    told = [] if faults is None else faults
    use = None if taken is None else taken.append
    bands = Bands(clock=StillClock(), used=lambda: (), on_fault=lambda where, _error: told.append(where))
    return Rulings(folder, CALENDAR.index_names, use, lambda where, _error: told.append(where), bands)


def put_ban(folder: Path, names: set[str], day: date = DAY) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / BAN_FILE
    path.write_text(ban_to_json(BanList(day=day, names=frozenset(names)), source="x", as_of="y"))
    later = path.stat().st_mtime_ns + 1_000_000 * len(list(folder.iterdir()))
    os.utime(path, ns=(later, later))


def test_a_ban_holds_on_its_own_day_for_contracts_on_shares(tmp_path):
    """On another day nobody can say; indices and shares themselves are never under it."""
    put_ban(tmp_path, {"SBIN"})
    rulings = make_rulings(tmp_path)
    assert [rulings.of(one, NOON).is_banned for one in (SBIN, M_M, NIFTY, make_instrument())] == [True, False, False, False]
    for days in (-1, 1):
        at = NOON + timedelta(days=days)
        assert [rulings.of(one, at).is_banned for one in (SBIN, M_M, NIFTY)] == [None, None, False]


def test_without_a_list_nobody_can_say(tmp_path):
    """None is not an empty list."""
    rulings = make_rulings(tmp_path / "nothing")
    assert [rulings.of(one, NOON).is_banned for one in (SBIN, NIFTY)] == [None, False]


def test_a_new_list_is_taken_and_a_broken_one_is_as_good_as_none(tmp_path):
    """Told once for each change, not at every look."""
    faults: list[str] = []
    rulings = make_rulings(tmp_path, faults)
    put_ban(tmp_path, {"SBIN"})
    rulings.refresh()
    assert rulings.of(SBIN, NOON).is_banned is True
    (tmp_path / BAN_FILE).write_text("{}")
    for _ in range(3):
        rulings.refresh()
    assert (rulings.of(SBIN, NOON).is_banned, faults) == (None, ["ban list"])


QTYFREEZE = (
    "NSE quantity freeze,,\nS.No., SYMBOL      ,VOL_FRZ_QTY  \n1,NIFTY     ,   1800\n2,BANKNIFTY , 900\n,,\n3,SBIN,  150000\n"
)


def test_freeze_quantities_are_read_from_the_saved_table(tmp_path):
    """Padded cells, a line before the heading, an empty line."""
    found = parse_freezes(QTYFREEZE)
    assert found == {"NIFTY": 1800, "BANKNIFTY": 900, "SBIN": 150_000}
    taken: list[FreezeQuantities] = []
    rulings = make_rulings(tmp_path, taken=taken)
    text = freezes_to_json(found, source="x", as_of=DAY, first=date(2026, 11, 1), last=date(2026, 11, 30))
    (tmp_path / FREEZE_FILE).write_text(text)
    rulings.refresh()
    rulings.refresh()
    assert [one.of(SBIN, DAY) for one in taken] == [150_000]
    assert taken[0].of(SBIN, date(2026, 12, 1)) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "columns"),
        ("SYMBOL,QTY\nNIFTY,1\n", "columns"),
        ("SYMBOL,VOL_FRZ_QTY\n", "nothing"),
        ("SYMBOL,VOL_FRZ_QTY\nNIFTY,0\n", "line 2"),
        ("SYMBOL,VOL_FRZ_QTY\nNIFTY\n", "line 2"),
        ("SYMBOL,VOL_FRZ_QTY\nNIFTY,18.5\n", "line 2"),
        ("SYMBOL,VOL_FRZ_QTY\nNIFTY,1\nNIFTY,2\n", "line 3"),
        ("SYMBOL,VOL_FRZ_QTY\n,5\n", "line 2"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(text, told):
    """The quantities in use stay."""
    with pytest.raises(ValueError, match=told):
        parse_freezes(text)


def test_quantities_that_cannot_be_read_are_told_and_those_in_use_stay(tmp_path):
    """A fault is counted; nothing is taken."""
    faults: list[str] = []
    taken: list[FreezeQuantities] = []
    (tmp_path / FREEZE_FILE).write_text("[]")
    make_rulings(tmp_path, faults, taken)
    assert (faults, taken) == (["freeze quantities"], [])
