"""The command `bridge` as a person runs it: a process of its own, in a folder of its own, with nobody's settings."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.support.calendars import present_calendar
from tests.support.nursery import LIMIT_S, Forked, nursery, run
from tests.support.rigs import ROOT
from tests.support.waiting import wait_for


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A bridge that serves: its address, its process, and the way to both its doors."""

    url: str
    process: Forked
    token: str

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1{path}", headers={"authorization": f"Bearer {self.token}"}, trust_env=False)
        return answer.raise_for_status().json()

    def mint(self, **claims: object) -> str:
        """A token for the strategy `demo`."""
        headers = {"authorization": f"Bearer {self.token}"}
        answer = httpx.post(f"{self.url}/api/v1/tokens", headers=headers, json={"strategy": "demo", **claims}, trust_env=False)
        return str(answer.raise_for_status().json()["token"])

    def alert(self, token: str | None, **fields: object) -> httpx.Response:
        """Deliver an alert as TradingView does."""
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {"token": token, "strategy": "demo", "symbol": "NSE:SBIN", "time": time, "price": "812.5", **fields}
        content = json.dumps({name: value for name, value in body.items() if value is not None})
        return httpx.post(f"{self.url}/webhook/tradingview", content=content, trust_env=False)

    def ended(self, alert_id: str) -> Any:
        """An alert's whole way, once it has ended."""
        return wait_for(lambda: (way := self.get(f"/alerts/{alert_id}"))["disposition"] and way, f"the end of {alert_id}")

    def trade(self, token: str, **fields: object) -> Any:
        """Deliver an alert and follow it to its end."""
        return self.ended(self.alert(token, **fields).json()["alert_id"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the process and wait; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """Runs commands in `folder`; `env` are BRIDGE_ variables."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, *words: str, stdin: str = "", **env: str) -> Finished:
        done = run(words, cwd=self.folder, env=self._environment(env), given=stdin)
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return Finished(code=done.returncode, out=done.stdout, err=done.stderr)

    @contextmanager
    def start(self, *words: str, **env: str) -> Iterator[Forked]:
        """A command that goes on; it is ended with the block at the latest. `errors` has its standard error."""
        read, write = os.pipe()
        with (self.folder / "errors.txt").open("ab") as errors, open(write, "wb") as out:
            process = nursery().start("bridge", words, cwd=self.folder, env=self._environment(env), out=out, errors=errors)
        with open(read) as process.stdout, process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def serve(self, *words: str, **env: str) -> Iterator[Serving]:
        """A bridge on a free port for as long as the block runs."""
        with self.start("serve", "--port", "0", *words, **env) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("serving http://"), self.errors() or line
            url, headers = line.split()[1], {"authorization": "Bearer -"}
            assert httpx.get(f"{url}/api/v1/status", headers=headers, trust_env=False).status_code == 401
            token = (self.folder / "data" / "api.token").read_text().strip()
            yield Serving(url=url, process=process, token=token)

    def errors(self) -> str:
        """What commands that were started said on standard error."""
        path = self.folder / "errors.txt"
        return path.read_text() if path.exists() else ""

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        files = {"BRIDGE_INSTRUMENTS": ROOT / "config" / "instruments.csv", "BRIDGE_CALENDAR": present_calendar()}
        ours = {"PYTHONPATH": str(ROOT), **{name: str(file) for name, file in files.items()}}
        return {**kept, **ours, **self.env, **more}
