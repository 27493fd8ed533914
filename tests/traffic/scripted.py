"""A server that does what a script says, byte by byte, and clients of both transports that ask it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx
import pytest
import trio
import trio.testing
import trustme

from voxofs.traffic.stock import StockTransport
from voxofs.traffic.transport import Exchange, Transport

AUTHORITY = trustme.CA()
KEEPALIVE_S = 50.0
TIMEOUTS = {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 30.0}


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, raw: trio.SocketStream) -> None:
        self._stream = stream
        self._raw = raw
        self._received = b""

    async def request(self) -> bytes:
        """The next request, its body (Content-Length) with it; b"" where the client has closed."""
        while True:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if end:
                length = 0
                for line in head.split(b"\r\n"):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                if len(rest) >= length:
                    self._received = rest[length:]
                    return head + end + rest[:length]
            more = await self._stream.receive_some(65_536)
            if not more:
                return b""
            self._received += more

    async def send(self, *pieces: bytes) -> None:
        """Each piece is sent when everybody has done what the one before had them do."""
        for index, piece in enumerate(pieces):
            if index:
                await trio.testing.wait_all_tasks_blocked()
            await self._stream.send_all(piece)

    def reset(self) -> None:
        """RST in place of FIN."""
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._raw.socket.close()

    async def end(self) -> None:
        """Wait until the client has closed, or has been cut off."""
        try:
            while await self._stream.receive_some(65_536):
                pass
        except trio.BrokenResourceError:
            pass


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    """Where it listens and what has come."""

    port: int
    scheme: str
    host: str
    accepted: int = 0
    open: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"

    async def all_closed(self) -> None:
        """Wait until no connection is left, and fail where one is."""
        with trio.fail_after(5):
            while self.open:  # noqa: ASYNC110 (nothing tells when the last peer has left)
                await trio.sleep(0.001)


async def _serve(server: Server, script: Script, tls: ssl.SSLContext | None, raw: trio.SocketStream) -> None:
    server.accepted += 1
    server.open += 1
    stream: trio.abc.Stream = raw
    try:
        if tls is not None:
            stream = trio.SSLStream(raw, tls, server_side=True, https_compatible=True)
        await script(Peer(stream, raw))
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        server.failures.append(error)
    finally:
        server.open -= 1
        await trio.aclose_forcefully(raw)


@asynccontextmanager
async def serving(
    script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Run the script for every connection; close each when its script is done."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        port = listeners[0].socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        server = Server(port, "http" if tls is None else "https", shown)
        await nursery.start(
            partial(trio.serve_listeners, partial(_serve, server, script, tls), listeners),
        )
        yield server
        nursery.cancel_scope.cancel()


def server_tls(*names: str) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
    return context


def client_tls(*, trusting: bool = True) -> ssl.SSLContext:
    """A client's side of TLS, which trusts the authority above or nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusting:
        AUTHORITY.configure_trust(context)
    return context


CLIENT_TLS = client_tls()


def stock(tls: ssl.SSLContext = CLIENT_TLS, connections: int = 1) -> StockTransport:
    """httpx's transport."""
    return StockTransport(connections, tls, keepalive_s=KEEPALIVE_S)


def ours(tls: ssl.SSLContext = CLIENT_TLS, connections: int = 1) -> Transport:
    """The transport under test."""
    return Transport(connections, tls, keepalive_s=KEEPALIVE_S)


BOTH = pytest.mark.parametrize("make", [stock, ours], ids=["stock", "ours"])


Make = Callable[..., StockTransport | Transport]
"""`stock` or `ours`."""


@dataclass(frozen=True)
class Got:
    """What came of a request: an answer, or the name of httpx's exception."""

    status: int = 0
    body: bytes = b""
    error: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    reason: bytes = b""


def request_to(
    url: str, method: str = "GET", content: bytes | None = None, **timeouts: float
) -> httpx.Request:
    """A request as voxofs makes them."""
    fields = [(b"user-agent", b"test"), (b"accept-encoding", b"identity")]
    return httpx.Request(
        method, url, headers=fields, content=content, extensions={"timeout": TIMEOUTS | timeouts}
    )


async def body_of(response: httpx.Response, slab_bytes: int | None = None) -> bytes:
    """The body: by the iterator, or read into a slab of that size."""
    body = bytearray()
    if slab_bytes is None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for piece in response.stream:
            assert isinstance(piece, bytes)
            body += piece
    else:
        assert isinstance(response.stream, Exchange)
        slab = memoryview(bytearray(slab_bytes))
        while count := await response.stream.read_into(slab):
            body += slab[:count]
        assert await response.stream.read_into(slab) == 0
    return bytes(body)


async def ask(
    transport: httpx.AsyncBaseTransport,
    url: str,
    slab_bytes: int | None = None,
    method: str = "GET",
    content: bytes | None = None,
    **timeouts: float,
) -> Got:
    """Ask, read to the end, close."""
    try:
        response = await transport.handle_async_request(request_to(url, method, content, **timeouts))
        try:
            body = await body_of(response, slab_bytes)
        finally:
            await response.aclose()
    except httpx.TransportError as error:
        return Got(error=type(error).__name__)
    reason = response.extensions["reason_phrase"]
    return Got(response.status_code, body, "", tuple(response.headers.raw), reason)


def answer(body: bytes) -> bytes:
    """A plain answer with that body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def echo(peer: Peer) -> None:
    """A script that tells each request what it was."""
    while request := await peer.request():
        await peer.send(answer(request))
