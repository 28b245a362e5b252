"""Freeze quantities: the most units an exchange takes in one order, from a dated file; out of date means unknown."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from bridge.core.errors import ConfigError
from bridge.core.instrument import Instrument

SHIPPED = Path(__file__).parent / "data" / "freeze-nse.json"
MAX_BYTES = 1 << 20
_NEEDED = frozenset({"title", "as_of", "good_from", "good_to", "source", "exchange", "quantities"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeQuantities:
    """Units by the name of the underlying, for the contracts of one exchange, from one day to another."""

    exchange: str = ""
    first: date = date.max
    last: date = date.min
    units: Mapping[str, Decimal] = field(default_factory=dict)

    def of(self, item: Instrument, today: date) -> Decimal | None:
        """The largest order in `item`; None when it is not listed or the file is out of date."""
        if item.exchange != self.exchange or not self.first <= today <= self.last:
            return None
        return self.units.get(item.name)


NO_FREEZES = FreezeQuantities()


def load_freezes(path: Path | None = None) -> FreezeQuantities:
    """The quantities of the file that the setting `freeze_quantities` names, else of the shipped one; may raise ConfigError."""
    file = SHIPPED if path is None else path
    try:
        with file.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError("it is too large")
        return _read(json.loads(raw.decode()))
    except OSError as error:
        raise ConfigError(f"freeze_quantities: {file} cannot be read ({error.strerror}); name another file") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"freeze_quantities: {file}: {error}; write it like the shipped {SHIPPED.name}") from None


def parse_freezes(text: str) -> dict[str, int]:
    """Units by underlying, from the exchange's table saved as CSV; ValueError names the line.

    Columns SYMBOL and VOL_FRZ_QTY, padded with blanks, among others; the heading may have lines before it.
    """
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    except csv.Error as error:
        raise ValueError(f"it is not CSV ({error})") from None
    heads = [{cell.upper() for cell in row} for row in rows]
    head = next((number for number, names in enumerate(heads) if {"SYMBOL", "VOL_FRZ_QTY"} <= names), None)
    if head is None:
        raise ValueError("no line has the columns SYMBOL and VOL_FRZ_QTY; save the exchange's table as CSV")
    names = [cell.upper() for cell in rows[head]]
    symbol, units = names.index("SYMBOL"), names.index("VOL_FRZ_QTY")
    quantities: dict[str, int] = {}
    for number, row in enumerate(rows[head + 1 :], start=head + 2):
        if not any(row):
            continue
        name, told = (row[symbol], row[units]) if len(row) > max(symbol, units) else ("", "")
        if not name or name in quantities or not (told.isascii() and told.isdigit() and 0 < len(told) < 10 and int(told)):
            raise ValueError(f"line {number}: {','.join(row)[:60]!r} is not a new symbol with a whole quantity above zero")
        quantities[name] = int(told)
    if not quantities:
        raise ValueError("it lists nothing")
    return quantities


def freezes_to_json(quantities: Mapping[str, int], *, source: str, as_of: date, first: date, last: date) -> str:
    """An imported table as it is kept, which is written like the shipped file."""
    told = {
        "title": "The most units NSE takes in one order for a contract (freeze quantities), as imported",
        "as_of": as_of.isoformat(), "good_from": first.isoformat(), "good_to": last.isoformat(), "source": source,
        "exchange": "NFO", "quantities": dict(quantities),
    }  # fmt: skip
    return json.dumps(told, indent=2) + "\n"


def _read(told: Any) -> FreezeQuantities:
    if not isinstance(told, dict) or not told.keys() >= _NEEDED or told.keys() - _NEEDED - {"notes"}:
        raise ValueError(f"it must be an object of {', '.join(sorted(_NEEDED))}")
    texts = {name: told[name] for name in _NEEDED - {"quantities"}}
    if not all(isinstance(text, str) and text for text in texts.values()):
        raise ValueError(f"{', '.join(sorted(texts))} must be texts")
    date.fromisoformat(texts["as_of"])
    first, last = date.fromisoformat(texts["good_from"]), date.fromisoformat(texts["good_to"])
    if last < first:
        raise ValueError("good_to lies before good_from")
    quantities = told["quantities"]
    if not isinstance(quantities, dict) or not all(type(units) is int and units > 0 for units in quantities.values()):
        raise ValueError("quantities must be whole numbers above zero by the name of the underlying")
    units = {name: Decimal(units) for name, units in quantities.items()}
    return FreezeQuantities(exchange=texts["exchange"], first=first, last=last, units=units)
