"""What the web side needs of the bridge; `bootstrap` hands in the real one, tests hand in a small one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from bridge.answer import Answer
from bridge.core.clock import Clock
from bridge.core.login import LoginView
from bridge.core.scope import Scope, TradingState
from bridge.core.views import AccountView, ExternalView, HoldingView
from bridge.definitions import Definitions
from bridge.intake.verify import Delivery
from bridge.options import Options
from bridge.settings import Settings
from bridge.store.reads import Reads
from bridge.web.live import Hub

if TYPE_CHECKING:
    from bridge.scanner.decide import Evaluation
    from bridge.scanner.definition import Definition
    from bridge.scanner.traces import Traces


class HasReads(Protocol):
    """The store, as far as pages may see it."""

    @property
    def reads(self) -> Reads:
        """Committed rows."""
        ...


class Accepts(Protocol):
    """The pipeline's one door for deliveries."""

    async def accept(self, delivery: Delivery) -> Answer:
        """Answer one delivery; a 200 only once the alert is on disk."""
        ...


class Desk(Protocol):
    """What a person may order the bridge to do; `by` goes into the audit.

    RefusedError: the request is wrong, and says where. StoreError: nothing was written, so nothing was done.
    """

    async def halt(self, scope: Scope, *, stop_all: bool, by: str, cancel: bool = False) -> TradingState:
        """Let only exits out, or with `stop_all` nothing but cancels; with `cancel` no entry may rest either."""
        ...

    async def resume(self, scope: Scope, *, by: str) -> TradingState:
        """Let everything out again."""
        ...

    async def flatten(self, account: str | None, *, by: str) -> list[str]:
        """Close every position (of one account); the ids of the alerts that do it."""
        ...

    async def cancel_order(self, cl_ord_id: str, *, by: str) -> str:
        """Have one open order cancelled; the id of the alert that does it."""
        ...

    async def modify_order(self, cl_ord_id: str, wished: Mapping[str, str], *, by: str) -> str:
        """Have one open order changed; `wished` has texts under price, trigger_price and quantity."""
        ...

    async def reconcile(self, account: str | None = None, *, by: str) -> Mapping[str, object]:
        """Compare our books with the brokers', or one account's, now."""
        ...

    async def accept_drift(self, symbol: str, account: str | None, *, by: str, seen: str | None = None) -> list[str]:
        """Accept the difference in an instrument as it stands; `seen` is how the person was shown it."""
        ...

    async def mint_token(self, request: dict[str, object], *, by: str) -> Mapping[str, object]:
        """A capability token: `url`, `token`, `message` and `token_id`."""
        ...

    async def revoke_token(self, token_id: str, *, by: str) -> bool:
        """False when there is no such token."""
        ...

    async def note_sign_in(self, ok: bool, peer: str) -> None:  # noqa: FBT001 - one fact, named by the method
        """Write a sign-in, or a failed one, into the audit."""
        ...


class Logins(Protocol):
    """Logins at brokers that want a person every day. RefusedError: it cannot be done so, and says what to do instead."""

    def view(self, account: str) -> LoginView | None:
        """How the login of an account stands; None where none is wanted."""
        ...

    def url(self, account: str, state: str = "") -> str:
        """Where a person logs in."""
        ...

    async def log_in(self, account: str, request_token: str, *, by: str, new_user: bool = False) -> LoginView:
        """Make a session of what the login page gave."""
        ...


class Scans(Protocol):
    """Scans and strategies of our own."""

    @property
    def definitions(self) -> Definitions:
        """Their lives."""
        ...

    def explain(self, name: str, symbol: str | None = None) -> Mapping[str, object]:
        """What one saw at the latest bar; safe in any thread."""
        ...

    def evaluation(self, name: str) -> "Evaluation | None":
        """The same as it was decided; None before the first bar."""
        ...

    def state_of(self, name: str) -> str:
        """What an enabled definition waits for; empty when for nothing but its next bar."""
        ...

    def recent(self, definition: "Definition", symbol: str) -> "Traces | None":
        """The latest closes of a symbol, to be drawn; None where no bars are stored. Called in a worker thread."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Postback:
    """An account whose broker may call: the secret that its calls are signed with, and where to say that something changed."""

    secret: bytes = field(repr=False)
    poke: Callable[[str], None]


class RendersMetrics(Protocol):
    """The counters."""

    def postback(self, answer: str) -> None:
        """Count a postback."""
        ...

    def render(self) -> bytes:
        """All of them in Prometheus' text format."""
        ...


class HasKeys(Protocol):
    """The vault, as far as the web side may use it."""

    def key(self, purpose: str) -> bytes:
        """32 bytes for this purpose only."""
        ...


class Lists(Protocol):
    """The list of instruments."""

    def begin_sync(self, account: str) -> None:
        """Fetch it from the account's broker, in the background; RefusedError says why not."""
        ...

    def describe(self) -> dict[str, object]:
        """The list in use and how far the latest sync is. Called in a worker thread."""
        ...


class Bridge(Protocol):
    """The wired bridge. All but the async methods return at once and never wait for a disk or a broker."""

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def store(self) -> HasReads:
        """The store."""
        ...

    @property
    def pipeline(self) -> Accepts:
        """Where deliveries go."""
        ...

    @property
    def desk(self) -> Desk:
        """Where commands go."""
        ...

    @property
    def logins(self) -> Logins:
        """Logins at brokers."""
        ...

    @property
    def lists(self) -> Lists:
        """The list of instruments."""
        ...

    @property
    def scans(self) -> Scans:
        """Scans and strategies of our own."""
        ...

    @property
    def metrics(self) -> RendersMetrics:
        """The counters."""
        ...

    @property
    def postbacks(self) -> Mapping[str, Postback]:
        """Whose brokers may call, by account."""
        ...

    @property
    def hub(self) -> Hub:
        """Who listens for changes."""
        ...

    @property
    def vault(self) -> HasKeys:
        """Keys."""
        ...

    @property
    def api_token(self) -> str:
        """The bearer token of the API."""
        ...

    @property
    def started_at(self) -> datetime:
        """When this process took up work."""
        ...

    def accounts(self) -> list[AccountView]:
        """Every account with its broker session and its money."""
        ...

    def external_orders(self) -> list[ExternalView]:
        """Orders at the brokers that are not ours, as last seen."""
        ...

    @property
    def options(self) -> Options:
        """Greeks of options; its views are for a worker thread."""
        ...

    def holdings(self) -> list[HoldingView]:
        """Shares that lie at the brokers from days before, as last seen."""
        ...

    def square_off_at(self, account: str, symbol: str) -> datetime | None:
        """When the bridge closes an intraday position today; None when it does not. Safe in any thread."""
        ...

    def troubles(self) -> list[str]:
        """What stands in nobody's way and needs a person all the same, a sentence each."""
        ...

    def mode_now(self) -> list[TradingState]:
        """Every trading state that is set; scopes without one are ACTIVE."""
        ...

    def ready(self) -> dict[str, tuple[bool, str]]:
        """By part (`store`, `broker <account>`): whether it works, and what is wrong. Called in a worker thread."""
        ...

    def on_fault(self, where: str, error: BaseException) -> None:
        """Count and log an error that nobody expected."""
        ...

    async def start(self) -> None:
        """Take up work."""
        ...

    async def stop(self) -> None:
        """Lay work down; everything acknowledged is on disk."""
        ...
