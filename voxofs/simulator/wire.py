"""Sockets: listening, accepting, handing over to hypercorn, and breaking connections on purpose.

Connections are accepted here and not by hypercorn because faults need the socket (a TCP reset is
SO_LINGER 0 and close) and a refused port needs the listener closed and opened again under way. `Connection`
is hypercorn's TCPServer for trio, less what a simulator on loopback does not need: an idle timer
that is two tasks per request, and a write of its own for the head of an answer (see `cork`). TLS is trio's
stream around the same socket; a break is a break of the TCP connection under it.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[["Connection", Scope, Receive, Send], Awaitable[None]]

_BACKLOG = 512
"""Connections that may wait to be accepted: more than any client here opens at once."""
_JOIN_BYTES = 16_384
"""Up to here one copy is cheaper than a second system call: a rule of thumb."""
_HEAD_BYTES = 65_536
"""What a request's head may take: four times hypercorn's own limit, as hostile uniqueIds are long."""


class QuietConfig(Config):
    """Hypercorn's settings for loopback: no logs, no idle time-outs, no headers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.accesslog = None
        self.errorlog = "-"
        self.loglevel = "ERROR"
        self.keep_alive_max_requests = 1 << 62
        self.h11_max_incomplete_size = _HEAD_BYTES

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """None: the answers carry their own Date, by the simulated clock."""
        return []


class Connection(TCPServer):
    """One client's connection."""

    def __init__(
        self,
        app: App,
        config: Config,
        context: WorkerContext,
        plain: trio.SocketStream,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._tls = None
        if tls is not None:
            # https_compatible: clients of HTTP rarely wait for a close_notify, and send none (RFC 9112, 9.8)
            self._tls = trio.SSLStream(plain, tls, server_side=True, https_compatible=True)
        # hypercorn's annotations name its own TLS stream and message types only; it takes plain ones too
        super().__init__(self._serve, config, context, LifespanState(), self._tls or plain)  # type: ignore[arg-type]
        self._socket = plain.socket
        self._handler = app
        self.gone = False
        """The client has closed, or we have: what is sent now reaches nobody."""
        self._corked: bytes | None = None

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *_: object) -> None:
        await self._handler(self, scope, receive, send)

    async def run(self) -> None:
        try:
            if self._tls is not None:
                await self._tls.do_handshake()
            async with TaskGroup() as tasks:
                self._task_group = tasks
                state = ConnectionState(self.state)
                self.protocol = ProtocolWrapper(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    state,
                    self._tls is not None,
                    None,
                    None,
                    self.protocol_send,
                    "http/1.1",
                )
                await self.protocol.initiate()
                await self._read()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left, does not trust our certificate, or was reset within the handshake
        finally:
            self.gone = True
            await self._close()

    async def _read(self) -> None:
        while not self.gone:
            try:
                data = bytes(await self.stream.receive_some(65_536))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                break
            if not data:
                self.gone = True
            await self.protocol.handle(RawData(data))
        self.gone = True
        await self.protocol.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self.gone = True
            await self._close()
            await self.protocol.handle(Closed())

    def cork(self) -> None:
        """Hold the next write back and send it together with the one after it."""
        self._corked = b""

    async def _write(self, data: bytes) -> None:
        if not data or self.gone:
            return
        if self._corked == b"":
            self._corked = data
            return
        head, self._corked = self._corked, None
        try:
            if head and len(data) <= _JOIN_BYTES:
                data = head + data
            elif head:
                await self.stream.send_all(head)
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.gone = True
            await self.protocol.handle(Closed())

    async def flush(self) -> None:
        """Send what `cork` held back."""
        head, self._corked = self._corked, None
        await self._write(head or b"")

    def reset(self) -> None:
        """Break the connection with a TCP reset: close with nothing lingering (socket(7), SO_LINGER)."""
        self.gone = True
        sock = self._socket
        if sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


class Port:
    """A listening port that can be closed and opened again, and its connections.

    Closed, it is bound all the same, by a socket that does not listen: else another server, of a test that
    runs beside this one, might be given its number (ip(7), ip_local_port_range) and answer in its place.
    """

    def __init__(
        self, app: App, host: str, port: int, nursery: trio.Nursery, tls: ssl.SSLContext | None
    ) -> None:
        self._tls = tls
        self._app = app
        self._host = host
        self._nursery = nursery
        self._config = QuietConfig()
        self._context = WorkerContext(None)
        self._keeper: socket.socket | None = None
        self._listener: trio.socket.SocketType | None = None
        self.connections: set[Connection] = set()
        self.number = port
        self.accepted = 0
        """Connections ever accepted."""

    async def open(self) -> None:
        """Listen, on the same port as before; does nothing where it listens already. Raises OSError."""
        if self._listener is not None:
            return
        if self._keeper is None:
            self._keeper = _bound(self._host, self.number)
            self.number = self._keeper.getsockname()[1]
        bound = _bound(self._host, self.number)
        try:
            bound.listen(_BACKLOG)
        except BaseException:
            bound.close()
            raise
        self._listener = listener = trio.socket.from_stdlib_socket(bound)
        self._nursery.start_soon(self._accept, listener)

    def close(self) -> None:
        """Refuse new connections and reset those that exist."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self.connections):
            connection.reset()

    def end(self) -> None:
        """Close for good: the number is anybody's again."""
        self.close()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    async def _accept(self, listener: trio.socket.SocketType) -> None:
        while True:
            try:
                sock, _ = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError:
                # Out of descriptors, or the client left before it was accepted: neither ends the simulator.
                if listener.fileno() < 0:
                    return
                await trio.sleep(0.01)
                continue
            self.accepted += 1
            stream = trio.SocketStream(sock)
            connection = Connection(self._app, self._config, self._context, stream, self._tls)
            if listener is not self._listener:  # the port was closed in the moment in which it came
                connection.reset()
                return
            self.connections.add(connection)
            self._nursery.start_soon(self._run, connection, sock)

    async def _run(self, connection: Connection, sock: trio.socket.SocketType) -> None:
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            sock.close()  # a cancelled `_close` does not get that far


def _bound(host: str, port: int) -> socket.socket:
    """A socket with that address, which others of ours may have, too, as long as one alone listens
    (socket(7), SO_REUSEADDR). Raises OSError."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
