"""The one writer: commands gather while a commit is on its way, and the next commit takes them all."""

import asyncio
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from bridge.core.alert import Claim, Claimed
from bridge.core.clock import Clock, to_us
from bridge.core.errors import BridgeError, DuplicateError, InvariantError, StoreError
from bridge.core.events import Changed, Event, Reloaded
from bridge.core.ledger import Ledger
from bridge.store import tables
from bridge.store.audit import AuditChain
from bridge.store.backend import Backend
from bridge.store.load import load_chain, load_newest, load_order_times, load_shelves
from bridge.store.mapping import RowMap
from bridge.store.sql import MAX_ROWS, claim_sql, delete_sql, find_claims_sql, flatten
from bridge.store.tx import Tx

T = TypeVar("T")
Command = Callable[[Tx], Any]

# Stands in for the content of a claim whose command failed, so that its repetitions in the group fail too.
NOTHING: Mapping[bytes, int] = {}
_FAULTY = b"\x00faulty"
MAX_GROUP = 256
MAX_WAITING = 20_000
# A commit in the event loop stalls every page and stream for as long as it takes, so only what is small and quick runs there.
SMALL_GROUP = 12
FAST_COMMIT_S = 0.0015
COMMITS_REMEMBERED = 8
CLOSE_TIMEOUT_S = 5.0
# Another program's lock is waited for in the thread only, and two such waits are less than a sender's patience of 3 s.
LOCKED_PATIENCE_S = 1.0
LOCKED_POLL_S = 0.01
# While the database is away each look at it costs a connection and a reading of the working set; meanwhile senders get 503.
FIRST_REST_S = 0.05
LONGEST_REST_S = 0.5
WriterMode = Literal["auto", "thread", "inline"]
# With the default of 5 ms the writer waits that long for the interpreter at each statement beside a busy event loop.
SWITCH_INTERVAL_S = 0.0005


@dataclass(slots=True)
class _Waiting:
    run: Command
    claim: Claim | None
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs commands one after the other in group transactions, and resolves them once their commit is on disk.

    A command that raises is taken back alone; a commit that fails takes the whole group back, in memory too, so that memory
    and disk never differ. When it is not known whether a commit arrived, memory is read again from disk.
    """

    def __init__(
        self,
        backend: Backend,
        maps: Mapping[str, RowMap[Any, Any]],
        shelves: Mapping[str, Any],
        ledger: Ledger,
        audit_key: bytes,
        clock: Clock,
        *,
        mode: WriterMode,
        recent: timedelta,
    ):
        self.ledger = ledger
        self._backend = backend
        self._maps = maps
        self._shelves = shelves
        self._audit_key = audit_key
        self._clock = clock
        self._mode = mode
        self._recent = recent
        self._commit_s = 0.0
        self._connection: Any = None
        self._chain = AuditChain(audit_key)
        self._stale = True
        self._failed_looks = 0
        self._next_look = 0.0
        self.trouble = ""
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._kicked = False
        self._closed = False
        self._groups: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: asyncio.Event | None = None
        self.on_events: Callable[[list[Event]], None] = lambda _events: None
        self.on_fault: Callable[[BaseException], None] = lambda _error: None
        self.on_group: Callable[[int, float], None] = lambda _size, _seconds: None

    # -- the event loop's side ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, load the working set, and be ready for `run`; ConfigError when another bridge has the database."""
        self._connect()
        if self._mode != "inline":
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
            self._thread.start()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the event loop in which results and news are delivered."""
        self._loop = loop

    def run(self, command: Callable[[Tx], T], claim: Claim | None = None) -> "asyncio.Future[T]":
        """Queue a command; the future resolves after its commit. StoreError: nothing of it was written."""
        loop = self._loop
        if loop is None:
            raise InvariantError("the writer was not told its event loop")
        future: asyncio.Future[T] = loop.create_future()
        if self._closed or len(self._waiting) >= MAX_WAITING:
            future.set_exception(StoreError("the store is closed" if self._closed else "too much is waiting to be stored"))
            return future
        self._waiting.append(_Waiting(command, claim, future))
        if not self._busy and not self._kicked:
            self._kicked = True
            loop.call_soon(self._kick)
        return future

    def _kick(self) -> None:
        self._kicked = False
        if self._busy or not self._waiting:
            return
        group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
        self._busy = True
        if self._mode == "inline":
            self._finish(group, self._commit_surely(group))
        elif self._may_block_loop(len(group)) and self._begin():
            self._finish(group, self._commit_surely(group, begun=True))
        else:
            self._hand_over(group)

    def _hand_over(self, group: list[_Waiting]) -> None:
        self._groups.put(group)

    def _may_block_loop(self, size: int) -> bool:
        """A small group on a disk that has been fast is committed at once: handing it over costs more than it takes."""
        if self._mode != "auto":
            return False
        # A server may be silent for minutes, and so may a reconnect: neither may hold up the loop, and with it the halt.
        is_quick = self._backend.is_sqlite and not self._stale
        return is_quick and size <= SMALL_GROUP and self._commit_s < FAST_COMMIT_S

    def _finish(self, group: list[_Waiting], events: list[Event]) -> None:
        self._busy = False
        if events:  # first, so that orders are on their way to brokers before their senders are answered
            self._tell(events)
        for item in group:
            if item.future.done():  # its waiter went away; the command was carried out all the same
                continue
            if item.error is None:
                item.future.set_result(item.result)
            else:
                item.future.set_exception(item.error)
        if self._waiting:
            self._kick()
        elif self._idle is not None:
            self._idle.set()

    def _tell(self, events: list[Event]) -> None:
        try:
            self.on_events(events)
        except Exception as error:  # whoever listens, the waiters of this group must hear of their commit
            self.on_fault(error)

    async def close(self) -> None:
        """Commit what is waiting and stop. A database that says nothing for CLOSE_TIMEOUT_S is left to itself."""
        self._closed = True
        if self._busy or self._waiting:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._idle.wait()
            except TimeoutError as error:  # nobody was answered, and the thread ends with the process
                self.on_fault(error)
                return
        if self._thread is not None:
            self._groups.put(None)
            await asyncio.to_thread(self._thread.join)
        self._disconnect()

    # -- the writer's side --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (group := self._groups.get()) is not None:
            events = self._commit_surely(group)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._finish, group, events)

    def _begin(self) -> bool:
        """Open a transaction at once; False when it takes another try, in the thread, with patience."""
        try:
            return self._backend.begin(self._connection)
        except Exception:  # the thread meets the same fault, and tells of it
            return False

    def _begin_patiently(self) -> None:
        until = self._clock.monotonic() + LOCKED_PATIENCE_S
        try:
            while not self._backend.begin(self._connection):
                if self._clock.monotonic() >= until:
                    raise StoreError("another program has the database locked")
                time.sleep(LOCKED_POLL_S)
        except self._backend.errors as error:
            self._stale = True
            raise self._name_fault(error) from error

    def _commit_surely(self, group: list[_Waiting], *, begun: bool = False) -> list[Event]:
        try:
            return self._commit(group, begun=begun)
        except Exception as error:  # it is not known how far it came: memory is read again, and every waiter is answered
            self._stale = True
            self.trouble = f"the store failed over a commit: {type(error).__name__}"
            for item in group:
                item.result, item.error = None, StoreError(self.trouble)
            with suppress(Exception):  # nothing is left that could tell of it
                self.on_fault(error)
            return []

    def _commit(self, group: list[_Waiting], *, begun: bool = False) -> list[Event]:
        began = self._clock.monotonic()
        events: list[Event] = []
        try:
            events += self._refresh()
            events += self._try_group(group, begun=begun)
        except (DuplicateError, InvariantError):
            events += self._one_by_one(group)
        except StoreError as error:
            self.trouble = str(error)
            for item in group:
                item.result, item.error = None, error
        took = self._clock.monotonic() - began
        self._commit_s += (took - self._commit_s) / COMMITS_REMEMBERED
        self.on_group(len(group), took)
        return events

    def _one_by_one(self, group: list[_Waiting]) -> list[Event]:
        """One command of the group cannot be written, as a fact stored already cannot; find it, and let the others through."""
        events: list[Event] = []
        for item in group:
            item.result = item.error = None
            try:
                events += self._refresh()
                events += self._try_group([item])
            except (DuplicateError, InvariantError, StoreError) as error:
                if isinstance(error, StoreError):
                    self.trouble = str(error)
                item.result, item.error = None, error
        return events

    def _try_group(self, group: list[_Waiting], *, begun: bool = False) -> list[Event]:
        if not begun:
            self._begin_patiently()
        tx = Tx(self.ledger, self._chain, self._maps, self._connection, self._backend.mark)
        committing = False
        try:
            held = self._claim([item.claim for item in group if item.claim is not None])
            for item in group:
                self._run_one(tx, item, held)
            tx.flush()
            committing = True
            self._connection.execute("COMMIT")
            tx.committed()
        except Exception as error:  # whatever went wrong, memory goes back to what is on disk
            tx.undo_all()
            self._roll_back(sure=not committing or self._backend.is_surely_undone(error))
            raise self._name_fault(error) from error
        if tx.has_written:  # an empty commit needs no room, and proves nothing
            self.trouble, self._failed_looks, self._next_look = "", 0, 0.0
        self.ledger.forget_closed()
        return [*tx.events, *(Changed(what=what) for what in sorted(tx.touched))]

    def _name_fault(self, error: Exception) -> BridgeError:
        """DuplicateError and InvariantError are one command's doing; StoreError is the database's."""
        if self._backend.is_integrity_error(error):
            return DuplicateError(str(error))
        if isinstance(error, self._backend.errors):
            return StoreError(f"the store did not commit: {error}")
        self.on_fault(error)
        return InvariantError(f"a command left what cannot be written: {error!r}")

    def _run_one(self, tx: Tx, item: _Waiting, held: dict[bytes, Claim | Claimed]) -> None:
        mark = tx.mark()
        claim = item.claim
        holder = held[claim.key] if claim is not None else None
        if isinstance(holder, Claim):
            if holder.content is _FAULTY:
                item.error = StoreError("the first of these alerts could not be stored")
                return
            tx.claimed = None if holder is claim else Claimed(alert_id=holder.alert_id, content=holder.content)
        else:
            tx.claimed = holder
        try:
            item.result, item.error = item.run(tx), None
        except Exception as error:  # a fault of one command must not take its neighbours down
            tx.back_to(mark)
            item.result, item.error = None, error
            if isinstance(error, self._backend.errors):
                raise
            if holder is claim and claim is not None:
                self._connection.execute(delete_sql(tables.ClaimRow, self._backend.mark), (claim.bucket, claim.key))
                held[claim.key] = replace(claim, content=_FAULTY)
            if not isinstance(error, BridgeError):
                self.on_fault(error)

    # -- claims -------------------------------------------------------------------------------------------------------

    def _claim(self, claims: list[Claim]) -> dict[bytes, Claim | Claimed]:
        """Who holds each key once this group's claims are inserted: an earlier alert, or the claim of the group that won."""
        if not claims:
            return {}
        held: dict[bytes, Claim | Claimed] = {}
        held.update(self._look_back([claim for claim in claims if claim.lookback]))
        fresh: dict[bytes, Claim] = {}
        for claim in claims:
            if claim.key not in held:
                fresh.setdefault(claim.key, claim)
        now = to_us(self._clock.now())
        rows = [(c.bucket, c.key, c.content, c.alert_id, now) for c in fresh.values()]
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            sql = claim_sql(tables.ClaimRow, len(part), self._backend.mark)
            new = {bytes(row[1]) for row in self._connection.execute(sql, flatten(part)).fetchall()}
            taken = [fresh[row[1]] for row in part if row[1] not in new]
            held.update(self._find([(claim.bucket, claim.key) for claim in taken]))
        for key, claim in fresh.items():
            held.setdefault(key, claim)
        return held

    def _look_back(self, claims: list[Claim]) -> dict[bytes, Claimed]:
        since = {claim.key: to_us(claim.since) for claim in claims if claim.since is not None}
        return self._find([(bucket, claim.key) for claim in claims for bucket in claim.lookback], since)

    def _find(self, pairs: list[tuple[int, bytes]], since: Mapping[bytes, int] = NOTHING) -> dict[bytes, Claimed]:
        found: dict[bytes, Claimed] = {}
        for start in range(0, len(pairs), MAX_ROWS):
            part = pairs[start : start + MAX_ROWS]
            sql = find_claims_sql(len(part), self._backend.mark)
            for _bucket, key, alert_id, content, received_at in self._connection.execute(sql, flatten(part)).fetchall():
                if received_at >= since.get(bytes(key), 0):
                    found[bytes(key)] = Claimed(alert_id=alert_id, content=bytes(content))
        return found

    # -- the connection -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        try:
            self._connection = self._backend.raw()
            is_ours = self._backend.lock(self._connection)
        except self._backend.errors as error:
            self._disconnect()
            raise StoreError(f"the database cannot be reached: {error}") from error
        if not is_ours:
            self._disconnect()
            raise StoreError("another bridge is working on this database; stop it first")
        try:
            now = self._clock.now()
            load_shelves(self._connection, self._shelves, self._maps, now)
            self.ledger.restore_waiting()  # who waited may have got an order in a commit whose answer was lost
            load_newest(self._connection, self.ledger, self._maps["alerts"], now - self._recent, self._backend.mark)
            load_order_times(self._connection, self.ledger, now, self._backend.mark)
            self._chain = load_chain(self._connection, self._audit_key)
        except Exception as error:  # the driver's, and those of a row that cannot be decoded
            self._disconnect()
            raise StoreError(f"the database cannot be read: {type(error).__name__}: {error}") from error
        self._stale = False

    def _refresh(self) -> list[Event]:
        if not self._stale and self._connection is not None:
            return []
        now = self._clock.monotonic()
        if now < self._next_look:
            raise StoreError(self.trouble or "the database is away")
        rest_s = min(FIRST_REST_S * 2**self._failed_looks, LONGEST_REST_S)
        self._next_look = now + rest_s if self._failed_looks else 0
        self._failed_looks = min(self._failed_looks + 1, 10)
        self._disconnect()
        self._connect()
        return [Reloaded()]

    def _roll_back(self, *, sure: bool) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except self._backend.errors:  # a connection that cannot even roll back is replaced
            sure = False
        if not sure:
            self._stale = True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None  # whatever closing raises, it is not used again
        if connection is not None:
            try:
                connection.close()
            except self._backend.errors as error:  # closing a broken connection must not hide why it broke
                self.on_fault(error)
