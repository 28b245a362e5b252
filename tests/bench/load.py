"""The load generator, a process of its own: `python -m tests.bench.load JOB.json` prints what came of it as JSON.

Plain HTTP/1.1 on kept-alive sockets, one request at a time on each. A closed loop sends the next request as soon as the
one before is answered (throughput); an open loop sends by the clock, whatever the server does (latency).
"""

import asyncio
import gc
import json
import selectors
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from tests.bench.bodies import Recipe, make_bodies
from tests.bench.stats import corrected, schedule, spread_of

CONNECTIONS = 64
_HEAD_END, _LENGTH = b"\r\n\r\n", b"content-length: "
MAX_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to send where. `per_second` None is a closed loop; the first `skipped` latencies are not counted."""

    port: int
    path: str
    count: int
    recipe: Recipe
    per_second: float | None = None
    skipped: int = 0
    connections: int = CONNECTIONS


class Connection(asyncio.Protocol):
    """One socket with at most one request on its way; `on_answer` is told the status of each answer."""

    def __init__(self, on_answer: "Callable[[Connection, bytes], None]"):
        self._on_answer = on_answer
        self._part = b""
        self._transport: asyncio.Transport | None = None
        self.number = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, number: int, request: bytes) -> None:
        """Put one request on its way."""
        assert self._transport is not None
        self.number = number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._part:
            data = self._part + data
        head = data.find(_HEAD_END)
        at = data.find(_LENGTH, 0, head) + len(_LENGTH)
        if head < 0 or len(data) < head + 4 + int(data[at : data.find(b"\r", at)]):
            self._part = data
            return
        self._part = b""
        self._on_answer(self, data[9:12])

    def connection_lost(self, exc: Exception | None) -> None:
        if self.number >= 0:
            self._on_answer(self, b"cut")


class Run:
    """Requests out, answers in; `finished` are the times of the answers by number of the request."""

    def __init__(self, requests: list[bytes]):
        self.requests = requests
        self.statuses: dict[str, int] = {}
        self.finished = [0.0] * len(requests)
        self.left = len(requests)
        self.done = asyncio.Event()
        self.sockets: list[Connection] = []

    async def connect(self, port: int, connections: int, on_answer: Callable[[Connection, bytes], None]) -> None:
        """Open all sockets before the clock starts."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _transport, protocol = await loop.create_connection(lambda: Connection(on_answer), "127.0.0.1", port)
            self.sockets.append(protocol)

    def note(self, socket: Connection, status: bytes) -> None:
        """Count an answer."""
        self.finished[socket.number] = time.monotonic()
        socket.number = -1
        text = status.decode()
        self.statuses[text] = self.statuses.get(text, 0) + 1
        self.left -= 1
        if not self.left:
            self.done.set()


async def run_closed(job: Job, requests: list[bytes]) -> dict[str, Any]:
    """As fast as the server answers."""
    run = Run(requests)
    waiting: Iterator[tuple[int, bytes]] = enumerate(requests)

    def on_answer(socket: Connection, status: bytes) -> None:
        run.note(socket, status)
        following = next(waiting, None)
        if following is not None:
            socket.send(*following)

    await run.connect(job.port, job.connections, on_answer)
    started = time.monotonic()
    for socket in run.sockets:
        first = next(waiting, None)
        if first is not None:
            socket.send(*first)
    await asyncio.wait_for(run.done.wait(), MAX_SECONDS)
    return {"started": started, "seconds": max(run.finished) - started, "statuses": run.statuses}


class Pacer:
    """Sends each request when it is due, on an idle socket or else on the first that becomes idle."""

    def __init__(self, run: Run):
        self._run = run
        self._due: list[float] = []
        self._next = 0
        self._idle: list[Connection] = []
        self._held: deque[int] = deque()
        self._loop = asyncio.get_running_loop()
        self.late: list[float] = []

    def start(self, due: list[float]) -> None:
        """Begin to follow a schedule."""
        self._due = due
        self._idle = list(self._run.sockets)
        self._tick()

    def on_answer(self, socket: Connection, status: bytes) -> None:
        self._run.note(socket, status)
        if self._held:
            number = self._held.popleft()
            socket.send(number, self._run.requests[number])
        else:
            self._idle.append(socket)

    def _tick(self) -> None:
        now = time.monotonic()
        while self._next < len(self._due) and self._due[self._next] <= now:
            self.late.append(now - self._due[self._next])
            if self._idle:
                self._idle.pop().send(self._next, self._run.requests[self._next])
            else:
                self._held.append(self._next)
            self._next += 1
        if self._next < len(self._due):
            self._loop.call_at(self._due[self._next], self._tick)


async def run_open(job: Job, requests: list[bytes]) -> dict[str, Any]:
    """By the clock; latencies count from when a request was due."""
    assert job.per_second is not None
    run = Run(requests)
    pacer = Pacer(run)
    await run.connect(job.port, job.connections, pacer.on_answer)
    started = time.monotonic() + 0.05
    due = [started + offset for offset in schedule(len(requests), job.per_second)]
    pacer.start(due)
    await asyncio.wait_for(run.done.wait(), MAX_SECONDS)
    latencies = corrected(due, run.finished)[job.skipped :]
    return {
        "started": started,
        "seconds": max(run.finished) - started,
        "statuses": run.statuses,
        "ack": spread_of(latencies).as_dict(),
        "generator_late": spread_of(pacer.late).as_dict(),
    }


def make_request(path: str, body: bytes) -> bytes:
    """One delivery as TradingView makes it."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"user-agent: Go-http-client/1.1\r\naccept-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _precise_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are true to the microsecond; epoll and uvloop know milliseconds only."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def run_job(job: Job) -> dict[str, Any]:
    """Make everything that is to be sent, then send it."""
    requests = [make_request(job.path, body) for body in make_bodies(job.recipe, job.count)]
    gc.collect()
    gc.disable()
    is_open = job.per_second is not None
    with asyncio.Runner(loop_factory=_precise_loop if is_open else uvloop.new_event_loop) as runner:
        return runner.run(run_open(job, requests) if is_open else run_closed(job, requests))


def main() -> None:
    """Run the job in the file that is named."""
    told = json.loads(Path(sys.argv[1]).read_text())
    recipe = Recipe(**told.pop("recipe"))
    print(json.dumps(run_job(Job(recipe=recipe, **told))), flush=True)


if __name__ == "__main__":
    main()
