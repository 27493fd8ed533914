"""Connections: which one is taken, how long it is kept, when a request is sent again, how a body flows."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
import trio.testing
from harness.rig import until
from scripted import (
    BOTH,
    CLIENT_TLS,
    KEEPALIVE_S,
    Make,
    Peer,
    Script,
    answer,
    ask,
    body_of,
    echo,
    ours,
    request_to,
    server_tls,
    serving,
)
from trio.testing import MockClock

from voxofs.traffic.transport import Exchange, Transport


@pytest.fixture
def clock() -> MockClock:
    """Time jumps where nobody has anything to do; loopback delivers within the call that sends."""
    return MockClock(autojump_threshold=0.005)


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = ours(connections=3)
    yield made
    await made.aclose()


# Kept alive.


@BOTH
async def test_a_connection_is_kept_for_the_next(make: Make, clock: MockClock) -> None:
    async with serving(echo) as server:
        transport = make()
        for _ in range(5):
            assert (await ask(transport, server.url())).status == 200
            await trio.sleep(KEEPALIVE_S - 1)
        assert server.accepted == 1
        await transport.aclose()


async def test_and_not_for_ever(transport: Transport, clock: MockClock) -> None:
    async with serving(echo) as server:
        await ask(transport, server.url())
        await trio.sleep(KEEPALIVE_S + 1)
        await ask(transport, server.url())
        assert server.accepted == 2
        assert transport.idle == 1


@BOTH
@pytest.mark.parametrize("how", ["closed", "reset", "more"])
async def test_a_server_that_ends_an_idle_connection(make: Make, how: str) -> None:
    """It is seen before anything is sent: also a POST goes out on a new one, once."""

    async def brief(peer: Peer) -> None:
        await peer.send(answer(await peer.request()))
        if how == "more":
            await peer.send(b"", b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n")
            await peer.end()
        elif how == "reset":
            await peer.send(b"", b"")
            peer.reset()

    async with serving(brief) as server:
        transport = make()
        for _ in range(3):
            got = await ask(transport, server.url(), method="POST", content=b"a")
            assert got.status == 200
            await trio.testing.wait_all_tasks_blocked(0.005)
        assert server.accepted == 3
        await transport.aclose()


def breaks_second(sent: bytes, *, times: int, reset: bool = False) -> tuple[list[bytes], Script]:
    """A script: the first request of a connection is answered, the second with `sent` and an end, as long as
    `times` lasts; and the requests that it has seen."""
    seen: list[bytes] = []
    left = times

    async def script(peer: Peer) -> None:
        nonlocal left
        first = True
        while request := await peer.request():
            seen.append(request.split(b" ")[1])
            if not first and left:
                left -= 1
                if sent:
                    await peer.send(sent, b"")
                if reset:
                    peer.reset()
                return
            await peer.send(answer(request))
            first = False

    return seen, script


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_get_that_met_the_end_of_its_connection_is_sent_again(
    transport: Transport, reset: bool
) -> None:
    seen, script = breaks_second(b"", times=1, reset=reset)
    async with serving(script) as server:
        assert (await ask(transport, server.url("/1"))).status == 200
        assert (await ask(transport, server.url("/2"))).body.startswith(b"GET /2 ")
        assert seen == [b"/1", b"/2", b"/2"]
        assert (transport.free, transport.idle) == (3, 1)


@pytest.mark.parametrize("case", ["a post", "half a head", "a new connection", "twice"])
async def test_and_nothing_else_is(transport: Transport, case: str) -> None:
    if case in ("a new connection", "twice"):
        seen: list[bytes] = []
        answers = 1 if case == "twice" else 0

        async def script(peer: Peer) -> None:
            nonlocal answers
            while request := await peer.request():
                seen.append(request.split(b" ")[1])
                if not answers:
                    return
                answers -= 1
                await peer.send(answer(request))
    else:
        seen, script = breaks_second(b"HTTP/1.1 2" if case == "half a head" else b"", times=1)  # type: ignore[assignment]
    async with serving(script) as server:
        if case != "a new connection":
            await ask(transport, server.url("/1"))
        post = {"method": "POST", "content": b"a"} if case == "a post" else {}
        assert (await ask(transport, server.url("/2"), **post)).error == "RemoteProtocolError"  # type: ignore[arg-type]
        assert seen.count(b"/2") == (2 if case == "twice" else 1)
        assert (transport.free, transport.idle) == (3, 0)


# Reading.


@pytest.mark.parametrize("slab_bytes", [None, 65_536], ids=["pieces", "into"])
async def test_who_does_not_read_holds_the_server_back(transport: Transport, slab_bytes: int | None) -> None:
    piece = bytes(2**20)
    sent = 0

    async def endless(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**40)
        while True:
            await peer.send(piece)
            sent += 1

    async with serving(endless) as server:
        response = await transport.handle_async_request(request_to(server.url()))
        stream = response.stream
        assert isinstance(stream, Exchange)

        async def read() -> None:
            if slab_bytes is None:
                await anext(stream)
            else:
                assert await stream.read_into(bytearray(slab_bytes)) > 0

        await read()
        await trio.testing.wait_all_tasks_blocked(0.01)
        held = sent
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert sent == held < 64
        while sent == held:
            await read()
        await response.aclose()
        await server.all_closed()
        assert len(server.failures) == 1


async def test_a_body_lands_in_the_callers_memory(transport: Transport) -> None:
    body = bytes(range(256)) * 4096  # 1 MiB
    async with serving(body_server(body)) as server:
        response = await transport.handle_async_request(request_to(server.url()))
        stream = response.stream
        assert isinstance(stream, Exchange)
        slab = bytearray(524_288)
        whole = b""
        for _ in range(2):
            filled = 0
            while filled < len(slab):
                count = await stream.read_into(memoryview(slab)[filled:])
                assert count
                filled += count
            whole += slab
        assert whole == body
        assert await stream.read_into(slab) == 0
        await response.aclose()
        assert transport.idle == 1
        mixed = await transport.handle_async_request(request_to(server.url()))
        assert isinstance(mixed.stream, Exchange)
        count = await mixed.stream.read_into(memoryview(slab)[:10])
        assert slab[:count] + await body_of(mixed) == body
        await mixed.aclose()
        assert server.accepted == 1


def body_server(body: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(answer(body))

    return script


async def test_a_reader_that_never_waits_lets_others_run(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the body lies in the kernel before it is read in small pieces."""
    monkeypatch.setattr("voxofs.traffic.streams._UNYIELDED_BYTES", 4_096)
    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serving(body_server(bytes(100_000))) as server, trio.open_nursery() as nursery:
        response = await transport.handle_async_request(request_to(server.url()))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(beside)
        await trio.lowlevel.checkpoint()
        before = turns
        assert len(await body_of(response, 1_000)) == 100_000
        assert turns - before >= 5
        await response.aclose()
        nursery.cancel_scope.cancel()


@BOTH
async def test_ending_early_closes(make: Make) -> None:
    async with serving(body_server(bytes(2**20))) as server:
        transport = make()
        response = await transport.handle_async_request(request_to(server.url()))
        await response.aclose()
        await server.all_closed()
        assert len((await ask(transport, server.url())).body) == 2**20
        assert server.accepted == 2
        await transport.aclose()


# The pool.


async def test_each_origin_has_its_connections(transport: Transport) -> None:
    async with serving(echo) as one, serving(echo) as two:
        for _ in range(3):
            for server in (one, two):
                assert b":%d\r\n" % server.port in (await ask(transport, server.url())).body
        assert (one.accepted, two.accepted, transport.idle) == (1, 1, 2)


async def test_the_one_that_was_idle_longest_makes_room(transport: Transport) -> None:
    async with serving(echo) as a, serving(echo) as b, serving(echo) as c, serving(echo) as d:
        for server in (a, b, c, a, d):  # b makes room
            await ask(transport, server.url())
        assert transport.idle == 3
        for server in (a, c, d):
            await ask(transport, server.url())
            assert server.accepted == 1
        await ask(transport, b.url())
        assert b.accepted == 2
        assert (transport.idle, transport.free) == (3, 3)


@BOTH
async def test_nobody_waits_in_it(make: Make) -> None:
    transport = make(connections=3)
    async with serving(echo) as server:
        held = [await transport.handle_async_request(request_to(server.url())) for _ in range(3)]
        assert transport.free == 0
        with pytest.raises(httpx.PoolTimeout):
            await transport.handle_async_request(request_to(server.url()))
        await held.pop().aclose()
        assert transport.free == 1
        assert (await ask(transport, server.url())).status == 200
        for each in held:
            await each.aclose()
        assert transport.free == 3
        await transport.aclose()


@BOTH
async def test_who_fails_gives_the_place_back(make: Make) -> None:
    async def rude(peer: Peer) -> None:
        await peer.request()

    transport = make()
    async with serving(rude) as server:
        for _ in range(3):
            assert (await ask(transport, server.url())).error == "RemoteProtocolError"
            assert transport.free == 1
        await transport.aclose()


async def test_connections_opened_ahead_are_used(transport: Transport) -> None:
    async with serving(echo) as server:
        opened = [await transport.open_ahead(server.url(), 10.0) for _ in range(5)]
        assert opened == [True, True, True, False, False]
        assert (transport.idle, transport.free) == (3, 3)
        held = [await transport.handle_async_request(request_to(server.url())) for _ in range(3)]
        assert server.accepted == 3
        for each in held:
            await each.aclose()


async def test_a_connection_that_is_being_opened_ahead_takes_nobodys_place() -> None:
    transport = ours()
    opened = []

    async with serving(echo, server_tls()) as server, trio.open_nursery() as nursery:

        async def ahead() -> None:
            opened.append(await transport.open_ahead(server.url(), 10.0))

        nursery.start_soon(ahead)
        while not server.accepted:  # it has begun, and has a handshake before it
            await trio.lowlevel.checkpoint()
        response = await transport.handle_async_request(request_to(server.url()))
        await until(lambda: opened)
        assert (opened, server.accepted) == ([False], 2)
        assert (transport.idle, transport.free) == (0, 0)
        await response.aclose()
        assert (transport.idle, transport.free) == (1, 1)
        await transport.aclose()


async def test_closing_ends_whoever_reads(transport: Transport) -> None:
    async def stuck(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"hello")[:-1])
        await peer.end()

    async with serving(stuck) as server, trio.open_nursery() as nursery:
        results = []

        async def reader() -> None:
            results.append(await ask(transport, server.url()))

        nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await transport.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert [got.error for got in results] == ["ReadError"]
        assert (transport.free, transport.idle) == (3, 0)
        await server.all_closed()


def test_it_offers_http_1_1() -> None:
    offered: list[list[str]] = []

    class Context(ssl.SSLContext):
        def set_alpn_protocols(self, alpn_protocols: object) -> None:
            offered.append(alpn_protocols)  # type: ignore[arg-type]

    Transport(1, Context(ssl.PROTOCOL_TLS_CLIENT), keepalive_s=1.0)
    assert offered == [["http/1.1"]]
    assert CLIENT_TLS.verify_mode is ssl.CERT_REQUIRED
