"""`bridge demo`: a paper bridge on a fresh folder, a small day of alerts over real HTTP, and what became of each."""

import argparse
import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import uvloop

from bridge.bootstrap import Bridge
from bridge.commands.client import TIMEOUT_S, Client
from bridge.commands.serve import BridgeServer, listen
from bridge.commands.server import forward_logs
from bridge.commands.story import ORDERS_SENT, SCENES, STRATEGY, SYMBOL, Scene, body_of, headers_of
from bridge.commands.trading import wait_for_end
from bridge.core.errors import ConfigError
from bridge.core.money import parse_decimal, to_text
from bridge.desk import WEBHOOK_PATH
from bridge.log import configure
from bridge.settings import CONFIG_VARIABLE, ENV_PREFIX, Settings, load_settings, resource_dir

END_WITHIN_S = 10.0
# Its own file: the database of a real bridge that lies in the same folder is left alone.
DATABASE = "demo.db"
MIN_MESSAGE_CHARS = 30
_TO_BROKER = re.compile(r"^bridge_alert_to_broker_seconds_(sum|count) (\S+)$", re.MULTILINE)
_COLUMNS = (
    ("what was sent", 23),
    ("HTTP", 5),
    ("answer", 13),
    ("became", 15),
    ("answered", 9),
    ("at broker", 10),
    ("ended", 7),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a scene; times in milliseconds, None where it did not come so far."""

    http_status: int
    answer: str
    alert_id: str
    became: str
    message: str
    position: str
    answered_ms: float
    broker_ms: float | None
    ended_ms: float | None


def demo(arguments: argparse.Namespace) -> int:
    """Tell the story and keep serving; 0 when all of it went as it should."""
    configure(as_json=False)
    forward_logs()
    with _folder(arguments.data) as folder:
        settings, listening = listen_somewhere(demo_settings(folder), arguments.port)
        server = BridgeServer(bridge := Bridge(settings), listening)
        print(f"A paper bridge on {folder}, and a small day of alerts to it:\n", flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return 0 if runner.run(_run(server, Demo(bridge, server.url), once=arguments.once)) else 1


@contextmanager
def _folder(named: str | None) -> Iterator[Path]:
    if named is not None:
        yield Path(named)
        return
    with TemporaryDirectory(prefix="bridge-demo-") as folder:
        yield Path(folder)


def demo_settings(folder: Path) -> Settings:
    """The settings as shipped, on `folder`; nothing of this machine's own, lest the demo trade in a real account."""
    for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
        del os.environ[name]
    shipped = resource_dir("config")
    os.environ[CONFIG_VARIABLE] = str(shipped / "bridge.yaml")
    database = {"url": f"sqlite:///{folder / DATABASE}"}
    return load_settings(data_dir=folder, database=database, instruments=shipped / "instruments.csv")


def listen_somewhere(settings: Settings, port: int | None) -> Any:
    """On the port that was asked for, else on the usual one, else on a free one."""
    try:
        wanted = settings.server.port if port is None else port
        return listen(settings.model_copy(update={"server": settings.server.model_copy(update={"port": wanted})}))
    except ConfigError:
        if port is not None:
            raise
        return listen(settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})}))


async def _run(server: BridgeServer, story: "Demo", *, once: bool) -> bool:
    serving = asyncio.create_task(server.serve())
    telling = asyncio.create_task(_tell_when_ready(server, story))
    await asyncio.wait((serving, telling), return_when=asyncio.FIRST_COMPLETED)
    if not telling.done():  # stopped in the middle, or never started
        telling.cancel()
        await serving
        return False
    if once or telling.exception() is not None:
        server.stop()
    else:
        print(f"\nThe status page: {server.url}/\nServing until Ctrl-C.", flush=True)
    await serving
    return telling.result()


async def _tell_when_ready(server: BridgeServer, story: "Demo") -> bool:
    await server.ready.wait()
    return await story.tell()


class Demo:
    """Sends the scenes one after the other, watches each to its end, and says what it saw."""

    def __init__(self, bridge: Bridge, url: str):
        self._bridge = bridge
        self._url = url
        self._body = b""
        self._ids: list[str] = []

    async def tell(self) -> bool:
        """The whole day; True when every row came out as it should."""
        headers = {"authorization": f"Bearer {self._bridge.api_token}"}
        async with (
            httpx.AsyncClient(base_url=self._url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as own,
            httpx.AsyncClient(base_url=self._url, timeout=TIMEOUT_S, trust_env=False) as tradingview,
        ):
            api = Client(own, self._url)
            before = await self._to_broker(own)
            token = (await api.post("/tokens", {"strategy": STRATEGY, "symbols": [SYMBOL], "max_quantity": "50"}))["token"]
            print_row([name for name, _ in _COLUMNS], "what happened")
            good = True
            for scene in SCENES:
                outcome = await self._play(scene, token, api, tradingview)
                good &= show(scene, outcome, self._ids)
                self._ids.append(outcome.alert_id)
            sent = (await self._to_broker(own))[0] - before[0]
            print(
                "\nTimes are in milliseconds from receipt: to the answer as the sender saw it, to the broker call, to the end."
            )
            if sent != ORDERS_SENT:
                print(f"WRONG: {sent} orders went to the broker, not {ORDERS_SENT}.")
            await _tell_books(api)
        return good and sent == ORDERS_SENT

    async def _play(self, scene: Scene, token: str, api: Client, tradingview: httpx.AsyncClient) -> Outcome:
        clock = self._bridge.clock
        count, total_s = await self._to_broker(tradingview)
        self._body = body_of(scene, token, clock.now(), self._body)
        path = f"{WEBHOOK_PATH}/{token}" if scene.raw else WEBHOOK_PATH
        began = clock.monotonic()
        answer = await tradingview.post(path, content=self._body, headers=headers_of(scene))
        answered_s = clock.monotonic() - began
        told = answer.json()
        alert_id = told.get("alert_id", "")
        way = await wait_for_end(api, alert_id, END_WITHIN_S) if alert_id else {"disposition": "", "code": "", "message": ""}
        count_after, total_after_s = await self._to_broker(tradingview)
        held = {row["symbol"]: row["quantity"] for row in await api.get("/positions")}
        is_sent, is_new = count_after == count + 1, told["status"] == "accepted"
        return Outcome(
            http_status=answer.status_code,
            answer=told.get("code") or told["status"],
            alert_id=alert_id,
            became=" ".join(part for part in (way["disposition"], way["code"]) if part and not part.startswith("E_")),
            message=_sentence(way["message"] or told.get("message", ""), told.get("hint", "")),
            position=held.get(SYMBOL, "0"),
            answered_ms=answered_s * 1_000,
            broker_ms=(total_after_s - total_s) * 1_000 if is_sent else None,
            ended_ms=self._ended_ms(alert_id) if is_new else None,
        )

    def _ended_ms(self, alert_id: str) -> float | None:
        view = self._bridge.store.reads.alert(alert_id)
        if view is None or view.ended_at is None:
            return None
        return (view.ended_at - view.received_at).total_seconds() * 1_000

    async def _to_broker(self, http: httpx.AsyncClient) -> tuple[int, float]:
        """How many orders were sent so far, and the seconds from receipt to the broker call, in sum."""
        found = dict(_TO_BROKER.findall((await http.get("/metrics")).text))
        return int(float(found["count"])), float(found["sum"])


def _sentence(message: str, hint: str) -> str:
    return f"{message} {hint}".strip()


def show(scene: Scene, outcome: Outcome, ids: list[str]) -> bool:
    """Print a row, and below it what is not as it should be; `ids` are those of the alerts before."""
    expected = f"{scene.disposition} {scene.code}".strip()
    wrong = [
        f"{name} is {found!r}, expected {wanted!r}"
        for name, found, wanted in (
            ("the HTTP status", outcome.http_status, scene.http_status),
            ("the answer", outcome.answer, scene.answer),
            ("the end", outcome.became, expected),
            ("the position", outcome.position, scene.position),
        )
        if found != wanted
    ]
    if scene.resend and outcome.alert_id != ids[-1]:
        wrong.append("the alert's id is not the first one's")
    times = (outcome.answered_ms, outcome.broker_ms, outcome.ended_ms)
    cells = [scene.title, str(outcome.http_status), outcome.answer, outcome.became or "not stored"]
    print_row([*cells, *("" if ms is None else f"{ms:.1f}" for ms in times)], outcome.message)
    for text in wrong:
        print(f"  WRONG: {text}", flush=True)
    return not wrong


def print_row(cells: list[str], last: str) -> None:
    """One line of the table. On a terminal the last column takes what is left, or a line of its own where that is little."""
    line = "".join(cell.ljust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True))
    if not sys.stdout.isatty():
        print((line + last).rstrip(), flush=True)
        return
    width = shutil.get_terminal_size().columns
    start = len(line) if width - len(line) >= MIN_MESSAGE_CHARS else 2
    cut = last if start + len(last) <= width else last[: width - start - 1] + "…"
    print(line + cut if start == len(line) else f"{line.rstrip()}\n  {cut}", flush=True)


async def _tell_books(api: Client) -> None:
    positions, trades = await api.get("/positions"), await api.get("/trades")
    account = (await api.get("/account"))[0]
    held = ", ".join(f"{row['quantity']} {row['symbol']}" for row in positions) or "flat"
    pnl = sum((parse_decimal(trade["pnl"]) for trade in trades), Decimal(0))
    print(
        f"Position: {held}. Trades: {len(trades)}, {to_text(pnl)} rupees after charges. "
        f"Account {account['account']}: P&L today {account['day_pnl']}.",
        flush=True,
    )
