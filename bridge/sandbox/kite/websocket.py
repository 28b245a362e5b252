"""The server's side of RFC 6455, as little of it as a stream of prices needs: no extensions, no subprotocols.

Written here because uvicorn wants a library for it that nothing else in the bridge uses, and because a sandbox has to be
able to fall silent or break off in ways that no library offers.
"""

import asyncio
import base64
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import parse_qs, urlsplit

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
MAX_MESSAGE = 1_000_000
MAX_HANDSHAKE = 65_536
MAX_UNREAD = 4_000_000
PROTOCOL_ERROR, TOO_LARGE, GOING_AWAY, NORMAL = 1002, 1009, 1001, 1000


class WebSocketError(Exception):
    """What the other side must not do; `code` goes into the close frame."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Decoder:
    """Bytes in, whole messages out."""

    _buffer: bytearray = field(default_factory=bytearray)
    _parts: bytearray = field(default_factory=bytearray)
    _opcode: int = CONTINUATION

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Every message that is complete now, as opcode and content; WebSocketError for what breaks the protocol."""
        self._buffer += data
        while (frame := self._take()) is not None:
            is_last, opcode, payload = frame
            if opcode >= CLOSE:
                if not is_last or len(payload) > 125:
                    raise WebSocketError(PROTOCOL_ERROR)
                yield opcode, payload
                continue
            if (opcode == CONTINUATION) is not (self._opcode != CONTINUATION) or opcode > BINARY:
                raise WebSocketError(PROTOCOL_ERROR)
            self._opcode = self._opcode or opcode
            self._parts += payload
            if len(self._parts) > MAX_MESSAGE:
                raise WebSocketError(TOO_LARGE)
            if is_last:
                whole, kind = bytes(self._parts), self._opcode
                self._parts, self._opcode = bytearray(), CONTINUATION
                yield kind, whole

    def _take(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70 or not second & 0x80:  # an extension nobody asked for, or a client that does not mask
            raise WebSocketError(PROTOCOL_ERROR)
        length, start = second & 0x7F, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(buffer) < start + size:
                return None
            length, start = int.from_bytes(buffer[start : start + size], "big"), start + size
        if length > MAX_MESSAGE:
            raise WebSocketError(TOO_LARGE)
        if len(buffer) < start + 4 + length:
            return None
        mask, payload = bytes(buffer[start : start + 4]), bytes(buffer[start + 4 : start + 4 + length])
        del buffer[: start + 4 + length]
        return bool(first & 0x80), first & 0x0F, unmask(payload, mask)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """The content that was sent; masking twice gives it back."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def encode(opcode: int, payload: bytes) -> bytes:
    """One whole frame, unmasked as a server's are."""
    length = len(payload)
    if length < 126:
        head = struct.pack(">BB", 0x80 | opcode, length)
    elif length < 65_536:
        head = struct.pack(">BBH", 0x80 | opcode, 126, length)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, length)
    return head + payload


class Listener(Protocol):
    """Who decides about connections and reads their messages."""

    def admit(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        """101 to let the connection in, or the status and sentence it is turned away with."""

    def joined(self, connection: "Connection") -> None:
        """The connection is open."""

    def heard(self, connection: "Connection", message: str) -> None:
        """A text came in."""

    def left(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """One WebSocket; uvicorn hands over the request that asks for it, as bytes, and then the transport."""

    def __init__(self, listener: Listener, connections: set["Connection"]) -> None:
        self._listener = listener
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._request: bytearray | None = bytearray()
        self._decoder = Decoder()
        self._is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are of no class of asyncio
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener, if it ever knew."""
        self._connections.discard(self)
        if self._request is None:
            self._listener.left(self)

    def data_received(self, data: bytes) -> None:
        """The handshake first, frames after it."""
        if self._request is not None:
            self._request += data
            head, end, rest = bytes(self._request).partition(b"\r\n\r\n")
            if not end:
                if len(self._request) > MAX_HANDSHAKE:
                    self.drop()
                return
            if not self._shake_hands(head):
                return
            data = rest
        if self._is_closing:
            return
        try:
            for opcode, payload in self._decoder.feed(data):
                self._hear(opcode, payload)
        except WebSocketError as error:
            self.close(error.code)

    def _shake_hands(self, head: bytes) -> bool:
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        target = urlsplit(lines[0].split(" ")[1])
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        key, status, reason = headers.get("sec-websocket-key", ""), 400, "Bad Request"
        if key and headers.get("sec-websocket-version") == "13":
            status, reason = self._listener.admit(target.path, query)
        if status != 101:
            self._write(f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            self._end()
            return False
        accept = base64.b64encode(hashlib.sha1(key.encode() + _MAGIC).digest()).decode()  # noqa: S324 - RFC 6455 says so
        self._write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self._request = None
        self._listener.joined(self)
        return True

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._listener.heard(self, payload.decode(errors="replace"))
        elif opcode == PING:
            self.send(PONG, payload)
        elif opcode == CLOSE:
            self.close(NORMAL)

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one message; nothing happens once the connection is closing."""
        if self._transport is not None and self._transport.get_write_buffer_size() > MAX_UNREAD:
            self.drop()  # nobody reads at the other end
        if not self._is_closing:
            self._write(encode(opcode, payload))

    def close(self, code: int) -> None:
        """End well."""
        if not self._is_closing:
            self.send(CLOSE, struct.pack(">H", code))
            self._end()

    def drop(self) -> None:
        """Break off without a word."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def shutdown(self) -> None:
        """uvicorn's word that the server ends."""
        self.close(GOING_AWAY)

    def _end(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
