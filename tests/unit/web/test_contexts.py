"""What the templates are given."""

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bridge.core.enums import Disposition, TradingMode
from bridge.core.login import LoginView
from bridge.core.order_states import OrderStatus
from bridge.core.scope import GLOBAL, Scope, TradingState, account_scope, strategy_scope
from bridge.core.views import AccountView, AlertView, FillView, OrderView, PositionView, StepView
from bridge.web import contexts, controls
from tests.support.clocks import NOON

MS = timedelta(milliseconds=1)


def alert(**values: Any) -> AlertView:
    given: dict[str, Any] = {
        "alert_id": "01A", "received_at": NOON, "source": "tradingview", "credential": "T1", "strategy": "demo",
        "symbol": "NSE:SBIN", "action": "buy", "body": "{}", "signal_at": NOON - 1200 * MS, "disposition": "done",
        "code": "FILLED", "message": "Done.", "field": None, "ended_at": NOON + 5 * MS,
    }  # fmt: skip
    return AlertView(**{**given, **values})


def order(**values: Any) -> OrderView:
    given: dict[str, Any] = {
        "cl_ord_id": "01A-1", "tag": "TAG", "alert_id": "01A", "account": "paper", "strategy": "demo", "symbol": "NSE:SBIN",
        "product": "MIS", "side": "BUY", "ord_type": "MARKET", "order_qty": Decimal(10), "cum_qty": Decimal(0),
        "avg_px": Decimal(0), "price": None, "trigger_price": None, "reduce_only": False, "part": 1, "parts": 1, "legs": "",
        "status": OrderStatus.PLACED,
        "broker_order_id": None, "message": "", "received_at": NOON, "created_at": NOON, "sent_at": NOON + MS,
        "updated_at": NOON,
    }  # fmt: skip
    return OrderView(**{**given, **values})


def position(**values: Any) -> PositionView:
    given: dict[str, Any] = {
        "account": "paper", "symbol": "NSE:SBIN", "product": "MIS", "quantity": Decimal(10), "avg_px": Decimal(800),
        "realized_pnl": Decimal(0), "charges": Decimal(0), "mark_px": Decimal(810), "unrealized_pnl": Decimal(100),
    }  # fmt: skip
    return PositionView(**{**given, **values})


def account(**values: Any) -> AccountView:
    given: dict[str, Any] = {
        "name": "paper", "broker": "paper", "is_paper": True, "connected": True, "message": "", "cash": Decimal(100),
        "available": Decimal(90), "equity": Decimal(110), "day_pnl": Decimal(10),
    }  # fmt: skip
    return AccountView(**{**given, **values})


# --- alerts ---


def test_latency_runs_to_the_first_sending():
    """From receipt to the broker, of the first of its orders."""
    line = contexts.make_alert(alert(), [order(sent_at=NOON + 3 * MS), order(sent_at=NOON + 2 * MS)], NOON)
    assert (line.latency, line.latency_to) == ("2.0 ms", "to broker")


def test_where_nothing_was_sent_latency_runs_to_the_end():
    """A denied alert was quick or slow, too."""
    line = contexts.make_alert(alert(disposition="denied"), [order(sent_at=None)], NOON)
    assert (line.latency, line.latency_to) == ("5.0 ms", "to end")


def test_a_refused_alert_has_no_latency():
    """It never was on its way."""
    assert contexts.make_alert(alert(disposition="refused", ended_at=NOON), [], NOON).latency == "–"


def test_age_is_how_old_the_alert_was_on_arrival():
    """By its own time; unknown where it told none."""
    assert contexts.make_alert(alert(), [], NOON).age == "1.2 s"
    assert contexts.make_alert(alert(signal_at=NOON), [], NOON).age == "–"


def test_an_alert_that_has_not_ended_says_what_it_waits_for():
    """Its orders, or its turn."""
    waiting = alert(disposition=None, code="", message="", ended_at=None)
    line = contexts.make_alert(waiting, [order(status=OrderStatus.IN_DOUBT)], NOON)
    assert (line.chip.text, line.chip.tone) == ("working", "busy")
    assert line.message == "Buy 10 NSE:SBIN is in doubt, 0 filled."
    assert contexts.make_alert(waiting, [], NOON).message == "Waiting for its turn."
    assert contexts.make_alert(waiting, [], NOON).latency == "–"


def test_the_parts_of_one_order_are_told_as_one():
    """Five lines of the same would hide what is missing; an order beside them keeps its own."""
    parts = [
        order(cl_ord_id=f"A-1.{n}", parts=3, part=n, order_qty=Decimal(100), cum_qty=Decimal(filled), status=status)
        for n, filled, status in ((1, 100, OrderStatus.FILLED), (2, 40, OrderStatus.PARTIAL), (3, 0, OrderStatus.PLACED))
    ]
    others = [order(cl_ord_id=f"A-{n}", order_qty=Decimal(1), status=OrderStatus.PLACED) for n in (2, 3)]
    told = contexts.make_alert(alert(disposition=None), [*parts, *others], NOON).message
    assert "Buy 300 NSE:SBIN in 3 parts: 1 filled, 1 partial, 1 placed; 140 of 300 filled." in told
    assert told.count("Buy 1 NSE:SBIN is placed") == 2


def test_a_part_says_which_it_is():
    assert (
        contexts.make_order(order(ord_type="LIMIT", price=Decimal(5), part=2, parts=5), NOON).kind == "LIMIT 5.00, part 2 of 5"
    )


def test_a_position_says_when_the_bridge_will_close_it():
    assert contexts.make_position(position(), NOON).square_off == "square-off 10:30"
    assert contexts.make_position(position()).square_off == ""


@pytest.mark.parametrize("disposition", Disposition)
def test_every_disposition_has_a_tone(disposition):
    """A new one must be given its colour."""
    assert contexts.make_alert(alert(disposition=disposition.value), [], NOON).chip.tone != ""


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_has_a_tone(status):
    """The same for orders."""
    assert contexts.make_order(order(status=status), NOON).status.text == status.value.replace("_", " ").lower()


def test_missing_texts_are_dashes():
    """A refused alert may have neither strategy nor symbol."""
    line = contexts.make_alert(alert(strategy="", symbol="", action=""), [], NOON)
    assert (line.strategy, line.symbol, line.action) == ("–", "–", "")


def test_an_alerts_steps_tell_what_each_took():
    """The first has none before it."""
    views = [
        StepView(seq=n, at=NOON + at * MS, step=step, code="", message="M", cl_ord_id="", account="")
        for n, (at, step) in enumerate([(0, "alert_accepted"), (0.4, "order_new"), (3, "order_rejected")])
    ]
    steps = contexts.make_steps(views)
    assert [step.delta for step in steps] == ["", "+0.4 ms", "+2.6 ms"]
    assert [step.name for step in steps] == ["alert accepted", "order new", "order rejected"]
    assert [step.tone for step in steps] == ["usual", "usual", "bad"]
    assert steps[1].at == "10:30:00.000"


# --- orders, positions, accounts ---


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"ord_type": "MARKET", "price": Decimal("812.5")}, "MARKET"),
        ({"ord_type": "LIMIT", "price": Decimal("812.5")}, "LIMIT 812.50"),
        ({"ord_type": "SL", "price": Decimal(812), "trigger_price": Decimal(810)}, "SL 812.00, trigger 810.00"),
        ({"ord_type": "SL-M", "trigger_price": Decimal(810)}, "SL-M trigger 810.00"),
        ({"ord_type": "GTT", "trigger_price": Decimal(800), "legs": "stop 800, target 845"}, "GTT stop 800, target 845"),
    ],
)
def test_an_orders_type_tells_its_prices(values, kind):
    """A market order's price is only what it was measured by."""
    assert contexts.make_order(order(**values), NOON).kind == kind


def test_an_average_is_shown_once_something_is_filled():
    """Zero would be a price."""
    assert contexts.make_order(order(), NOON).avg_px == "–"
    assert contexts.make_order(order(cum_qty=Decimal(4), avg_px=Decimal("812.6")), NOON).avg_px == "812.60"


def test_a_short_position_is_called_short():
    """And has a minus."""
    line = contexts.make_position(position(quantity=Decimal(-20)))
    assert (line.side.text, line.quantity) == ("short", "−20")


def test_a_position_without_a_price_is_not_valued():
    """Unknown is a dash, and makes the sum unknown."""
    unknown = position(mark_px=None, unrealized_pnl=None)
    assert contexts.make_position(unknown).unrealized.text == "–"
    assert contexts.total_unrealized([position(), unknown]).text == "–"
    assert contexts.total_unrealized([position(), position()]).text == "+200.00"


def test_a_lost_session_stands_out():
    """Red, with the broker's word."""
    card = contexts.make_account(account(connected=False, message="Sign in again.", equity=None, day_pnl=None), NOON)
    assert (card.session.tone, card.message, card.equity, card.day_pnl.text) == ("bad", "Sign in again.", "–", "–")


@pytest.mark.parametrize(
    ("hours", "shown", "note"),
    [
        (-4.5, False, "Logged in as AB1234 until 21 Nov 06:00"),
        (13.49, False, "Logged in as AB1234 until 21 Nov 06:00"),
        (13.5, True, "Logged in as AB1234 until 06:00:00"),
        (19.4, True, "Logged in as AB1234 until 06:00:00"),
    ],
)
def test_a_login_has_its_button_on_the_day_on_which_it_ends(hours: float, shown: bool, note: str) -> None:
    """In India: from midnight until six, with the time."""
    ends = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
    login = LoginView(broker="Zerodha", is_live=True, user_id="AB1234", ends_at=ends, message="")
    line = contexts.make_account(account(login=login), NOON + timedelta(hours=hours)).login
    assert line == contexts.LoginLine(note=note, button="Log in to Zerodha" if shown else "")


def test_without_a_login_there_is_the_button_alone_and_where_none_is_wanted_nothing():
    """The message beside it says why."""
    login = LoginView(broker="Zerodha", is_live=False, user_id="AB1234", ends_at=None, message="not logged in: …")
    line = contexts.make_account(account(login=login), NOON).login
    assert line == contexts.LoginLine(note="", button="Log in to Zerodha")
    assert contexts.make_account(account(), NOON).login is None


def test_simulated_money_is_called_so():
    """Nobody shall mistake one for the other."""
    assert contexts.make_account(account(), NOON).kind == "simulated money"
    assert contexts.make_account(account(is_paper=False, broker="kite"), NOON).kind == "real money, at kite"


# --- the day ---


def fill(realized: int, charges: int, minutes: int) -> FillView:
    at = NOON + timedelta(minutes=minutes)
    return FillView(account="paper", at=at, realized_pnl=Decimal(realized), charges=Decimal(charges))


def test_the_days_total_is_the_accounts_own_figure():
    """Only that leaves out what was carried into the day."""
    day = contexts.make_day([fill(100, 10, 0)], [position()], [account(day_pnl=Decimal(7))], NOON)
    assert (day.total.text, day.realized.text, day.charges, day.fills) == ("+7.00", "+90.00", "10.00", 1)
    assert [drawing.size.name for drawing in day.drawings] == ["wide", "narrow"]


def test_where_an_account_does_not_know_its_day_it_is_added_up():
    """Realised after charges, and the open positions."""
    day = contexts.make_day([fill(100, 10, 0)], [position()], [account(), account(day_pnl=None)], NOON)
    assert day.total.text == "+190.00"


def test_a_day_on_which_nothing_happened_has_no_drawing():
    """An empty frame would only look broken."""
    assert contexts.make_day([], [], [account(day_pnl=Decimal(0))], NOON).drawings == ()
    assert contexts.make_day([], [], [], NOON).drawings == ()


# --- trading state ---


def state(scope: Scope, mode: TradingMode, message: str = "") -> TradingState:
    return TradingState(scope=scope, mode=mode, since=NOON, by="operator", message=message)


@pytest.mark.parametrize(
    ("mode", "labels", "tone"),
    [
        (TradingMode.ACTIVE, ["Halt", "Halt and cancel", "Stop everything"], "good"),
        (TradingMode.REDUCING, ["Resume", "Halt and cancel", "Stop everything"], "warn"),
        (TradingMode.HALTED, ["Resume", "Halt and cancel"], "bad"),
    ],
)
def test_each_mode_offers_the_ways_out_of_it(mode, labels, tone):
    """And never the way to where one is."""
    part = controls.make_state([state(GLOBAL, mode)], ["paper"], ["demo"], NOON)
    assert [control.label for control in part.controls] == labels
    assert part.tone == tone
    assert part.note == "Since 10:30:00, by operator."


def test_a_halt_that_cancels_says_so_and_offers_it_no_more():
    """The way to where one is would be no way."""
    halted = replace(state(GLOBAL, TradingMode.REDUCING), cancels=True)
    part = controls.make_state([halted], ["paper"], ["demo"], NOON)
    assert [control.label for control in part.controls] == ["Resume", "Stop everything"]
    assert part.note.endswith("Entries that rest are cancelled.")


def test_without_any_state_trading_is_on():
    """Scopes without a state are ACTIVE."""
    part = controls.make_state([], ["paper"], ["demo"], NOON)
    assert (part.headline, part.note, part.limited) == ("Trading is on", "", ())
    assert [(line.kind, line.name) for line in part.others] == [("account", "paper"), ("strategy", "demo")]


def test_a_scope_with_a_stricter_state_is_shown_first():
    """With who set it, and why; and the headline does not promise too much."""
    halted = state(account_scope("paper"), TradingMode.REDUCING, "The day's loss has reached its limit.")
    part = controls.make_state([halted], ["paper"], ["paper"], NOON)
    assert [(line.kind, line.name) for line in part.limited] == [("account", "paper")]
    assert [(line.kind, line.name) for line in part.others] == [("strategy", "paper")]
    assert "loss" in part.limited[0].note
    assert "exceptions" in part.sentence
    assert (part.headline, part.tone) == ("Trading is on in part", "warn")


def test_every_control_has_an_id_of_its_own():
    """Else the page could not keep an open question open."""
    part = controls.make_state([], ["a", "b"], ["a", "b"], NOON)
    idents = [c.ident for line in part.others for c in line.controls] + [c.ident for c in part.controls]
    assert len(set(idents)) == len(idents) == 15


def test_stopping_everything_is_the_only_control_that_stops_exits():
    """A plain halt lets them out."""
    part = controls.make_state([], [], [], NOON)
    told = [(control.action, control.stop_all, control.cancel) for control in part.controls]
    assert told == [("/halt", False, False), ("/halt", False, True), ("/halt", True, False)]


@pytest.mark.parametrize(
    ("kind", "name", "scope"),
    [
        ("", "", GLOBAL),
        ("global", "", GLOBAL),
        ("account", "paper", account_scope("paper")),
        ("strategy", "demo", strategy_scope("demo")),
        ("account", "", None),
        ("global", "paper", None),
        ("", "paper", None),
        ("sector", "banks", None),
    ],
)
def test_a_form_names_a_scope_or_nothing_is_done(kind, name, scope):
    """A field that got lost must not widen what is resumed."""
    assert controls.scope_of(kind, name) == scope


def test_contexts_are_frozen_values():
    """Templates cannot change what others read."""
    for module in (contexts, controls):
        for made in vars(module).values():
            if isinstance(made, type) and is_dataclass(made) and made.__module__ == module.__name__:
                assert made.__dataclass_params__.frozen, made  # type: ignore[attr-defined]
                assert fields(made)


@pytest.mark.parametrize("body", ["", "{", "5", "[]", '{"notes": 5}', '{"notes": null}', "{}"])
def test_a_scan_whose_reasons_cannot_be_read_has_none(body):
    """Its page is shown all the same; and what others write into a body is no reason of ours."""
    page = contexts.make_alert_page(alert(source="scan", body=body), [], [], NOON)
    assert (page.reasons, page.scan) == ((), "")
    theirs = alert(source="tradingview", body='{"notes": {"definition": "x"}}')
    assert contexts.make_alert_page(theirs, [], [], NOON).reasons == ()
