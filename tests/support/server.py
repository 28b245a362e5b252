"""`bridge serve` as a process of its own, asked over HTTP as the world would ask it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.rigs import ROOT, instruments_csv
from tests.support.samples import SBIN
from tests.support.waiting import wait_for

WEBHOOK = "/webhook/tradingview"


class Served:
    """One data folder and the process that serves it; it may be stopped, killed and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        config: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        module: str = "bridge",
    ) -> None:
        self.folder = folder
        self.module = module
        self.data = folder / "data"
        self.log = folder / "bridge.log"
        self.config = config or {}
        self.env = env or {}
        self.process: subprocess.Popen[bytes] | None = None
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

    def start(self) -> Self:
        """Start and wait until it answers."""
        self._write_config()
        env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        env |= {"PYTHONPATH": str(ROOT), **self.env}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "serve", "--port", "0"], cwd=self.folder, env=env, stdout=log, stderr=log
            )
        where = wait_for(self._where, "the bridge to say where it listens", limit_s=30)
        self.url = f"http://{where['host']}:{where['port']}"
        self.http.close()
        self.http = httpx.Client(base_url=self.url, timeout=20)
        return self

    def _where(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.poll() is None, f"the bridge ended: {self.log.read_text()[-2000:]}"
        try:
            found = json.loads((self.data / "bridge.lock").read_text())
        except (OSError, ValueError):
            return {}
        return found if found.get("pid") == self.process.pid and "port" in found else {}

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
        connection = sqlite3.connect(self.data / "bridge.db", timeout=10)
        try:
            return connection.execute(sql, params).fetchall()
        finally:
            connection.close()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `bridge …` on the same folder."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        env |= {"PYTHONPATH": str(ROOT), **self.env}
        return subprocess.run(
            [sys.executable, "-m", "bridge", *words],
            cwd=self.folder, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def check_books(self) -> None:
        """What holds at any moment, checked in the files: one broker order per tag, position = fills, whole audit."""
        twice = self.rows("SELECT tag, COUNT(*) FROM paper_orders GROUP BY account, tag HAVING COUNT(*) > 1")
        assert twice == []
        sums: dict[tuple[str, str], float] = {}
        for account, symbol, side, qty in self.rows("SELECT account, symbol, side, last_qty FROM fills"):
            sums[account, symbol] = sums.get((account, symbol), 0) + (1 if side == "BUY" else -1) * int(qty)
        held = {(a, s): int(q) for a, s, q in self.rows("SELECT account, symbol, quantity FROM positions")}
        assert held == sums
        theirs = {(a, s): int(q) for a, s, q in self.rows("SELECT account, symbol, quantity FROM paper_positions")}
        assert {key: qty for key, qty in held.items() if qty} == theirs
        verified = self.command("audit", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
