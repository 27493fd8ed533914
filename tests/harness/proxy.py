"""An HTTP proxy that knows CONNECT and nothing else, for names that only it can resolve."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio


class ConnectProxy:
    """What it was asked, and how it answers. Whatever host is named is this machine."""

    def __init__(self, password: str | None) -> None:
        self._password = password
        self.url = ""
        self.targets: list[str] = []
        """host:port of every CONNECT that was let through, in order."""
        self.heads: list[bytes] = []
        """The request's head of every connection."""

    async def serve(self, tls: ssl.SSLContext | None, raw: trio.SocketStream) -> None:
        stream: trio.abc.Stream = raw
        if tls is not None:
            stream = trio.SSLStream(raw, tls, server_side=True)
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._tunnel(stream)

    async def _tunnel(self, stream: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = await stream.receive_some(65_536)
            if not piece:
                return
            head += piece
        self.heads.append(head)
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if not self._may_pass(head):
            await stream.send_all(b"HTTP/1.1 407 no, not with s3cret\r\nContent-Length: 0\r\n\r\n")
            return
        if method != "CONNECT":
            await stream.send_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        self.targets.append(target)
        far = await trio.open_tcp_stream("127.0.0.1", int(target.rpartition(":")[2]))
        await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, stream, far, nursery.cancel_scope)
            await _pump(far, stream, nursery.cancel_scope)

    def _may_pass(self, head: bytes) -> bool:
        if self._password is None:
            return True
        given = base64.b64encode(f"me:{self._password}".encode())
        return b"\r\nproxy-authorization: basic " + given.lower() in head.lower()


async def _pump(source: trio.abc.Stream, target: trio.abc.Stream, scope: trio.CancelScope) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while piece := await source.receive_some(65_536):
            await target.send_all(piece)
    scope.cancel()


@asynccontextmanager
async def connect_proxy(
    *, password: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ConnectProxy]:
    """One on a port of its own; with a password it wants user `me` and that."""
    proxy = ConnectProxy(password)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        given = "" if password is None else f"me:{password}@"
        proxy.url = f"{'http' if tls is None else 'https'}://{given}127.0.0.1:{port}"
        await nursery.start(partial(trio.serve_listeners, partial(proxy.serve, tls), listeners))
        yield proxy
        nursery.cancel_scope.cancel()
