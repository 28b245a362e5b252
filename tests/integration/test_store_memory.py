"""Memory and disk never differ: random commands, failures and restarts against a plain dictionary."""

import asyncio
import copy
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.core.alert import Alert, Ending
from bridge.core.day import Day
from bridge.core.enums import Disposition, Side, TradingMode
from bridge.core.errors import InvariantError, StoreError
from bridge.core.hold import Hold
from bridge.core.ledger import Ledger
from bridge.core.market import Mark
from bridge.core.order_states import OrderStatus
from bridge.core.position import Position, PositionKey
from bridge.core.reasons import AuditAction
from bridge.core.scope import TradingState, account_scope
from bridge.core.token import TokenRecord
from bridge.core.trade import Trade, TradeStatus
from bridge.store.audit import verify_chain
from bridge.store.load import load_shelves
from bridge.store.mapping import LEDGER_MAPS
from bridge.store.tx import Tx
from bridge.store.writer import LONGEST_REST_S
from tests.support.clocks import NOON, StillClock
from tests.support.pictures import held_of, indexes_from_scratch, indexes_of
from tests.support.samples import make_alert, make_fill, make_order
from tests.support.stores import KEY, Watched, fresh_sqlite, together

MODEL_SHELVES = ("alerts", "orders", "positions", "trades", "holds", "marks", "tokens", "states", "days", "waiting")
DONE = Ending(disposition=Disposition.DONE, code="FILLED", message="")
Model = dict[str, dict[Any, Any]]
Op = tuple[str, int, int]


def key_of(number: int) -> PositionKey:
    return PositionKey("paper", f"NSE:S{number}", "MIS")


def do(op: Op, tx: Tx, model: Model) -> None:
    """One change, in the transaction and in the dictionary."""
    kind, number, choice = op
    OPS[kind](tx, model, number, choice)


def put(tx: Tx, model: Model, shelf: str, key: Any, value: Any) -> None:
    tx.put(getattr(tx.ledger, shelf), key, value)
    if value is None:
        model[shelf].pop(key, None)
    else:
        model[shelf][key] = value


def put_order(tx: Tx, model: Model, number: int, choice: int) -> None:
    status = list(OrderStatus)[choice % len(OrderStatus)]
    order = make_order(number, status=status, sends=choice, message=f"m{choice}", order_qty=Decimal(1 + choice))
    put(tx, model, "orders", order.cl_ord_id, order)
    model["ordered"][number] = True


def drop_order(tx: Tx, model: Model, number: int, _choice: int) -> None:
    put(tx, model, "orders", make_order(number).cl_ord_id, None)


def put_alert(tx: Tx, model: Model, number: int, choice: int) -> None:
    alert = replace(make_alert(number), attempts=choice)
    is_first = alert.alert_id not in model["ended"] and number not in model["ordered"]  # orders come of alerts
    if is_first or alert.alert_id in model["alerts"]:
        put(tx, model, "alerts", alert.alert_id, alert)


def end_alert(tx: Tx, model: Model, number: int, _choice: int) -> None:
    alert_id = make_alert(number).alert_id
    tx.end_alert(alert_id, DONE, NOON)  # raises for one that is not open
    del model["alerts"][alert_id]
    model["ended"][alert_id] = True


def put_position(tx: Tx, model: Model, number: int, choice: int) -> None:
    shares = {"demo": Decimal(choice)} if choice else {}
    position = Position(key=key_of(number), quantity=Decimal(choice), cost=Decimal(choice) / 8, by_strategy=shares)
    put(tx, model, "positions", position.key, position)


def put_trade(tx: Tx, model: Model, number: int, choice: int) -> None:
    closed_before = model["closed trades"].get(number, 0)  # a round trip is closed before the next one opens
    trade = Trade(
        trade_id=f"T{number}-{closed_before}", key=key_of(number), strategy="demo", side=Side.BUY, status=TradeStatus.OPEN,
        opened_at=NOON, multiplier=Decimal(1), entry_qty=Decimal(choice),
    )  # fmt: skip
    if choice % 2 == 0:
        put(tx, model, "trades", trade.key, trade)
        return
    closed = replace(trade, status=TradeStatus.CLOSED, closed_at=NOON)
    tx.put(tx.ledger.trades, trade.key, closed, keep=False)
    model["trades"].pop(trade.key, None)
    model["closed trades"][number] = closed_before + 1


def put_hold(tx: Tx, model: Model, number: int, choice: int) -> None:
    put(tx, model, "holds", ("paper", f"NSE:S{number}"), Hold(message=f"differs by {choice}") if choice else None)


def put_mark(tx: Tx, model: Model, number: int, choice: int) -> None:
    symbol = f"NSE:S{number}"
    put(tx, model, "marks", symbol, Mark(symbol=symbol, price=Decimal(choice + 1) / 4, at=NOON, source="feed"))


def put_token(tx: Tx, model: Model, number: int, choice: int) -> None:
    token = TokenRecord(
        token_id=f"K{number}", claims="{}", created_at=NOON, expires_at=NOON if choice % 2 else None,
        revoked_at=NOON if choice > 4 else None,
    )  # fmt: skip
    put(tx, model, "tokens", token.token_id, token)


def put_state(tx: Tx, model: Model, number: int, choice: int) -> None:
    scope = account_scope(f"a{number}")
    mode = list(TradingMode)[choice % 3]
    put(tx, model, "states", scope, TradingState(scope=scope, mode=mode, since=NOON, by="x", message=str(choice)))


def put_day(tx: Tx, model: Model, number: int, choice: int) -> None:
    day = Day(
        account=f"a{number}", day=20261120, opening_equity=Decimal(choice) if choice else None,
        realized_pnl=Decimal(-choice), by_strategy={"demo": Decimal(choice)},
    )  # fmt: skip
    put(tx, model, "days", day.account, day)


def put_waiting(tx: Tx, model: Model, number: int, choice: int) -> None:
    put(tx, model, "waiting", f"W{number}", make_alert(number) if choice % 2 else None)


def write_audit(tx: Tx, model: Model, number: int, choice: int) -> None:
    tx.audit(AuditAction.RECONCILED, NOON, message=f"{number} {choice}", data={"n": number})
    model["audit"][len(model["audit"])] = True


def count(tx: Tx, model: Model, number: int, choice: int) -> None:
    tx.count_order(make_order(number, symbol=f"NSE:S{choice % 2}"), NOON)
    model["counted"][len(model["counted"])] = True


def write_fill(tx: Tx, model: Model, _number: int, _choice: int) -> None:
    model["fills"][len(model["fills"])] = True
    tx.add_fill(make_fill(make_order(1), f"X{len(model['fills'])}", 1))


OPS: dict[str, Callable[[Tx, Model, int, int], None]] = {
    "order": put_order, "drop order": drop_order, "alert": put_alert, "end": end_alert, "position": put_position,
    "trade": put_trade, "hold": put_hold, "mark": put_mark, "token": put_token, "state": put_state, "day": put_day,
    "waiting": put_waiting, "audit": write_audit, "count": count, "fill": write_fill,
}  # fmt: skip

ops = st.tuples(st.sampled_from(list(OPS)), st.integers(0, 3), st.integers(0, 10))
# How a command goes: its changes, changes that it takes back itself in the middle, and whether it raises at the end.
commands = st.tuples(st.lists(ops, max_size=5), st.lists(ops, max_size=3), st.booleans())


class MemoryAndDisk(RuleBasedStateMachine):
    """A store beside a dictionary that is changed by the same commands."""

    @initialize()
    def begin(self) -> None:
        self.failed = False
        self.folder = Path(tempfile.mkdtemp())
        self.url = fresh_sqlite(self.folder)
        self.loop = asyncio.new_event_loop()
        self.model: Model = {
            name: {} for name in (*MODEL_SHELVES, "ended", "audit", "counted", "fills", "closed trades", "ordered")
        }
        self.open()
        self.other = self.store.backend.raw()

    def open(self) -> None:
        self.clock = StillClock()
        self.store = Watched(self.url, self.clock, mode="inline")
        self.store.open()
        self.store.writer.bind(self.loop)

    def run_group(self, group: list[Any]) -> list[Any]:
        async def run() -> list[Any]:
            return await together(self.store, *group)

        return self.loop.run_until_complete(run())

    def as_command(self, told: Any) -> Callable[[Tx], None]:
        kept, taken_back, fails = told

        def command(tx: Tx) -> None:
            before = copy.deepcopy(self.model)
            try:
                for op in kept:
                    do(op, tx, self.model)
                middle, mark = copy.deepcopy(self.model), tx.mark()
                try:
                    for op in taken_back:
                        do(op, tx, self.model)
                finally:
                    tx.back_to(mark)
                    self.model = middle
                if fails:
                    raise InvariantError("as told")
            except InvariantError:
                self.model = before
                raise

        return command

    @rule(group=st.lists(commands, min_size=1, max_size=4))
    def commit(self, group: list[Any]) -> None:
        self.read_again()
        for answer in self.run_group([self.as_command(told) for told in group]):
            assert answer is None or isinstance(answer, InvariantError), repr(answer)

    @rule(group=st.lists(commands, min_size=1, max_size=3))
    def commit_that_fails(self, group: list[Any]) -> None:
        """The database refuses the whole group at its end, as a full disk does."""
        self.read_again()
        before = copy.deepcopy(self.model)
        writer: Any = self.store.writer
        writer._connection = Refusing(writer._connection)
        for answer in self.run_group([self.as_command(told) for told in group]):
            assert isinstance(answer, StoreError), repr(answer)
        self.model = before
        self.failed = True

    @rule()
    def restart(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.open()
        self.failed = True
        self.forget_what_is_not_on_disk()

    def read_again(self) -> None:
        """After a group that failed the next one reads everything again, once the database has had its rest."""
        self.clock.move(seconds=LONGEST_REST_S)
        assert self.run_group([lambda _tx: None]) == [None]
        self.forget_what_is_not_on_disk()

    def forget_what_is_not_on_disk(self) -> None:
        """What was read from disk again: whoever has no open order waits, and closed orders for late reports are gone."""
        if not self.failed:
            return
        self.failed = False
        kept = self.model["orders"]
        busy = {order.intent.alert_id for order in kept.values() if not order.status.is_closed}
        self.model["waiting"] = {key: alert for key, alert in self.model["alerts"].items() if key not in busy}
        for key in [k for k, o in kept.items() if o.status.is_closed and o.intent.alert_id not in self.model["alerts"]]:
            del kept[key]

    @invariant()
    def memory_is_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        ledger = self.store.ledger
        for name in MODEL_SHELVES:
            assert getattr(ledger, name).values == self.model[name], name
        assert indexes_of(ledger.orders) == indexes_from_scratch(ledger.orders)
        assert held_of(ledger) == {key: at for key, at in ledger.positions.values.items() if at.quantity}
        assert ledger.waiting.by_symbol == by_symbol(ledger.waiting.values)

    @invariant()
    def disk_is_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        fresh = Ledger()
        load_shelves(self.other, {name: getattr(fresh, name) for name in LEDGER_MAPS}, LEDGER_MAPS, NOON)
        for name in set(MODEL_SHELVES) - {"waiting", "orders"}:
            assert getattr(fresh, name).values == self.model[name], name
        assert fresh.orders.values == {
            key: order
            for key, order in self.model["orders"].items()
            if not order.status.is_closed or order.intent.alert_id in self.model["alerts"]
        }
        assert indexes_of(fresh.orders) == indexes_from_scratch(fresh.orders)
        assert held_of(fresh) == {key: at for key, at in fresh.positions.values.items() if at.quantity}
        rows = self.other.execute("SELECT * FROM audit ORDER BY seq").fetchall()
        assert verify_chain(KEY, rows) == (len(self.model["audit"]), None)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.loop.run_until_complete(self.store.close())
            self.other.close()
            self.loop.close()
            shutil.rmtree(self.folder)


def by_symbol(waiting: dict[str, Alert]) -> dict[str, dict[str, Alert]]:
    """What the index of those who wait should be."""
    found: dict[str, dict[str, Alert]] = {}
    for key, alert in waiting.items():
        found.setdefault(alert.signal.symbol, {})[key] = alert
    return found


class Refusing:
    """A connection whose commits fail before anything is written."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def execute(self, sql: str, *params: Any) -> Any:
        if sql == "COMMIT":
            import sqlite3

            raise sqlite3.OperationalError("database or disk is full")
        return self.real.execute(sql, *params)

    def close(self) -> None:
        self.real.close()


TestMemoryAndDisk = MemoryAndDisk.TestCase
TestMemoryAndDisk.settings = settings(
    max_examples=25, stateful_step_count=12, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
