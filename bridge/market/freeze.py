"""Freeze quantities: the most units an exchange takes in one order, from a dated file; out of date means unknown."""

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
