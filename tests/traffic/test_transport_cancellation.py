"""Cancelled at every await: what is left is closed, or has carried a whole answer and nothing else.

An instrument counts the steps of all tasks but the server's. At the n-th step the request is cancelled, for
n = 1, 2, 3, … until it gets to its end. The next request on the same transport must get its own answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from scripted import Peer, body_of, ours, request_to, server_tls, serving

from voxofs.traffic.transport import Transport

_MOST_STEPS = 500
_BODY_BYTES = 200_000


class CancelsAtStep(trio.abc.Instrument):
    """Cancels a scope when the client's tasks have taken so many steps."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._left = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith(("scripted.", "<init>", "trio.")):
            return
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


def body_for(path: bytes) -> bytes:
    """Each request's own body."""
    return (path * (_BODY_BYTES // len(path) + 1))[:_BODY_BYTES]


async def in_parts(peer: Peer) -> None:
    """An interim answer, the head in two parts, the body in four; with a length."""
    while request := await peer.request():
        body = body_for(request.split(b" ")[1])
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        quarter = len(body) // 4
        await peer.send(
            b"HTTP/1.1 103 Early Hints\r\n\r\n",
            head[:9],
            head[9:] + body[:100],
            *[body[100:][at : at + quarter] for at in range(0, len(body), quarter)],
        )


async def in_chunks(peer: Peer) -> None:
    """The body in chunks, which are cut anywhere."""
    while request := await peer.request():
        body = body_for(request.split(b" ")[1])
        whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for at in range(0, len(body), 30_000):
            piece = body[at : at + 30_000]
            whole += b"%x\r\n%s\r\n" % (len(piece), piece)
        whole += b"0\r\n\r\n"
        await peer.send(whole[:30], *[whole[at : at + 70_001] for at in range(30, len(whole), 70_001)])


async def until_the_end(peer: Peer) -> None:
    """The body until the connection's end."""
    if request := await peer.request():
        body = body_for(request.split(b" ")[1])
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", body[:100], body[100:])


SCRIPTS: dict[str, Callable[[Peer], Awaitable[None]]] = {
    "length": in_parts, "chunks": in_chunks, "until the end": until_the_end,
}  # fmt: skip


async def fetch(transport: Transport, url: str, slab_bytes: int | None, content: bytes | None = None) -> None:
    """One request, by the body that is its own."""
    request = request_to(url, "GET" if content is None else "POST", content)
    response = await transport.handle_async_request(request)
    try:
        assert await body_of(response, slab_bytes) == body_for(request.url.raw_path)
    finally:
        await response.aclose()


@pytest.mark.parametrize("warm", [False, True], ids=["new", "kept"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("slab_bytes", [None, 65_536], ids=["pieces", "into"])
@pytest.mark.parametrize("script", SCRIPTS)
async def test_cancelled_at_every_await(script: str, slab_bytes: int | None, tls: bool, warm: bool) -> None:
    cancelled = 0
    async with serving(SCRIPTS[script], server_tls() if tls else None) as server:
        for steps in range(1, _MOST_STEPS):
            transport = ours(connections=2)
            if warm:
                await fetch(transport, server.url("/warm"), slab_bytes)
            with trio.CancelScope() as scope:
                instrument = CancelsAtStep(scope, steps)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await fetch(transport, server.url("/cancelled"), slab_bytes)
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            assert transport.free == 2
            await fetch(transport, server.url("/next"), slab_bytes)
            assert transport.free == 2
            assert transport.idle <= 1
            await transport.aclose()
            await server.all_closed()
            if not scope.cancelled_caught:
                break
            cancelled += 1
        assert not scope.cancelled_caught, "the request never got to its end"
        assert cancelled >= 2, "the request was hardly cancelled: nothing was tried"


async def test_cancelled_at_every_await_of_sending() -> None:
    async def slow(peer: Peer) -> None:
        await trio.testing.wait_all_tasks_blocked()
        if request := await peer.request():
            body = body_for(request.split(b" ")[1])
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    cancelled = 0
    async with serving(slow) as server:
        for steps in range(1, _MOST_STEPS):
            transport = ours()
            with trio.CancelScope() as scope:
                instrument = CancelsAtStep(scope, steps)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await fetch(transport, server.url("/cancelled"), None, bytes(8 * 2**20))
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            assert transport.free == 1
            await fetch(transport, server.url("/next"), None)
            await transport.aclose()
            await server.all_closed()
            if not scope.cancelled_caught:
                break
            cancelled += 1
        assert not scope.cancelled_caught
        assert cancelled >= 4


async def test_a_read_that_was_cancelled_has_lost_nothing() -> None:
    """Who still wants the body reads on."""
    goes_on = trio.Event()

    async def halting(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await goes_on.wait()
        await peer.send(b"world")
        await peer.end()

    async with serving(halting) as server:
        transport = ours()
        response = await transport.handle_async_request(request_to(server.url()))
        stream = response.stream
        body = bytearray()
        with trio.CancelScope() as scope:
            async for piece in stream:  # type: ignore[union-attr]
                body += piece
                scope.cancel()
        assert body == b"hello"
        goes_on.set()
        assert await body_of(response) == b"world"
        await response.aclose()
        assert transport.idle == 1
        await transport.aclose()


async def test_opening_ahead_cancelled_at_every_await() -> None:
    async def echo(peer: Peer) -> None:
        await peer.request()

    async with serving(echo, server_tls()) as server:
        for steps in range(1, _MOST_STEPS):
            transport = ours()
            with trio.CancelScope() as scope:
                instrument = CancelsAtStep(scope, steps)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await transport.open_ahead(server.url(), 10.0)
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            assert transport.free == 1
            await transport.aclose()
            await server.all_closed()
            if not scope.cancelled_caught:
                break
        assert not scope.cancelled_caught
        assert steps > 2, "connecting and the handshake have been cut off"
