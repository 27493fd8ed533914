"""https: who is believed, what is offered, what is resumed, and that the bytes are the same."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
import trio
import trio.testing
from answers import BAD, GOOD, Case
from scripted import (
    BOTH,
    Got,
    Make,
    Peer,
    ask,
    client_tls,
    echo,
    ours,
    request_to,
    server_tls,
    serving,
    stock,
)
from trio.testing import MockClock

from voxofs.traffic.transport import Transport

WAYS = {"stock": None, "ours, pieces": None, "ours, into 1,000 bytes": 1_000}


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = ours(connections=4)
    yield made
    await made.aclose()


@pytest.fixture
def clock() -> MockClock:
    """Time jumps where nobody has anything to do."""
    return MockClock(autojump_threshold=0.005)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [*GOOD, *BAD[:9]], ids=lambda case: case.name)
async def test_answers_are_what_they_are_in_the_clear(case: Case, way: str) -> None:
    """Each byte in a record of its own, where the answer is a short one."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            if len(case.sent) < 200:
                await peer.send(*[bytes([byte]) for byte in case.sent])
            else:
                await peer.send(case.sent)
            if case.closes:
                return

    async with serving(script, server_tls()) as server:
        transport = stock() if way == "stock" else ours()
        for _ in range(2):
            got = await ask(transport, server.url(), WAYS[way])
            assert (got.status, got.body, got.error) == (case.status, case.body, case.error)
        assert server.accepted == (1 if case.reused else 2)
        await transport.aclose()
        await server.all_closed()


@BOTH
async def test_a_large_body(make: Make) -> None:
    body = bytes(range(251)) * 50_000

    async def large(peer: Peer) -> None:
        while await peer.request():
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with serving(large, server_tls()) as server:
        transport = make()
        assert (await ask(transport, server.url())).body == body
        if isinstance(transport, Transport):
            for slab_bytes in (1_000, 65_536, 524_288):
                assert (await ask(transport, server.url(), slab_bytes)).body == body
        assert server.accepted == 1
        await transport.aclose()


@BOTH
async def test_a_large_request(make: Make) -> None:
    async with serving(echo, server_tls()) as server:
        transport = make()
        got = await ask(transport, server.url(), method="POST", content=bytes(4 * 2**20))
        assert got.body.endswith(bytes(4 * 2**20))
        await transport.aclose()


def reason(error: BaseException) -> str:
    """Why a certificate was refused."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return ""


@BOTH
async def test_a_certificate_for_somebody_else(make: Make) -> None:
    async with serving(echo, server_tls("recordings.example")) as server:
        transport = make()
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(httpx.ConnectError) as caught:
                await transport.handle_async_request(request_to(f"https://{host}:{server.port}/"))
            assert "mismatch" in reason(caught.value)
        await transport.aclose()
        await server.all_closed()


@pytest.mark.parametrize("make", [stock, ours], ids=["stock", "ours"])
async def test_a_certificate_of_nobody_who_is_trusted(make: Make) -> None:
    async with serving(echo, server_tls()) as server:
        transport = make(client_tls(trusting=False))
        with pytest.raises(httpx.ConnectError) as caught:
            await transport.handle_async_request(request_to(server.url()))
        assert "self-signed" in reason(caught.value) or "unable to get" in reason(caught.value)
        await transport.aclose()
        await server.all_closed()


@BOTH
@pytest.mark.parametrize(
    "sent", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x16\x03"], ids=["http", "none", "half"]
)
async def test_a_server_without_tls(make: Make, sent: bytes) -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(sent)

    async with serving(plain) as server:
        transport = make()
        with pytest.raises(httpx.ConnectError):
            await transport.handle_async_request(request_to(f"https://127.0.0.1:{server.port}/"))
        await transport.aclose()
        await server.all_closed()


@BOTH
async def test_a_handshake_that_never_ends(make: Make, clock: MockClock) -> None:
    async def dumb(peer: Peer) -> None:
        await peer.end()

    async with serving(dumb) as server:
        transport = make()
        got = await ask(transport, f"https://127.0.0.1:{server.port}/", connect=10.0)
        assert got.error == "ConnectTimeout"
        assert trio.current_time() == pytest.approx(10, abs=0.1)
        await transport.aclose()
        await server.all_closed()


@BOTH
async def test_the_name_and_the_protocol_are_told(make: Make) -> None:
    told: list[str | None] = []
    context = server_tls()
    context.set_alpn_protocols(["h2", "http/1.1"])

    def hello(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        told.append(name)

    context.sni_callback = hello

    async def protocol(peer: Peer) -> None:
        await peer.request()
        stream = peer._stream
        assert isinstance(stream, trio.SSLStream)
        chosen = (stream.selected_alpn_protocol() or "none").encode()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(chosen), chosen))

    async with serving(protocol, context) as server:
        transport = make()
        got = await ask(transport, f"https://localhost:{server.port}/")
        assert (got.body, told) == (b"http/1.1", ["localhost"])
        await transport.aclose()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed(transport: Transport, version: ssl.TLSVersion) -> None:
    context = server_tls()
    context.minimum_version = context.maximum_version = version
    resumed = []

    async def once(peer: Peer) -> None:
        await peer.request()
        stream = peer._stream
        assert isinstance(stream, trio.SSLStream)
        resumed.append(stream.session_reused)
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        with suppress(trio.BrokenResourceError):
            await stream.unwrap()  # an end without this farewell spoils the session (Python 3.13)

    async with serving(once, context) as server:
        for _ in range(3):
            assert (await ask(transport, server.url())).body == b"hi"
        assert resumed == [False, True, True]
        other = f"https://localhost:{server.port}/"
        assert (await ask(transport, other)).body == b"hi"
        assert resumed[3:] == [False], "a session is its origin's alone"


async def test_a_session_that_the_server_forgot_is_no_matter(transport: Transport) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")

    contexts = [server_tls(), server_tls()]
    async with serving(once, contexts[0]) as one, serving(once, contexts[1]) as two:
        assert (await ask(transport, one.url())).body == b"hi"
        (origin,) = transport._sessions
        transport._sessions["https", "127.0.0.1", two.port] = transport._sessions[origin]
        assert (await ask(transport, two.url())).body == b"hi"


async def test_a_resumed_session_is_no_way_round_the_certificate(transport: Transport) -> None:
    """The server that comes back has a certificate for another name, and knows nothing of the session."""

    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")

    async with serving(once, server_tls()) as one, serving(once, server_tls("other.example")) as two:
        assert (await ask(transport, one.url())).body == b"hi"
        (origin,) = transport._sessions
        impostor = ("https", "127.0.0.1", two.port)
        transport._sessions[impostor] = transport._sessions[origin]
        assert (await ask(transport, two.url())).error == "ConnectError"
        assert impostor not in transport._sessions


async def test_tickets_that_come_late_do_not_end_an_idle_connection(transport: Transport) -> None:
    """Nothing is read before the first request: the tickets lie in the socket."""
    async with serving(echo, server_tls()) as server:
        assert await transport.open_ahead(server.url(), 10.0)
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert (await ask(transport, server.url())).status == 200
        assert server.accepted == 1


@BOTH
@pytest.mark.parametrize("how", ["farewell", "closed", "more"])
async def test_a_server_that_ends_an_idle_connection(make: Make, how: str) -> None:
    async def brief(peer: Peer) -> None:
        request = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(request), request))
        if how == "farewell":
            await peer._stream.aclose()
        elif how == "more":
            await peer.send(b"", b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n")
            await peer.end()

    async with serving(brief, server_tls()) as server:
        transport = make()
        for _ in range(3):
            assert (await ask(transport, server.url(), method="POST", content=b"a")).status == 200
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.accepted == 3
        await transport.aclose()


@BOTH
async def test_a_farewell_within_a_body_is_too_early(make: Make) -> None:
    async def early(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        await peer._stream.aclose()

    async with serving(early, server_tls()) as server:
        transport = make()
        assert await ask(transport, server.url()) == Got(error="RemoteProtocolError")
        await transport.aclose()
        await server.all_closed()


async def test_who_does_not_read_holds_the_server_back(transport: Transport) -> None:
    sent = 0

    async def endless(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**40)
        while True:
            await peer.send(bytes(2**20))
            sent += 1

    async with serving(endless, server_tls()) as server:
        response = await transport.handle_async_request(request_to(server.url()))
        await trio.testing.wait_all_tasks_blocked(0.02)
        held = sent
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert sent == held < 64
        await response.aclose()
        await server.all_closed()
        assert (transport.idle, transport.free) == (0, 4)
