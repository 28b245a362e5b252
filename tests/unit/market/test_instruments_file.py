"""Strict reading of a broker's list of instruments: a wrong cell names file, line and column and stops the start."""

from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import ConfigError
from bridge.core.instrument import Instrument
from bridge.market.dump_rows import COLUMNS, read_instruments
from bridge.market.instruments import load_catalog

HEADING = ",".join(COLUMNS)


def today() -> date:
    return date(2026, 11, 20)


def read(*rows: str) -> list[Instrument]:
    return read_instruments([HEADING, *rows], "list.csv")


GOOD_ROW = '9,9,TCS,"TATA CONSULTANCY SERVICES",0,,0,0.1,1,EQ,NSE,NSE'


def with_cell(column: str, value: str, row: str = GOOD_ROW) -> str:
    cells = row.split(",")
    cells[COLUMNS.index(column)] = value
    return ",".join(cells)


FUTURE_ROW = "8,8,X26NOVFUT,X,0,2026-11-23,0,0.1,65,FUT,NFO-FUT,NFO"
OPTION_ROW = "7,7,X26NOV10CE,X,0,2026-11-23,10,0.05,65,CE,NFO-OPT,NFO"


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        (with_cell("instrument_token", ""), "instrument_token", "is not a whole number"),
        (with_cell("instrument_token", "1.0"), "instrument_token", "is not a whole number"),
        (with_cell("instrument_token", "१"), "instrument_token", "is not a whole number"),
        (with_cell("instrument_token", "9" * 19), "instrument_token", "is not a whole number"),
        (with_cell("instrument_token", "1"), "instrument_token", "is given to two instruments"),
        (with_cell("exchange_token", "x"), "exchange_token", "is not a whole number"),
        (with_cell("tradingsymbol", ""), "tradingsymbol", "is not a symbol"),
        (with_cell("tradingsymbol", " TCS"), "tradingsymbol", "is not a symbol"),
        (with_cell("tradingsymbol", "FIRST"), "tradingsymbol", "NSE:FIRST is listed twice; remove one of the rows"),
        (with_cell("last_price", "free"), "last_price", "is not a number"),
        (with_cell("last_price", "nan"), "last_price", "is not a finite number"),
        (with_cell("expiry", "2026-11-23"), "expiry", "only derivatives expire"),
        (with_cell("strike", "low"), "strike", "is not a number"),
        (with_cell("tick_size", "0"), "tick_size", "must be above zero"),
        (with_cell("tick_size", ""), "tick_size", "must be above zero"),
        (with_cell("tick_size", "-0.05"), "tick_size", "must be above zero"),
        (with_cell("tick_size", "1e400"), "tick_size", "digits"),
        (with_cell("lot_size", "0"), "lot_size", "must be above zero"),
        (with_cell("lot_size", "0.5"), "lot_size", "is not a whole number"),
        (with_cell("instrument_type", "ETF"), "instrument_type", "is none of EQ, FUT, CE, PE"),
        (with_cell("segment", "BSE"), "segment", "does not belong to NSE"),
        (with_cell("exchange", ""), "exchange", "is not an exchange"),
        (with_cell("exchange", "nse"), "exchange", "is not an exchange"),
        (with_cell("exchange", "NSE:"), "exchange", "is not an exchange"),
        (with_cell("expiry", "", FUTURE_ROW), "expiry", "all of them do"),
        (with_cell("expiry", "23-11-2026", FUTURE_ROW), "expiry", "is not a date such as 2026-11-24"),
        (with_cell("expiry", "20261123", FUTURE_ROW), "expiry", "is not a date"),
        (with_cell("expiry", "2026-02-30", FUTURE_ROW), "expiry", "is not a date"),
        (with_cell("strike", "0", OPTION_ROW), "strike", "must be above zero"),
        (with_cell("strike", "", OPTION_ROW), "strike", "must be above zero"),
        ("9,9,TCS", "name", "the row has 3 cells, 12 are needed"),
        (GOOD_ROW + ",extra", "exchange", "the row has 13 cells, 12 are needed"),
    ],
)
def test_bad_row_names_file_line_and_column(row, column, problem):
    """The line is that of the row, counted from the heading as 1."""
    with pytest.raises(ConfigError) as caught:
        read('1,1,FIRST,"FIRST",0,,0,0.05,1,EQ,NSE,NSE', row)

    assert str(caught.value).startswith(f"list.csv, line 3, column {column}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("heading", "complaint"),
    [
        ("", "line 1, column instrument_token: the heading must be instrument_token,exchange_token"),
        (HEADING.replace("lot_size", "lot"), "line 1, column lot_size: the heading must be"),
        (HEADING.removesuffix(",exchange"), "line 1, column exchange: the heading must be"),
        (HEADING + ",isin", "line 1, column isin: the heading must be"),
        (GOOD_ROW, "line 1, column instrument_token: the heading must be"),
        (HEADING.upper(), "line 1, column instrument_token"),
    ],
)
def test_bad_heading_names_the_column(heading, complaint):
    """Kite's columns, in Kite's order, nothing else."""
    with pytest.raises(ConfigError, match=complaint):
        read_instruments([heading, GOOD_ROW], "list.csv")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "line 1, column instrument_token"),
        ([HEADING], "line 2: has no instruments"),
        ([HEADING, ""], "line 2: has no instruments"),
        ([HEADING, GOOD_ROW, '5,"unclosed'], "is not CSV"),
        ([HEADING, '5,5,"A"B,,,,,,,,,', GOOD_ROW], "line 2: is not CSV"),
    ],
)
def test_file_without_rows_or_not_csv(lines, complaint):
    """An empty list of instruments is a fault, not an empty catalog."""
    with pytest.raises(ConfigError, match=complaint):
        read_instruments(lines, "list.csv")


def test_blank_lines_and_quoted_names_are_fine():
    """Kite quotes names, some with commas in them."""
    (found,) = read("", '9,9,X,"X, LIMITED",,,,0.05,1,EQ,NSE,NSE', "")

    assert found.name == "X, LIMITED"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"\xff\xfe\x00", "line 1, column instrument_token"),
        (HEADING.encode() + b"\n1,1,X,\xff,0,,0,0.05,1,EQ,NSE,NSE\n", "line 2, column name"),
        (HEADING.encode() + b"\n1,1,\xff,X,0,,0,0.05,1,EQ,NSE,NSE\n", "line 2, column tradingsymbol"),
    ],
)
def test_file_that_is_not_utf8(tmp_path, content, place):
    """Any bytes on disk give a ConfigError that names the file and the cell."""
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"list\.csv, {place}: "):
        load_catalog(path, today)


def test_missing_file_and_folder(tmp_path):
    """The setting is named with the system's words."""
    with pytest.raises(ConfigError, match=r"instruments: .*none\.csv cannot be read \(No such file"):
        load_catalog(tmp_path / "none.csv", today)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_catalog(tmp_path, today)


def test_file_with_a_byte_order_mark_and_dos_lines(tmp_path):
    """What a spreadsheet saves is read."""
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADING}\r\n{GOOD_ROW}\r\n{FUTURE_ROW}\r\n".encode())

    assert [i.symbol for i in load_catalog(path, today)] == ["NSE:TCS", "NFO:X26NOVFUT"]


@given(cells=st.lists(st.text(max_size=12), max_size=14), column=st.sampled_from(COLUMNS), value=st.text(max_size=12))
def test_any_row_is_read_or_a_config_error(cells, column, value):
    """Strict reading has no third way out, for whole rows and for single cells."""
    for row in (",".join(cells), with_cell(column, value), with_cell(column, value, OPTION_ROW)):
        with suppress(ConfigError):
            assert read_instruments([HEADING, row], "list.csv")
