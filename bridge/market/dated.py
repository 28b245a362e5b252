"""The table of dated data: every list that limits depend on, of which day it is, and the command that brings a new one."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bridge.core.clock import IST
from bridge.core.dated import DatedData, RatesFacts
from bridge.core.errors import ConfigError
from bridge.market.calendar import Calendar
from bridge.market.exchange_lists import read_ban_day
from bridge.market.freeze import NO_FREEZES, FreezeQuantities, load_freezes
from bridge.market.keeper import trading_day
from bridge.market.listing import ListFacts
from bridge.market.rulings import FREEZE_FILE
from bridge.settings import Settings, UniverseSettings

# NSE publishes the next year's holidays in the first half of December.
CALENDAR_AHEAD = timedelta(days=30)
# Indices are reviewed twice a year, and change in between when a company is merged or delisted.
UNIVERSE_HOLDS = timedelta(days=35)
_LOOK_BACK_DAYS = 31


def look_at_data(
    settings: Settings, *, calendar: Calendar, facts: ListFacts, rates: RatesFacts, now: datetime
) -> tuple[DatedData, ...]:
    """The whole table as it stands; reads small files, so a running bridge calls it in a worker thread."""
    today = now.astimezone(IST).date()
    return (
        _look_at_ban(settings, calendar, now),
        _look_at_freezes(settings, today),
        _look_at_list(settings, calendar, facts, now),
        _look_at_calendar(settings, calendar, today),
        _look_at_charges(settings, rates, today),
        *_look_at_universes(settings.universes.items(), today),
    )


def _is_live(settings: Settings) -> bool:
    return any(not account.is_paper for account in settings.accounts.values())


def _look_at_ban(settings: Settings, calendar: Calendar, now: datetime) -> DatedData:
    """A list is of one day of trading; the next one's, which comes in the evening, must not take its place before the close."""
    limits = [*map(settings.account_limits, settings.accounts), *map(settings.strategy_limits, settings.strategies)]
    day, needed = read_ban_day(settings.exchange_dir()), _latest_trading_day(calendar, now.astimezone(IST).date())
    is_early = day is not None and day > needed and calendar.is_session(now, "NFO")
    return DatedData(
        part="F&O ban",
        of=day,
        until=day,
        is_old=day is None or day < needed or is_early,
        is_wanted=_is_live(settings) or any(limit.require_ban_list for limit in limits),
        effect="entries in contracts on shares pass unchecked, or with `require_ban_list` are denied (BAN_UNKNOWN)",
        mend="bridge instruments ban --fetch",
    )


def _look_at_freezes(settings: Settings, today: date) -> DatedData:
    found = _freezes_in_use(settings)
    is_there = found is not NO_FREEZES
    return DatedData(
        part="freeze quantities",
        of=found.first if is_there else None,
        until=found.last if is_there else None,
        is_old=not found.first <= today <= found.last,
        is_wanted=_is_live(settings),
        effect="an order above what the exchange takes at once is not sent in parts, and is rejected",
        mend="bridge instruments freeze qtyfreeze.csv",
    )


def _look_at_list(settings: Settings, calendar: Calendar, facts: ListFacts, now: datetime) -> DatedData:
    """A broker's list says its day; a file of the settings has only the time it was written."""
    of = facts.day or _written_on(settings.instruments_file())
    return DatedData(
        part="instrument list",
        of=of,
        until=None,
        is_old=of is None or of < trading_day(calendar, now),
        is_wanted=_is_live(settings) or facts.day is not None,
        effect="what was listed since is unknown (E_SYMBOL), and lots, ticks and tokens may be others by now",
        mend="bridge instruments sync ACCOUNT, or the broker's list of today as the file of `instruments`",
    )


def _look_at_calendar(settings: Settings, calendar: Calendar, today: date) -> DatedData:
    until = calendar.known_until(today)
    return DatedData(
        part="holidays",
        of=None,
        until=until,
        is_old=until is None or until < today + CALENDAR_AHEAD,
        is_wanted=any(account.session == "market" for account in settings.accounts.values()),
        effect="a day after that counts as closed, and every order is denied (CALENDAR_UNKNOWN)",
        mend="upgrade the bridge, or name a newer file in the setting `calendar`",
    )


def _look_at_charges(settings: Settings, rates: RatesFacts, today: date) -> DatedData:
    """Rates change with the financial year: what was looked at before it began says nothing of it."""
    in_force = max((day for day in rates.days if day <= today), default=None)
    year_ends = date(rates.as_of.year + (rates.as_of.month > 3), 3, 31)
    return DatedData(
        part="charges",
        of=in_force,
        until=year_ends,
        is_old=in_force is None or year_ends < today,
        is_wanted=_is_live(settings),
        effect="profit after charges is reckoned by rates that may have changed",
        mend="upgrade the bridge",
    )


def _look_at_universes(universes: Iterable[tuple[str, UniverseSettings]], today: date) -> Iterator[DatedData]:
    for name, universe in universes:
        for path in filter(None, (universe.file, *universe.minus)):
            of = _written_on(path)
            until = None if of is None else of + UNIVERSE_HOLDS
            yield DatedData(
                part=f"universe {name}",
                of=of,
                until=until,
                is_old=until is None or until < today,
                is_wanted=True,
                effect="scans look at shares that may have left the index or be under surveillance by now",
                mend=f"download {path} anew",
            )


def _freezes_in_use(settings: Settings) -> FreezeQuantities:
    """The file of the settings, else what was imported, else what the bridge came with; none when that cannot be read."""
    imported = settings.exchange_dir() / FREEZE_FILE
    for path in filter(None, (settings.freeze_quantities, imported if imported.exists() else None)):
        try:
            return load_freezes(path)
        except ConfigError:
            return NO_FREEZES
    return load_freezes()


def _latest_trading_day(calendar: Calendar, today: date) -> date:
    days = (today - timedelta(days=back) for back in range(_LOOK_BACK_DAYS))
    return next((day for day in days if calendar.is_trading_day(day)), today)


def _written_on(path: Path) -> date | None:
    """The day in India on which a file was written; None where it is not there."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).astimezone(IST).date()
    except OSError:
        return None
