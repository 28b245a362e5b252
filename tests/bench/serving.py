"""The server under test, a process of its own: `python -m tests.bench.serving bridge|noop|bare` says its port when ready.

`bridge` is the bridge as `bridge serve` runs it. `noop` is a Starlette route that reads the body and answers small JSON
under the same uvicorn. `bare` answers from a protocol without HTTP, to show that the load generator is not what is slow.
"""

import argparse
import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from bridge.core.order import Order
from bridge.core.report import Outcome

BARE_ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n{"status":"accepted"}'


class Server(uvicorn.Server):
    """Says its port on standard output once it takes requests; writes down what was seen once it has stopped."""

    def __init__(self, config: uvicorn.Config, calls: list[float], out: Path | None):
        super().__init__(config)
        self._calls = calls
        self._out = out

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            print(json.dumps({"port": sockets[0].getsockname()[1]}), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self._out is not None:
            self._out.write_text(json.dumps(self._calls))


def uvicorn_config(app: ASGIApp) -> uvicorn.Config:
    """The configuration of `bridge serve`; every app under test gets the same."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=5,
    )


def noop_app() -> Starlette:
    """What an empty route costs."""

    async def accept(request: Request) -> JSONResponse:
        await request.body()
        return JSONResponse({"status": "accepted"})

    return Starlette(routes=[Route("/webhook/tradingview", accept, methods=["POST"])])


def bridge_app(calls: list[float]) -> ASGIApp:
    """The bridge as configured by BRIDGE_CONFIG; `calls` gets the seconds from the receipt of an alert to its broker call."""
    from bridge.app import build_app
    from bridge.bootstrap import Bridge
    from bridge.settings import load_settings

    bridge = Bridge(load_settings())
    for broker in bridge.brokers.values():
        _tap(broker, calls)
    return build_app(cast("Any", bridge))


def _tap(broker: Any, calls: list[float]) -> None:
    place = broker.place

    async def timed(order: Order) -> Outcome:
        calls.append(time.time() - order.intent.received_at.timestamp())
        outcome: Outcome = await place(order)
        return outcome

    broker.place = timed


class Bare(asyncio.Protocol):
    """Takes every read for one whole request, which holds on loopback for small ones."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(BARE_ANSWER)


async def _serve_bare() -> None:
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


def serve(name: str, out: Path | None) -> None:
    """Serve until told to stop."""
    if name == "bare":
        uvloop.run(_serve_bare())
        return
    calls: list[float] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    app = bridge_app(calls) if name == "bridge" else noop_app()
    Server(uvicorn_config(app), calls, out).run(sockets=[listener])


def main() -> None:
    """Serve what is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("app", choices=["bridge", "noop", "bare"])
    parser.add_argument("--out", type=Path)
    named = parser.parse_args()
    serve(named.app, named.out)


if __name__ == "__main__":
    main()
