"""The writer: group commit, taking back, claims, and what is left when the database fails in the middle."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.core.alert import Ending, RefusedAlert
from bridge.core.clock import to_us
from bridge.core.enums import Disposition, Source
from bridge.core.errors import DuplicateError, InvariantError, StoreError
from bridge.core.events import AskReady, Changed, Reloaded
from bridge.core.hold import Hold
from bridge.core.reasons import AuditAction
from bridge.store.audit import verify_chain
from bridge.store.store import Store
from bridge.store.tx import Tx
from bridge.store.writer import LONGEST_REST_S, SMALL_GROUP, WriterMode
from tests.support.clocks import NOON, RunningClock, StillClock
from tests.support.pictures import picture_of
from tests.support.plays import play
from tests.support.samples import make_alert, make_claim, make_fill, make_order
from tests.support.stores import KEY, change, look, opened, together

DONE = Ending(disposition=Disposition.DONE, code="FILLED", message="filled")


def put_alert(number: int) -> Callable[[Tx], str]:
    """Stores an alert with its audit record and its news."""
    alert = make_alert(number)

    def command(tx: Tx) -> str:
        tx.put(tx.ledger.alerts, alert.alert_id, alert)
        tx.audit(AuditAction.ALERT_ACCEPTED, NOON, alert_id=alert.alert_id)
        tx.emit(AskReady(account="paper", cl_ord_id=alert.alert_id))
        tx.touch("alert")
        return alert.alert_id

    return command


def fail_after(command: Callable[[Tx], Any], error: Exception) -> Callable[[Tx], None]:
    """Does all of `command`, then raises."""

    def failing(tx: Tx) -> None:
        command(tx)
        raise error

    return failing


def check_chain(store: Store) -> int:
    count, fault = verify_chain(KEY, store.reads.audit_rows())
    assert fault is None, fault
    return count


# -- group commit -----------------------------------------------------------------------------------------------------


def test_a_command_resolves_only_when_another_connection_sees_it(database_url: str) -> None:
    """Whoever is told that it was written can rely on it."""

    async def story() -> None:
        async with opened(database_url) as store:
            for number in range(20):
                alert_id = await store.write(put_alert(number))
                assert look(database_url, "SELECT 1 FROM alerts WHERE alert_id = :a", a=alert_id)

    play(story)


def test_what_gathers_shares_a_commit(database_url: str) -> None:
    """A hundred commands given at once take far fewer commits, and each gets its own result, in order."""

    async def story() -> None:
        async with opened(database_url) as store:
            groups: list[int] = []
            store.writer.on_group = lambda size, _seconds: groups.append(size)
            told = await together(store, *(put_alert(number) for number in range(100)))
            assert told == [make_alert(number).alert_id for number in range(100)]
            assert sum(groups) == 100
            assert len(groups) <= 2
            assert check_chain(store) == 100

    play(story)


def test_a_command_whose_waiter_went_away_is_carried_out_all_the_same(sqlite_url: str) -> None:
    """Cancelling a wait takes nothing back, and disturbs nobody."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            gone, stays = store.write(put_alert(1)), store.write(put_alert(2))
            gone.cancel()
            await stays
            assert len(look(sqlite_url, "SELECT 1 FROM alerts")) == 2

    play(story)


def test_commands_after_close_are_refused_and_those_before_are_written(database_url: str) -> None:
    """Closing commits what waits and takes nothing more."""

    async def story() -> None:
        async with opened(database_url) as store:
            waiting = [store.write(put_alert(number)) for number in range(50)]
            closing = asyncio.ensure_future(store.writer.close())
            await asyncio.sleep(0)
            with pytest.raises(StoreError, match="closed"):
                await store.write(put_alert(99))
            await asyncio.gather(*waiting)
            await closing
            store.writer.open()  # so that the fixture can close it again
        assert len(look(database_url, "SELECT 1 FROM alerts")) == 50

    play(story)


def test_a_database_that_has_gone_silent_does_not_hold_up_the_end(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is answered, so nothing acknowledged is lost; the process ends, and its thread with it."""
    monkeypatch.setattr("bridge.store.writer.CLOSE_TIMEOUT_S", 0.1)
    may_end = threading.Event()

    async def story() -> None:
        async with opened(sqlite_url) as store:
            silent = store.write(lambda _tx: may_end.wait(10))
            await asyncio.sleep(0)  # it goes on its way
            behind = store.write(lambda _tx: None)
            began = time.monotonic()
            await store.close()
            assert time.monotonic() - began < 2
            assert not silent.done()
            assert not behind.done()
            assert [type(fault) for fault in store.faults] == [TimeoutError]
            may_end.set()
            await asyncio.gather(silent, behind)

    play(story)


def test_too_much_waiting_is_refused_rather_than_piled_up(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue has an end; what does not fit is told so at once."""
    monkeypatch.setattr("bridge.store.writer.MAX_WAITING", 10)

    async def story() -> None:
        async with opened(sqlite_url) as store:
            told = await together(store, *(put_alert(number) for number in range(15)))
            assert [isinstance(one, StoreError) for one in told] == [False] * 10 + [True] * 5
            assert len(look(sqlite_url, "SELECT 1 FROM alerts")) == 10

    play(story)


# -- taking back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [InvariantError("no"), ValueError("a bug"), KeyError("x")])
def test_a_command_that_raises_is_taken_back_alone(database_url: str, error: Exception) -> None:
    """Its rows, memory, audit records and news are gone; its neighbours' stay, and the chain has no gap."""

    async def story() -> None:
        async with opened(database_url) as store:
            told = await together(store, put_alert(1), fail_after(put_alert(2), error), put_alert(3))
            assert told[1] is error
            kept = {make_alert(1).alert_id, make_alert(3).alert_id}
            assert set(store.ledger.alerts.values) == kept
            assert {row[0] for row in look(database_url, "SELECT alert_id FROM alerts")} == kept
            assert {event.cl_ord_id for event in store.seen if isinstance(event, AskReady)} == kept
            assert Changed(what="alert") in store.seen
            assert check_chain(store) == 2
            assert store.faults == ([] if isinstance(error, InvariantError) else [error])

    play(story)


def test_a_command_that_changed_everything_leaves_no_trace_when_it_raises(database_url: str) -> None:
    """Memory is the same by value before and after, whatever was put, deleted, ended or counted."""

    async def story() -> None:
        async with opened(database_url) as store:
            order = make_order(1)

            def set_up(tx: Tx) -> None:
                put_alert(1)(tx)
                tx.put(tx.ledger.orders, order.cl_ord_id, order)
                tx.count_order(order, NOON)
                tx.put(tx.ledger.holds, ("paper", "NSE:INFY"), Hold(message="differs"))

            def turn_over(tx: Tx) -> None:
                put_alert(2)(tx)
                tx.end_alert(order.intent.alert_id, DONE, NOON)
                tx.put(tx.ledger.orders, order.cl_ord_id, replace(order, status=order.status.FILLED))
                tx.put(tx.ledger.orders, make_order(2).cl_ord_id, make_order(2))
                tx.count_order(make_order(2), NOON)
                tx.put(tx.ledger.holds, ("paper", "NSE:INFY"), None)
                tx.put(tx.ledger.waiting, "x", make_alert(2))
                tx.add_fill(make_fill(order, "X1", 10))
                raise InvariantError("after all that")

            await store.write(set_up)
            before = picture_of(store.ledger)
            assert isinstance((await together(store, turn_over))[0], InvariantError)
            assert picture_of(store.ledger) == before
            assert look(database_url, "SELECT 1 FROM fills") == []
            assert len(look(database_url, "SELECT 1 FROM holds")) == 1
            await store.write(lambda tx: tx.end_alert(order.intent.alert_id, DONE, NOON))
            assert look(database_url, "SELECT disposition FROM alerts") == [("done",)]

    play(story)


def test_an_alert_ends_once(database_url: str) -> None:
    """A second ending raises, in the same commit and in a later one, and the first stays."""

    async def story() -> None:
        async with opened(database_url) as store:
            alert_id = await store.write(put_alert(1))
            other = Ending(disposition=Disposition.FAILED, code="INTERNAL", message="")
            told = await together(
                store,
                lambda tx: tx.end_alert(alert_id, DONE, NOON),
                lambda tx: tx.end_alert(alert_id, other, NOON),
            )
            assert isinstance(told[1], InvariantError)
            assert isinstance((await together(store, lambda tx: tx.end_alert(alert_id, other, NOON)))[0], InvariantError)
            assert look(database_url, "SELECT disposition, code FROM alerts") == [("done", "FILLED")]

    play(story)


def test_alerts_end_in_the_commit_that_stores_them_and_in_later_ones(database_url: str) -> None:
    """Both ways write the same row, for more of them than one statement carries."""

    async def story() -> None:
        async with opened(database_url) as store:

            def accept_and_end(number: int) -> Callable[[Tx], None]:
                def command(tx: Tx) -> None:
                    put_alert(number)(tx)
                    tx.end_alert(make_alert(number).alert_id, DONE, NOON)

                return command

            await together(store, *(accept_and_end(number) for number in range(70)))
            await together(store, *(put_alert(number) for number in range(100, 170)))
            await together(
                store,
                *(lambda tx, n=number: tx.end_alert(make_alert(n).alert_id, DONE, NOON) for number in range(100, 170)),
            )
            rows = look(database_url, "SELECT DISTINCT disposition, code, message, ended_at FROM alerts")
            assert rows == [("done", "FILLED", "filled", to_us(NOON))]
            assert store.ledger.alerts.values == {}

    play(story)


# -- a commit that fails ----------------------------------------------------------------------------------------------


class Breaking:
    """A connection that fails at a statement; what is not overridden goes to the real one."""

    def __init__(self, real: Any, backend: Any, at: str, *, after: bool) -> None:
        self.real, self.at, self.after, self.broke = real, at, after, False
        self.error = _database_error(backend)

    def execute(self, sql: str, *params: Any) -> Any:
        hit = sql.startswith(self.at) and not self.broke
        if hit and not self.after:
            self.broke = True
            raise self.error
        result = self.real.execute(sql, *params)
        if hit:
            self.broke = True
            raise self.error
        return result

    def close(self) -> None:
        self.real.close()


def _database_error(backend: Any) -> Exception:
    if backend.is_sqlite:
        import sqlite3

        return sqlite3.OperationalError("disk I/O error")
    import psycopg

    return psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("at", ["BEGIN", "INSERT", "COMMIT"])
def test_a_commit_that_fails_takes_the_whole_group_back(database_url: str, at: str) -> None:
    """Every waiter is told StoreError, memory is as before by value, and the next group goes through."""

    async def story() -> None:
        async with opened(database_url) as store:
            await store.write(put_alert(1))
            before = picture_of(store.ledger)
            writer: Any = store.writer
            writer._connection = Breaking(writer._connection, store.backend, at, after=False)
            told = await together(store, put_alert(2), put_alert(3))
            assert [type(one) for one in told] == [StoreError, StoreError]
            assert picture_of(store.ledger) == before
            assert len(look(database_url, "SELECT 1 FROM alerts")) == 1
            assert await together(store, put_alert(4)) == [make_alert(4).alert_id]
            assert len(look(database_url, "SELECT 1 FROM alerts")) == 2
            assert check_chain(store) == 2

    play(story)


def test_a_commit_whose_answer_was_lost_is_read_again_from_disk(database_url: str) -> None:
    """The waiter hears StoreError, but what did arrive is in memory before the next command runs, and recovery is told."""

    async def story() -> None:
        async with opened(database_url) as store:
            writer: Any = store.writer
            writer._connection = Breaking(writer._connection, store.backend, "COMMIT", after=True)
            told = await together(store, put_alert(1))
            assert isinstance(told[0], StoreError)
            seen = await store.write(lambda tx: set(tx.ledger.alerts.values))
            assert seen == {make_alert(1).alert_id}
            assert any(isinstance(event, Reloaded) for event in store.seen)
            await store.write(put_alert(2))
            assert check_chain(store) == 2

    play(story)


def test_a_duplicate_execution_takes_back_its_own_command_only(database_url: str) -> None:
    """(account, exec_id) is unique; who brings it twice is told DuplicateError, the neighbours are written."""

    async def story() -> None:
        async with opened(database_url) as store:
            first, other = make_order(1), make_order(2)

            def book(number: int, order: Any, exec_id: str) -> Callable[[Tx], None]:
                def command(tx: Tx) -> None:
                    put_alert(number)(tx)
                    tx.add_fill(make_fill(order, exec_id, 1))

                return command

            await store.write(book(1, first, "X1"))
            told = await together(store, book(2, other, "X2"), book(3, other, "X1"), book(4, other, "X3"))
            assert isinstance(told[1], DuplicateError)
            assert told[0] is None
            assert told[2] is None
            assert {row[0] for row in look(database_url, "SELECT exec_id FROM fills")} == {"X1", "X2", "X3"}
            kept = {make_alert(number).alert_id for number in (1, 2, 4)}
            assert set(store.ledger.alerts.values) == kept
            assert {row[0] for row in look(database_url, "SELECT alert_id FROM alerts")} == kept
            assert check_chain(store) == 3

    play(story)


def test_the_same_refused_delivery_twice_in_a_group_is_kept_once(database_url: str) -> None:
    """Two identical refused bodies of one millisecond share an id; that must not fail the commit of their neighbours."""

    async def story() -> None:
        refused = RefusedAlert(
            alert_id="R1", received_at=NOON, source=Source.TRADINGVIEW, credential="T", strategy="demo", symbol="",
            body="{}", code="E_FIELD", message="no", field="x",
        )  # fmt: skip
        async with opened(database_url) as store:
            told = await together(store, lambda tx: tx.add_refused(refused), put_alert(1), lambda tx: tx.add_refused(refused))
            assert told == [None, make_alert(1).alert_id, None]
            assert len(look(database_url, "SELECT 1 FROM alerts")) == 2

    play(story)


# -- claims -----------------------------------------------------------------------------------------------------------


def take(number: int) -> Callable[[Tx], str]:
    """Stores the alert when its claim is won; says whose it is otherwise."""

    def command(tx: Tx) -> str:
        if tx.claimed is not None:
            return f"lost to {tx.claimed.alert_id} {tx.claimed.content.decode()}".strip()
        put_alert(number)(tx)
        return "won"

    return command


def test_the_same_key_in_one_group_is_won_once(database_url: str) -> None:
    """Re-sends of one millisecond, in one group: the first wins, the others learn its id and leave no rows."""

    async def story() -> None:
        async with opened(database_url) as store:
            told = await together(store, *((take(n), make_claim("k", f"A{n}")) for n in range(5)))
            assert told == ["won"] + ["lost to A0"] * 4
            assert set(store.ledger.alerts.values) == {make_alert(0).alert_id}
            assert look(database_url, "SELECT alert_id FROM claims") == [("A0",)]

    play(story)


def test_the_same_alert_id_and_key_in_one_group_is_won_once(database_url: str) -> None:
    """The same bytes in the same millisecond make even the same alert id: still one winner."""

    async def story() -> None:
        async with opened(database_url) as store:
            told = await together(store, (take(1), make_claim("k", "A")), (take(1), make_claim("k", "A")))
            assert told == ["won", "lost to A"]
            assert len(look(database_url, "SELECT 1 FROM alerts")) == 1
            assert check_chain(store) == 1

    play(story)


def test_a_key_of_an_earlier_commit_is_lost_also_after_a_restart(database_url: str) -> None:
    """Claims outlive the process."""

    async def story() -> None:
        async with opened(database_url) as store:
            assert await store.write(take(1), make_claim("k", "A1", content="c")) == "won"
            assert await store.write(take(2), make_claim("k", "A2", content="d")) == "lost to A1 c"
        async with opened(database_url) as store:
            assert await store.write(take(3), make_claim("k", "A3")) == "lost to A1 c"
            assert await store.write(take(3), make_claim("other", "A3")) == "won"

    play(story)


def test_keys_are_unique_in_their_bucket_and_looked_up_in_the_named_ones(database_url: str) -> None:
    """Another bucket is another claim, unless it is named in the look back and is not older than `since`."""

    async def story() -> None:
        clock = StillClock()
        async with opened(database_url, clock) as store:
            assert await store.write(take(1), make_claim("k", "A1", bucket=1)) == "won"
            assert await store.write(take(2), make_claim("k", "A2", bucket=2)) == "won"
            assert await store.write(take(3), make_claim("k", "A3", bucket=3, lookback=(1,))) == "lost to A1"
            clock.move(seconds=60)
            recent, past = NOON.replace(second=1), NOON
            claim = make_claim("k", "A4", bucket=4, lookback=(1, 2), since=recent)
            assert await store.write(take(4), claim) == "won"
            claim = make_claim("k", "A5", bucket=5, lookback=(1, 3), since=past)
            assert await store.write(take(5), claim) == "lost to A1"

    play(story)


def test_neighbouring_buckets_in_one_group_do_not_both_win(database_url: str) -> None:
    """A re-send on the other side of a window's edge, in the same commit, is a duplicate."""

    async def story() -> None:
        async with opened(database_url) as store:
            told = await together(
                store,
                (take(1), make_claim("k", "A1", bucket=7, lookback=(6, 8))),
                (take(2), make_claim("k", "A2", bucket=8, lookback=(7, 9))),
            )
            assert told == ["won", "lost to A1"]

    play(story)


def test_many_claims_of_one_group_are_each_told_right(database_url: str) -> None:
    """More than one statement's worth of new, repeated and taken keys."""

    async def story() -> None:
        async with opened(database_url) as store:
            await together(store, *((take(n), make_claim(f"k{n}", f"A{n}")) for n in range(0, 150, 2)))
            told = await together(
                store,
                *((take(n), make_claim(f"k{n}", f"B{n}")) for n in range(150)),
                *((take(n), make_claim(f"k{n}", f"C{n}")) for n in range(100)),
            )
            assert told[:150] == [f"lost to A{n}" if n % 2 == 0 else "won" for n in range(150)]
            assert told[150:] == [f"lost to {'A' if n % 2 == 0 else 'B'}{n}" for n in range(100)]
            assert len(look(database_url, "SELECT 1 FROM claims")) == 150

    play(story)


def test_a_winner_that_fails_frees_its_claim(database_url: str) -> None:
    """Its repetitions of the group are told to come again, and the next delivery wins."""

    async def story() -> None:
        async with opened(database_url) as store:
            told = await together(
                store,
                (fail_after(take(1), ValueError("a bug")), make_claim("k", "A1")),
                (take(2), make_claim("k", "A2")),
                (take(3), make_claim("other", "A3")),
            )
            assert [type(one) for one in told] == [ValueError, StoreError, str]
            assert look(database_url, "SELECT alert_id FROM claims") == [("A3",)]
            assert await store.write(take(4), make_claim("k", "A4")) == "won"

    play(story)


def test_a_group_that_is_taken_back_holds_no_claims(database_url: str) -> None:
    """After 503 the sender's next try is no duplicate."""

    async def story() -> None:
        async with opened(database_url) as store:
            writer: Any = store.writer
            writer._connection = Breaking(writer._connection, store.backend, "COMMIT", after=False)
            told = await together(store, (take(1), make_claim("k", "A1")))
            assert isinstance(told[0], StoreError)
            assert await store.write(take(1), make_claim("k", "A1")) == "won"

    play(story)


# -- the audit chain --------------------------------------------------------------------------------------------------


def test_the_chain_is_whole_after_failures_and_restarts(database_url: str) -> None:
    """Taken-back commands leave neither gaps nor forks, and a restart goes on where the chain ended."""

    async def story() -> None:
        for start in range(3):
            async with opened(database_url) as store:
                await together(
                    store,
                    put_alert(start * 10),
                    fail_after(put_alert(start * 10 + 1), InvariantError("no")),
                    put_alert(start * 10 + 2),
                )
                assert check_chain(store) == (start + 1) * 2

    play(story)


SWAP = "; ".join(f"UPDATE audit SET seq = {new} WHERE seq = {old}" for old, new in ((4, -1), (5, 4), (-1, 5)))


@pytest.mark.parametrize(
    ("edit", "whole"),
    [
        ("UPDATE audit SET message = 'x' WHERE seq = 4", 3),
        ("UPDATE audit SET at = at + 1 WHERE seq = 4", 3),
        ("UPDATE audit SET alert_id = '' WHERE seq = 4", 3),
        ("UPDATE audit SET code = 'DONE' WHERE seq = 4", 3),
        ("DELETE FROM audit WHERE seq = 4", 3),
        ("DELETE FROM audit WHERE seq = 1", 0),
        (SWAP, 3),
        ("DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq > 4", 3),
    ],
)  # fmt: skip
def test_an_edited_chain_is_found_out(sqlite_url: str, edit: str, whole: int) -> None:
    """A change, a removal, a swap and a closed gap each show at the first record that is not as it was."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            await together(store, *(put_alert(number) for number in range(8)))
            for statement in edit.split(";"):
                change(sqlite_url, statement)
            count, fault = verify_chain(KEY, store.reads.audit_rows())
            assert (count, fault is None) == (whole, False)

    play(story)


def test_a_chain_made_with_another_key_is_found_out(sqlite_url: str) -> None:
    """Who has the file but not the key can forge nothing."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            await store.write(put_alert(1))
            assert verify_chain(bytes(32), store.reads.audit_rows())[0] == 0

    play(story)


def test_a_cut_off_end_leaves_alerts_without_records(sqlite_url: str) -> None:
    """Removing the newest records leaves a whole chain; what they told of gives it away."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            await together(store, *(put_alert(number) for number in range(3)))
            assert store.reads.unaudited() == []
            change(sqlite_url, "DELETE FROM audit WHERE seq = 3")
            assert check_chain(store) == 2
            assert store.reads.unaudited() == [make_alert(2).alert_id]

    play(story)


# -- the disk ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_and_work_goes_on_when_there_is_room(sqlite_url: str) -> None:
    """StoreError while nothing more fits; memory and disk agree; afterwards the same commands are taken."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            await store.write(put_alert(0))
            before = picture_of(store.ledger)
            writer: Any = store.writer
            pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
            writer._connection.execute(f"PRAGMA max_page_count={pages}")
            big = replace(make_alert(1), body="x" * 100_000)
            told = await together(store, lambda tx: tx.put(tx.ledger.alerts, big.alert_id, big))
            assert isinstance(told[0], StoreError)
            assert picture_of(store.ledger) == before
            writer._connection.execute("PRAGMA max_page_count=1000000")
            await store.write(lambda tx: tx.put(tx.ledger.alerts, big.alert_id, big))
            assert len(look(sqlite_url, "SELECT 1 FROM alerts")) == 2
            check_chain(store)

    play(story)


class NoRoom:
    """A connection whose commits find no room, as SQLite tells it."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.before = 0

    def execute(self, sql: str, *params: Any) -> Any:
        if sql == "COMMIT" and self.real.total_changes > self.before:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        if sql.startswith("BEGIN"):
            self.before = self.real.total_changes
        return self.real.execute(sql, *params)


def test_what_a_full_disk_refused_is_not_read_again_and_is_told_until_there_is_room(sqlite_url: str) -> None:
    """Nothing of it was written, which is certain: no new connection, no reload; an empty commit proves no room."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            writer: Any = store.writer
            await store.write(put_alert(1))
            real = writer._connection
            writer._connection = full = NoRoom(real)
            told = await together(store, *(put_alert(number) for number in range(2, 6)))
            assert {type(error) for error in told} == {StoreError}
            await store.write(lambda _tx: None)
            assert "full" in writer.trouble
            assert writer._connection is full
            writer._connection = real
            assert await store.write(put_alert(2)) == make_alert(2).alert_id
            assert writer.trouble == ""
            assert not any(isinstance(event, Reloaded) for event in store.seen)
            assert check_chain(store) == 2

    play(story)


def test_a_database_that_stays_away_is_looked_for_now_and_then_and_not_by_every_command(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look reads the whole working set anew; in between commands are refused at once, and it is taken up again."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            looks = []
            connect = store.writer._connect

            def away() -> None:
                looks.append(1)
                raise StoreError("the database cannot be reached")

            monkeypatch.setattr(store.writer, "_connect", away)
            store.writer._stale = True
            for number in range(200):
                with pytest.raises(StoreError, match="cannot be reached"):
                    await store.write(put_alert(number))
            assert 2 <= len(looks) <= 4
            monkeypatch.setattr(store.writer, "_connect", connect)

            store.writer._clock.move(seconds=1)  # type: ignore[attr-defined]
            await store.write(put_alert(500))
            assert store.writer.trouble == ""

    play(story)


def test_another_programs_lock_is_waited_for_in_the_thread_and_not_for_long(sqlite_url: str) -> None:
    """The event loop goes on at once; who waits for the store hears of it before a sender's patience ends."""

    async def story() -> None:
        async with opened(sqlite_url, RunningClock(), mode="auto") as store:
            await store.write(put_alert(1))
            other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            short = store.write(put_alert(2))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert time.monotonic() - began < 0.05  # the writer was asked, and the loop is free
            assert not short.done()
            other.execute("ROLLBACK")
            await short
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await store.write(put_alert(3))
            assert 0.5 < time.monotonic() - began < 2.5
            other.execute("ROLLBACK")
            other.close()
            await store.write(put_alert(3))
            assert not any(isinstance(event, Reloaded) for event in store.seen)

    play(story)


def test_writes_wait_for_durability(sqlite_url: str) -> None:
    """The writer's connection runs in WAL mode with synchronous=FULL: a power cut loses nothing acknowledged."""

    async def story() -> None:
        async with opened(sqlite_url) as store:
            writer: Any = store.writer
            assert writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)

    play(story)


def test_an_unreachable_folder_is_a_store_error_or_a_config_error_at_once(tmp_path: Path) -> None:
    """A database that cannot be opened stops the start with a sentence, not with a driver's traceback."""
    from bridge.core.errors import ConfigError

    (tmp_path / "file").write_text("")

    async def story() -> None:
        with pytest.raises((StoreError, ConfigError)):
            async with opened(f"sqlite:///{tmp_path / 'file' / 'bridge.db'}"):
                pass
        folder = tmp_path / "folder.db"
        folder.mkdir()
        with pytest.raises((StoreError, ConfigError)):
            async with opened(f"sqlite:///{folder}"):
                pass

    play(story)


def test_the_inline_writer_keeps_the_same_promises(sqlite_url: str) -> None:
    """`database.writer: inline` commits in the event loop; a failing command is still taken back alone."""

    async def story() -> None:
        async with opened(sqlite_url, mode="inline") as store:
            told = await together(store, put_alert(1), fail_after(put_alert(2), ValueError("x")), put_alert(3))
            assert [type(one) for one in told] == [str, ValueError, str]
            assert len(look(sqlite_url, "SELECT 1 FROM alerts")) == 2
            assert check_chain(store) == 2

    play(story)


@pytest.mark.parametrize("mode", ["thread", "inline", "auto"])
def test_a_fault_that_escapes_a_commit_answers_everybody_and_the_writer_goes_on(sqlite_url: str, mode: WriterMode) -> None:
    """How far it came is not known, so it counts as not stored, and memory is read again; no write hangs."""

    async def story() -> None:
        async with asyncio.timeout(20), opened(sqlite_url, mode=mode) as store:
            await store.write(put_alert(1))

            def break_down(_size: int, _seconds: float) -> None:
                raise RuntimeError("the measuring is broken")

            store.writer.on_group = break_down
            told = await together(store, put_alert(2), put_alert(3))
            assert [type(one) for one in told] == [StoreError, StoreError]
            assert "RuntimeError" in store.writer.trouble
            assert [type(fault) for fault in store.faults] == [RuntimeError]
            store.writer.on_group = lambda _size, _seconds: None
            assert await store.write(put_alert(4)) == make_alert(4).alert_id
            assert Reloaded() in store.seen
            rows = look(sqlite_url, "SELECT alert_id FROM alerts")
            assert {row[0] for row in rows} == set(store.ledger.alerts.values)

    play(story)


@pytest.mark.parametrize("mode", ["thread", "inline", "auto"])
def test_a_fault_in_letting_go_of_a_connection_does_not_last(sqlite_url: str, mode: WriterMode) -> None:
    """Not even one that no driver names: the connection is not used again."""

    class Stuck:
        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def close(self) -> None:
            self.real.close()
            raise RuntimeError("cannot be closed")

    async def story() -> None:
        async with asyncio.timeout(20), opened(sqlite_url, mode=mode) as store:
            store.writer._connection = Stuck(store.writer._connection)
            store.writer._stale = True
            with pytest.raises(StoreError, match="RuntimeError"):
                await store.write(put_alert(1))
            assert await store.write(put_alert(1)) == make_alert(1).alert_id

    play(story)


def test_quantities_survive_exactly(database_url: str) -> None:
    """Decimals go to disk as text: nothing is rounded on the way."""

    async def story() -> None:
        fine = make_order(1, order_qty=Decimal("123456789012345678.12345678"))
        async with opened(database_url) as store:
            await store.write(lambda tx: tx.put(tx.ledger.orders, fine.cl_ord_id, fine))
        async with opened(database_url) as store:
            assert store.ledger.orders.get(fine.cl_ord_id) == fine

    play(story)


class SlowDisk(StillClock):
    """Every look at the stopwatch finds ten milliseconds gone: each commit seems to take as long."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 0.01
        return self.seconds


@pytest.mark.parametrize(
    ("clock", "commands", "in_loop"),
    [(StillClock, 1, True), (StillClock, SMALL_GROUP, True), (StillClock, SMALL_GROUP + 1, False), (SlowDisk, 1, False)],
)
def test_small_groups_commit_in_the_loop_while_the_disk_is_fast(
    sqlite_url: str, clock: type[StillClock], commands: int, in_loop: bool
) -> None:
    """`auto`: what is small and quick is not handed over; a slow disk or a large group never stalls the event loop."""

    async def story() -> None:
        async with opened(sqlite_url, clock(), mode="auto") as store:
            for _ in range(3):  # the first commits tell how fast the disk is
                await store.write(lambda _tx: None)
            ran_in = await asyncio.gather(*(store.write(lambda _tx: threading.get_ident()) for _ in range(commands)))
            assert {ident == threading.get_ident() for ident in ran_in} == {in_loop}

    play(story)


def test_a_reconnect_never_stalls_the_loop(sqlite_url: str) -> None:
    """`auto`: after a commit that failed the next one has to connect first, and that may take long."""

    async def story() -> None:
        async with opened(sqlite_url, mode="auto") as store:
            await store.write(put_alert(1))
            writer: Any = store.writer
            writer._connection = Breaking(writer._connection, store.backend, "COMMIT", after=True)
            assert isinstance((await together(store, put_alert(2)))[0], StoreError)
            assert await store.write(lambda _tx: threading.get_ident()) != threading.get_ident()
            assert len(store.ledger.alerts.values) == 2

    play(story)


@pytest.mark.postgres
def test_a_server_never_stalls_the_loop(postgres_url: str) -> None:
    """`auto`: a server may be silent for minutes, so its commits are waited for in the writer's thread only."""

    async def story() -> None:
        async with opened(postgres_url, mode="auto") as store:
            for _ in range(3):
                assert await store.write(lambda _tx: threading.get_ident()) != threading.get_ident()

    play(story)


def test_a_database_that_was_back_and_is_lost_again_is_looked_for_at_once(sqlite_url: str) -> None:
    """How long it was away before says nothing of this time."""

    async def story() -> None:
        clock = StillClock()
        async with opened(sqlite_url, clock) as store:
            writer: Any = store.writer
            raw, writer._backend.raw = writer._backend.raw, is_away
            writer._stale = True
            for _ in range(3):
                with pytest.raises(StoreError, match="cannot be reached"):
                    await store.write(take(1))
                clock.move(seconds=LONGEST_REST_S)
            writer._backend.raw = raw
            await store.write(take(1))
            writer._stale = True
            await store.write(take(2))

    def is_away() -> Any:
        raise sqlite3.OperationalError("unable to open database file")

    play(story)
