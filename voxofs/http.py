"""HTTP: the one module that knows httpx.

Above it there are only methods, addresses, header bytes and `VoxofsError`. What it hides:

* A request that is cancelled while it waits inside httpcore for a connection loses its pool's slot for good
  (encode/httpcore#1093). So nothing ever waits there: a transport is chosen that has a connection free, and
  callers hold a place at a `Gate` no larger than all of them together.
* Each request polls every connection of its pool, which makes a large pool slow. So every transport has one
  connection, and the first that is free is taken, which keeps the same connections warm.
* httpx's logs and exception texts contain whole addresses, query strings and all. Neither leaves this
  module: an error names the origin only.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
import trio
from httpcore._async import http11

from . import __version__
from .errors import BadAnswer, Unavailable

_KEEPALIVE_S = 50.0
_RECEIVE_BYTES = 262_144
_GZIP = zlib.MAX_WBITS | 16
_CONNECT_TIMEOUT_S = 10.0
_BODY_LIMIT_BYTES = 256 * 2**20
_USER_AGENT = f"voxofs/{__version__}".encode()


# httpcore receives 64 KiB at a time. Long recordings come faster in larger pieces: every piece costs a pass
# through the event loop and two layers of generators.
http11.AsyncHTTP11Connection.READ_NUM_BYTES = _RECEIVE_BYTES


def origin_of(url: str) -> str:
    """Scheme, host and port: the part of an address that may be shown. Raises `BadAnswer`."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        pass
    raise BadAnswer("an answer held a link that is no http(s) address: tell the vendor")


@dataclass
class Answer:
    """Status and headers of an answer whose body is still to come."""

    origin: str
    status: int
    _headers: dict[bytes, bytes]
    _response: httpx.Response

    def header(self, name: str) -> str | None:
        """The value of a header, named in lower case, or None."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises `Unavailable` where the connection breaks or stalls."""
        with _Translated(self.origin):
            async for piece in self._response.stream:  # type: ignore[union-attr]
                yield piece

    async def body(self, limit_bytes: int = _BODY_LIMIT_BYTES) -> bytes:
        """The whole body, decompressed. Raises `Unavailable`, and `BadAnswer` for one that is too long."""
        body = bytearray()
        with trio.CancelScope() as enough:  # ends every generator down to the socket, as `break` would not
            async with aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > limit_bytes:
                        enough.cancel()
        if len(body) <= limit_bytes:
            body = self._decompressed(body, limit_bytes)
        if len(body) > limit_bytes:
            raise BadAnswer(f"{self.origin} answered with more than {limit_bytes} bytes where JSON was due")
        return bytes(body)

    def _decompressed(self, body: bytearray, limit_bytes: int) -> bytearray:
        """The body as it was before its Content-Encoding; one byte more than the limit tells of too many."""
        encoding = self.header("content-encoding")
        if encoding is None or encoding.lower() == "identity":
            return body
        try:
            if encoding.lower() in ("gzip", "x-gzip"):
                return bytearray(zlib.decompressobj(_GZIP).decompress(body, limit_bytes + 1))
        except zlib.error:
            pass
        raise BadAnswer(f"{self.origin} answered with a compressed body that cannot be read: check any proxy")

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


class _Transport:
    """One connection, and whether it is free."""

    __slots__ = ("free", "httpx")

    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.httpx = transport
        self.free = True


class Exchange:
    """One request and its answer, as an asynchronous context."""

    __slots__ = ("_origin", "_request", "_response", "_timeouts", "_transport")

    def __init__(
        self,
        transport: _Transport,
        origin: str,
        request: tuple[str, str, list[tuple[bytes, bytes]], bytes | None],
        timeouts: dict[str, float],
    ) -> None:
        self._transport = transport
        self._origin = origin
        self._request = request
        self._timeouts = timeouts

    async def __aenter__(self) -> Answer:
        method, url, headers, content = self._request
        self._transport.free = False
        try:
            with _Translated(self._origin):
                request = httpx.Request(
                    method, url, headers=headers, content=content, extensions={"timeout": self._timeouts}
                )
                response = await self._transport.httpx.handle_async_request(request)
        except BaseException:
            self._transport.free = True
            raise
        response.request = request
        self._response = response
        fields = {name.lower(): value for name, value in response.headers.raw}
        return Answer(self._origin, response.status_code, fields, response)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        try:
            with _Translated(self._origin):
                await self._response.aclose()
        finally:
            self._transport.free = True


@dataclass
class HttpClient:
    """Connections to whatever origins its requests name, `connections` of them at most.

    `progress_timeout_s`: how long the other side may send nothing at all.
    """

    connections: int
    progress_timeout_s: float
    tls: ssl.SSLContext
    _transports: list[_Transport] = field(default_factory=list)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE_S)
        for _ in range(self.connections):
            transport = httpx.AsyncHTTPTransport(verify=self.tls, trust_env=False, limits=limits)
            self._transports.append(_Transport(transport))
        read_s = self.progress_timeout_s
        self._timeouts = {"connect": _CONNECT_TIMEOUT_S, "read": read_s, "write": read_s, "pool": read_s}

    @property
    def free(self) -> int:
        """Connections not in use."""
        return sum(transport.free for transport in self._transports)

    def request(
        self, method: str, url: str, headers: Mapping[bytes, bytes], content: bytes | None = None
    ) -> Exchange:
        """`async with client.request(…) as answer`: send, and read the answer's body inside the block.

        Redirects are not followed. Raises `Unavailable` where no answer comes, `BadAnswer` for an address
        that is none. The caller must hold a place at a gate.
        """
        transport = next((each for each in self._transports if each.free), None)
        assert transport is not None, "more requests at once than connections: the gate is too wide"
        fields = [(b"user-agent", _USER_AGENT), *headers.items()]
        return Exchange(transport, origin_of(url), (method, url, fields, content), self._timeouts)

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._transports:
            await transport.httpx.aclose()


class _Translated:
    """httpx's exceptions become ours where they enter; their texts stay behind (they hold addresses).

    A class, as `Exchange` is: a generator would cost more than what it does, several times a request."""

    __slots__ = ("_origin",)

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, _HTTPX_ERRORS):
            return
        origin = self._origin
        if isinstance(error, httpx.ConnectError):
            raise Unavailable(f"cannot connect to {origin} ({_reason(error)}): check the network") from None
        if isinstance(error, httpx.TimeoutException):
            what = "connect" if isinstance(error, httpx.ConnectTimeout) else "make progress"
            raise Unavailable(f"{origin} did not {what} in time: check the network") from None
        if isinstance(error, httpx.InvalidURL | ValueError):  # a host that no name can be is a UnicodeError
            raise BadAnswer(f"{origin} gave a link or a body that cannot be read: tell the vendor") from None
        raise Unavailable(f"the connection to {origin} broke ({_reason(error)})") from None


_HTTPX_ERRORS = (httpx.TransportError, httpx.StreamError, httpx.InvalidURL, ValueError)


def _reason(error: BaseException) -> str:
    """The system's own words for a failure, looked for along the chain of causes; never an address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
