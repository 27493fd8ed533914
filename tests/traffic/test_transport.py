"""A request as it arrives, connecting, and what a time-out is, on both transports."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from scripted import (
    BOTH,
    Make,
    Peer,
    answer,
    ask,
    echo,
    ours,
    request_to,
    serving,
)
from trio.testing import MockClock

from voxofs.traffic.transport import Transport


@pytest.fixture
def clock() -> MockClock:
    """Time jumps where nobody has anything to do; loopback delivers within the call that sends."""
    return MockClock(autojump_threshold=0.005)


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = ours(connections=3)
    yield made
    await made.aclose()


# The request as it arrives.


@BOTH
async def test_a_request_arrives_as_it_was_made(make: Make) -> None:
    async with serving(echo) as server:
        transport = make()
        got = await ask(transport, server.url("/a/b%20c?d=e%2Ff"))
        assert got.body.startswith(b"GET /a/b%20c?d=e%2Ff HTTP/1.1\r\n")
        assert b"\r\nHost: 127.0.0.1:%d\r\n" % server.port in got.body
        assert b"\r\nuser-agent: test\r\n" in got.body
        sent = await ask(transport, server.url("/in"), method="POST", content=b'{"a": 1}')
        assert sent.body.startswith(b"POST /in HTTP/1.1\r\n")
        assert sent.body.endswith(b'\r\n\r\n{"a": 1}')
        assert server.accepted == 1
        await transport.aclose()


@BOTH
async def test_a_large_request_goes_out_in_parts(make: Make) -> None:
    content = bytes(8 * 2**20)

    async def slow(peer: Peer) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(answer(b"%d" % len(await peer.request())))

    async with serving(slow) as server:
        transport = make()
        got = await ask(transport, server.url(), method="POST", content=content)
        assert int(got.body) > len(content)
        await transport.aclose()


@BOTH
async def test_an_answer_that_comes_before_the_request_is_sent_is_taken(make: Make) -> None:
    async def hasty(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        await peer.end()

    async with serving(hasty) as server:
        transport = make()
        got = await ask(transport, server.url(), method="POST", content=bytes(64 * 2**20))
        assert (got.status, got.body) == (413, b"no")
        await transport.aclose()


@BOTH
@pytest.mark.parametrize(
    "field", [(b"a", b"b\r\nc: d"), (b"a", b"b\nc: d"), (b"a\r\nb", b"c"), (b"a", b"\0")]
)
async def test_nobody_puts_a_header_into_another(make: Make, field: tuple[bytes, bytes]) -> None:
    async with serving(echo) as server:
        transport = make()
        request = httpx.Request("GET", server.url(), headers=[field])
        with pytest.raises(httpx.LocalProtocolError):
            await transport.handle_async_request(request)
        await transport.aclose()


async def test_what_it_does_not_do_is_refused(transport: Transport) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"

    for request in (
        httpx.Request("HEAD", "http://127.0.0.1:1/"),
        httpx.Request("POST", "http://127.0.0.1:1/", content=pieces()),
    ):
        with pytest.raises(httpx.LocalProtocolError):
            await transport.handle_async_request(request)


@BOTH
@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "/a/b"])
async def test_other_schemes_are_refused(make: Make, url: str) -> None:
    transport = make()
    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(httpx.Request("GET", url))
    await transport.aclose()


# Connecting.


@BOTH
async def test_nobody_listens(make: Make) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        transport = make()
        with pytest.raises(httpx.ConnectError) as caught:
            await transport.handle_async_request(request_to(f"http://127.0.0.1:{unused.getsockname()[1]}"))
        await transport.aclose()
    reasons = []
    cause: BaseException | None = caught.value
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        reasons.append(getattr(cause, "strerror", None) or "")
        cause = cause.__cause__ or cause.__context__
    assert any("Connection refused" in reason for reason in reasons)


@BOTH
async def test_a_host_that_no_name_can_be(make: Make) -> None:
    transport = make()
    with pytest.raises((httpx.InvalidURL, UnicodeError)):
        await transport.handle_async_request(request_to(f"http://{'a' * 64}.example/"))
    await transport.aclose()


class TwoAddresses(trio.abc.HostnameResolver):
    """A name with two addresses, of which the server has the second."""

    async def getaddrinfo(self, host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        await trio.lowlevel.checkpoint()
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, int(port))) for address in ("127.0.0.2", "127.0.0.1")]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@BOTH
async def test_the_second_address_is_tried_where_the_first_is_refused(make: Make) -> None:
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    async with serving(echo) as server:
        transport = make()
        assert (await ask(transport, f"http://two.example:{server.port}/")).status == 200
        await transport.aclose()


# Time-outs.


@BOTH
async def test_no_connection_in_time(make: Make, clock: MockClock) -> None:
    """A listener whose queue is full lets the next one wait for ever."""
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        transport = make()
        began_s = trio.current_time()
        got = await ask(transport, f"http://127.0.0.1:{full.getsockname()[1]}", connect=10.0)
        assert got.error == "ConnectTimeout"
        assert trio.current_time() - began_s == pytest.approx(10, abs=0.1)
        await transport.aclose()


@BOTH
@pytest.mark.parametrize(
    "sent", [b"", answer(b"hello")[:20], answer(b"hello")[:-1]], ids=["0", "head", "body"]
)
async def test_nothing_for_too_long(make: Make, clock: MockClock, sent: bytes) -> None:
    async def dumb(peer: Peer) -> None:
        await peer.request()
        if sent:
            await peer.send(sent)
        await peer.end()

    async with serving(dumb) as server:
        transport = make()
        began_s = trio.current_time()
        assert (await ask(transport, server.url(), read=30.0)).error == "ReadTimeout"
        assert trio.current_time() - began_s == pytest.approx(30, abs=0.1)
        await server.all_closed()
        await transport.aclose()


@BOTH
async def test_each_wait_has_its_own_end(make: Make, clock: MockClock) -> None:
    """One task watches them all: the later ones with shorter patience, too, and those after the last."""

    async def silence(peer: Peer) -> None:
        await peer.request()
        await peer.end()

    ends: dict[float, float] = {}
    async with serving(silence) as server:
        transport = make(connections=3)

        async def wait(read_s: float) -> None:
            begun_s = trio.current_time()
            assert (await ask(transport, server.url(), read=read_s)).error == "ReadTimeout"
            ends[read_s] = trio.current_time() - begun_s

        async with trio.open_nursery() as nursery:
            for read_s in (50.0, 5.0, 20.0):
                nursery.start_soon(wait, read_s)
                await trio.sleep(1.0)
        await wait(7.0)
        await transport.aclose()
    assert {read_s: round(after_s) for read_s, after_s in ends.items()} == {5: 5, 20: 20, 50: 50, 7: 7}


@BOTH
async def test_as_long_as_something_comes_it_is_not_too_long(make: Make, clock: MockClock) -> None:
    async def slow(peer: Peer) -> None:
        while await peer.request():
            for byte in answer(b"hello"):
                await trio.sleep(29)
                await peer.send(bytes([byte]))

    async with serving(slow) as server:
        transport = make()
        assert (await ask(transport, server.url(), read=30.0)).body == b"hello"
        await transport.aclose()


@BOTH
@pytest.mark.filterwarnings("ignore:.*ByteStream.__aiter__")  # httpcore leaves the request's own behind
async def test_a_server_that_does_not_read(make: Make, clock: MockClock) -> None:
    async def deaf(peer: Peer) -> None:
        await trio.sleep_forever()

    async with serving(deaf) as server:
        transport = make()
        got = await ask(transport, server.url(), method="POST", content=bytes(64 * 2**20), write=20.0)
        assert got.error == "WriteTimeout"
        await transport.aclose()
