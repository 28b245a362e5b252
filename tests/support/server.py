"""`bridge serve` and `bridge venue` as processes of their own, asked over HTTP as the world would ask them."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.nursery import Forked, nursery, run
from tests.support.rigs import ROOT, instruments_csv
from tests.support.samples import SBIN
from tests.support.waiting import wait_for

WEBHOOK = "/webhook/tradingview"
Process = subprocess.Popen[bytes] | Forked


class ServedVenue:
    """`bridge venue` on a folder and, once it has one, a port of its own; it may be stopped, killed and started again."""

    def __init__(self, folder: Path, *options: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "venue"
        self.log = folder / "venue.log"
        self.options = options
        self.env = env or {}
        self.process: Process | None = None
        self.port = 0
        self.http = httpx.Client()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "instruments.csv").write_text(instruments_csv())

    def __enter__(self) -> "ServedVenue":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self.http.close()

    @property
    def root(self) -> str:
        """What an account's `root` says."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> None:
        """Start, and do not wait."""
        words = ["venue", "--port", str(self.port), "--data", str(self.data), *self.options]
        env = clean_env(BRIDGE_INSTRUMENTS=str(self.folder / "instruments.csv"), **self.env)
        self.process = launch("bridge", words, self.folder, env, self.log)

    def start(self) -> "ServedVenue":
        """Start and wait until it answers."""
        if self.process is None:
            self.launch()
        told = wait_for(self._where, "the venue to say where it listens", limit_s=30)
        self.port = told["port"]
        self.http.close()
        self.http = httpx.Client(base_url=self.root, timeout=20, trust_env=False)
        return self

    def _where(self) -> dict[str, Any]:
        return read_lock(self.process, self.data / "venue.lock", self.log)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        process, self.process = self.process, None
        try:
            return process.wait(20)
        finally:
            process.kill()

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        """The content of an answer, which has to be a success."""
        answer = self.http.request(method, path, json=content)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.json()

    def faults(self, **wanted: int) -> Any:
        """Switch faults on; those with a digit first come as `_429`."""
        return self.ask("POST", "/faults", {name.removeprefix("_"): count for name, count in wanted.items()})

    def price(self, price: str, symbol: str = SBIN) -> None:
        """The market trades at this price."""
        at = datetime.now(UTC).isoformat()
        self.ask("POST", "/v1/market/prices", {"symbol": symbol, "price": price, "at": at})

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """What is in the database file now."""
        return rows_of(self.data / "venue.db", sql, *params)

    def orders(self, account: str = "paper") -> list[tuple[Any, ...]]:
        """(tag, status, cum_qty) of every order of an account, in the order of arrival."""
        sql = "SELECT tag, status, cum_qty FROM paper_orders WHERE account = ? ORDER BY broker_order_id"
        return self.rows(sql, account)


def clean_env(**more: str) -> dict[str, str]:
    """This environment without anybody's settings, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def launch(
    module: str, words: Sequence[str], folder: Path, env: Mapping[str, str], log: Path, *, fresh: bool = False
) -> Process:
    """`python -m MODULE WORDS`, which writes to `log`; `fresh`: a program started from nothing, and not one of the nursery."""
    with log.open("ab") as told:
        if fresh or "LD_PRELOAD" in env:  # only a program that is started hears of that
            return subprocess.Popen([sys.executable, "-m", module, *words], cwd=folder, env=env, stdout=told, stderr=told)
        return nursery().start(module, words, cwd=folder, env=env, out=told, errors=told)


def read_lock(process: Process | None, lock: Path, log: Path) -> dict[str, Any]:
    """Where the process listens; empty until it says so."""
    assert process is not None
    assert process.poll() is None, f"it ended: {log.read_text()[-2000:]}"
    try:
        found: dict[str, Any] = json.loads(lock.read_text())
    except (OSError, ValueError):
        return {}
    return found if found.get("pid") == process.pid and "port" in found else {}


def rows_of(file: Path, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    """What is in a database file now."""
    connection = sqlite3.connect(file, timeout=10)
    try:
        return connection.execute(sql, params).fetchall()
    finally:
        connection.close()


class Served:
    """One data folder and the process that serves it; it may be stopped, killed and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        config: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        module: str = "bridge",
        fresh: bool = False,
    ) -> None:
        self.folder = folder
        self.module = module
        self.is_fresh = fresh
        self.data = folder / "data"
        self.log = folder / "bridge.log"
        self.config = config or {}
        self.env = env or {}
        self.process: Process | None = None
        self.url = ""
        self.http = httpx.Client()
        self._ids = 0
        (folder / "config").mkdir(parents=True, exist_ok=True)
        (folder / "config" / "instruments.csv").write_text(instruments_csv())

    # -- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self.http.close()

    def launch(self) -> None:
        """Start, and do not wait."""
        self._write_config()
        words, env = ("serve", "--port", "0"), clean_env(**self.env)
        self.process = launch(self.module, words, self.folder, env, self.log, fresh=self.is_fresh)

    def start(self) -> Self:
        """Start if it does not run, and wait until it answers."""
        if self.process is None:
            self.launch()
        where = wait_for(self._where, "the bridge to say where it listens", limit_s=30)
        self.url = f"http://{where['host']}:{where['port']}"
        self.http.close()
        self.http = httpx.Client(base_url=self.url, timeout=20)
        return self

    def _where(self) -> dict[str, Any]:
        return read_lock(self.process, self.data / "bridge.lock", self.log)

    def _write_config(self) -> None:
        given: dict[str, Any] = {
            "accounts": {"paper": {"broker": "paper", "cash": 100_000_000, "session": "always"}},
            "strategies": {"demo": {"accounts": ["paper"], "product": "MIS"}},
            "webhook": {"freshness_s": 60, "rate_per_minute": 1_000_000},
            "risk": {"profile": "none"},
        }
        (self.folder / "config" / "bridge.yaml").write_text(json.dumps({**given, **self.config}))  # JSON is YAML

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: int) -> None:
        """Send a signal, and do not wait for what it does."""
        if self.process is not None:
            self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once the process has ended."""
        if self.process is None:
            return 0
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.process = None
        return code

    # -- the API ------------------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The bearer token of the API."""
        return self.env.get("BRIDGE_API__TOKEN") or (self.data / "api.token").read_text().strip()

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def api(self, method: str, path: str, **values: Any) -> Any:
        """The content of an API answer, which has to be a success."""
        answer = self.http.request(method, f"/api/v1{path}", headers=self.bearer, **values)
        assert answer.status_code < 300, (answer.status_code, answer.text)
        return answer.json()

    def mint(self, **claims: Any) -> dict[str, Any]:
        """A capability token: `token`, `token_id`, `url`, `message`."""
        found: dict[str, Any] = self.api("POST", "/tokens", json={"strategy": "demo", **claims})
        return found

    def body(self, token: str | None = None, **fields: Any) -> dict[str, Any]:
        """The native alert; a field of None is left out. Each body is another alert."""
        self._ids += 1
        given: dict[str, Any] = {
            "token": token, "strategy": "demo", "symbol": SBIN, "price": "812.5", "time": datetime.now(UTC).isoformat(),
            "n": str(self._ids), **fields,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}

    def post(self, content: bytes | str | dict[str, Any], path: str = WEBHOOK, **values: Any) -> httpx.Response:
        """Post a delivery."""
        if isinstance(content, dict):
            content = json.dumps(content)
        return self.http.post(path, content=content, **values)

    def send(self, token: str, **fields: Any) -> str:
        """Post an alert that has to be accepted; its id."""
        answer = self.post(self.body(token, **fields))
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "accepted", answer.text
        return str(answer.json()["alert_id"])

    def way(self, alert_id: str) -> dict[str, Any]:
        """An alert's whole way."""
        found: dict[str, Any] = self.api("GET", f"/alerts/{alert_id}")
        return found

    def ended(self, alert_id: str, limit_s: float = 20) -> dict[str, Any]:
        """An alert's whole way, once it has ended."""

        def look() -> dict[str, Any] | None:
            way = self.way(alert_id)
            return way if way["disposition"] is not None else None

        found = wait_for(look, f"the end of {alert_id}", limit_s)
        assert found is not None
        return found

    def done(self, token: str, **fields: Any) -> dict[str, Any]:
        """Send an alert and wait for its end."""
        return self.ended(self.send(token, **fields))

    def quantity(self, symbol: str = SBIN) -> str:
        """The position, as the API tells it; '0' when flat."""
        return next((str(p["quantity"]) for p in self.api("GET", "/positions") if p["symbol"] == symbol), "0")

    # -- the files ----------------------------------------------------------------------------------------------------

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """What is in the database file now."""
        return rows_of(self.data / "bridge.db", sql, *params)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `bridge …` on the same folder."""
        return run(words, cwd=self.folder, env=clean_env(**self.env))

    def check_books(self, book: Callable[..., list[tuple[Any, ...]]] | None = None) -> None:
        """What holds at any moment, checked in the files: one broker order per tag, the same executions and positions on both
        sides, position = fills, whole audit. `book` asks the broker's own database; the paper broker's is the bridge's."""
        book = book or self.rows
        assert book("SELECT account, tag, COUNT(*) FROM paper_orders GROUP BY account, tag HAVING COUNT(*) > 1") == []
        sums: dict[tuple[str, str], float] = {}
        booked = set()
        for account, ident, symbol, side, qty in self.rows("SELECT account, exec_id, symbol, side, last_qty FROM fills"):
            sums[account, symbol] = sums.get((account, symbol), 0) + (1 if side == "BUY" else -1) * int(qty)
            booked.add((account, ident, qty))
        executed = {
            (account, fill[0], fill[2])
            for account, fills in book("SELECT account, fills FROM paper_orders")
            for fill in json.loads(fills)
        }
        assert booked == executed
        held = {(a, s): int(q) for a, s, q in self.rows("SELECT account, symbol, quantity FROM positions")}
        assert held == sums
        theirs = {(a, s): int(q) for a, s, q in book("SELECT account, symbol, quantity FROM paper_positions")}
        assert {key: qty for key, qty in held.items() if qty} == theirs
        verified = self.command("audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
