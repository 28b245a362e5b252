"""Universes: what a scan looks at, as it was on a day: the source, minus surveillance, minus what trades too little."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from bridge.core.errors import ConfigError
from bridge.core.universe import Members, PointInTime
from bridge.market.universe_files import Shares, read_shares, read_surveillance
from bridge.market.universe_log import Stretch, UniverseLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidity:
    """The least that a share must trade: rupees and units a day, the median of the last `days` sessions; None is no limit."""

    min_turnover: Decimal | None = None
    min_volume: Decimal | None = None
    days: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class UniverseSpec:
    """Where a universe comes from: a file, or with None the shares that have futures; and what is taken off."""

    name: str
    file: Path | None
    minus: tuple[Path, ...] = ()
    liquidity: Liquidity = Liquidity()


# Of some symbols, those that trade too little by a day, and why; it must look at nothing of that day or later.
FindIlliquid = Callable[[Sequence[str], date, Liquidity], Mapping[str, str]]


class Universes:
    """Every universe of the settings, by name."""

    def __init__(
        self,
        specs: Iterable[UniverseSpec],
        *,
        log: UniverseLog,
        underlyings: Callable[[], Sequence[str]],
        find_illiquid: FindIlliquid,
        today: Callable[[], date],
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._log = log
        self._underlyings = underlyings
        self._find_illiquid = find_illiquid
        self._today = today

    @property
    def names(self) -> tuple[str, ...]:
        """What there is."""
        return tuple(self._specs)

    def record(self, name: str) -> Members:
        """Read the source and write down what it says today; ConfigError when it cannot be read."""
        shares, today = self._read(self._spec(name)), self._today()
        self._log.write(name, today, shares.symbols, shares.left_out)
        return self.as_of(name, today)

    def as_of(self, name: str, day: date) -> Members:
        """Who belonged to it on `day`, by what was written down; of other days by the nearest list, and it says so.

        What trades too little is judged by the bars before `day` alone. ConfigError when there is no such universe.
        """
        spec = self._spec(name)
        stretches = self._log.read(name)
        inside = next((one for one in stretches if one.first <= day <= one.last), None)
        native = PointInTime.BIASED if spec.file is not None else PointInTime.LIVE_ONLY
        if inside is not None:
            return self._judge(spec, day, inside, PointInTime.YES, f"recorded since {inside.first}")
        if day == self._today():
            shares = self._read(spec)
            now = Stretch(first=day, last=day, symbols=shares.symbols, left_out=shares.left_out)
            return self._judge(spec, day, now, PointInTime.YES, "as it is now")
        before = [one for one in stretches if one.last < day]
        near = before[-1] if before else stretches[0] if stretches else None
        if near is None:
            shares, today = self._read(spec), self._today()
            near = Stretch(first=today, last=today, symbols=shares.symbols, left_out=shares.left_out)
        return self._judge(spec, day, near, native, f"the list of {near.last if before else near.first}, not of this day")

    def _judge(self, spec: UniverseSpec, day: date, stretch: Stretch, known: PointInTime, source: str) -> Members:
        illiquid: Mapping[str, str] = {}
        if spec.liquidity.min_turnover is not None or spec.liquidity.min_volume is not None:
            illiquid = self._find_illiquid(stretch.symbols, day, spec.liquidity)
        return Members(
            universe=spec.name, day=day, point_in_time=known, source=source,
            symbols=tuple(symbol for symbol in stretch.symbols if symbol not in illiquid),
            left_out={**stretch.left_out, **illiquid},
        )  # fmt: skip

    def _read(self, spec: UniverseSpec) -> Shares:
        """The source as it is now, minus what is under surveillance."""
        shares = read_shares(spec.file) if spec.file is not None else Shares(symbols=tuple(self._underlyings()))
        watched: dict[str, str] = {}
        for path in spec.minus:
            watched |= read_surveillance(path)
        out = {symbol: watched[symbol] for symbol in shares.symbols if symbol in watched}
        kept = tuple(symbol for symbol in shares.symbols if symbol not in out)
        return Shares(symbols=kept, left_out={**shares.left_out, **out})

    def _spec(self, name: str) -> UniverseSpec:
        spec = self._specs.get(name)
        if spec is None:
            raise ConfigError(f"there is no universe {name!r}; universes are {', '.join(self._specs) or 'none'}")
        return spec
