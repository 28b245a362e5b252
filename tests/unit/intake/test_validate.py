"""From fields to a Signal: what every field may be, alone and together."""

from datetime import timedelta

import pytest

from bridge.core.enums import Action, MarketPosition, OrdType, Product, Side, TimeInForce, Variety
from bridge.core.reasons import RefusalCode
from bridge.core.signal import Signal
from tests.unit.intake.builders import (
    NOW,
    SIGNED,
    STRATEGY,
    SYMBOL,
    D,
    by_token,
    make_fields,
    make_settings,
    read,
    refused,
)

SENT_AT = NOW - timedelta(seconds=3)


def target_fields(target, **more):
    return make_fields(action=None, quantity=None, target=target, **more)


def test_alert_of_the_contract_becomes_its_signal():
    """The example of the contract, without what is not built."""
    fields = make_fields(strategy=STRATEGY, id="abc", product="mis", order_type="limit", price="812.5", time_in_force="day") | {
        "trigger_price": None,
        "stop_loss": None,
    }
    assert read(fields) == Signal(
        strategy=STRATEGY,
        symbol=SYMBOL,
        action=Action.BUY,
        accounts=("paper", "second"),
        product=Product.MIS,
        signal_at=SENT_AT,
        is_timed=True,
        quantity=D(10),
        ord_type=OrdType.LIMIT,
        price=D("812.5"),
        time_in_force=TimeInForce.DAY,
    )


@pytest.mark.parametrize("action", ["buy", "SELL", "Exit", " exit "])
def test_action_is_taken_in_any_case(action):
    """TradingView writes lower case, people do not."""
    assert read(make_fields(action=action)).action == action.strip().lower()


@pytest.mark.parametrize("action", ["long", "short", "SHORT", "flat", "close", "hold", "target", "buy sell", "5", 5])
def test_other_action_is_refused_with_the_list(action):
    """long and short are positions, not actions: the hint says how to follow a position."""
    error = refused(make_fields(action=action))
    assert (error.code, error.field) == (RefusalCode.E_FIELD, "action")
    assert "buy, sell, exit, cancel or modify" in str(error.hint)
    wants_position = str(action).lower() in {"long", "short", "flat", "close"}
    assert ("{{strategy.position_size}}" in str(error.hint)) is wants_position


@pytest.mark.parametrize("action", ["buy", "sell"])
@pytest.mark.parametrize("state", [None, "long", "flat", "short"])
def test_a_buy_or_sell_after_which_the_strategy_does_not_stand_there_only_closes(action, state):
    """It is an exit on its own side: what it would close may be gone, and it must not open then."""
    signal = read(make_fields(action=action, quantity="4", state=state))
    opens = state in (None, {"buy": "long", "sell": "short"}[action])
    assert signal.action == (action if opens else "exit")
    assert signal.side is (None if opens else Side(action.upper()))
    assert signal.quantity == 4


def test_a_closing_sell_without_quantity_takes_the_strategys_and_flat_means_all():
    """A part of unknown size is refused: all of it would be too much."""
    assert read(make_fields(action="sell", quantity=None, state="flat")).quantity is None
    error = refused(make_fields(action="sell", quantity=None, state="long"))
    assert (error.code, error.field) == (RefusalCode.E_FIELD, "quantity")
    sized = make_settings(strategies={STRATEGY: {"accounts": ["paper"], "quantity": 7}})
    assert read(make_fields(action="sell", quantity=None, state="long"), settings=sized).quantity == 7


def test_a_closing_sell_takes_no_notice_of_the_stop_that_its_template_carries():
    """One template serves entries and exits, and a stop below the price is on the wrong side only of an entry."""
    signal = read(make_fields(action="sell", state="flat", price="800", stop_loss={"price": "790"}))
    assert (signal.action, signal.protect) == (Action.EXIT, None)


CHANGE = make_fields(action="modify", quantity=None)


def test_a_change_names_what_is_to_be_changed_and_no_more():
    """A type is only for finding the order: MARKET, which never rests, stands for any."""
    signal = read(CHANGE | {"trigger_price": "790", "order_type": "SL-M"})
    assert (signal.action, signal.ord_type, signal.trigger_price) == (Action.MODIFY, OrdType.SL_M, D(790))
    assert (signal.price, signal.quantity) == (None, None)
    assert read(CHANGE | {"price": "800"}).ord_type is OrdType.MARKET
    assert read(CHANGE | {"quantity": "5"}).quantity == 5


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "price"),
        ({"order_type": "LIMIT"}, "price"),
        ({"price": "0"}, "price"),
        ({"price": "800", "quantity": "-5"}, "quantity"),
        ({"price": "800", "time_in_force": "IOC"}, "time_in_force"),
        ({"price": "800", "variety": "amo"}, "variety"),
    ],
)
def test_a_change_of_nothing_or_of_what_cannot_be_changed_is_refused(fields, field):
    """Each names its field, and the mend."""
    error = refused(CHANGE | fields)
    assert error.field == field
    assert error.hint


@pytest.mark.parametrize("field", ["symbol", "action"])
@pytest.mark.parametrize("value", [None, "", " "])
def test_required_field_that_is_missing_is_named(field, value):
    """E_FIELD, and how to fill it."""
    error = refused(make_fields() | {field: value})
    assert (error.code, error.field) == (RefusalCode.E_FIELD, field)
    assert error.hint


@pytest.mark.parametrize("field", ["symbol", "action", "strategy", "id", "product", "order_type", "state"])
@pytest.mark.parametrize("value", [True, [], ["NSE:SBIN"], {"x": 1}])
def test_text_field_of_another_kind_is_refused(field, value):
    """E_FIELD names it."""
    error = refused(make_fields() | {field: value})
    assert (error.code, error.field) == (RefusalCode.E_FIELD, field)


@pytest.mark.parametrize("field", ["quantity", "price"])
@pytest.mark.parametrize("value", [True, "ten", "0", "-5", 0, "1e400", [5]])
def test_number_field_that_is_no_positive_number_is_refused(field, value):
    """E_NUMBER names it."""
    error = refused(make_fields() | {field: value})
    assert (error.code, error.field) == (RefusalCode.E_NUMBER, field)


@pytest.mark.parametrize("body", [b'{"quantity": NaN}', b'{"close": -Infinity}', b'{"quantity": 1e99999999999999999999}'])
def test_number_that_json_does_not_know_is_refused(body):
    """NaN comes from placeholders without a value."""
    error = refused(body)
    assert error.code is RefusalCode.E_NUMBER
    assert error.field in ("quantity", "close")


@pytest.mark.parametrize("field", ["symbol", "action", "quantity", "time", "comment"])
def test_unfilled_placeholder_is_refused_by_field_and_name(field):
    """E_UNRESOLVED comes before any other fault of the field."""
    error = refused(make_fields() | {field: "{{strategy.order.x}}"})
    assert (error.code, error.field) == (RefusalCode.E_UNRESOLVED, field)
    assert "'{{strategy.order.x}}'" in error.message


def test_unquoted_placeholder_is_refused_the_same_way():
    """Outside of quotes it breaks the JSON; the answer is the same."""
    error = refused(b'{"symbol": "NSE:SBIN", "target": {{strategy.position_size}}}')
    assert (error.code, error.field) == (RefusalCode.E_UNRESOLVED, "target")


class TestTarget:
    """A signed position instead of an action and a quantity."""

    @pytest.mark.parametrize(("value", "target"), [("-5", -5), (5, 5), ("0", 0), (-0.0, 0), ("75.0", 75)])
    def test_target_is_signed(self, value, target):
        """Short, flat and long."""
        signal = read(target_fields(value))
        assert (signal.action, signal.target, signal.quantity) == (Action.TARGET, target, None)

    @pytest.mark.parametrize("other", ["action", "quantity"])
    def test_target_beside_an_action_or_quantity_is_refused(self, other):
        """They could contradict each other."""
        error = refused(target_fields("5") | {other: "buy" if other == "action" else "5"})
        assert (error.code, error.field) == (RefusalCode.E_FIELD, other)

    @pytest.mark.parametrize("empty", [None, ""])
    def test_empty_action_and_quantity_beside_a_target_are_absent(self, empty):
        """Templates send them."""
        assert read(target_fields("5") | {"action": empty, "quantity": empty}).target == 5

    @pytest.mark.parametrize(
        ("target", "state", "fits"),
        [
            ("5", "long", True),
            ("-5", "Short", True),
            ("0", "flat", True),
            ("5", "flat", False),
            ("0", "long", False),
            ("-5", "long", False),
        ],
    )
    def test_state_must_fit_the_sign_of_the_target(self, target, state, fits):
        """A contradiction is not acted on."""
        if fits:
            assert read(target_fields(target, state=state)).state == state.lower()
        else:
            error = refused(target_fields(target, state=state))
            assert (error.code, error.field) == (RefusalCode.E_FIELD, "state")
            assert "contradict" in error.message

    def test_previous_state_is_told(self):
        """Any previous state can lead to any target."""
        signal = read(target_fields("5", state="long", prev="SHORT"))
        assert (signal.state, signal.prev) == (MarketPosition.LONG, MarketPosition.SHORT)

    @pytest.mark.parametrize("field", ["state", "prev"])
    def test_unknown_state_is_refused(self, field):
        """long, flat or short."""
        error = refused(target_fields("5", **{field: "up"}))
        assert (error.code, error.field) == (RefusalCode.E_FIELD, field)

    def test_states_beside_an_action_are_told(self):
        """What TradingView says of the strategy, for sizing to weigh."""
        signal = read(make_fields(state="flat", prev="short"))
        assert (signal.state, signal.prev) == (MarketPosition.FLAT, MarketPosition.SHORT)


class TestTerms:
    """How the order is to be placed."""

    @pytest.mark.parametrize(
        ("terms", "missing"),
        [
            ({"order_type": "LIMIT"}, "price"),
            ({"order_type": "SL", "trigger_price": "800"}, "price"),
            ({"order_type": "SL", "price": "800"}, "trigger_price"),
            ({"order_type": "SL-M"}, "trigger_price"),
            ({"order_type": "LIMIT", "price": ""}, "price"),
            ({"order_type": "SL-M", "trigger_price": None}, "trigger_price"),
        ],
    )
    def test_price_that_the_type_needs_must_be_there(self, terms, missing):
        """LIMIT and SL need a price, SL and SL-M a trigger."""
        error = refused(make_fields() | terms)
        assert (error.code, error.field) == (RefusalCode.E_FIELD, missing)

    @pytest.mark.parametrize(
        ("terms", "ord_type"),
        [
            ({}, OrdType.MARKET),
            ({"price": "812.5"}, OrdType.MARKET),
            ({"order_type": "limit", "price": 812.5}, OrdType.LIMIT),
            ({"order_type": "SL", "price": "812.5", "trigger_price": "812"}, OrdType.SL),
            ({"order_type": "sl-m", "trigger_price": "812"}, OrdType.SL_M),
        ],
    )
    def test_types_of_order_are_read(self, terms, ord_type):
        """With a market order the price is the sender's reference."""
        assert read(make_fields() | terms).ord_type is ord_type

    @pytest.mark.parametrize("ord_type", [None, "MARKET", "LIMIT"])
    def test_trigger_that_the_type_would_not_use_is_refused(self, ord_type):
        """Ignoring it would send at once what was meant to wait."""
        error = refused(make_fields(order_type=ord_type, price="812", trigger_price="812"))
        assert (error.code, error.field) == (RefusalCode.E_FIELD, "trigger_price")

    @pytest.mark.parametrize(
        ("field", "value"),
        [("order_type", "TRAILING"), ("order_type", "stop_limit"), ("time_in_force", "GTC"), ("time_in_force", "FOK")],
    )
    def test_terms_that_are_not_built_are_refused(self, field, value):
        """E_UNSUPPORTED names the field and lists what there is."""
        error = refused(make_fields(**{field: value}))
        assert (error.code, error.field) == (RefusalCode.E_UNSUPPORTED, field)
        assert error.hint

    def test_ioc_is_read(self):
        """DAY is the default."""
        assert read(make_fields(time_in_force="ioc")).time_in_force is TimeInForce.IOC

    @pytest.mark.parametrize(
        ("terms", "read_as"),
        [
            ({}, (Variety.REGULAR, 0, TimeInForce.DAY, 0)),
            ({"variety": "AMO"}, (Variety.AMO, 0, TimeInForce.DAY, 0)),
            ({"variety": "iceberg", "iceberg_legs": "5"}, (Variety.ICEBERG, 5, TimeInForce.DAY, 0)),
            ({"time_in_force": "ttl", "validity_minutes": 30}, (Variety.REGULAR, 0, TimeInForce.TTL, 30)),
            (
                {"variety": "iceberg", "iceberg_legs": 50, "time_in_force": "TTL", "validity_minutes": "360"},
                (Variety.ICEBERG, 50, TimeInForce.TTL, 360),
            ),
        ],
    )
    def test_variety_and_life_are_read(self, terms, read_as):
        """A plain order of the day unless the alert says otherwise."""
        signal = read(make_fields() | terms)
        assert (signal.variety, signal.iceberg_legs, signal.time_in_force, signal.validity_minutes) == read_as

    @pytest.mark.parametrize(
        ("terms", "field"),
        [
            ({"variety": "iceberg"}, "iceberg_legs"),
            ({"variety": "iceberg", "iceberg_legs": "1"}, "iceberg_legs"),
            ({"variety": "iceberg", "iceberg_legs": "51"}, "iceberg_legs"),
            ({"variety": "iceberg", "iceberg_legs": "2.5"}, "iceberg_legs"),
            ({"iceberg_legs": "5"}, "iceberg_legs"),
            ({"time_in_force": "TTL"}, "validity_minutes"),
            ({"time_in_force": "TTL", "validity_minutes": "361"}, "validity_minutes"),
            ({"validity_minutes": "10"}, "validity_minutes"),
            ({"variety": "amo", "time_in_force": "IOC"}, "time_in_force"),
            ({"variety": "amo", "time_in_force": "TTL", "validity_minutes": "5"}, "time_in_force"),
            ({"variety": "iceberg", "iceberg_legs": "5", "time_in_force": "IOC"}, "time_in_force"),
        ],
    )
    def test_terms_that_do_not_go_together_are_refused_by_field(self, terms, field):
        """Nothing is passed over: a number without its word would be, and a word without its number is half an order."""
        error = refused(make_fields() | terms)
        assert (error.code, error.field) == (RefusalCode.E_FIELD, field)

    def test_unknown_variety_is_refused(self):
        """Cover and auction orders are not made."""
        assert refused(make_fields(variety="co")).code is RefusalCode.E_UNSUPPORTED

    def test_product_comes_from_the_alert_then_the_token_then_the_strategy(self):
        """The nearest word holds."""
        assert read(make_fields(product="NRML"), by_token(product=Product.NRML)).product is Product.NRML
        assert read(make_fields(), by_token(product=Product.CNC)).product is Product.CNC
        assert read(make_fields()).product is Product.MIS
        error = refused(make_fields(product="BO"))
        assert (error.code, error.field) == (RefusalCode.E_FIELD, "product")


class TestActions:
    """What goes with which action."""

    def test_exit_may_name_a_quantity_or_none(self):
        """None means everything."""
        assert read(make_fields(action="exit")).quantity == 10
        assert read(make_fields(action="exit", quantity=None)).quantity is None

    def test_entry_without_a_quantity_leaves_it_to_the_settings(self):
        """Sizing fills in the strategy's own."""
        assert read(make_fields(quantity=None)).quantity is None

    def test_cancel_is_a_cancel_whatever_else_is_in_it(self):
        """An empty or broken size must not keep working orders at work."""
        signal = read(make_fields(action="cancel", quantity="0", price="none", order_type="LIMIT", trigger_price="1"))
        assert (signal.action, signal.quantity, signal.price) == (Action.CANCEL, None, None)
        assert (signal.ord_type, signal.trigger_price) == (OrdType.MARKET, None)


class TestStrategy:
    """Which strategy, and so which accounts."""

    def test_tokens_strategy_is_the_default(self):
        """A token is for one strategy."""
        assert read(make_fields(strategy=None)).strategy == STRATEGY

    def test_signed_alert_names_its_strategy(self):
        """Nothing else says it."""
        assert read(make_fields(strategy="sized"), SIGNED).strategy == "sized"
        error = refused(make_fields(), SIGNED)
        assert (error.code, error.field) == (RefusalCode.E_FIELD, "strategy")

    def test_unknown_strategy_is_refused_with_its_neighbours(self):
        """A slip of the pen is the usual case."""
        error = refused(make_fields(strategy="ema-corss"), SIGNED)
        assert (error.code, error.field) == (RefusalCode.E_FIELD, "strategy")
        assert STRATEGY in str(error.hint)
        assert STRATEGY in str(refused(make_fields(strategy="zzz\n" * 500), SIGNED).hint)

    def test_strategy_that_left_the_settings_is_refused(self):
        """The token lives on, the strategy does not."""
        assert refused(make_fields(), by_token(strategy="gone")).field == "strategy"

    def test_accounts_are_the_strategys(self):
        """In their order."""
        assert read(make_fields(strategy=STRATEGY), SIGNED).accounts == ("paper", "second")


class TestSymbol:
    """Which instrument."""

    @pytest.mark.parametrize(
        ("fields", "symbol"),
        [
            ({"symbol": "nse:sbin"}, "NSE:SBIN"),
            ({"symbol": "SBIN", "exchange": "NSE"}, "NSE:SBIN"),
            ({"symbol": "SBIN", "exchange": "BSE"}, "BSE:SBIN"),
            ({"symbol": "NSE:SBIN", "exchange": "BSE"}, "NSE:SBIN"),
            ({"symbol": "NIFTY1!", "exchange": "NSE"}, "NFO:NIFTY26NOVFUT"),
        ],
    )
    def test_exchange_goes_before_a_symbol_that_has_none(self, fields, symbol):
        """{{ticker}} and {{exchange}} come apart; a prefix of the symbol's own holds."""
        assert read(make_fields() | fields).symbol == symbol

    @pytest.mark.parametrize("symbol", ["NSE:NOPE", "SBIN", "v1.abc"])
    def test_unknown_symbol_is_the_catalogs_refusal(self, symbol):
        """E_SYMBOL names the field."""
        error = refused(make_fields(symbol=symbol))
        assert (error.code, error.field) == (RefusalCode.E_SYMBOL, "symbol")


class TestTime:
    """Freshness by the alert's own time."""

    def at(self, age_s):
        return make_fields(time=(NOW - timedelta(seconds=age_s)).isoformat())

    @pytest.mark.parametrize("age_s", [0, 59.999, 60, -5])
    def test_alert_within_the_limits_is_fresh(self, age_s):
        """The limits themselves are allowed."""
        assert read(self.at(age_s)).signal_at == NOW - timedelta(seconds=age_s)

    @pytest.mark.parametrize(
        ("age_s", "told"),
        [(60.001, "60.001 s old"), (600, "600 s old"), (-5.001, "5.001 s in the future"), (-86_400, "86400 s in the")],
    )
    def test_alert_beyond_the_limits_is_stale(self, age_s, told):
        """E_STALE tells the age and the limit."""
        error = refused(self.at(age_s))
        assert (error.code, error.field) == (RefusalCode.E_STALE, "time")
        assert told in error.message

    def test_limits_are_settings(self):
        """webhook.freshness_s and webhook.future_s."""
        wide = make_settings(webhook={"freshness_s": 3600, "future_s": 300})
        assert read(self.at(3600), settings=wide).signal_at < NOW
        assert read(self.at(-300), settings=wide).signal_at > NOW
        assert "at most 3600 s" in refused(self.at(3601), settings=wide).message

    @pytest.mark.parametrize("value", [None, ""])
    def test_alert_without_a_time_is_as_old_as_its_receipt(self, value):
        """Then only the duplicate window guards."""
        assert read(make_fields() | {"time": value}).signal_at == NOW

    @pytest.mark.parametrize("value", ["yesterday", "2026-11-20T04:15:02", True, "0001-01-01T00:00:00+05:30"])
    def test_time_that_is_none_is_refused(self, value):
        """E_FIELD names it."""
        error = refused(make_fields(time=value))
        assert (error.code, error.field) == (RefusalCode.E_FIELD, "time")

    @pytest.mark.parametrize("value", ["0001-01-02T00:00:00Z", "9999-12-30T00:00:00Z", 1, "99999999999999"])
    def test_time_far_off_is_stale_and_no_crash(self, value):
        """The ends of the calendar."""
        assert refused(make_fields(time=value)).code is RefusalCode.E_STALE


@pytest.mark.parametrize(("value", "is_taken"), [("x", True), ("x" * 200, True), ("x" * 201, False), (12345, True)])
def test_id_has_at_most_200_characters(value, is_taken):
    """An empty one is none."""
    if is_taken:
        assert read(make_fields(id=value)).symbol == SYMBOL
    else:
        assert refused(make_fields(id=value)).field == "id"
