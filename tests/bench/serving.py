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

from bridge.bootstrap import Bridge
from bridge.commands.serve import BridgeServer
from bridge.commands.server import BACKLOG, KEEP_ALIVE_S
from bridge.core.order import Order
from bridge.core.report import Outcome
from bridge.settings import load_settings

BARE_ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n{"status":"accepted"}'


class NoopServer(uvicorn.Server):
    """Says its port on standard output once it takes requests."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if sockets:
            _say_port(sockets[0])


def _say_port(listening: socket.socket) -> None:
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)


async def _serve_noop(listening: socket.socket) -> None:
    """With the options of `bridge.commands.server.Server`."""
    config = uvicorn.Config(
        noop_app(),
        loop="uvloop",
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    await NoopServer(config).serve(sockets=[listening])


def noop_app() -> Starlette:
    """What an empty route costs."""

    async def accept(request: Request) -> JSONResponse:
        await request.body()
        return JSONResponse({"status": "accepted"})

    return Starlette(routes=[Route("/webhook/tradingview", accept, methods=["POST"])])


async def _serve_bridge(listening: socket.socket, calls: list[float]) -> None:
    """The bridge as configured by BRIDGE_CONFIG; `calls` gets the seconds from the receipt of each alert to its broker call."""
    bridge = Bridge(load_settings())
    for broker in bridge.brokers.values():
        _tap(broker, calls)
    server = BridgeServer(bridge, listening)
    work = asyncio.create_task(server.serve())
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait((work, ready), return_when=asyncio.FIRST_COMPLETED)
    _say_port(listening)
    await work


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


async def _serve_bare(listening: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Bare, sock=listening)
    _say_port(listening)
    await server.serve_forever()


def serve(name: str, out: Path | None) -> None:
    """Serve until told to stop."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    calls: list[float] = []
    works = {"bridge": lambda: _serve_bridge(listening, calls), "noop": lambda: _serve_noop(listening)}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(works.get(name, lambda: _serve_bare(listening))())
    if out is not None:
        out.write_text(json.dumps(calls))


def main() -> None:
    """Serve what is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("app", choices=["bridge", "noop", "bare"])
    parser.add_argument("--out", type=Path)
    named = parser.parse_args()
    serve(named.app, named.out)


if __name__ == "__main__":
    main()
