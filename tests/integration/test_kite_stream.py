"""The stream of a Kite account, by the vendor's own ticker against the sandbox: it says when to look, and what prices are.

All tests share the one reactor of their process, which nobody stops.
"""

import asyncio
import datetime as dt
import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.brokers.kite.stream import KiteStream, StreamTimes
from bridge.core.market import Tick
from bridge.log import configure
from tests.support.clocks import RunningClock
from tests.support.kite import Desk, open_desk
from tests.support.plays import play
from tests.support.rigs import ROOT, WatchedBridge, make_settings, running
from tests.support.samples import SBIN
from tests.support.waiting import until

QUICK = StreamTimes(stale_s=5, look_s=0.02, gap_s=0.05, pauses_s=(0.02, 0.05))
CONNECTED, TOLD, REFUSED = "the stream has connected", "the stream told of an order", "the stream refused the session"


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A sandbox on the machine's own time, whose heart beats fast."""
    with open_desk(RunningClock(), heartbeat_ms=50) as opened:
        yield opened


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Standard output and error, with the log of the bridge in it."""
    configure()
    yield capfd
    configure()


class Listening:
    """A stream with what it told, and the session that it asks."""

    def __init__(self, desk: Desk, times: StreamTimes = QUICK, root: str = "") -> None:
        self.desk = desk
        self.token: str | None = desk.client.access_token
        self.clock = RunningClock()
        self.pokes: list[str] = []
        self.batches: list[list[Tick]] = []
        self.faults: list[BaseException] = []
        self.threads: set[str] = set()
        self.stream = KiteStream(
            "kite", root=root or desk.server.stream_root, api_key=desk.client.api_key, token=lambda: self.token,
            clock=self.clock, on_update=self.poke, on_tick=self.batches.append,
            on_fault=lambda _where, error: self.faults.append(error), times=times,
        )  # fmt: skip

    def poke(self, reason: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.pokes.append(reason)

    @property
    def ticks(self) -> list[Tick]:
        return [tick for batch in self.batches for tick in batch]

    def told(self, reason: str) -> int:
        return self.pokes.count(reason)

    def listeners(self) -> int:
        return self.desk.server.do(lambda box: len(box.stream.listeners))

    async def connected(self, times: int = 1) -> None:
        await until(lambda: self.told(CONNECTED) >= times and self.stream.is_connected, "the stream to connect")

    async def last(self, price: str) -> Tick:
        await until(lambda: [tick.price for tick in self.ticks[-1:]] == [Decimal(price)], f"the price {price}")
        return self.ticks[-1]


@asynccontextmanager
async def listening(desk: Desk, times: StreamTimes = QUICK, root: str = "") -> AsyncIterator[Listening]:
    """A stream between start and stop."""
    ear = Listening(desk, times, root)
    await ear.stream.start()
    try:
        yield ear
    finally:
        await ear.stream.stop()
    assert ear.faults == []


async def buy(desk: Desk, **fields: Any) -> str:
    return await asyncio.to_thread(desk.buy, **fields)


def token_of(desk: Desk, symbol: str = SBIN) -> int:
    return desk.box.market.listed[symbol].token


def test_an_update_of_an_order_asks_for_a_look_in_the_event_loop(desk):
    """Each connect and each update is a reason to look; the callbacks never come in the reactor's thread."""

    async def story() -> None:
        async with listening(desk) as ear:
            await ear.connected()
            assert ear.pokes == [CONNECTED]
            await buy(desk, price=820)
            await until(lambda: ear.told(TOLD), "the update")
            assert ear.threads == {threading.current_thread().name}

    play(story)


def test_a_dropped_link_is_made_again_and_asks_for_a_look_and_the_prices(desk):
    """What happened while nobody listened was not told, so a new link is a reason to look; subscriptions are renewed."""

    async def story() -> None:
        async with listening(desk) as ear:
            ear.stream.subscribe({token_of(desk)})
            await ear.connected()
            await ear.last("812.5")
            desk.server.do(lambda box: box.stream.drop_all())
            await ear.connected(2)
            await asyncio.to_thread(desk.price, "815.05")
            await ear.last("815.05")
            assert ear.listeners() == 1

    play(story)


def test_a_link_that_falls_silent_is_left_and_made_again(desk):
    """Nothing breaks and nothing is heard: the vendor's client would wait for ever."""

    async def story() -> None:
        async with listening(desk, StreamTimes(stale_s=0.6, look_s=0.02, gap_s=0.05, pauses_s=(0.02,))) as ear:
            await ear.connected()
            await asyncio.to_thread(desk.turn, stream_stale=True)
            await ear.connected(2)  # a silent server takes connections all the same
            await asyncio.to_thread(desk.turn, stream_stale=False)
            await buy(desk, price=820)
            await until(lambda: ear.told(TOLD), "the update on the new link")
            assert ear.listeners() == 1

    play(story)


def test_heartbeats_alone_keep_a_link(desk):
    """A quiet market is no silent link."""

    async def story() -> None:
        async with listening(desk, StreamTimes(stale_s=0.4, look_s=0.02, gap_s=0.05, pauses_s=(0.02,))) as ear:
            await ear.connected()
            began = ear.clock.monotonic()
            await until(lambda: ear.clock.monotonic() - began > 1.2)
            assert ear.pokes == [CONNECTED]

    play(story)


def test_a_dead_token_is_not_tried_again_at_once_and_a_new_login_is(desk):
    """The refusal is one reason to look, since the broker's own word on the session comes by another way."""
    times = StreamTimes(stale_s=5, look_s=0.02, gap_s=0.05, pauses_s=(0.02, 0.02, 0.02, 30.0))

    async def story() -> None:
        async with listening(desk, times) as ear:
            await ear.connected()
            desk.server.do(lambda box: box.sessions.end())
            await until(lambda: ear.told(REFUSED), "the refusal")
            assert not ear.stream.is_connected
            ear.token = None
            looks = ear.clock.monotonic()
            await until(lambda: ear.clock.monotonic() - looks > 0.2)
            assert (ear.told(REFUSED), ear.told(CONNECTED)) == (1, 1)
            ear.token = await asyncio.to_thread(desk.log_in)
            await ear.connected(2)

    play(story)


def test_a_refused_token_is_told_once_however_often_it_is_tried(desk):
    """A session that is dead and not yet known to be must not make the bridge look for ever."""

    async def story() -> None:
        async with listening(desk, StreamTimes(stale_s=5, look_s=0.02, gap_s=0.05, pauses_s=(0.02,))) as ear:
            await ear.connected()
            desk.server.do(lambda box: box.sessions.end())
            await until(lambda: ear.told(REFUSED), "the refusal")
            began = ear.clock.monotonic()
            await until(lambda: ear.clock.monotonic() - began > 0.5)
            assert ear.told(REFUSED) == 1

    play(story)


def test_without_a_token_nothing_is_opened_until_there_is_one(desk):
    """Before the day's login there is nobody to connect as."""

    async def story() -> None:
        ear = Listening(desk)
        token, ear.token = ear.token, None
        await ear.stream.start()
        began = ear.clock.monotonic()
        await until(lambda: ear.clock.monotonic() - began > 0.3)
        assert (ear.listeners(), ear.pokes) == (0, [])
        ear.token = token
        await ear.connected()
        await ear.stream.stop()

    play(story)


def test_a_new_login_moves_the_stream_to_the_new_token(desk):
    """The broker ends the old token at a newer login; the stream does not wait to be thrown out."""

    async def story() -> None:
        async with listening(desk) as ear:
            await ear.connected()
            ear.token = await asyncio.to_thread(desk.log_in)
            await ear.connected(2)
            await until(lambda: ear.listeners() == 1, "the old link to be gone")

    play(story)


def test_a_server_that_is_away_is_tried_until_it_is_back(desk):
    """A refused connection is told by nobody but the factory, which the vendor's client keeps to itself."""

    async def story() -> None:
        async with listening(desk) as ear:
            await ear.connected()
            await asyncio.to_thread(desk.server.stop)
            await until(lambda: not ear.stream.is_connected, "the loss to be noticed")
            await asyncio.to_thread(desk.server.start)
            await ear.connected(2)

    play(story)


def test_updates_lost_doubled_or_out_of_order_all_come_to_a_look(desk):
    """Only that something happened is taken from an update, so neither repetition nor order matters."""

    async def story() -> None:
        async with listening(desk) as ear:
            await ear.connected()
            for fault in ("duplicate", "reorder"):
                ear.pokes.clear()
                await asyncio.to_thread(desk.faults, "updates", **{fault: 1})
                await buy(desk, price=820)
                await buy(desk, price=820)
                await until(lambda: TOLD in ear.pokes, f"a look after {fault}")
                assert set(ear.pokes) == {TOLD}

    play(story)


def test_prices_are_exact_and_gathered(desk):
    """Of each instrument the newest price is told, in paise as the exchange has it, and not every one of a burst."""

    async def story() -> None:
        times = StreamTimes(stale_s=5, look_s=0.02, gap_s=0.5, pauses_s=(0.02,))
        async with listening(desk, times) as ear:
            ear.stream.subscribe({token_of(desk)})
            await ear.last("812.5")
            began = ear.clock.monotonic()
            for paise in range(5, 100, 5):
                await asyncio.to_thread(desk.price, f"813.{paise:02}")
            tick = await ear.last("813.95")
            took = ear.clock.monotonic() - began
            assert isinstance(tick.price, Decimal)
            assert 2 <= len(ear.batches) <= took / 0.5 + 2
            assert tick.at <= ear.clock.now()

    play(story)


def test_only_what_is_wanted_is_told(desk):
    """An instrument that is no longer wanted falls silent; one that is new is heard on the same link."""
    infy = "NSE:INFY"

    async def story() -> None:
        async with listening(desk) as ear:
            await asyncio.to_thread(desk.price, "1500", infy)
            ear.stream.subscribe({token_of(desk)})
            await ear.last("812.5")
            ear.stream.subscribe({token_of(desk, infy)})
            await ear.last("1500")
            await asyncio.to_thread(desk.price, "820")
            await asyncio.to_thread(desk.price, "1501", infy)
            await ear.last("1501")
            assert Decimal(820) not in [tick.price for tick in ear.ticks]
            assert ear.told(CONNECTED) == 1

    play(story)


def test_stopped_means_no_link_and_no_callback(desk):
    """After stop nothing is connected and nothing is told; the reactor's thread is left, idle."""

    async def story() -> None:
        async with listening(desk) as ear:
            ear.stream.subscribe({token_of(desk)})
            await ear.last("812.5")
        await until(lambda: ear.listeners() == 0, "the link to be gone")
        told = len(ear.pokes), len(ear.batches)
        await asyncio.to_thread(desk.price, "830")
        await buy(desk, price=840)
        assert (len(ear.pokes), len(ear.batches)) == told
        assert not ear.stream.is_connected

    play(story)


def test_a_listener_that_fails_does_not_end_the_stream(desk, monkeypatch):
    """A fault of whoever is poked is counted, and the stream comes again."""

    async def story() -> None:
        ear = Listening(desk)
        failing = [ValueError("not now")]

        def poke(reason: str) -> None:
            if failing:
                raise failing.pop()
            ear.poke(reason)

        ear.stream._on_update = poke
        await ear.stream.start()
        await ear.connected()
        assert [str(fault) for fault in ear.faults] == ["not now"]
        await ear.stream.stop()

    play(story)


def test_nothing_of_the_token_is_logged(desk, told, caplog):
    """It is in the address of the stream, of which Twisted and the vendor's client would tell."""
    caplog.set_level(logging.DEBUG)

    async def story() -> None:
        async with listening(desk) as ear:
            await ear.connected()
            desk.server.do(lambda box: box.stream.drop_all())
            await ear.connected(2)
            await asyncio.to_thread(desk.server.stop)
            await until(lambda: not ear.stream.is_connected)
            await asyncio.to_thread(desk.server.start)
            await ear.connected(3)
            desk.server.do(lambda box: box.sessions.end())
            await until(lambda: ear.told(REFUSED))

    play(story)
    out, err = told.readouterr()
    logged = out + err + caplog.text
    assert "kite_stream_connected" in logged
    for secret in (str(desk.client.access_token), "access_token", desk.client.api_key):
        assert secret not in logged


def test_a_server_that_repeats_the_address_does_not_bring_the_token_into_the_log(desk, told, caplog):
    """Proxies like to put the address they could not reach into their answer, and the vendor's client logs the answer."""
    caplog.set_level(logging.DEBUG)
    asked: list[bytes] = []

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        target = asked[-1].split(b" ")[1]
        writer.write(b"HTTP/1.1 502 No way to " + target + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def story() -> None:
        async with await asyncio.start_server(repeat, "127.0.0.1", 0) as server:
            root = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with listening(desk, root=root) as ear:
                await until(lambda: len(asked) >= 3, "three attempts")
                assert ear.pokes == []

    play(story)
    token = str(desk.client.access_token)
    assert token.encode() in asked[0]
    out, err = told.readouterr()
    assert "kite_stream_lost" in err
    assert token not in out + err + caplog.text


# -- who is at the other end ----------------------------------------------------------------------------------------------


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that nobody vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return paths


def test_the_token_is_not_given_to_a_server_that_cannot_prove_its_name(desk, tmp_path):
    """The vendor's own client takes any certificate, and would tell the token to whoever stands in the way."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    heard: list[bytes | str] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as secured:
                    secured.settimeout(2)
                    heard.append(secured.recv(4_096))
            except OSError as error:
                heard.append(type(error).__name__)

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,), daemon=True)
            thread.start()
            async with listening(desk, root=f"wss://localhost:{listener.getsockname()[1]}") as ear:
                await until(lambda: len(heard) >= 2, "two attempts")
                assert ear.pokes == []
            listener.shutdown(socket.SHUT_RDWR)
            await asyncio.to_thread(thread.join, 5)

    play(story)
    assert not [what for what in heard if isinstance(what, bytes) and what]


# -- to the marks ---------------------------------------------------------------------------------------------------------


def test_prices_of_the_stream_move_a_resting_paper_order_and_end_with_the_link(desk, tmp_path, monkeypatch):
    """From the exchange's packet to the mark, and from there to whoever trades at marks; without a link the last one stays."""
    monkeypatch.setattr("bridge.feed.TURN_S", 0.02)

    async def story() -> None:
        clock = RunningClock()
        async with running(WatchedBridge(make_settings(tmp_path), clock), clock) as rig:
            ear = Listening(desk)
            ear.stream._on_tick = rig.bridge.feed.take
            rig.bridge.feed.add_source(ear.stream.subscribe)
            await rig.bridge.feed.start()
            await ear.stream.start()
            alert = await rig.accept(action="buy", quantity="10", order_type="LIMIT", price="800")
            marks = rig.ledger.marks.values
            await until(lambda: SBIN in marks and marks[SBIN].price == Decimal("812.5"), "the mark")
            assert marks[SBIN].source == "feed"
            await asyncio.to_thread(desk.price, "799.95")
            await rig.ended(alert)
            assert rig.quantity() == 10
            await ear.stream.stop()
            await asyncio.to_thread(desk.price, "900")
            assert marks[SBIN].price == Decimal("799.95")

    play(story)


# -- the process ----------------------------------------------------------------------------------------------------------


def run_python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_process_without_a_kite_account_imports_neither_the_client_nor_twisted():
    """Fifty megabytes and a third of a second that a paper bridge does not need."""
    code = (
        "import sys, bridge.bootstrap, bridge.app, bridge.cli\n"
        "print([name for name in ('kiteconnect', 'twisted', 'autobahn', 'requests') if name in sys.modules])"
    )
    done = run_python(code)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


STREAMING = """
import asyncio, sys
from bridge.brokers.kite.stream import KiteStream
from bridge.core.clock import SystemClock
async def main():
    connected = asyncio.Event()
    stream = KiteStream("kite", root=sys.argv[1], api_key=sys.argv[2], token=lambda: sys.argv[3], clock=SystemClock(),
        on_update=lambda _: connected.set(), on_tick=print, on_fault=print)
    await stream.start()
    await asyncio.wait_for(connected.wait(), 20)
    if sys.argv[4] == "stop":
        await stream.stop()
asyncio.run(main())
print("done")
"""


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_the_reactor_does_not_keep_the_process_alive(desk, how):
    """It cannot be stopped for good and shall not be waited for, whether the stream was stopped or not."""
    root = desk.server.stream_root.replace("127.0.0.1", "localhost")  # so that a name is looked up in a thread, too
    done = run_python(STREAMING, root, desk.client.api_key, str(desk.client.access_token), how)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr
    assert str(desk.client.access_token) not in done.stderr
