"""Lists of shares as index providers and exchanges publish them: who is in an index, and who is under surveillance."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bridge.core.errors import ConfigError
from bridge.market.symbols import check_symbol

# Traded rolling; BE, BZ and others are trade-for-trade.
_ROLLING = frozenset({"EQ", ""})
# NSE's surveillance file (REG1_IND): a stage, or 100 for none.
_MEASURES = {"gsm": "GSM", "esm": "ESM", "long_term_additional": "long-term ASM", "short_term_additional": "short-term ASM"}
_NOT_UNDER = frozenset({"", "100", "-"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The symbols of a file in its order, and why some of its rows are left out."""

    symbols: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def read_shares(path: Path) -> Shares:
    """An index or a watchlist: a CSV with a column `Symbol`, and `Series` where it has one.

    Index providers write Company Name, Industry, Symbol, Series, ISIN Code. ConfigError names file and line.
    """
    symbols: dict[str, None] = {}
    left_out: dict[str, str] = {}
    for line, row in _rows(path):
        symbol = _symbol(path, line, row)
        series = row.get("series", "").strip().upper()
        if series in _ROLLING:
            symbols[symbol] = None
        else:
            left_out[symbol] = f"series {series}: traded for delivery alone"
    if not symbols:
        raise ConfigError(f"{path} names no share")
    return Shares(symbols=tuple(symbols), left_out={one: why for one, why in left_out.items() if one not in symbols})


def read_surveillance(path: Path) -> dict[str, str]:
    """By symbol, the measure that a share is under. ConfigError names file and line.

    NSE's daily file lists every security with a stage for each measure (GSM, ESM, long-term and short-term ASM; 100 is none).
    Any other file with a column `Symbol` lists those that are under one, and is called by its name.
    """
    found: dict[str, str] = {}
    for line, row in _rows(path):
        symbol = _symbol(path, line, row)
        columns = {title: row[name].strip() for name in row for start, title in _MEASURES.items() if name.startswith(start)}
        under = [f"{title} stage {stage}" for title, stage in columns.items() if stage not in _NOT_UNDER]
        if under:
            found[symbol] = "under surveillance: " + ", ".join(under)
        elif not columns:
            found[symbol] = f"on the list {path.stem}"
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by heading, in lower case, with their lines."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines)
            heading = [name.strip().lower() for name in next(rows, [])]
            if "symbol" not in heading:
                raise ConfigError(f"{path}, line 1: the heading needs a column Symbol")
            for row in rows:
                if any(cell.strip() for cell in row):
                    yield rows.line_num, dict(zip(heading, row, strict=False))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from None


def _symbol(path: Path, line: int, row: Mapping[str, str]) -> str:
    try:
        return check_symbol(row.get("symbol", ""))
    except ValueError as error:
        raise ConfigError(f"{path}, line {line}, Symbol: {error}") from None
