"""What universes were on each day: written down from the first day on, since nobody can find it out later."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bridge.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One membership and the days, `first` to `last`, on which it was seen."""

    first: date
    last: date
    symbols: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


class UniverseLog:
    """A file for each universe. A stretch grows while nothing changes, so a year is a few lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, universe: str) -> list[Stretch]:
        """The stretches, oldest first; ConfigError when the file cannot be read."""
        path = self._path(universe)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return [_decode(one) for one in told]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"{path} cannot be read ({type(error).__name__}); restore it, or move it away") from None

    def write(self, universe: str, day: date, symbols: tuple[str, ...], left_out: Mapping[str, str]) -> None:
        """Note what the universe is on `day`, in place by one rename. What was noted of a later day is not undone."""
        stretches = self.read(universe)
        if stretches and stretches[-1].last > day:
            return
        new = Stretch(first=day, last=day, symbols=symbols, left_out=dict(left_out))
        if stretches and (set(stretches[-1].symbols), stretches[-1].left_out) == (set(symbols), new.left_out):
            old = stretches.pop()
            new = Stretch(first=old.first, last=day, symbols=old.symbols, left_out=new.left_out)
        elif stretches and stretches[-1].last == day:  # corrected within the day
            old = stretches.pop()
            if old.first < day:
                stretches.append(replace(old, last=day - timedelta(days=1)))
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(universe)
        fresh = path.with_suffix(f".{os.getpid()}.fresh")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump([_encode(one) for one in [*stretches, new]], file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def _path(self, universe: str) -> Path:
        return self._folder / f"{universe}.json"


def _encode(stretch: Stretch) -> dict[str, Any]:
    days = {"first": stretch.first.isoformat(), "last": stretch.last.isoformat()}
    return {**days, "symbols": list(stretch.symbols), "left_out": dict(stretch.left_out)}


def _decode(told: Mapping[str, Any]) -> Stretch:
    first, last = date.fromisoformat(told["first"]), date.fromisoformat(told["last"])
    symbols = tuple(str(symbol) for symbol in told["symbols"])
    return Stretch(first=first, last=last, symbols=symbols, left_out={str(k): str(v) for k, v in told["left_out"].items()})
