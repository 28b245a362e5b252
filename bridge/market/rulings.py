"""Rulings: what the exchange says of an instrument today, from its lists that are imported and from brokers' quotes.

The lists lie in `data_dir/exchange` and are read again when they change. Whatever is not of today is not known.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from bridge.core.clock import IST
from bridge.core.enums import InstrumentKind
from bridge.core.errors import ConfigError
from bridge.core.instrument import Instrument
from bridge.core.market import Ruling
from bridge.market.ban import BanList, ban_from_json
from bridge.market.bands import Bands
from bridge.market.freeze import MAX_BYTES, FreezeQuantities, load_freezes

BAN_FILE, FREEZE_FILE = "ban.json", "freeze.json"
_EXCHANGES = ("NFO", "BFO")
_CONTRACTS = (InstrumentKind.FUT, InstrumentKind.CE, InstrumentKind.PE)


class Rulings:
    """Answers from memory; `refresh` looks whether a file has changed, which costs two looks at the folder.

    `use_freezes` takes imported freeze quantities; None where the settings name a file of their own.
    """

    def __init__(
        self,
        folder: Path,
        index_names: frozenset[str],
        use_freezes: Callable[[FreezeQuantities], None] | None,
        on_fault: Callable[[str, BaseException], None],
        bands: Bands,
    ) -> None:
        self._folder = folder
        self._index_names = index_names
        self._use_freezes = use_freezes
        self._on_fault = on_fault
        self._bands = bands
        self._ban: BanList | None = None
        self._seen: dict[str, tuple[int, int]] = {}
        self.refresh()

    def of(self, instrument: Instrument, at: datetime) -> Ruling:
        """What is ruled for an instrument on the day of `at` in India."""
        low, high = self._bands.of(instrument.symbol, at) or (None, None)
        return Ruling(is_banned=self._is_banned(instrument, at), low=low, high=high)

    def _is_banned(self, instrument: Instrument, at: datetime) -> bool | None:
        is_contract = instrument.exchange in _EXCHANGES and instrument.kind in _CONTRACTS
        if not is_contract or instrument.name in self._index_names:
            return False
        if self._ban is None or self._ban.day != at.astimezone(IST).date():
            return None
        return instrument.name in self._ban.names

    def refresh(self) -> None:
        """Read what has changed; a file that cannot be read is told, and is as good as none."""
        if self._has_changed(BAN_FILE):
            self._ban = self._read_ban()
        if self._use_freezes is not None and self._has_changed(FREEZE_FILE):
            try:
                self._use_freezes(load_freezes(self._folder / FREEZE_FILE))
            except ConfigError as error:
                self._on_fault("freeze quantities", error)

    def _has_changed(self, name: str) -> bool:
        """Whether a file is another than at the last look; one that has gone leaves what was read, which its day ends."""
        try:
            found = (self._folder / name).stat()
        except OSError:
            return False
        stamp = (found.st_mtime_ns, found.st_size)
        is_new = self._seen.get(name) != stamp
        self._seen[name] = stamp
        return is_new

    def _read_ban(self) -> BanList | None:
        try:
            with (self._folder / BAN_FILE).open("rb") as handle:
                return ban_from_json(handle.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            self._on_fault("ban list", error)
            return None
