"""What becomes of every kind of answer, on both transports; the table is in `answers`."""

from __future__ import annotations

from itertools import pairwise

import httpx
import pytest
import trio
import trio.testing
from answers import BAD, GOOD, STRICTER, SURPLUS, Case
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Got, Peer, Script, ask, ours, serving, stock

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"
WAYS = {"stock": None, "ours, pieces": None, "ours, into one byte": 1, "ours, into 512 KiB": 524_288}


def transport_for(way: str) -> httpx.AsyncBaseTransport:
    return stock() if way == "stock" else ours()


def script_for(case: Case, *cuts: int) -> Script:
    """The case's answer to the first request, `NEXT` to all others."""
    ends = [0, *sorted(cuts), len(case.sent)]
    pieces = [case.sent[a:b] for a, b in pairwise(ends) if b > a]
    first = True

    async def script(peer: Peer) -> None:
        nonlocal first
        while await peer.request():
            if first:
                first = False
                await peer.send(*pieces)
                if case.closes:
                    return
            else:
                await peer.send(NEXT)

    return script


async def outcome(way: str, case: Case, *cuts: int) -> tuple[Got, int]:
    """What came of it, and how many connections it and a second request took."""
    async with serving(script_for(case, *cuts)) as server:
        transport = transport_for(way)
        got = await ask(transport, server.url(), WAYS[way])
        await trio.testing.wait_all_tasks_blocked(0.005)  # longer than a peer waits between its pieces
        if way != "stock" or case.stock is None:
            assert (await ask(transport, server.url(), WAYS[way])).body == b"next"
        accepted = server.accepted
        await transport.aclose()
        await server.all_closed()
    return got, accepted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
async def test_good_answers(case: Case, way: str) -> None:
    got, connections = await outcome(way, case)
    assert (got.status, got.body, got.error) == (case.status, case.body, "")
    assert connections == (1 if case.reused else 2)
    if case.name == "bytes beyond ASCII":
        assert (b"Name", b"caf\xe9") in got.headers
    if case.name == "white space round values":
        assert (b"A", b"b") in got.headers
    if case.name == "empty values":
        assert {(b"Empty", b""), (b"Blank", b"")} < set(got.headers)
    if case.name == "hints, twice":
        assert [name for name, _ in got.headers] == [b"Content-Length"]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
async def test_both_transports_give_the_same(case: Case) -> None:
    theirs, _ = await outcome("stock", case)
    mine, _ = await outcome("ours, pieces", case)
    assert [(name, value.lower()) for name, value in theirs.headers] == [  # h11 lowers a coding's name
        (name, value.lower()) for name, value in mine.headers
    ]
    assert theirs.reason == mine.reason


@pytest.mark.parametrize("way", [way for way in WAYS if way != "stock"])
@pytest.mark.parametrize("case", SURPLUS, ids=lambda case: case.name)
async def test_a_connection_that_brought_too_much_is_closed(case: Case, way: str) -> None:
    got, connections = await outcome(way, case)
    assert (got.status, got.body, got.error) == (case.status, case.body, "")
    assert connections == 2


@pytest.mark.parametrize("way", [way for way in WAYS if way != "stock"])
@pytest.mark.parametrize("before", [0, 1], ids=["behind the end", "with the last byte"])
@pytest.mark.parametrize("case", SURPLUS, ids=lambda case: case.name)
async def test_a_surplus_that_comes_later_is_never_another_requests_answer(
    case: Case, before: int, way: str
) -> None:
    asked = case.sent.index(b"\r\n\r\n") + 4 + len(case.body)
    cut = asked if b"chunked" not in case.sent else case.sent.index(b"0\r\n\r\n") + 5
    got, connections = await outcome(way, case, cut - before)
    assert (got.status, got.body, got.error) == (case.status, case.body, "")
    assert connections == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", BAD + STRICTER, ids=lambda case: case.name)
async def test_bad_answers(case: Case, way: str) -> None:
    got, connections = await outcome(way, case)
    if way == "stock" and isinstance(case.stock, tuple):
        assert (got.status, got.body) == case.stock
    else:
        assert got.error == (case.stock if way == "stock" and case.stock else case.error)
        assert connections == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"], ids=["head", "body"]
)
async def test_a_reset_is_a_read_error(sent: bytes, way: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if sent:
            await peer.send(sent, b"")
        peer.reset()

    async with serving(script) as server:
        transport = transport_for(way)
        assert (await ask(transport, server.url(), WAYS[way])).error == "ReadError"
        await transport.aclose()


@pytest.mark.parametrize("way", ["ours, pieces", "ours, into one byte"])
@pytest.mark.parametrize(
    "sent",
    [b"1;%s\r\n", b"0\r\nTrailer: %s\r\n", b"0\r\n%s"],
    ids=["a chunk's extension", "a trailer", "trailers"],
)
async def test_what_is_no_body_has_its_bounds_in_one_too(sent: bytes, way: str) -> None:
    filling = b"T: x\r\n" * 50_000 if sent.endswith(b"%s") else b"x" * 300_000
    case = Case("", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent % filling, 0)
    got, _ = await outcome(way, case)
    assert got.error == "RemoteProtocolError"


CUT = [case for case in GOOD if len(case.sent) < 400]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "case",
    CUT[:1] + [c for c in CUT if c.name in ("hints, twice", "extensions and trailers", "until the end")],
    ids=lambda case: case.name,
)
async def test_cut_at_every_byte(case: Case, way: str) -> None:
    """One answer, over and over: cut in two at each place."""
    at = 0

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(case.sent[:at], case.sent[at:])
            if case.closes:
                return

    whole, _ = await outcome(way, case)
    async with serving(script) as server:
        transport = transport_for(way)
        for cut in range(1, len(case.sent)):
            at = cut
            assert await ask(transport, server.url(), WAYS[way]) == whole, f"cut at {cut}"
        assert case.closes or server.accepted == 1
        await transport.aclose()


@pytest.mark.parametrize("way", ["stock", "ours, pieces", "ours, into one byte"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_cut_anyhow(way: str, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CUT))
    cuts = data.draw(st.sets(st.integers(1, len(case.sent) - 1), max_size=20))

    async def both() -> None:
        got, connections = await outcome(way, case, *cuts)
        assert (got.status, got.body, got.error) == (case.status, case.body, "")
        assert connections == (1 if case.reused else 2)

    trio.run(both)
