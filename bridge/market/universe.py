"""Universes: what a scan looks at, as it was on a day: the source, minus surveillance, minus what trades too little."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
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


@dataclass(frozen=True, slots=True)
class _List:
    """A list that stands for some days, and how far it is theirs."""

    stretch: Stretch
    known: PointInTime
    source: str
    listed_on: date | None


# Of some symbols, those that trade too little by each of some days, and why; nothing of that day or later may be looked at.
FindIlliquid = Callable[[Sequence[str], Sequence[date], Liquidity], Mapping[date, Mapping[str, str]]]


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
        return self.during(name, day, day)[0]

    def during(self, name: str, begin: date, end: date) -> list[Members]:
        """The same for the days from `begin` to `end`: each holds from its `day` until that of the next."""
        spec = self._spec(name)
        days = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
        found: list[Members] = []
        for list_of, same in groupby(self._lists(spec, days), key=lambda pair: pair[1]):
            for members in self._judge(spec, [day for day, _ in same], list_of):
                if not found or not _is_same(found[-1], members):
                    found.append(members)
        return found

    def _lists(self, spec: UniverseSpec, days: Sequence[date]) -> Iterator[tuple[date, _List]]:
        """For each day the list that is known of it, or the nearest."""
        stretches, today, now = self._log.read(spec.name), self._today(), None
        native = PointInTime.BIASED if spec.file is not None else PointInTime.LIVE_ONLY
        for day in days:
            inside = next((one for one in stretches if one.first <= day <= one.last), None)
            if inside is not None:
                yield day, _List(inside, PointInTime.YES, f"recorded since {inside.first}", None)
                continue
            if now is None and (day == today or not stretches):
                shares = self._read(spec)
                now = Stretch(first=today, last=today, symbols=shares.symbols, left_out=shares.left_out)
            if now is not None and day == today:
                yield day, _List(now, PointInTime.YES, "as it is now", None)
                continue
            before = [one for one in stretches if one.last < day]
            near = before[-1] if before else stretches[0] if stretches else now
            assert near is not None
            listed_on = near.last if before else near.first
            yield day, _List(near, native, f"the list of {listed_on}, not of this day", listed_on)

    def _judge(self, spec: UniverseSpec, days: Sequence[date], listed: _List) -> Iterator[Members]:
        stretch, illiquid = listed.stretch, dict[date, Mapping[str, str]]()
        if spec.liquidity.min_turnover is not None or spec.liquidity.min_volume is not None:
            illiquid = dict(self._find_illiquid(stretch.symbols, days, spec.liquidity))
        for day in days:
            out = illiquid.get(day, {})
            yield Members(
                universe=spec.name, day=day, point_in_time=listed.known, source=listed.source, listed_on=listed.listed_on,
                symbols=tuple(symbol for symbol in stretch.symbols if symbol not in out), left_out={**stretch.left_out, **out},
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


def _is_same(one: Members, other: Members) -> bool:
    return (one.symbols, one.point_in_time, one.source) == (other.symbols, other.point_in_time, other.source)
