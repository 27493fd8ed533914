"""A transport of our own under httpx: HTTP/1.1 on connections that are used directly.

httpx's stock transport has a pool that looks at every connection, locks, tracing, layers of generators:
0.33 ms of CPU for an answer of 1 KiB, where this one takes 0.15 (32 in flight, loopback). Its answers are
read into memory of the reader's (`Exchange.read_into`). Requests come with their body as bytes; redirects
and proxies are none of its business.

It is a pool of its own, because only a pool can choose: a request goes to the idle connection of its origin
that was used last (so the same ones stay warm), a new connection resumes its origin's TLS session, and where
all are taken the one that was idle longest makes room. Nobody ever waits in it: the caller must hold a place
at a gate no wider than `connections`.

No await lies between reading these tables and changing them: idle, busy, sessions.

Whoever is cancelled in here leaves a connection that is closed or one that has carried a whole answer and
nothing else. Reading an answer is what lets its bytes flow: who pauses is waited for by TCP itself.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx
import trio

from .framing import Framing
from .streams import Connection, Origin, Watch, connect
from .wire import address_of, message_of, origin_of

_SCRATCH_BYTES = 65_536
"""What is received at once for heads, for chunks and for whoever wants bytes objects. Small enough that
glibc takes a piece of that size from its heap (its limit for a mapping is 128 KiB at first, mallopt(3))."""

_SESSIONS = 32
"""TLS sessions kept, one an origin; an API and the regions of a storage are a handful. A rule of thumb."""


class Exchange(httpx.AsyncByteStream):
    """One request on one connection, and its answer: an httpx stream, and more. One task at a time."""

    __slots__ = ("_connection", "_framing", "_read_s", "_transport")

    def __init__(self, transport: Transport, connection: Connection, read_s: float) -> None:
        self._transport = transport
        self._connection = connection
        self._read_s = read_s
        self._framing = Framing()
        connection.uses += 1
        transport._busy.add(self)

    @property
    def framing(self) -> Framing:
        """Status and headers, and how the answer's end is told."""
        return self._framing

    async def begin(self, message: bytes, write_s: float) -> None:
        """Send the request and receive the answer's head. Where it fails, the connection is closed."""
        try:
            with suppress(httpx.WriteError):  # a server may answer before it has read all (RFC 9112, 9.6)
                await self._connection.send_all(message, write_s)
            while not self._framing.headed:
                await self._feed()
        except BaseException:
            self._end()
            raise
        if self._connection.uses == 1:
            self._transport._remember_session(self._connection)

    async def read_into(self, buffer: bytearray | memoryview) -> int:
        """The body's next bytes into the front of the buffer: as many as are there, one at least; 0 at its
        end. Raises as iterating does. Cancelled, it has taken nothing."""
        framing = self._framing
        while not framing.pieces:
            if framing.complete:
                return 0
            if not framing.chunked:
                return await self._receive(memoryview(buffer))
            await self._feed()
        piece = framing.pieces.popleft()
        count = min(len(piece), len(buffer))
        buffer[:count] = piece[:count]
        if count < len(piece):
            framing.pieces.appendleft(memoryview(piece)[count:])
        return count

    def __aiter__(self) -> Exchange:
        return self

    async def __anext__(self) -> bytes:
        framing = self._framing
        while not framing.pieces:
            if framing.complete:
                raise StopAsyncIteration
            if not framing.chunked:
                scratch = self._transport._scratch
                if count := await self._receive(scratch):
                    return bytes(scratch[:count])
            else:
                await self._feed()
        return bytes(framing.pieces.popleft())

    async def aclose(self) -> None:
        """Give the connection back, or close it where the answer was not received to its end."""
        self._end()

    async def _feed(self) -> None:
        scratch = self._transport._scratch  # everybody's: nothing else runs until its bytes are parsed
        count = await self._connection.receive_into(scratch, self._read_s)
        if count:
            self._framing.feed(scratch[:count])
        else:
            self._framing.ended()

    async def _receive(self, buffer: memoryview) -> int:
        left = self._framing.left
        count = await self._connection.receive_into(buffer if left is None else buffer[:left], self._read_s)
        if count:
            self._framing.received(count)
        else:
            self._framing.ended()
        return count

    def _end(self) -> None:
        if self in self._transport._busy:
            self._transport._busy.discard(self)
            if self._framing.complete and self._framing.reusable:
                self._transport._lay_aside(self._connection)
            else:
                self._connection.close()


class Transport(httpx.AsyncBaseTransport):
    """`connections` of them at most, to whatever origins its requests name.

    `keepalive_s`: how long an idle one is kept, by `monotonic_s`, which should go on while the machine
    sleeps. `tls` is told to offer HTTP/1.1 (ALPN, RFC 7301).
    """

    def __init__(
        self,
        connections: int,
        tls: ssl.SSLContext,
        *,
        keepalive_s: float,
        monotonic_s: Callable[[], float] = trio.current_time,
    ) -> None:
        tls.set_alpn_protocols(["http/1.1"])
        self.connections = connections
        self._tls = tls
        self._keepalive_s = keepalive_s
        self._monotonic_s = monotonic_s
        self._idle: list[Connection] = []  # the one that was used last is the last
        self._busy: set[Exchange] = set()
        self._opening = 0
        self._sessions: dict[Origin, ssl.SSLSession] = {}
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._watch = Watch()

    @property
    def free(self) -> int:
        """How many more requests may be made at this moment."""
        return self.connections - len(self._busy) - self._opening

    def ready(self, url: str) -> int:
        """Idle connections to the address's origin that are not too old."""
        origin, old_s = address_of(url), self._monotonic_s() - self._keepalive_s
        return sum(each.origin == origin and each.idle_since_s > old_s for each in self._idle)

    @property
    def idle(self) -> int:
        """Connections that are open and not in use."""
        return len(self._idle)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and receive the head of the answer, whose stream is an `Exchange`.

        A GET whose reused connection broke before a byte of an answer came is sent once more, on a new one.
        Raises httpx's exceptions as the stock transport does, and `httpx.PoolTimeout` at once where more
        requests are under way than there are connections.
        """
        message, timeouts = message_of(request), request.extensions.get("timeout", {})
        sent = request.extensions.get("sent")
        exchange = await self.ask(request.method, origin_of(request.url), message, timeouts, sent)
        framing = exchange.framing
        return httpx.Response(
            framing.status,
            headers=framing.headers,
            stream=exchange,
            extensions={
                "http_version": f"HTTP/{framing.version}".encode(),
                "reason_phrase": framing.reason,
            },
        )

    async def ask(
        self,
        method: str,
        origin: Origin,
        message: bytes,
        timeouts: Mapping[str, float | None],
        sent: Callable[[], None] | None = None,
    ) -> Exchange:
        """What `handle_async_request` does, for whoever has the request as it is sent. Without httpx's
        objects an answer of 1 KiB takes 45 µs in place of 130 to 150. `sent` is called once, when there is a
        connection to send on."""
        read_s, write_s = _seconds(timeouts, "read"), _seconds(timeouts, "write")
        connection = self._take(origin)
        if connection is not None:
            if sent is not None:
                sent()
            exchange = Exchange(self, connection, read_s)
            try:
                await exchange.begin(message, write_s)
                return exchange
            except (httpx.ReadError, httpx.RemoteProtocolError):
                # The server closed it while the request was on its way (RFC 9110, 9.2.2).
                if method != "GET" or exchange.framing.begun:
                    raise
        reused = connection is not None
        connection = await self._open(origin, _seconds(timeouts, "connect"))
        if sent is not None and not reused:
            sent()
        exchange = Exchange(self, connection, read_s)
        await exchange.begin(message, write_s)
        return exchange

    async def open_ahead(self, url: str, timeout_s: float) -> bool:
        """One idle connection more to the address's origin, where there is room for it: whether there is.

        It takes no place from a request while it is being opened. Raises as a request does.
        """
        origin = address_of(url)
        if self.free <= len(self._idle):
            return False
        connection = await connect(origin, self._tls, self._sessions.get(origin), timeout_s, self._watch)
        if self.free <= len(self._idle):
            connection.close()
            return False
        self._lay_aside(connection)
        return True

    async def aclose(self) -> None:
        """Close every connection; whoever still reads one gets `httpx.ReadError`."""
        for exchange in list(self._busy):
            self._busy.discard(exchange)
            exchange._connection.close()
        while self._idle:
            self._idle.pop().close()

    def _take(self, origin: Origin) -> Connection | None:
        """An idle connection that is alive, as far as can be seen from here."""
        idle = self._idle
        old_s = self._monotonic_s() - self._keepalive_s
        while idle and idle[0].idle_since_s <= old_s:
            idle.pop(0).close()
        for index in range(len(idle) - 1, -1, -1):
            if idle[index].origin == origin:
                connection = idle.pop(index)
                if connection.is_quiet():
                    return connection
                connection.close()
        return None

    def _lay_aside(self, connection: Connection) -> None:
        connection.idle_since_s = self._monotonic_s()
        self._idle.append(connection)

    def _remember_session(self, connection: Connection) -> None:
        if (session := connection.session) is not None:
            self._sessions.pop(connection.origin, None)
            self._sessions[connection.origin] = session
            if len(self._sessions) > _SESSIONS:
                del self._sessions[next(iter(self._sessions))]

    async def _open(self, origin: Origin, timeout_s: float) -> Connection:
        if self.free <= 0:
            raise httpx.PoolTimeout("more requests at once than connections: the gate is too wide")
        if self.free <= len(self._idle):
            self._idle.pop(0).close()
        self._opening += 1
        try:
            return await connect(origin, self._tls, self._sessions.get(origin), timeout_s, self._watch)
        except httpx.ConnectError:
            self._sessions.pop(origin, None)  # in case that it was the session that the server cannot bear
            raise
        finally:
            self._opening -= 1


def _seconds(timeouts: Mapping[str, float | None], name: str) -> float:
    value = timeouts.get(name)
    return math.inf if value is None else value
