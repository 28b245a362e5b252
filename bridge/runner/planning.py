"""Planning: from the definitions that are enabled to the programs that have to run today."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from bridge.core.definition import DefinitionRecord
from bridge.core.enums import Product
from bridge.core.errors import BridgeError
from bridge.core.instrument import Instrument
from bridge.core.ledger import Ledger
from bridge.core.money import ONE
from bridge.definitions import Definitions
from bridge.runner.books import Member
from bridge.runner.program import Setting
from bridge.scanner.definition import Definition
from bridge.scanner.programs import GroupKey

# The members of a universe of the settings on a day, written down as well.
Universe = Callable[[str, date], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enabled:
    """A definition that is enabled, and when it was last changed; when one of these changes, it is planned anew."""

    name: str
    version: str
    accounts: tuple[str, ...]
    since: datetime


class Planner:
    """Reads definitions and universes; knows nothing of prices."""

    def __init__(
        self,
        ledger: Ledger,
        definitions: Definitions,
        universe: Universe,
        instrument: Callable[[str], Instrument | None],
        products: Mapping[str, Product],
    ) -> None:
        self._ledger = ledger
        self._definitions = definitions
        self._universe = universe
        self._instrument = instrument
        self._products = products

    def enabled(self) -> tuple[Enabled, ...]:
        """What is enabled now."""
        return tuple(
            Enabled(name=name, version=record.version, accounts=self._definitions.accounts_of(record), since=record.updated_at)
            for name, record in sorted(self._ledger.definitions.values.items())
            if record.enabled
        )

    def plan(self, enabled: Sequence[Enabled], day: date) -> tuple[list[Setting], dict[str, str]]:
        """The programs of a day, and of the definitions that are in none the reason; in a thread."""
        groups: dict[GroupKey, list[Member]] = {}
        troubles: dict[str, str] = {}
        for one in enabled:
            try:
                definition = self._read(one)
                key = self._key(definition, one.accounts, day)
                if not any(self._instrument(symbol) for symbol in key.symbols):
                    raise BridgeError("none of its symbols is in the list of instruments")
            except BridgeError as error:
                troubles[one.name] = str(error)
                continue
            product = self._products[definition.strategy]
            member = Member(definition=definition, accounts=one.accounts, product=product, since=one.since)
            groups.setdefault(key, []).append(member)
        return [self._setting(key, members) for key, members in groups.items()], troubles

    def _read(self, one: Enabled) -> Definition:
        record: DefinitionRecord | None = self._ledger.definitions.get(one.name)
        if record is None:
            raise BridgeError("it is deleted")
        return self._definitions.read(record)

    def _key(self, definition: Definition, accounts: Sequence[str], day: date) -> GroupKey:
        """Its universe of the day, and what it holds of others, so that they can be left; in order of name, as in a replay."""
        members = frozenset(definition.symbols or self._universe(definition.universe, day))
        held = [
            key.symbol
            for account in accounts
            for key, position in list(self._ledger.positions.held[account].items())
            if position.by_strategy.get(definition.strategy) and key.product == self._products[definition.strategy]
        ]
        left = frozenset(held) - members
        return GroupKey(definition.interval, tuple(sorted(members | left)), ((date.min, left),) if left else ())

    def _setting(self, key: GroupKey, members: Sequence[Member]) -> Setting:
        tokens, lots, out = dict[int, str](), {}, {}
        for place, symbol in enumerate(key.symbols):
            instrument = self._instrument(symbol)
            tokens[instrument.token if instrument is not None and instrument.token else -1 - place] = symbol
            lots[symbol] = instrument.lot if instrument is not None else ONE
            if instrument is None:
                out[symbol] = "it is not in the list of instruments"
        return Setting(key=key, members=tuple(members), tokens=tokens, lots=lots, held_back=out)
