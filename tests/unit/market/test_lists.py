"""Dumps become the list in use only when they can be trusted; what vanished from them is still known."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.core.errors import ConfigError, RefusedError
from bridge.market.dump_rows import ListError
from bridge.market.instruments import Catalog
from bridge.market.listing import FORMAT, KEEP_EXPIRED_DAYS, open_listing
from bridge.market.lists import KEEP_LISTS, Taking, decode_answer, newest_list, open_newest, take_dump
from tests.support.dumps import HEADING, DumpPlan, make_dump
from tests.support.rigs import instruments_csv

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)


class Desk:
    """A folder of lists, a file of settings, and dumps to take."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "instruments"
        self.folder.mkdir()
        self.file = folder / "sample.csv"
        self.file.write_text(instruments_csv())
        self.dump = folder / "dump.csv"

    def write(self, lines: list[str]) -> None:
        self.dump.write_text("\n".join(lines) + "\n")

    def taking(self, day: date = FRIDAY, fetched_on: date | None = None, least_rows: int = 100) -> Taking:
        return Taking(
            dump=str(self.dump),
            folder=str(self.folder),
            former=str(newest_list(self.folder) or self.file),
            source="zerodha",
            day=day.isoformat(),
            fetched_on=(fetched_on or day).isoformat(),
            least_rows=least_rows,
        )

    def take(self, lines: list[str], day: date = FRIDAY, **more: object) -> None:
        self.write(lines)
        take_dump(replace(self.taking(day), **more))  # type: ignore[arg-type]

    def catalog(self, today: date = FRIDAY) -> Catalog:
        return Catalog(open_newest(self.folder, self.file), lambda: today)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def lines_of(day: date = FRIDAY, seed: int = 7) -> list[str]:
    return list(make_dump(DumpPlan(day=day, seed=seed)))


def test_taken_dump_is_used_over_the_file_of_the_settings(desk):
    """The newest list that was fetched goes before the sample."""
    assert desk.catalog().get("NFO:NIFTY26NOVFUT") is None

    desk.take(lines_of())

    catalog = desk.catalog()
    assert catalog.listing.facts.day == FRIDAY
    assert catalog.listing.facts.source == "zerodha"
    future = catalog.get("NFO:NIFTY26NOVFUT")
    assert future is not None
    assert (future.tick, future.lot, future.expiry) == (Decimal("0.05"), Decimal(65), date(2026, 11, 24))


def test_answer_counts_rows_and_names_the_first_that_was_left_out(desk):
    """One row of a thousand may be unusable: what it lists is refused, the rest trades."""
    lines = lines_of()
    lines[200] = lines[200].replace(",0.05,", ",0,")
    desk.write(lines)

    taken = take_dump(desk.taking())

    assert (taken.rows, taken.left_out) == (len(lines) - 1, 1)
    assert "line 201, column tick_size: 0 must be above zero" in str(taken)
    with pytest.raises(RefusedError):
        desk.catalog().resolve("NFO:" + lines[200].split(",")[2])


def spoil_tenth(lines: list[str]) -> list[str]:
    return [line.replace(",0.05,", ",0,") if number % 10 == 0 else line for number, line in enumerate(lines)]


BROKEN = {
    "empty": (lambda _lines: [""], "the heading must be"),
    "a page of the proxy": (lambda _lines: ["<html><body>Bad gateway</body></html>"], "the heading must be"),
    "a column is missing": (lambda lines: [line.rpartition(",")[0] for line in lines], "the heading must be"),
    "columns in another order": (lambda lines: [HEADING.replace("strike,tick_size", "tick_size,strike"), *lines[1:]], "strike"),
    "cut short": (lambda lines: lines[:50], "the dump has 49 rows, fewer than"),
    "a row twice": (lambda lines: [*lines, lines[-1]], "is listed twice"),
    "a token twice": (lambda lines: [*lines, lines[-1].replace("USDINR", "EURINR")], "is given to two instruments"),
    "many rows unusable": (spoil_tenth, "rows of the dump cannot be used"),
    "an exchange is missing": (lambda lines: [line for line in lines if not line.endswith(",NSE")], "has nothing of NSE"),
    "of last month": (lambda _lines: lines_of(FRIDAY - timedelta(days=30)), "the dump is an old one"),
    "an open quote": (lambda lines: [*lines, '1,1,"X'], "is not CSV"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_dump_is_refused_and_the_old_list_stays(desk, name):
    """Nothing of a dump that cannot be trusted is used, and nothing of it is left behind."""
    desk.take(lines_of())
    before = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    spoil, complaint = BROKEN[name]
    desk.write(spoil(lines_of(FRIDAY, seed=8)))

    with pytest.raises(ListError, match=complaint):
        take_dump(desk.taking(MONDAY))

    assert {path.name: path.read_bytes() for path in desk.folder.iterdir()} == before
    assert desk.catalog().listing.facts.day == FRIDAY


def test_bytes_that_are_not_utf8_are_a_row_that_cannot_be_used(desk):
    """One name in another encoding does not cost the list."""
    desk.write(lines_of())
    desk.dump.write_bytes(desk.dump.read_bytes().replace(b'"SBIN LIMITED"', b'"SB\xff LIMITED"', 1))

    assert take_dump(desk.taking()).left_out == 1


def test_list_of_yesterday_is_refused_on_the_trading_day(desk):
    """The same bytes again mean that the broker has not made the day's list yet."""
    desk.take(lines_of(), fetched_on="2026-11-22")

    with pytest.raises(ListError, match="still gives the list that was fetched on 2026-11-22"):
        desk.take(lines_of(), MONDAY)

    assert desk.catalog().listing.facts.day == FRIDAY


def test_same_list_is_taken_when_it_was_fetched_the_same_day(desk):
    """Fetched before the hour at which lists are made, it is dated back; the new one may be the same."""
    desk.take(lines_of(), FRIDAY, fetched_on="2026-11-23")
    desk.take(lines_of(), MONDAY)

    assert desk.catalog().listing.facts.day == MONDAY


def test_list_half_as_long_as_the_one_before_is_refused(desk):
    """A dump that lost an exchange on the way is shorter, not broken."""
    desk.take(list(make_dump(DumpPlan(day=FRIDAY, shares=1_000))))

    with pytest.raises(ListError, match="fewer than"):
        desk.take(list(make_dump(DumpPlan(day=MONDAY, shares=20))), MONDAY)


# --- what vanished ---


def test_instrument_that_vanished_is_still_known(desk):
    """It may be held: it resolves by its own names, and is no front month of anything."""
    desk.take(lines_of())
    held = desk.catalog().get("NFO:NIFTY26NOVFUT")
    gone = [line for line in lines_of(MONDAY, seed=8) if "NIFTY26NOVFUT" not in line]
    desk.take(gone, MONDAY)
    catalog = desk.catalog(MONDAY)

    assert held is not None
    assert catalog.get("NFO:NIFTY26NOVFUT") == replace(held, token=0)
    assert catalog.resolve("NSE:NIFTYX2026") == replace(held, token=0)
    assert catalog.resolve("NSE:NIFTY1!").symbol == "NFO:NIFTY26DECFUT"
    assert "NFO:NIFTY26NOVFUT" not in {item.symbol for item in catalog}


def test_sample_is_remembered_under_the_first_list(desk):
    """Positions of the paper days before the first sync resolve."""
    lines = [line for line in lines_of() if ",TCS," not in line]
    desk.take(lines)

    assert desk.catalog().get("NSE:TCS") is not None
    assert "TCS" not in {item.tradingsymbol for item in desk.catalog()}


def test_share_that_comes_back_is_listed_again(desk):
    """What is remembered never stands beside what is listed."""
    without = [line for line in lines_of() if ",SBIN," not in line]
    desk.take(lines_of())
    desk.take(without, MONDAY)
    desk.take(lines_of(seed=9), MONDAY + timedelta(days=1))

    assert desk.catalog().resolve("NSE:SBIN").token > 0


def test_expired_contract_is_forgotten_in_the_end(desk):
    """The file does not grow for ever."""
    later = date(2026, 11, 24) + timedelta(days=KEEP_EXPIRED_DAYS)
    desk.take(lines_of())
    desk.take(lines_of(later), later)
    assert desk.catalog(later).get("NFO:NIFTY26NOVFUT") is not None

    desk.take(lines_of(later + timedelta(days=1)), later + timedelta(days=1))
    assert desk.catalog(later).get("NFO:NIFTY26NOVFUT") is None


# --- the folder ---


def test_few_lists_are_kept(desk):
    """The latest days, to go back to when one is damaged."""
    for number in range(5):
        desk.take(lines_of(seed=number), FRIDAY + timedelta(days=number))

    assert len(list(desk.folder.iterdir())) == KEEP_LISTS


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\x00" + b"\xff" * 4096])
def test_damaged_list_gives_way_to_the_one_before(desk, content):
    """A start does not fail for one bad file."""
    desk.take(lines_of())
    (desk.folder / "2026-11-23.db").write_bytes(content)

    assert desk.catalog().listing.facts.day == FRIDAY


def test_list_of_another_format_is_not_read(desk):
    """A later bridge writes otherwise; then the file of the settings serves until the next sync."""
    desk.take(lines_of())
    file = desk.folder / "2026-11-20.db"
    changed = file.read_bytes().replace(b"format" + FORMAT.encode(), b"format9")
    assert changed != file.read_bytes()
    file.write_bytes(changed)

    with pytest.raises(ListError, match="format 9"):
        open_listing(file)
    assert desk.catalog().listing.facts.day is None


def test_neither_list_nor_file_is_a_config_error(tmp_path):
    """Without any list nothing could be traded."""
    with pytest.raises(ConfigError, match="instruments: "):
        open_newest(tmp_path, tmp_path / "none.csv")


@pytest.mark.parametrize("text", ["", "Traceback", "[]", '{"file": "x"}', "null"])
def test_reader_that_says_nothing_is_a_list_error(text):
    """The process that reads may be killed; the list in use stays."""
    with pytest.raises(ListError, match="ended early"):
        decode_answer(text)
