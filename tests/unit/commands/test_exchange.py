"""`bridge instruments ban · freeze`: what is taken, what is refused, and where it lies then."""

import io
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from bridge.cli import main
from bridge.market.ban import ban_from_json
from bridge.market.freeze import load_freezes
from tests.unit.market.test_rulings import HEADING, QTYFREEZE


class _Fixed:
    """A Friday's noon in India."""

    def now(self) -> datetime:
        return datetime(2026, 11, 20, 6, 30, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRIDGE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("bridge.commands.exchange.SystemClock", _Fixed)
    return tmp_path / "data" / "exchange"


def test_a_ban_list_is_taken_and_told(folder, tmp_path, capsys):
    """With its day and its names; it lies where a running bridge looks."""
    file = tmp_path / "fo_secban.csv"
    file.write_text(f"{HEADING}\n1,SBIN\n")
    assert main(["instruments", "ban", str(file)]) == 0
    assert capsys.readouterr().out == "F&O ban of 2026-11-20: SBIN.\n"
    assert ban_from_json((folder / "ban.json").read_bytes()).names == {"SBIN"}
    assert [path.name for path in folder.iterdir()] == ["ban.json"]


def test_a_list_of_a_day_that_is_over_says_so(folder, monkeypatch, capsys):
    """From standard input, as a pipe from the exchange's address brings it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(HEADING.replace("20-", "19-").encode())))
    assert main(["instruments", "ban", "-"]) == 0
    assert "not known" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("month", "last"), [(None, date(2026, 11, 30)), ("2026-12", date(2026, 12, 31)), ("2028-02", date(2028, 2, 29))]
)
def test_freeze_quantities_hold_for_a_month(folder, tmp_path, month, last):
    """As the exchange's circular does."""
    file = tmp_path / "qtyfreeze.csv"
    file.write_text(QTYFREEZE)
    assert main(["instruments", "freeze", str(file), *(["--month", month] if month else [])]) == 0
    found = load_freezes(folder / "freeze.json")
    assert (found.first, found.last, int(found.units["NIFTY"])) == (last.replace(day=1), last, 1800)


@pytest.mark.parametrize(
    ("words", "content", "told"),
    [
        (["ban"], b"<html>", "stays"),
        (["ban"], b"\xff\xfe", "stays"),
        (["freeze"], b"\xd0\xcf\x11\xe0\xa1\xb1", "save the table as CSV"),
        (["freeze"], b"PK\x03\x04", "save the table as CSV"),
        (["freeze", "--month", "December"], QTYFREEZE.encode(), "2026-12"),
        (["freeze"], b"x" * 1_100_000, "too large"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(folder, tmp_path, capsys, words, content, told):
    """Exit code 1, one line that says why, and no file."""
    file = tmp_path / "given"
    file.write_bytes(content)
    assert main(["instruments", *words, str(file)]) == 1
    assert told in capsys.readouterr().err
    assert not folder.exists()


def test_a_file_that_is_not_there_is_told(folder, tmp_path, capsys):
    """By its name."""
    assert main(["instruments", "ban", str(tmp_path / "none.csv")]) == 1
    assert "none.csv cannot be read" in capsys.readouterr().err
