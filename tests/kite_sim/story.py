"""A story: one plan told with a loopback Kite of its own and a bridge that is killed, and what must hold afterwards."""

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from bridge.brokers.kite.gtt import ID_PREFIX
from bridge.core.limits import LIMIT_NAMES
from tests.kite_sim import plan as plans
from tests.kite_sim.books import read_books
from tests.kite_sim.check import check_all
from tests.kite_sim.life import CLOCK, CONFIG, LOG, Lives, SharedClock
from tests.kite_sim.plan import Plan, Step
from tests.kite_sim.resting import check_cover, check_withdrawn
from tests.support.clocks import NOON
from tests.support.kite import Desk, open_desk
from tests.support.nursery import Forked
from tests.support.rigs import instruments_csv
from tests.support.samples import SBIN
from tests.support.server import rows_of
from tests.support.stores import empty_database

ACCOUNT = "zerodha"
WAIT_S = 30.0
RESTS = ("PLACED", "PARTIAL")
POLL_S = 0.02
MONEY_S = 0.5
ROUNDS = 150
# At these what rests goes on resting, and market orders have their fills.
CALM = ("812.5", "806", "819")
_MEMORY_DISK = Path("/dev/shm")
_NO_LIMITS = dict.fromkeys(name for name in LIMIT_NAMES if name.startswith(("max_", "min_")))


class BrokenError(Exception):
    """A promise that did not hold, in its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What came of a plan. `broken` names what did not hold, None when all did; `counts` how much happened."""

    plan: Plan
    broken: str | None
    journal: tuple[str, ...]
    counts: Mapping[str, int]


def tell(plan: Plan, lives: Lives) -> Story:
    """Tell the story of a plan. The plan is the same each time; what meets what in it is up to real processes."""
    with open_world(plan, lives) as world:
        broken = None
        try:
            world.tell()
        except BrokenError as error:
            broken = str(error)
            world.note(f"BROKEN {broken}")
            world.journal += (world.folder / LOG).read_text().splitlines()[-60:]
        return Story(plan=plan, broken=broken, journal=tuple(world.journal), counts=world.count())


@contextmanager
def open_world(plan: Plan, lives: Lives, **account: Any) -> Iterator["World"]:
    """A world in which nothing has happened yet; `account` are settings of the bridge's one account."""
    folder = Path(tempfile.mkdtemp(prefix="kite-sim-", dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None))
    try:
        clock = SharedClock(folder / CLOCK)
        clock.jump((NOON - clock.now()).total_seconds())
        with open_desk(clock, **plan.knobs) as desk:
            world = World(plan, folder, clock, desk, lives, account)
            try:
                yield world
            finally:
                world.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class World:
    """One folder, one bridge in it that lives and dies, one loopback Kite that outlives it, one clock for both."""

    def __init__(
        self, plan: Plan, folder: Path, clock: SharedClock, desk: Desk, lives: Lives, account: Mapping[str, Any]
    ) -> None:
        self.plan, self.folder, self.clock, self.desk = plan, folder, clock, desk
        self.data = folder / "data"
        self.journal: list[str] = []
        self.sent: dict[str, Mapping[str, Any]] = {}
        self.halts: list[tuple[datetime, datetime | None]] = []
        self.counts: Counter[str] = Counter()
        self._lives = lives
        self._process: Forked | None = None
        self._token = self._alert_token = ""
        self._planned = 0
        self._http = httpx.Client()
        self._write_files(account)

    def _write_files(self, more: Mapping[str, Any]) -> None:
        sessions, root = self.desk.box.sessions, self.desk.server.root
        account = {
            "broker": "kite", "root": root, "login_root": f"{root}/connect/login", "api_key": sessions.api_key,
            "api_secret": sessions.api_secret, "updates": self.plan.updates, "protection_products": ["MIS"], **more,
        }  # fmt: skip
        config = {
            "server": {"port": 0}, "accounts": {ACCOUNT: account}, "instruments": str(self.folder / "instruments.csv"),
            "strategies": {"demo": {"accounts": [ACCOUNT], "product": "MIS"}},
            "webhook": {"rate_per_minute": 100_000}, "risk": {"profile": "careful", **_NO_LIMITS},
        }  # fmt: skip
        self.data.mkdir()
        shutil.copyfile(empty_database(), self.data / "bridge.db")
        (self.folder / CONFIG).write_text(json.dumps(config))  # JSON is YAML
        (self.folder / "instruments.csv").write_text(instruments_csv())

    # -- the story ----------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """From the first start to the last look."""
        self.begin()
        for step in self.plan.steps:
            self.note(str(step))
            self.do(step)
            self.log_in_if_out()
        self.end()
        self.check()  # before books that differ make the exit last long
        self._until(self.unclosed, plans.PRICES, "exit")
        self.check()

    def check(self) -> None:
        """Every promise that can be held against the books.

        What the bridge does by itself, as to close what could not be protected, may be on its way: that gets its time.
        """
        self._until(lambda: next(check_all(self), ""), CALM, "")

    def begin(self) -> None:
        """A bridge that may trade."""
        self.start()
        self.log_in()
        self.wait(self.knows_money, "the first word on money")
        self.ask("POST", "/api/v1/resume", {"account": ACCOUNT})
        self._alert_token = self.ask("POST", "/api/v1/tokens", {"strategy": "demo"})["token"]

    def knows_money(self) -> bool:
        """Until the bridge has heard how much there is, it lets no entry out."""
        (account,) = self.ask("GET", "/api/v1/account")
        return account["available"] is not None

    def await_money(self) -> None:
        """For a moment: whoever comes too early is denied, and what is denied proves nothing."""
        ends = time.monotonic() + MONEY_S
        while not self.knows_money() and time.monotonic() < ends:
            self.clock.jump(1)
            time.sleep(POLL_S)

    def do(self, step: Step) -> None:
        """Let one thing happen."""
        kinds: dict[str, Callable[[Step], object]] = {
            plans.ALERT: lambda step: self.send(**step.values),
            plans.FAULTS: lambda step: self.set_faults(step.values),
            plans.PRICE: lambda step: self.set_price(step.values["price"]),
            plans.PAUSE: lambda step: time.sleep(step.s),
            plans.JUMP: lambda step: self.clock.jump(step.s),
            plans.CUT: self._cut,
            plans.SETTLE: lambda _step: self.wait(self.is_quiet, "what is on its way to rest"),
            plans.KILL: self._kill_and_start,
            plans.HAND: lambda step: self.take_newest(**step.values),
            plans.HALT: lambda _step: self.halt(),
            plans.RESUME: lambda _step: self.resume(),
        }
        kinds[step.kind](step)

    def _cut(self, step: Step) -> None:
        time.sleep(step.s)
        self.desk.server.stop()  # with all connections
        self.desk.server.start()

    def _kill_and_start(self, step: Step) -> None:
        time.sleep(step.s)
        self.kill()
        self.clock.jump(step.values["down_s"])
        self.start()
        self.await_money()

    def take_newest(self, do: str, **terms: str) -> None:
        """A person has the newest order that rests cancelled or changed; it may end before the bridge hears of that."""
        rows = [
            row for row in self.ask("GET", "/api/v1/orders") if row["status"] in RESTS and row["ord_type"] in ("LIMIT", "SL-M")
        ]
        if not rows:
            return
        name, kind = rows[0]["cl_ord_id"], rows[0]["ord_type"]
        if kind == "SL-M" and "price" in terms:
            terms = {**terms, "trigger_price": terms["price"]}
            del terms["price"]
        answer = self.request("POST", f"/api/v1/orders/{name}/{do}", terms)
        self.note(f"by hand: {do} {name} is answered {answer.status_code}")
        if answer.status_code == 200:
            self.sent[answer.json()["alert_id"]] = {"action": do, "order": name, **terms}
            self.counts["by hand"] += 1
        elif "There is no open order" not in answer.text:
            raise BrokenError(f"P9 {do} of {name} is answered {answer.status_code} {answer.text[:300]}")

    def halt(self) -> None:
        """From its answer on no entry leaves, and those that rest go."""
        self.ask("POST", "/api/v1/halt", {"cancel": True})
        self.counts["halts"] += 1
        if not self.is_halted:
            self.halts.append((self.clock.now(), None))

    def resume(self) -> None:
        """Entries may leave again, from before the answer on."""
        if self.is_halted:
            self.halts[-1] = (self.halts[-1][0], self.clock.now())
        self.ask("POST", "/api/v1/resume", {})

    @property
    def is_halted(self) -> bool:
        """Whether nobody has resumed since the last halt."""
        return bool(self.halts) and self.halts[-1][1] is None

    def set_faults(self, wanted: Mapping[str, Mapping[str, int]]) -> None:
        """Switch faults on, and count those that are new."""
        before = self.desk.server.do(lambda box: box.faults.show())
        self._planned += sum(count - before[scope][kind] for scope, counts in wanted.items() for kind, count in counts.items())
        self.desk.server.do(lambda box: box.faults.set(wanted))

    def set_price(self, price: str) -> None:
        """The market trades here, also while Kite hangs up on everybody."""
        self.desk.server.do(lambda box: box.set_price(SBIN, Decimal(price)))

    def end(self) -> None:
        """Faults are over. What is asked for is done, then what rests is cancelled; what is held stays, and its protection."""
        left = self.desk.server.do(lambda box: box.faults.show())
        self.counts["faults"] = self._planned - sum(sum(kinds.values()) for kinds in left.values())
        self.desk.server.do(lambda box: box.faults.clear())
        self.note("faults are over")
        self._until(self.unsettled, CALM, "")
        self._until(self.unended, plans.PRICES, "cancel")
        self.counts["protected"] = len(read_books(self).active_triggers)

    def _until(self, missing: Callable[[], str], prices: Sequence[str], action: str) -> None:
        """Let time pass, at these prices while an order works there, with an alert of this action every five rounds."""
        told = ""
        for number in range(ROUNDS):
            self.log_in_if_out()
            self.desk.server.do(lambda box: box.book.release())
            if self.working_at_kite():
                self.set_price(prices[number % len(prices)])
            told = missing()
            if not told:
                return
            if action and number % 5 == 0:  # what is about to leave gets a moment
                self.send(action=action)
            self.clock.jump(1)
            time.sleep(POLL_S * 2)
        open_ones = self.rows("SELECT alert_id, action FROM alerts WHERE disposition IS NULL")
        orders = self.rows("SELECT tag, status FROM orders WHERE is_open = 1")
        (account,) = self.ask("GET", "/api/v1/account")
        there = f"at Kite {self.working_at_kite()}, account {account['message']!r}"
        raise BrokenError(f"{told}: alerts {open_ones}, orders {orders}, {there}")

    def unsettled(self) -> str:
        """What is still on its way, or was to be withdrawn and works; empty when all that is open just rests."""
        open_orders = "SELECT alert_id FROM orders WHERE is_open = 1"
        alerts = f"SELECT COUNT(*) FROM alerts WHERE disposition IS NULL AND alert_id NOT IN ({open_orders})"
        orders = f"SELECT COUNT(*) FROM orders WHERE is_open = 1 AND status NOT IN {RESTS}"
        if self.rows(f"SELECT ({alerts}) + ({orders})") != [(0,)]:
            return "P3 it does not settle"
        return next(check_withdrawn(self, read_books(self)), "")

    def is_quiet(self) -> bool:
        """Whether all that is open rests, protections of what has filled among it."""
        moving = "SELECT COUNT(*) FROM orders WHERE is_open = 1 AND ord_type = 'MARKET'"
        wanted = "SELECT COUNT(*) FROM protections WHERE status = 'WANTED'"
        return not self.unsettled() and self.rows(f"SELECT ({moving}) + ({wanted})") == [(0,)]

    def unended(self) -> str:
        """What has not ended, or is not protected as it should be; empty when nothing but protections rests."""
        if self.rows("SELECT COUNT(*) FROM alerts WHERE disposition IS NULL") != [(0,)] or self.working_at_kite():
            return "P3 it does not end"
        if self.rows("SELECT COUNT(*) FROM orders WHERE is_open = 1 AND legs IS NULL") != [(0,)]:
            return "P3 it does not end"
        books = read_books(self)
        resting = {own.broker_order_id for own in books.owns.values() if own.is_protection and own.is_open}
        active = {f"{ID_PREFIX}{row['id']}" for row in books.active_triggers}
        if resting != active:
            return f"P2 the triggers {active} rest at Kite and the protections {resting} here"
        return next(check_cover(self, books), "")

    def unclosed(self) -> str:
        """What is still held or rests; empty when nothing is open any more, here and there."""
        sql = "SELECT (SELECT COUNT(*) FROM alerts WHERE disposition IS NULL) + (SELECT COUNT(*) FROM orders WHERE is_open = 1)"
        books = read_books(self)
        if books.position:
            return f"P4 {books.position} are held after an exit"
        if books.active_triggers:
            return "P4 a protection is alive without a position"
        return "" if self.rows(sql) == [(0,)] and not self.working_at_kite() else "P3 it does not end"

    def working_at_kite(self) -> list[tuple[str, str]]:
        """Tag and status of what has not ended there."""
        return [(order.tag or "", str(order.status)) for order in self.desk.server.do(lambda box: box.book.working())]

    # -- the bridge ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A new process on the same folder; where it listens is told to Kite as well."""
        self._process = self._lives.start(self.folder)
        found = self.wait(self._where, "the bridge to start")
        self._http.close()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{found['port']}", timeout=20, trust_env=False)
        self._token = (self.data / "api.token").read_text().strip()
        if self.plan.updates == "postback":
            self.desk.server.do(lambda box: box.turn(postback_url=f"{self._http.base_url}/webhook/kite/{ACCOUNT}"))

    def _where(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.data / "bridge.lock").read_text())
        except (OSError, ValueError):
            return {}
        assert self._process is not None
        return found if found.get("pid") == self._process.pid and "port" in found else {}

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(WAIT_S)
        self._process = None
        self.counts["kills"] += 1

    def close(self) -> None:
        """Leave no process behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)
        self._http.close()

    def wait(self, what: Callable[[], Any], told: str) -> Any:
        """The first true answer of `what`; BrokenError when it does not come, or the bridge ends by itself."""
        ends = time.monotonic() + WAIT_S
        while not (found := what()):
            if self._process is not None and self._process.poll() is not None:
                raise BrokenError("the bridge ended by itself")
            if time.monotonic() > ends:
                raise BrokenError(f"waited in vain for {told}")
            time.sleep(POLL_S / 4)
        return found

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """The content of an answer of the bridge, which has to be a success."""
        answer = self.request(method, path, content)
        if answer.status_code not in (200, 201):
            raise BrokenError(f"P9 {path} is answered {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def request(self, method: str, path: str, content: Any = None) -> httpx.Response:
        """Any answer of the bridge; there has to be one."""
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            return self._http.request(method, path, json=content, headers=headers)
        except httpx.TransportError as error:
            raise BrokenError(f"P9 the bridge does not answer {path} ({type(error).__name__})") from error

    def send(self, **fields: Any) -> None:
        """Send an alert, which has to be accepted."""
        number = len(self.sent)
        price = {} if fields["action"] == "modify" else {"price": "812.5"}  # of a change it would be one of the new terms
        body = {
            "token": self._alert_token, "strategy": "demo", "symbol": SBIN, **price,
            "time": self.clock.now().isoformat(), "n": str(number), **fields,
        }  # fmt: skip
        told = self.ask("POST", "/webhook/tradingview", body)
        if told["status"] != "accepted":
            raise BrokenError(f"an alert is answered {told}")
        self.sent[told["alert_id"]] = fields

    def log_in(self) -> None:
        """Somebody logs in at Kite and hands the bridge what that gave."""
        token = self.desk.server.do(lambda box: box.sessions.give_request_token())
        self.ask("POST", f"/api/v1/brokers/{ACCOUNT}/session", {"request_token": token})
        self.counts["logins"] += 1

    def log_in_if_out(self) -> None:
        """The same, if the session has died."""
        session = self.desk.box.sessions.current
        if session is None or session.dies_at <= self.clock.now():
            self.note("log in")
            self.log_in()

    # -- what is told and counted -------------------------------------------------------------------------------------

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is in the bridge's database file now."""
        return rows_of(self.data / "bridge.db", sql)

    def note(self, what: str) -> None:
        """A line of the journal."""
        self.journal.append(f"{self.clock.now():%H:%M:%S.%f} {what}")

    def count(self) -> Mapping[str, int]:
        """How much happened."""
        books = read_books(self)
        changes = sum(states[-1].modifications for states in books.histories)
        doubts = self.rows("SELECT COUNT(*) FROM audit WHERE action = 'order_in_doubt'")[0][0]
        refused = self.desk.server.do(lambda box: sum(n for name, n in box.limits.totals.items() if name.endswith("_refused")))
        told = {"alerts": len(self.sent), "orders": len(books.histories), "doubts": doubts, "refused": refused}
        fired = sum(row["status"] == "triggered" for row in books.triggers)
        return {**self.counts, **told, "changes": changes, "triggers": len(books.triggers), "fired": fired}
