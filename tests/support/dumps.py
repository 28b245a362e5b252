"""A made-up instrument dump, seeded, in the documented columns and proportions; nothing in it was copied from a real one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from bridge.market.dump_rows import COLUMNS

HEADING = ",".join(COLUMNS)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKLY_MONTHS = "123456789OND"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_INDICES = (("NIFTY", "NFO", 26000, 50, 65), ("BANKNIFTY", "NFO", 59000, 100, 30), ("SENSEX", "BFO", 85000, 100, 20))
_SPOTS = (("NIFTY 50", "NSE"), ("NIFTY BANK", "NSE"), ("SENSEX", "BSE"), ("INDIA VIX", "NSE"))
_KNOWN = ("SBIN", "BAJAJ-AUTO", "M&M", "RELIANCE", "INFY")
_METALS = (("CRUDEOIL", 1), ("GOLDM", 1), ("SILVERMIC", 1), ("NATURALGAS", 1), ("MENTHAOIL", 1))


@dataclass(frozen=True, kw_only=True)
class DumpPlan:
    """How large a made-up dump is; the proportions of the real one come to about 100,000 rows with FULL."""

    day: date
    shares: int = 60
    optioned: int = 5
    strikes: int = 5
    seed: int = 7


def full_plan(day: date) -> DumpPlan:
    """The size of the real thing."""
    return DumpPlan(day=day, shares=9_500, optioned=215, strikes=60)


def make_dump(plan: DumpPlan) -> Iterator[str]:
    """The lines of a dump, heading first; the same plan gives the same lines."""
    chance, token = Random(plan.seed), 1_000
    yield HEADING
    for cells in _rows(plan, chance):
        token += 256
        yield f"{token},{token // 256},{cells}"


def _rows(plan: DumpPlan, chance: Random) -> Iterator[str]:
    for name, exchange in _SPOTS:
        yield f'{name},"{name}",0,,0,0,0,EQ,INDICES,{exchange}'
    names = _share_names(plan, chance)
    for name in names:
        for exchange in ("NSE", "BSE"):
            tick = chance.choice(("0.01", "0.05", "0.1"))
            yield f'{name},"{name} LIMITED",{chance.randint(10, 5000)},,0,{tick},1,EQ,{exchange},{exchange}'
    for name, exchange, spot, step, lot in _INDICES:
        yield from _contracts(name, exchange, spot, step, lot, plan.strikes * 4, _expiries(plan.day, weeks=5))
    for name in names[: plan.optioned]:
        lot = chance.randint(2, 60) * 25
        yield from _contracts(name, "NFO", 1000, 20, lot, plan.strikes, _expiries(plan.day, weeks=0))
    for name, lot in _METALS:
        yield from _contracts(name, "MCX", 6000, 50, lot, plan.strikes, _expiries(plan.day, weeks=0))
    yield from _contracts("USDINR", "CDS", 88, 1, 1, plan.strikes // 2, _expiries(plan.day, weeks=0))


def _share_names(plan: DumpPlan, chance: Random) -> list[str]:
    names = dict.fromkeys(_KNOWN)
    while len(names) < plan.shares:
        middle = chance.choice(("", "", "", "", "-", "&"))
        names["".join(chance.choices(_LETTERS, k=3)) + middle + "".join(chance.choices(_LETTERS, k=3))] = None
    return list(names)


def _expiries(day: date, weeks: int) -> list[tuple[date, bool]]:
    """The next Tuesdays, and the last one of this and of two more months; each with whether a month ends with it."""
    found: dict[date, bool] = {}
    tuesday = day + timedelta(days=(1 - day.weekday()) % 7)
    while sum(found.values()) < 3:
        is_last = (tuesday + timedelta(days=7)).month != tuesday.month
        if is_last or len(found) < weeks:
            found[tuesday] = is_last
        tuesday += timedelta(days=7)
    return sorted(found.items())


def _contracts(
    name: str, exchange: str, spot: int, step: int, lot: int, strikes: int, expiries: list[tuple[date, bool]]
) -> Iterator[str]:
    for expiry, is_monthly in expiries:
        month = f"{expiry:%y}{_MONTHS[expiry.month - 1]}"
        tail = f"0.05,{lot}"
        if is_monthly:
            yield f'{name}{month}FUT,"{name}",0,{expiry},0,{tail},FUT,{exchange}-FUT,{exchange}'
        stem = month if is_monthly else f"{expiry:%y}{_WEEKLY_MONTHS[expiry.month - 1]}{expiry:%d}"
        for number in range(strikes):
            strike = spot + (number - strikes // 2) * step
            for kind in ("CE", "PE"):
                yield f'{name}{stem}{strike}{kind},"{name}",0,{expiry},{strike},{tail},{kind},{exchange}-OPT,{exchange}'
