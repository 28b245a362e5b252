"""The reports of replays: a list of what `bridge replay` has written, and each report as it was written."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bridge.web.contexts import Chip
from bridge.web.gate import Gate, PageError, Visitor
from bridge.web.port import Bridge
from bridge.web.text import MINUS, NOTHING, Amount, short_time

PAGE, FIGURES = "report.html", "report.json"
MAX_SHOWN = 100
MAX_BYTES = 32 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
# A report is a file that anybody may have put there: it brings its own style and drawings, and may do nothing at all. Sandboxed
# it is of no origin, so that it could not read a page of ours even if a script ran in it.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
Render = Callable[[str, Visitor | None, Mapping[str, object]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLine:
    """A report in the list; figures that it does not tell are a dash. `tried`: how many variants it is the best of."""

    name: str
    title: str
    written: str
    span: str
    total: Amount
    drawdown: str
    sharpe: str
    trades: str
    tried: str
    stamps: tuple[Chip, ...]


class ReplayPages:
    """Only what a look into the folder has found is opened, whatever an address says."""

    def __init__(self, bridge: Bridge, gate: Gate, render: Render):
        self._folder = bridge.settings.replays_dir()
        self._clock = bridge.clock
        self._gate = gate
        self._render = render

    def routes(self) -> list[BaseRoute]:
        """What is served."""
        return [
            Route("/replays", self.every, methods=["GET"]),
            Route("/replays/{name}", self.one, methods=["GET"]),
        ]

    async def every(self, request: Request) -> Response:
        """The reports, the latest first."""
        visitor, now = self._gate.admit(request), self._clock.now()

        def render() -> str:
            found = sorted(find_reports(self._folder), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
            lines = [make_replay(folder, now) for folder in found[:MAX_SHOWN]]
            return self._render("replays.html", visitor, {"replays": lines, "count": len(found), "folder": str(self._folder)})

        return Response(await asyncio.to_thread(render), media_type="text/html")

    async def one(self, request: Request) -> Response:
        """One report, bound by a policy of its own."""
        self._gate.admit(request)
        name = request.path_params["name"]

        def read() -> bytes:
            folder = next((each for each in find_reports(self._folder) if each.name == name), None)
            if folder is None:
                raise PageError(404, "There is nothing here", "There is no such report.")
            if (folder / PAGE).stat().st_size > MAX_BYTES:
                raise PageError(413, "This report is too large", f"Open {folder / PAGE} on the bridge’s own machine.")
            return (folder / PAGE).read_bytes()

        headers = {"content-security-policy": POLICY}
        return Response(await asyncio.to_thread(read), headers=headers, media_type="text/html; charset=utf-8")


def find_reports(folder: Path) -> Iterator[Path]:
    """The folders with a report in them; what a link leads to is none."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        page = path / PAGE
        if _NAME.fullmatch(path.name) and not path.is_symlink() and page.is_file() and not page.is_symlink():
            yield path


def make_replay(folder: Path, now: datetime) -> ReplayLine:
    """The line of a report, from its figures where they can be read."""
    file = folder / FIGURES
    told = _read_figures(file, file.stat().st_mtime_ns) if file.is_file() and not file.is_symlink() else {}
    curve, trades = _part(told, "curve"), _part(told, "trades")
    definitions = [each for each in _list(told, "definitions") if isinstance(each, dict)]
    tried = told.get("tried")
    return ReplayLine(
        name=folder.name,
        title=" and ".join(str(each.get("name", "")) for each in definitions) or folder.name,
        written=short_time(datetime.fromtimestamp((folder / PAGE).stat().st_mtime, UTC), now),
        span=f"{told['begin']} to {told['end']}" if "begin" in told and "end" in told else NOTHING,
        total=_percent(curve.get("total_return")),
        drawdown=_percent(curve.get("max_drawdown")).text,
        sharpe=f"{found:.2f}".replace("-", MINUS) if (found := _number(curve.get("sharpe"))) is not None else NOTHING,
        trades=f"{found:,.0f}" if (found := _number(trades.get("count"))) is not None else NOTHING,
        tried=f"best of {tried}" if isinstance(tried, int) and tried > 1 else "",
        stamps=tuple(_stamp(each) for each in _list(told, "stamps") if isinstance(each, dict)),
    )


@lru_cache(maxsize=MAX_SHOWN)
def _read_figures(file: Path, _written_ns: int) -> dict[str, Any]:
    """What a file of figures says; nothing where it is none. Read once for each time it was written."""
    if file.stat().st_size > MAX_BYTES:
        return {}
    try:
        told = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return {}
    wanted = ("definitions", "begin", "end", "curve", "trades", "tried", "stamps")
    return {name: told[name] for name in wanted if name in told} if isinstance(told, dict) else {}


def _stamp(told: Mapping[str, Any]) -> Chip:
    return Chip(text=str(told.get("message", "")), tone="warn" if told.get("tone") == "warn" else "quiet")


def _part(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = told.get(name)
    return part if isinstance(part, dict) else {}


def _list(told: Mapping[str, Any], name: str) -> list[Any]:
    part = told.get(name)
    return part if isinstance(part, list) else []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else None


def _percent(value: object) -> Amount:
    """A part of one as percent, with its sign."""
    found = _number(value)
    if found is None:
        return Amount(text=NOTHING, tone="flat")
    text = f"{abs(found):.1%}"
    if text == "0.0%":
        return Amount(text=text, tone="flat")
    return Amount(text=f"{MINUS}{text}", tone="down") if found < 0 else Amount(text=f"+{text}", tone="up")
