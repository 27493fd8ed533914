"""One connection: a socket, plain or under TLS, that is read straight into memory of the caller's.

trio's streams make a bytes object of all that comes, and its SSLStream moves every byte through two more
buffers, with two locks and five generators a read. Here the system's socket is used as it is: a read is
`recv_into`, which is tried first and waited for where nothing is there. For TLS the socket is wrapped by
`ssl` itself, so that OpenSSL decrypts from the socket into the caller's buffer. (`ssl.MemoryBIO` with large
reads was measured beside it: 256 MiB over loopback took 0.15 s of CPU against 0.17 to 0.25 s. That is one
system call for sixteen records saved, one copy more, and 256 KiB of buffer a connection.)

Cancelled or timed out, a read has taken nothing from the socket; a send may have sent a part.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import trio

_UNYIELDED_BYTES = 524_288
"""A reader that never has to wait lets others run after that much: some 0.1 ms of copying, 0.4 ms under TLS
(measured on loopback: 256 MiB take 0.04 s and 0.19 s of CPU)."""

_WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Origin = tuple[str, str, int]
"""Scheme, host as it is sent (ASCII), port."""


class Watch:
    """Ends the waits of a transport's connections that take too long, in one task for all of them: a scope
    for each wait costs 16 µs, which is as much as another task, and a request has two or three."""

    def __init__(self) -> None:
        self._until_s: dict[Connection, float] = {}
        self._scope: trio.CancelScope | None = None
        """What the task sleeps in, while there is one."""

    def begin(self, connection: Connection, timeout_s: float) -> None:
        """It waits from now on."""
        until_s = self._until_s[connection] = trio.current_time() + timeout_s
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=until_s)
            trio.lowlevel.spawn_system_task(self._look, self._scope, name="time-outs of connections")
        elif until_s < self._scope.deadline:
            self._scope.deadline = until_s

    def end(self, connection: Connection) -> None:
        """It does not wait any more."""
        self._until_s.pop(connection, None)

    async def _look(self, scope: trio.CancelScope) -> None:
        while True:
            with scope:
                await trio.sleep_forever()
            now_s = trio.current_time()
            for connection in [each for each, until_s in self._until_s.items() if until_s <= now_s]:
                del self._until_s[connection]
                connection.is_late()
            if not self._until_s:
                self._scope = None
                return
            self._scope = scope = trio.CancelScope(deadline=min(self._until_s.values()))


class Connection:
    """An open connection to an origin. Whoever has it closes it."""

    __slots__ = (
        "_drained", "_fd", "_late", "_socket", "_tls", "_unyielded_bytes", "_watch", "idle_since_s", "origin",
        "uses",
    )  # fmt: skip

    def __init__(self, origin: Origin, connected: socket.socket, watch: Watch) -> None:
        self._watch = watch
        self._late = False
        """Its wait was ended because nothing came."""
        self.origin = origin
        self.uses = 0
        """Exchanges that were begun on it."""
        self.idle_since_s = 0.0
        self._socket = connected
        self._tls = isinstance(connected, ssl.SSLSocket)
        self._fd = connected.fileno()
        self._drained = True
        """Nothing was there a moment ago: to wait is cheaper than to try. (OpenSSL reads record by record, so
        it holds nothing either when it asks for more.)"""
        self._unyielded_bytes = 0

    def __repr__(self) -> str:
        scheme, host, port = self.origin
        state = "closed" if self._fd < 0 else f"{self.uses} uses"
        return f"<Connection {scheme}://{host}:{port}: {state}>"

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection can resume. Under TLS 1.3 it comes after the handshake, with an answer."""
        return self._socket.session if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def resumed(self) -> bool:
        """Whether the handshake took up an earlier session."""
        return isinstance(self._socket, ssl.SSLSocket) and bool(self._socket.session_reused)

    def is_quiet(self) -> bool:
        """Whether nothing came while nobody asked: neither an end nor a byte. Where it is false, the
        connection is of no use. Session tickets under TLS are taken in and are no matter."""
        try:
            self._socket.recv(1)
        except _WAITS:
            self._drained = True
            return True
        except OSError:
            pass
        return False

    async def receive_into(self, buffer: memoryview, timeout_s: float) -> int:
        """Bytes into the front of the buffer, as many as are there and one at least; 0 at their end.

        Nothing else runs between the arrival in the buffer and the return. Raises `httpx.ReadError`, and
        `httpx.ReadTimeout` where nothing came for so long.
        """
        if not self._drained:
            if self._unyielded_bytes < _UNYIELDED_BYTES:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._unyielded_bytes = 0
                await trio.lowlevel.checkpoint()
        while True:
            if self._drained:
                self._unyielded_bytes = 0
                await self._wait(trio.lowlevel.wait_readable, timeout_s, httpx.ReadTimeout, httpx.ReadError)
            try:
                received = self._fill(buffer) if self._tls else self._socket.recv_into(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._drained = True
                continue
            except ssl.SSLWantWriteError:  # a KeyUpdate has to be answered first (RFC 8446, 4.6.3)
                await self._wait(trio.lowlevel.wait_writable, timeout_s, httpx.ReadTimeout, httpx.ReadError)
                continue
            except OSError as error:
                raise httpx.ReadError(str(error)) from error
            if not self._tls:  # an end is not waited for again, a short read is: there was no more
                self._drained = 0 < received < len(buffer)
            self._unyielded_bytes += received
            return received

    def _fill(self, buffer: memoryview) -> int:
        """As many records as fit: OpenSSL gives one at a time, of 16 KiB at most (RFC 8446, 5.1)."""
        filled = 0
        try:
            while filled < len(buffer):
                received = self._socket.recv_into(buffer[filled:])
                if not received:
                    break
                filled += received
        except ssl.SSLWantReadError:
            self._drained = True
            if not filled:
                raise
        except OSError:  # a failure comes again with the next read
            self._drained = False
            if not filled:
                raise
        else:
            self._drained = False
        return filled

    async def send_all(self, data: bytes, timeout_s: float) -> None:
        """Send; without a checkpoint where there is room. Raises `httpx.WriteError`, `httpx.WriteTimeout`."""
        rest = memoryview(data)
        while len(rest):
            try:
                rest = rest[self._socket.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await self._wait(trio.lowlevel.wait_writable, timeout_s, httpx.WriteTimeout, httpx.WriteError)
            except ssl.SSLWantReadError:
                await self._wait(trio.lowlevel.wait_readable, timeout_s, httpx.WriteTimeout, httpx.WriteError)
            except OSError as error:
                raise httpx.WriteError(str(error)) from error

    async def _wait(
        self,
        ready: Callable[[int], Awaitable[None]],
        timeout_s: float,
        late: type[httpx.TimeoutException],
        broken: type[httpx.NetworkError],
    ) -> None:
        if self._fd < 0:
            raise broken("the connection was closed")
        self._late = False
        if timeout_s < math.inf:
            self._watch.begin(self, timeout_s)
        try:
            await ready(self._fd)
        except trio.ClosedResourceError as error:
            if self._late:
                raise late(f"nothing for {timeout_s:g} s") from None
            raise broken("the connection was closed") from error
        finally:
            self._watch.end(self)

    def is_late(self) -> None:
        """End its wait. It stays open, for whoever waits to close it."""
        if self._fd >= 0:
            self._late = True
            trio.lowlevel.notify_closing(self._fd)

    def close(self) -> None:
        """At once, whatever is under way; no farewell under TLS, as HTTP does not need one."""
        if self._fd >= 0:
            trio.lowlevel.notify_closing(self._fd)
            self._fd = -1
            self._socket.close()


async def connect(
    origin: Origin,
    tls: ssl.SSLContext,
    session: ssl.SSLSession | None,
    timeout_s: float | None,
    watch: Watch,
) -> Connection:
    """A new connection, by whichever of the host's addresses answers first (RFC 8305), and for https after
    its handshake; both within `timeout_s`.

    Raises `httpx.ConnectError`, `httpx.ConnectTimeout`, and `httpx.InvalidURL` for a host no name can be.
    """
    scheme, host, port = origin
    try:
        with trio.fail_after(math.inf if timeout_s is None else timeout_s):
            connected = await _reached(host, port)
            try:
                if scheme == "https":
                    connected = await _under_tls(connected, host, tls, session)
            except BaseException:
                connected.close()
                raise
    except trio.TooSlowError as error:
        raise httpx.ConnectTimeout("no connection in time") from error
    except UnicodeError as error:
        raise httpx.InvalidURL("no name of a host") from error
    except OSError as error:
        raise httpx.ConnectError(str(error)) from error
    return Connection(origin, connected, watch)


async def _reached(host: str, port: int) -> socket.socket:
    """A connected socket that does not block. Raises OSError.

    What is an address already needs neither name servers nor a race (RFC 8305), which costs as much as a
    request.
    """
    family = _family(host)
    if family is None:
        stream = await trio.open_tcp_stream(host, port)
        # trio's stream is left behind: its socket always waits for a turn of the loop, and knows no TLS.
        connected = socket.socket(fileno=stream.socket.detach())
    else:
        connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        if family is not None:
            await _connect(connected, (host, port))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connected.close()
        raise
    return connected


def _family(host: str) -> socket.AddressFamily | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, UnicodeError, ValueError):
            socket.inet_pton(family, host)
            return family
    return None


async def _connect(fresh: socket.socket, address: tuple[str, int]) -> None:
    with suppress(BlockingIOError):
        fresh.connect(address)
    await trio.lowlevel.wait_writable(fresh)
    code = fresh.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _under_tls(
    connected: socket.socket, host: str, tls: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLSocket:
    """The same socket under TLS, its certificate proved for the host by the context's rules."""
    wrapped = tls.wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False, session=session)
    try:
        while True:
            try:
                wrapped.do_handshake()
                return wrapped
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(wrapped)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(wrapped)
    except BaseException:
        wrapped.close()
        raise
