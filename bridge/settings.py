"""One frozen tree of settings: config/bridge.yaml under BRIDGE_* of the environment; what is wrong refuses to start."""

import os
from collections.abc import Mapping
from datetime import datetime, time
from decimal import Decimal
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from bridge.core.enums import Product
from bridge.core.errors import ConfigError
from bridge.core.limits import CAREFUL, LIMIT_NAMES, OFF, Limits
from bridge.core.news import USUAL, NewsKind
from bridge.market.schedule import Segment

ENV_PREFIX = "BRIDGE_"
CONFIG_VARIABLE = "BRIDGE_CONFIG"
# The bearer token of `bridge venue`, which is no part of a bridge's settings.
VENUE_TOKEN_VARIABLE = "BRIDGE_VENUE_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_CONFIG = Path("config/bridge.yaml")
DEFAULT_INSTRUMENTS = Path("config/instruments.csv")
DEFAULT_SCANS = Path("config/scans")
RESOURCES = Path(__file__).parent / "_resources"
KITE_ROOT = "https://api.kite.trade"
KITE_LOGIN_ROOT = "https://kite.zerodha.com/connect/login"
KITE_STREAM_ROOT = "wss://ws.kite.trade"
# The exchange's own limit is ten for who is not registered as an algo; some room is left for orders placed elsewhere.
KITE_PER_SECOND, KITE_MAX_PER_SECOND = 8, 10
KITE_ONLY = (
    "api_key",
    "api_secret",
    "login_root",
    "stream_root",
    "updates",
    "market_protection",
    "static_address",
    "margin_check",
)
# The list of the next trading day, from the evening on.
NSE_BAN_URL = "https://nsearchives.nseindia.com/content/fo/fo_secban.csv"
# Longer than this before the close is meant as something else: YAML reads 15:10 without quotes as 910.
MAX_SQUARE_OFF_MINUTES = 240
# Where Zerodha documents triggers (support.zerodha.com, GTT): delivery and overnight positions, neither currency nor commodity.
KITE_PROTECTED = (Product.CNC, Product.NRML, Product.MTF)
KITE_TRIGGER_EXCHANGES = frozenset({"NSE", "BSE", "NFO", "BFO"})
# TradingView's published sender addresses (support article "How to configure webhook alerts").
TRADINGVIEW_ADDRESSES = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")


def resource_dir(name: str) -> Path:
    """The folder `templates` or `config`: in a checkout beside the package, in an installed wheel inside it."""
    packed = RESOURCES / name
    return packed if packed.is_dir() else Path(__file__).parent.parent / name


def is_loopback(host: str) -> bool:
    """True when only this machine can reach `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_root(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_plain = not (parts.query or parts.fragment or parts.username or parts.password) and parts.path in ("", "/")
        if parts.scheme in ("http", "https") and parts.hostname and is_plain and parts.port != 0:
            return value.rstrip("/")
    except ValueError:  # a port that is none, or half an IPv6 address
        pass
    raise ValueError(f"{value!r} is not the address of a server, such as http://127.0.0.1:8100")


def _check_page(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment):
        return value
    raise ValueError(f"{value!r} is not the address of a page, such as https://bridge.example.org/page")


def _check_stream(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme in ("ws", "wss") and parts.hostname and not (parts.query or parts.fragment):
        return value.rstrip("/")
    raise ValueError(f"{value!r} is not the address of a stream, such as {KITE_STREAM_ROOT}")


def _check_protection(value: Decimal) -> Decimal:
    if value == -1 or 0 < value <= 100:
        return value
    raise ValueError("is a percentage above 0 up to 100, or -1 for the broker's own")


def _check_address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an address such as 203.0.113.7") from None


def _read_when(value: Any) -> Any:
    if value is None or isinstance(value, time) or (type(value) is int and 1 <= value <= MAX_SQUARE_OFF_MINUTES):
        return value
    try:
        if isinstance(value, str):
            return datetime.strptime(value, "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone
    except ValueError:
        pass
    limit = f"minutes before trading ends, at most {MAX_SQUARE_OFF_MINUTES}"
    raise ValueError(f'{value!r} is neither {limit}, nor a time of day in quotes such as "15:10", nor null')


def _check_network(value: str) -> str:
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an address or network such as 10.0.0.5 or 10.0.0.0/24") from None
    return value


SquareOffWhen = Annotated[int | time | None, BeforeValidator(_read_when)]
Network = Annotated[str, AfterValidator(_check_network)]
Positive = Annotated[Decimal, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]


class Section(BaseModel):
    """A branch of the tree: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(Section):
    """Where the bridge listens. `trusted_proxies` may name the sender in X-Forwarded-For; `echo_url` answers with the address
    that it was asked from.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    echo_url: Annotated[str, AfterValidator(_check_page)] | None = None


class DatabaseSettings(Section):
    """`sqlite:///…` or `postgresql+psycopg://…`; `writer` is where commits run.

    `thread`: in a thread of their own; `inline`: in the event loop; `auto`: small ones in the loop while the disk is fast.
    """

    url: str = "sqlite:///data/bridge.db"
    writer: Literal["auto", "thread", "inline"] = "auto"

    @field_validator("url")
    @classmethod
    def _known_dialect(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("use sqlite:///path/to/file.db or postgresql+psycopg://user@host/name")
        return value


class WebhookSettings(Section):
    """Intake. `addresses`: None = TradingView's own unless bound to loopback; [] = any; else only these."""

    freshness_s: int = Field(default=60, ge=1, le=86_400)
    future_s: int = Field(default=5, ge=0, le=300)
    duplicate_window_s: int = Field(default=120, ge=30, le=3_600)
    duplicate_days: int = Field(default=7, ge=1, le=60)
    rate_per_minute: int = Field(default=600, ge=1, le=1_000_000)
    signing_secrets: tuple[str, ...] = ()
    signature_tolerance_s: int = Field(default=300, ge=10, le=3_600)
    addresses: tuple[Network, ...] | None = None


class RiskSettings(Section):
    """`profile` and single limits; a limit named here replaces the profile's, null switches it off."""

    profile: Literal["careful", "none"] | None = None
    max_order_qty: Positive | None = None
    max_order_value: Positive | None = None
    max_position_qty: Positive | None = None
    max_exposure: Positive | None = None
    max_open_positions: Annotated[int, Field(ge=1)] | None = None
    # Orders are remembered for a minute, and the latest ten thousand of them: limits beyond that could not be held.
    max_orders_per_minute: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_orders_per_minute_per_symbol: Annotated[int, Field(ge=1, le=10_000)] | None = None
    min_order_gap_s: Annotated[Decimal, Field(gt=0, le=60)] | None = None
    max_daily_loss: Positive | None = None
    max_daily_loss_pct: Positive | None = None
    max_price_age_s: Positive | None = None
    require_buying_power: bool | None = None
    require_ban_list: bool | None = None
    require_price_band: bool | None = None
    allowed_symbols: frozenset[str] | None = None

    def over(self, base: Limits) -> Limits:
        """`base` (or this section's own profile) with the limits that are named here."""
        if self.profile is not None:
            base = CAREFUL if self.profile == "careful" else OFF
        named = {name: getattr(self, name) for name in LIMIT_NAMES if name in self.model_fields_set}
        for name in ("require_buying_power", "require_ban_list", "require_price_band", "allowed_symbols"):
            if name in named and named[name] is None:
                named[name] = getattr(OFF, name)
        return Limits(**{name: named.get(name, getattr(base, name)) for name in LIMIT_NAMES})


class AccountSettings(Section):
    """Money at one broker. `cash`, `slippage_bps`, `fill_ratio` and `charges` are the paper broker's, `root` and `token` the
    venue's; `api_key`, `api_secret`, the three roots, `updates`, `market_protection`, `static_address` and `margin_check` are
    Kite's.

    `leverage` is how many rupees of order one rupee of buying power carries, by product. `fill_ratio` is the part of a resting
    paper order that fills at each new price. `square_off` names by segment when MIS positions are closed, in minutes before
    continuous trading ends or as a time in India, null for never; false leaves all of it to the broker. In the products of
    `protection_products` stops and targets may rest at the broker; `protection_slippage_pct` is how much worse than its
    trigger one may trade.
    """

    broker: Literal["paper", "venue", "kite"]
    root: Annotated[str, AfterValidator(_check_root)] | None = None
    token: Annotated[str, Field(pattern=r"^[!-~]+$")] | None = None
    api_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9]*$")] = ""
    api_secret: SecretStr = SecretStr("")
    login_root: Annotated[str, AfterValidator(_check_page)] = KITE_LOGIN_ROOT
    stream_root: Annotated[str, AfterValidator(_check_stream)] = KITE_STREAM_ROOT
    updates: Literal["stream", "postback", "poll"] = "stream"
    market_protection: Annotated[Decimal, AfterValidator(_check_protection)] = Decimal(-1)
    margin_check: bool = True
    static_address: Annotated[str, AfterValidator(_check_address)] | None = None
    protection_products: tuple[Product, ...] = tuple(Product)
    protection_slippage_pct: Decimal = Field(default=Decimal(1), ge=0, le=20)
    cash: Decimal = Field(default=Decimal(1_000_000), ge=0)
    slippage_bps: Decimal = Field(default=Decimal(1), ge=0, le=1_000)
    fill_ratio: Decimal = Field(default=Decimal(1), gt=0, le=1)
    charges: bool = True
    session: Literal["market", "always"] = "market"
    leverage: Mapping[Product, Positive] = {}
    square_off: bool | Mapping[Segment, SquareOffWhen] = True
    orders_per_second: int | None = Field(default=None, ge=1)
    reconcile_s: int = Field(default=60, ge=5, le=3_600)
    risk: RiskSettings = RiskSettings()

    @model_validator(mode="after")
    def _root_fits(self) -> "AccountSettings":
        if self.broker == "venue" and self.root is None:
            raise ValueError("root is missing: where `bridge venue` listens, such as http://127.0.0.1:8100")
        if self.broker == "paper" and (self.root is not None or self.token is not None):
            raise ValueError("root and token are for broker: venue; a paper account has none")
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_kite(cls, given: Any) -> Any:
        """What a Kite account has unless told otherwise, where other accounts have nothing."""
        if isinstance(given, Mapping) and given.get("broker") == "kite":
            usual = {"root": KITE_ROOT, "orders_per_second": KITE_PER_SECOND, "protection_products": KITE_PROTECTED}
            return {**usual, **given}
        return given

    @model_validator(mode="after")
    def _kite_fits(self) -> "AccountSettings":
        if self.broker != "kite":
            if named := [name for name in KITE_ONLY if name in self.model_fields_set]:
                raise ValueError(f"{named[0]} is for broker: kite; a {self.broker} account has none")
            return self
        if not self.api_key:
            raise ValueError("api_key is missing: the key of your app at https://developers.kite.trade")
        if self.token is not None:
            raise ValueError("token is for broker: venue; the token of a kite account comes by logging in")
        if self.session != "market":
            raise ValueError("session: always is for paper accounts; a kite account trades while its exchange is open")
        if self.orders_per_second is None or self.orders_per_second > KITE_MAX_PER_SECOND:
            raise ValueError(f"orders_per_second is at most {KITE_MAX_PER_SECOND} for a kite account")
        return self

    def protects(self, product: Product, symbol: str) -> bool:
        """Whether a stop and a target can rest at the broker for a position in this."""
        is_listed = self.broker != "kite" or symbol.partition(":")[0] in KITE_TRIGGER_EXCHANGES
        return is_listed and product in self.protection_products

    @property
    def lacks_secret(self) -> bool:
        """True when nobody could log it in to its broker."""
        return self.broker == "kite" and not self.api_secret.get_secret_value()

    @property
    def is_paper(self) -> bool:
        """True when the money is not real."""
        return self.broker in ("paper", "venue")

    @property
    def square_off_times(self) -> Mapping[Segment, int | time | None] | None:
        """What `square_off` names; None where the bridge closes nothing, as where there is no close."""
        if self.square_off is False or self.session == "always":
            return None
        return {} if self.square_off is True else self.square_off


class StrategySettings(Section):
    """Where a strategy's alerts go. `quantity` is the default size of an entry, in units."""

    accounts: tuple[Name, ...] = Field(min_length=1)
    product: Product = Product.MIS
    quantity: Positive | None = None
    risk: RiskSettings = RiskSettings()


class UniverseSettings(Section):
    """Shares that a scan may look at: of a file, or all that have futures; minus those on lists, and what trades little."""

    file: Path | None = None
    derivatives: bool = False
    minus: tuple[Path, ...] = ()
    min_turnover: Positive | None = None
    min_volume: Positive | None = None
    liquidity_days: int = Field(default=20, ge=5, le=250)

    @model_validator(mode="after")
    def _one_source(self) -> "UniverseSettings":
        if (self.file is not None) is self.derivatives:
            raise ValueError("name a file of shares, or derivatives: true for all shares that have futures")
        return self


class ApiSettings(Section):
    """`token` overrides the bearer token kept in data/api.token."""

    token: str | None = Field(default=None, min_length=16)


class OperatorSettings(Section):
    """`password_hash` (argon2) overrides the one that `bridge operator password` keeps."""

    password_hash: str | None = None


class ExchangeSettings(Section):
    """The exchange's own lists. `ban_url` is where the F&O ban of a day lies; `fetch_ban` asks there each trading day."""

    ban_url: Annotated[str, AfterValidator(_check_page)] = NSE_BAN_URL
    fetch_ban: bool = False


class ChannelSettings(Section):
    """A way to reach a person: an address in apprise's form, which is a secret, and what it is told."""

    url: SecretStr = Field(min_length=1)
    events: tuple[NewsKind, ...] = USUAL


class NotifySettings(Section):
    """Notifications. `repeat_minutes`: the same text is only counted for so long. `login_reminder_minutes`: how long before the
    market opens a missing login is told.
    """

    channels: Mapping[Name, ChannelSettings] = {}
    repeat_minutes: int = Field(default=10, ge=0, le=1_440)
    login_reminder_minutes: tuple[Annotated[int, Field(ge=1, le=600)], ...] = (30, 10)


class Settings(BaseSettings):
    """The whole tree. Relative paths are relative to the working directory."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_parse_none_str="null", extra="forbid", frozen=True
    )

    data_dir: Path = Path("data")
    secret_key: str | None = None
    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    webhook: WebhookSettings = WebhookSettings()
    risk: RiskSettings = RiskSettings()
    accounts: Mapping[Name, AccountSettings] = Field(min_length=1)
    strategies: Mapping[Name, StrategySettings] = Field(min_length=1)
    universes: Mapping[Name, UniverseSettings] = {}
    instruments: Path = DEFAULT_INSTRUMENTS
    calendar: Path | None = None
    freeze_quantities: Path | None = None
    exchange: ExchangeSettings = ExchangeSettings()
    factors: Path | None = None
    notify: NotifySettings = NotifySettings()
    api: ApiSettings = ApiSettings()
    operator: OperatorSettings = OperatorSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, _config_path())

    @model_validator(mode="after")
    def _names_meet(self) -> "Settings":
        for name, strategy in self.strategies.items():
            for account in strategy.accounts:
                if account not in self.accounts:
                    raise ValueError(f"strategies.{name}.accounts names {account!r}, which is not among accounts")
        for name, account_settings in self.accounts.items():
            if self._profile_of(account_settings) == "none" and not account_settings.is_paper:
                raise ValueError(f"accounts.{name}: risk profile 'none' is for paper accounts only; use 'careful'")
        return self

    def _profile_of(self, account: AccountSettings) -> str:
        return account.risk.profile or self.risk.profile or "careful"

    def account_limits(self, account: str) -> Limits:
        """The limits of an account: its own over the general ones over the profile."""
        return self.accounts[account].risk.over(self.risk.over(CAREFUL))

    def strategy_limits(self, strategy: str) -> Limits:
        """A strategy's own limits, held in addition to the account's; off where it names none."""
        return self.strategies[strategy].risk.over(OFF)

    def require_secrets(self) -> None:
        """ConfigError when an account lacks what logging in takes. Other commands go without: a halt must not fail by it."""
        for name, account in self.accounts.items():
            if account.lacks_secret:
                raise ConfigError(f"accounts.{name}.api_secret is missing: set {secret_variable(name)} in the environment")

    def instruments_file(self) -> Path:
        """The list of instruments: the one named, else the sample that comes with the bridge."""
        if self.instruments == DEFAULT_INSTRUMENTS and not self.instruments.is_file():
            return resource_dir("config") / DEFAULT_INSTRUMENTS.name
        return self.instruments

    def instruments_dir(self) -> Path:
        """Where the lists of instruments lie that were fetched from brokers."""
        return self.data_dir / "instruments"

    def columns_dir(self) -> Path:
        """Where dated columns are."""
        return self.data_dir / "columns"

    def universes_dir(self) -> Path:
        """Where it is written down what universes were."""
        return self.data_dir / "universes"

    def scans_dir(self) -> Path:
        """Definitions to begin with: those beside the settings, else those that come with the bridge."""
        return DEFAULT_SCANS if DEFAULT_SCANS.is_dir() else resource_dir("config") / DEFAULT_SCANS.name

    def replays_dir(self) -> Path:
        """Where the reports of replays lie that the page shows, each in a folder of its own."""
        return self.data_dir / "replays"

    def bars_file(self) -> Path:
        """Where the bars lie that scans and replays look at."""
        return self.data_dir / "bars.db"

    def exchange_dir(self) -> Path:
        """Where the exchange's lists lie that a person has imported: freeze quantities and the F&O ban."""
        return self.data_dir / "exchange"

    def public_url(self) -> str:
        """What TradingView is told to call, without a slash at the end."""
        return (self.server.public_url or f"http://{self.server.host}:{self.server.port}").rstrip("/")


def _config_path() -> Path:
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"{CONFIG_VARIABLE} names {named}, and there is no such file")
        return Path(named)
    return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else resource_dir("config") / "bridge.yaml"


def secret_variable(account: str) -> str:
    """Where the environment has the secret of an account's app."""
    return f"{ENV_PREFIX}ACCOUNTS__{account.upper()}__API_SECRET"


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process; ConfigError names every key that is wrong and the mend."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {CONFIG_VARIABLE, VENUE_TOKEN_VARIABLE, "BRIDGE_DOMAIN"}
    for variable in os.environ:
        if variable.startswith(ENV_PREFIX) and variable.split("__")[0].upper() not in known:
            names = ", ".join(sorted(known))
            raise ConfigError(f"{variable} is not a setting; settings are {names}, and branches as in BRIDGE_SERVER__PORT")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_config_path()} cannot be read: {error}") from None


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in item["loc"]) or "settings"
        lines.append(f"{where}: {item['msg'].removeprefix('Value error, ')}")
    return "The settings are wrong:\n  " + "\n  ".join(lines)
