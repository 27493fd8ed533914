"""HTTP: what leaves and comes in, in terms of httpx below and of `VoxofsError` above.

Above it there are only methods, addresses, header bytes and our own errors. Which transport carries them is
handed in: ours (`transport`), or httpx's own (`stock`). Nothing ever waits in either for a connection:
callers hold a place at a `Gate` no larger than `connections`.

httpx's logs and exception texts contain whole addresses, query strings and all. Neither leaves this module:
an error names the origin only.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import urlsplit

import httpx
import trio

from voxofs import __version__
from voxofs.errors import BadAnswer, Unanswered, Unavailable

from . import wire
from .routes import ProxyFailed, RoutedTransport
from .stock import StockTransport
from .transport import Exchange, Transport
from .unpacked import Body, Unpacked

AnyTransport = Transport | StockTransport | RoutedTransport

KEEPALIVE_S = 50.0
"""Below the 60 s after which load balancers end what is idle (the default of AWS and nginx is 60 to 75)."""
_CONNECT_TIMEOUT_S = 10.0
"""Three tries of a SYN on Linux take 1, 3 and 7 s (tcp_syn_retries in tcp(7))."""
_LEAST_BYTES_PER_S = 1_024
"""A third of what a call's audio needs to be played (24 kbit/s): below it a transfer is as good as dead."""
_USER_AGENT = f"voxofs/{__version__}".encode()


def origin_of(url: str) -> str:
    """Scheme, host and port: the part of an address that may be shown. Raises `BadAnswer`."""
    plain = wire.plain_origin(url)
    return _parsed_origin(url) if plain is None else _known_origin(plain)


def _parsed_origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        pass
    raise BadAnswer("an answer held a link that is no http(s) address: tell the vendor")


_known_origin = lru_cache(64)(_parsed_origin)
"""An API and the regions of a storage are a handful."""


_NOTHING = memoryview(b"")


@dataclass
class Answer:
    """Status and headers of an answer whose body is still to come."""

    origin: str
    status: int
    _headers: dict[bytes, bytes]
    _stream: httpx.AsyncByteStream
    progress_timeout_s: float
    _waited_s: float = 0.0
    _received: int = 0
    _pieces: AsyncGenerator[bytes, None] | None = None
    _rest: memoryview = _NOTHING

    def header(self, name: str) -> str | None:
        """The value of a header, named in lower case, or None."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises `Unavailable` where the connection breaks or stalls."""
        stream = aiter(self._stream)
        while (piece := await self._piece(stream)) is not None:
            yield piece

    async def _piece(self, stream: AsyncIterator[bytes]) -> bytes | None:
        asked_s = trio.current_time()
        with _Translated(self.origin):
            try:
                piece = await anext(stream)
            except StopAsyncIteration:
                return None
        self._progressed(trio.current_time() - asked_s, len(piece))
        return piece

    async def read_into(self, buffer: memoryview) -> int:
        """The body's next bytes into the front of the buffer, one at least; 0 at its end. Raises as `pieces`
        does, and has one reader at a time with it. Whoever has enough ends it by cancellation (see `body`).

        From our own transport they come without a copy; the stock one has pieces of its own.
        """
        stream = self._stream
        if isinstance(stream, Exchange):
            asked_s = trio.current_time()
            with _Translated(self.origin):
                count = await stream.read_into(buffer)
            self._progressed(trio.current_time() - asked_s, count)
            return count
        if self._pieces is None:
            self._pieces = self.pieces()
        while not self._rest:
            piece = await anext(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def _progressed(self, waited_s: float, received: int) -> None:
        """Time that somebody reads something else does not count: only who is asked can be slow."""
        self._waited_s += waited_s
        self._received += received
        if self._waited_s >= self.progress_timeout_s:
            if self._received < _LEAST_BYTES_PER_S * self._waited_s:
                raise Unanswered(
                    f"{self.origin} sent {self._received} bytes in {self._waited_s:.0f} s: check the network"
                )
            self._waited_s, self._received = 0.0, 0

    async def body(self, limit_bytes: int, *, cut: bool = False) -> bytes | bytearray:
        """The whole body, decompressed as it comes. Raises `Unavailable`, and `BadAnswer` for one that is too
        long, or more than any text of ours can be compressed. `cut`: as much of it as can be had, because the
        status says what matters; a proxy's page may be long, and compressed as nobody asked for."""
        body = Body()
        unpacked = Unpacked(self.header("content-encoding"))
        stream = self._stream
        if isinstance(stream, Exchange):  # it is ended by whoever closes it
            while unpacked.fault is None and body.size <= limit_bytes:
                if (piece := await self._piece(stream)) is None:
                    break
                await unpacked.add_to(body, piece, limit_bytes)
        else:
            with (
                trio.CancelScope() as enough
            ):  # ends every generator down to the socket, as `break` would not
                async with aclosing(self.pieces()) as pieces:
                    async for piece in pieces:
                        await unpacked.add_to(body, piece, limit_bytes)
                        if body.size > limit_bytes or unpacked.fault:
                            enough.cancel()
        if cut:
            return (await body.whole())[:limit_bytes]
        if body.size > limit_bytes:
            raise BadAnswer(f"{self.origin} answered with more than {limit_bytes} bytes where JSON was due")
        if (fault := unpacked.fault or unpacked.end()) is not None:
            raise BadAnswer(f"{self.origin} answered with a compressed body {fault}: check any proxy")
        return await body.whole()

    @property
    def date_s(self) -> float | None:
        """The server's clock, from the Date header: seconds since the epoch."""
        return _instant_s(self.header("date"))

    @property
    def retry_after_s(self) -> float | None:
        """What Retry-After asks for, in seconds (RFC 9110, 10.2.3). A date counts from the server's clock."""
        said = self.header("retry-after")
        if said is not None and said.isascii() and said.isdigit() and len(said) < 9:
            return float(said)
        until_s, now_s = _instant_s(said), self.date_s
        return None if until_s is None or now_s is None else max(0.0, until_s - now_s)


def _instant_s(http_date: str | None) -> float | None:
    """An HTTP date (RFC 9110, 5.6.7) as seconds since the epoch; None for what is none."""
    try:
        return parsedate_to_datetime(http_date or "").timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


class Inquiry:
    """One request and its answer, as an asynchronous context."""

    __slots__ = ("_origin", "_request", "_sent", "_stream", "_timeouts", "_transport")

    def __init__(
        self,
        transport: AnyTransport,
        origin: str,
        request: tuple[str, str, list[tuple[bytes, bytes]], bytes | None],
        timeouts: dict[str, float],
        sent: Callable[[], None] | None,
    ) -> None:
        self._sent = sent
        self._transport = transport
        self._origin = origin
        self._request = request
        self._timeouts = timeouts

    async def __aenter__(self) -> Answer:
        method, url, headers, content = self._request
        transport = self._transport
        stream: httpx.AsyncByteStream | None = None
        with _Translated(self._origin):
            if method == "GET" and isinstance(transport, Transport):
                plain = wire.plain_get(url, headers)
                if plain is not None:
                    stream = exchange = await transport.ask("GET", *plain, self._timeouts, self._sent)
                    status, fields = exchange.framing.status, exchange.framing.headers
            if stream is None:
                extensions = {"timeout": self._timeouts, "sent": self._sent}
                request = httpx.Request(method, url, headers=headers, content=content, extensions=extensions)
                response = await transport.handle_async_request(request)
                assert isinstance(response.stream, httpx.AsyncByteStream)
                stream, status, fields = response.stream, response.status_code, response.headers.raw
        self._stream = stream
        by_name = {name.lower(): value for name, value in fields}
        return Answer(self._origin, status, by_name, stream, self._timeouts["write"])

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        with _Translated(self._origin):
            await self._stream.aclose()


@dataclass
class HttpClient:
    """Requests to whatever origins they name, over one transport's connections.

    `progress_timeout_s`: how long the other side may send nothing at all.
    """

    transport: AnyTransport
    progress_timeout_s: float

    def __post_init__(self) -> None:
        read_s = self.progress_timeout_s
        self._warming = 0
        self._timeouts = {"connect": _CONNECT_TIMEOUT_S, "read": read_s, "write": read_s, "pool": read_s}

    @property
    def connections(self) -> int:
        """The most at once."""
        return self.transport.connections

    @property
    def free(self) -> int:
        """Connections not in use."""
        return self.transport.free

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[bytes, bytes],
        content: bytes | None = None,
        *,
        silence_s: float | None = None,
        sent: Callable[[], None] | None = None,
    ) -> Inquiry:
        """`async with client.request(…) as answer`: send, and read the answer's body inside the block.

        Redirects are not followed. Raises `Unavailable` where no answer comes, `BadAnswer` for an address
        that is none. The caller must hold a place at a gate. `silence_s`: how long nothing at all may come,
        where that is not `progress_timeout_s`. `sent` is called once a connection is there to send on.
        """
        fields = [(b"user-agent", _USER_AGENT), *headers.items()]
        timeouts = self._timeouts if silence_s is None else self._timeouts | {"read": silence_s}
        return Inquiry(self.transport, origin_of(url), (method, url, fields, content), timeouts, sent)

    def is_cold(self, url: str, many: int) -> bool:
        """Whether `warm` would open a connection now."""
        transport = self.transport
        if not isinstance(transport, Transport) or transport.ready(url) + self._warming >= many:
            return False
        return transport.free > transport.idle + self._warming  # requests under way bring theirs with them

    async def warm(self, url: str, many: int) -> None:
        """Open one connection to an origin that is going to be asked, unless `many` are idle or being opened
        already. What fails is told to whoever asks."""
        transport = self.transport
        if not isinstance(transport, Transport) or not self.is_cold(url, many):
            return
        self._warming += 1
        try:
            with suppress(*_HTTPX_ERRORS):
                await transport.open_ahead(url, _CONNECT_TIMEOUT_S)
        finally:
            self._warming -= 1

    async def aclose(self) -> None:
        """Close every connection."""
        await self.transport.aclose()


class _Translated:
    """httpx's exceptions become ours where they enter; their texts stay behind (they hold addresses).

    A class, as `Inquiry` is: a generator would cost more than what it does, several times a request."""

    __slots__ = ("_origin",)

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, _HTTPX_ERRORS):
            return
        origin = self._origin
        if isinstance(error, ProxyFailed):
            reason = error.status or _reason(error)
            usual = "give it its user and password in" if reason == "407" else "check"
            remedy = _remedy(reason, f"{usual} [api] proxy or $HTTPS_PROXY")
            raise Unavailable(
                f"cannot connect to {origin} through the proxy {error.proxy} ({reason}): {remedy}"
            ) from None
        if isinstance(error, httpx.ConnectError):
            reason = _reason(error)
            raise Unavailable(
                f"cannot connect to {origin} ({reason}): {_remedy(reason, 'check the network')}"
            ) from None
        if isinstance(error, httpx.TimeoutException):
            what = "connect" if isinstance(error, httpx.ConnectTimeout) else "make progress"
            raise Unanswered(f"{origin} did not {what} in time: check the network") from None
        if isinstance(error, httpx.InvalidURL | ValueError):  # a host that no name can be is a UnicodeError
            raise BadAnswer(f"{origin} gave a link or a body that cannot be read: tell the vendor") from None
        raise Unavailable(f"the connection to {origin} broke ({_reason(error)})") from None


_CERTIFICATE = "certificate: "
_HTTPX_ERRORS = (httpx.TransportError, httpx.StreamError, httpx.InvalidURL, ValueError)


def _remedy(reason: str, usual: str) -> str:
    """What to do about a connection that cannot be made."""
    if reason.startswith(_CERTIFICATE) and ("issuer" in reason or "self-signed" in reason):
        return "name the authority behind it, if you trust it, in [api] ca_file"
    return usual


def _reason(error: BaseException) -> str:
    """The system's own words for a failure, looked for along the chain of causes; never an address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{_CERTIFICATE}{cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            if cause.errno is None or isinstance(cause, ssl.SSLError | socket.gaierror):
                return cause.strerror
            return os.strerror(cause.errno)  # not trio's, which puts the address in front
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
