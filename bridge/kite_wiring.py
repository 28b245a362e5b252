"""The wiring of Zerodha Kite's adapter; its parts load only where an account needs them: they bring all of Twisted along."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from bridge.brokers.base import Broker, LoginSession
from bridge.core.clock import Clock
from bridge.feed import Feed
from bridge.market.bands import Bands
from bridge.market.instruments import Catalog
from bridge.market.keeper import ListKeeper
from bridge.protecting import protective_orders
from bridge.settings import KITE_ROOT, AccountSettings
from bridge.store.store import Store
from bridge.vault import Vault
from bridge.web.port import Postback

if TYPE_CHECKING:
    from bridge.brokers.kite.adapter import KiteBroker
    from bridge.brokers.kite.client import TokenSource
    from bridge.brokers.kite.stream import KiteStream


class KiteWiring(ABC):
    """What a bridge is wired of for its Kite accounts; the rest of the bridge is named here and made elsewhere."""

    clock: Clock
    vault: Vault
    store: Store
    catalog: Catalog
    feed: Feed
    bands: Bands
    lists: ListKeeper
    sessions: dict[str, LoginSession]
    postbacks: dict[str, Postback]
    streams: "list[KiteStream]"
    _kites: "dict[str, KiteBroker]"

    def _make_session(self, name: str, account: AccountSettings) -> LoginSession:
        from bridge.brokers.kite.session import KiteSession

        return KiteSession(
            name,
            api_key=account.api_key,
            api_secret=account.api_secret.get_secret_value(),
            root=account.root or KITE_ROOT,
            login_root=account.login_root,
            store=self.store,
            vault=self.vault,
            clock=self.clock,
            on_change=self._on_session_ended,
        )

    def _make_kite(self, name: str, account: AccountSettings) -> Broker:
        from bridge.brokers.kite.adapter import KiteBroker, KitePolicy  # the vendor's client brings all of Twisted along
        from bridge.brokers.kite.bands import KiteBands
        from bridge.brokers.kite.dump import KiteDump

        policy = KitePolicy(
            api_key=account.api_key,
            root=account.root or KITE_ROOT,
            updates=account.updates,
            protection=account.market_protection,
        )
        tokens = self._make_kite_tokens(name, account)
        broker = KiteBroker(
            name,
            policy=policy,
            tokens=tokens,
            clock=self.clock,
            tell=partial(self._alarm_of_account, name),
            instrument=self.catalog.get,
            latest_price=self._latest_price,
            protections=partial(protective_orders, self.store.ledger, name),
        )
        self._kites[name] = broker
        self.lists.sources[name] = KiteDump(root=account.root or KITE_ROOT, api_key=account.api_key, session=tokens)
        bands = KiteBands(root=account.root or KITE_ROOT, api_key=account.api_key, tokens=tokens)
        self.bands.add_source(bands.read, bands.close)
        if not account.lacks_secret:  # anybody could sign with an empty one
            self.postbacks[name] = Postback(secret=account.api_secret.get_secret_value().encode(), poke=broker.poke)
        if account.updates == "stream":
            self._add_stream(name, account, tokens, broker.poke)
        return broker

    def _add_stream(self, name: str, account: AccountSettings, tokens: "TokenSource", poke: Callable[[str], None]) -> None:
        from bridge.brokers.kite.stream import KiteStream

        stream = KiteStream(
            name,
            root=account.stream_root,
            api_key=account.api_key,
            token=tokens.token,
            clock=self.clock,
            on_update=poke,
            on_tick=self.feed.take,
            on_fault=self.on_fault,
        )
        self.feed.add_source(stream.subscribe, stream.connected_at)
        self.streams.append(stream)

    def _make_kite_tokens(self, name: str, _account: AccountSettings) -> "TokenSource":
        """Where an account's access token comes from."""
        return self.sessions[name]

    def _latest_price(self, symbol: str) -> Decimal | None:
        return mark.price if (mark := self.store.ledger.marks.get(symbol)) else None

    @abstractmethod
    def on_fault(self, where: str, error: BaseException) -> None:
        """Count and log an error that nobody expected."""

    @abstractmethod
    def _alarm_of_account(self, account: str, message: str) -> None:
        """Raise an alarm of an account."""

    @abstractmethod
    def _on_session_ended(self) -> None:
        """A session has ended and is to be written down as such."""
