"""httpx's own transport, for proxies and as a way out, in the shape of ours.

* A request that is cancelled while it waits inside httpcore for a connection loses its pool's slot for good
  (encode/httpcore#1093). So nothing ever waits there: a pool is chosen that has its connection free, and
  callers hold a place at a gate no wider than all of them together.
* Each request polls every connection of its pool, which makes a large pool slow. So every pool has one
  connection, and the first that is free is taken, which keeps the same connections warm.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable

import httpx


class StockTransport(httpx.AsyncBaseTransport):
    """`connections` of them at most; each is kept for `keepalive_s` while it is idle."""

    def __init__(
        self,
        connections: int,
        tls: ssl.SSLContext,
        *,
        keepalive_s: float,
        proxy: httpx.Proxy | str | None = None,
    ) -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=keepalive_s)
        self.connections = connections
        self._pools = [
            httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits, proxy=proxy)
            for _ in range(connections)
        ]
        self._free = set(range(connections))

    @property
    def free(self) -> int:
        """How many more requests may be made at this moment."""
        return len(self._free)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx does it; raises `httpx.PoolTimeout` at once where every connection is in use."""
        if not self._free:
            raise httpx.PoolTimeout("more requests at once than connections: the gate is too wide")
        index = min(self._free)
        self._free.discard(index)
        if (sent := request.extensions.get("sent")) is not None:
            request.extensions = {**request.extensions, "trace": _Tracer(sent)}
        try:
            response = await self._pools[index].handle_async_request(request)
        except BaseException:
            self._free.add(index)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Freeing(response.stream, self._free, index)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools:
            await pool.aclose()


class _Tracer:
    """httpcore's word that a request is being sent (its documentation, "Extensions", trace), once."""

    def __init__(self, sent: Callable[[], None]) -> None:
        self._sent: Callable[[], None] | None = sent

    async def __call__(self, event: str, _: object) -> None:
        if self._sent is not None and event.endswith("send_request_headers.started"):
            sent, self._sent = self._sent, None
            sent()


class _Freeing(httpx.AsyncByteStream):
    """A stream that gives its pool back when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, free: set[int], index: int) -> None:
        self._stream = stream
        self._free = free
        self._index = index

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._free.add(self._index)
