"""The universes of the settings, wired: their files, the list of instruments, what was written down, and the bars."""

from functools import partial

from bridge.core.clock import IST, Clock
from bridge.market.bars.liquidity import find_illiquid
from bridge.market.bars.store import BarStore
from bridge.market.listing import Listing
from bridge.market.universe import Liquidity, Universes, UniverseSpec
from bridge.market.universe_log import UniverseLog
from bridge.settings import Settings


def open_universes(settings: Settings, listing: Listing, clock: Clock, bars: BarStore | None = None) -> Universes:
    """All of them; files are read when they are asked about. `bars` tell what trades, in place of the settings'."""
    specs = [
        UniverseSpec(
            name=name,
            file=told.file,
            minus=told.minus,
            liquidity=Liquidity(min_turnover=told.min_turnover, min_volume=told.min_volume, days=told.liquidity_days),
        )
        for name, told in settings.universes.items()
    ]
    return Universes(
        specs,
        log=UniverseLog(settings.universes_dir()),
        underlyings=listing.underlyings_of_futures,
        find_illiquid=partial(find_illiquid, bars or BarStore(settings.bars_file())),
        today=lambda: clock.now().astimezone(IST).date(),
    )
