"""Framing without a socket: whatever comes, in whatever pieces, one answer or one refusal."""

from __future__ import annotations

import gc
from itertools import pairwise

import httpx
from answers import BAD, GOOD, STRICTER, SURPLUS, Case
from hypothesis import given, settings
from hypothesis import strategies as st

from voxofs.traffic.framing import Framing


def fed(sent: bytes, cuts: set[int], *, closes: bool) -> tuple[object, ...]:
    """What is told of an answer that comes in these pieces."""
    framing = Framing()
    body = b""
    ends = [0, *sorted(cuts), len(sent)]
    try:
        for begin, end in pairwise(ends):
            piece = memoryview(sent)[begin:end]
            if framing.complete:
                break  # nobody reads on; what is left ends the connection when it is looked at
            while len(piece) and not framing.complete:
                if framing.headed and not framing.chunked:
                    count = len(piece) if framing.left is None else min(len(piece), framing.left)
                    framing.received(count)
                    body += piece[:count]
                    piece = piece[count:]
                else:
                    framing.feed(piece)
                    piece = piece[:0]
                body += b"".join(framing.pieces)
                framing.pieces.clear()
        if closes and not framing.complete:
            framing.ended()
    except httpx.RemoteProtocolError:
        return ("refused",)
    if not framing.complete:
        return ("waits",)
    return (framing.status, framing.reason, framing.version, tuple(framing.headers), body)


@given(st.sampled_from(GOOD + SURPLUS), st.data())
@settings(max_examples=400)
def test_cuts_make_no_difference(case: Case, data: st.DataObject) -> None:
    cuts = data.draw(st.sets(st.integers(1, len(case.sent) - 1), max_size=30))
    whole = fed(case.sent, set(), closes=case.closes)
    assert whole[0] == case.status
    assert whole[-1] == case.body
    assert fed(case.sent, cuts, closes=case.closes) == whole


@given(st.sampled_from([case for case in BAD + STRICTER if case.sent]), st.data())
@settings(max_examples=400)
def test_cuts_make_nothing_good_of_a_bad_one(case: Case, data: st.DataObject) -> None:
    cuts = (
        data.draw(st.sets(st.integers(1, len(case.sent) - 1), max_size=30)) if len(case.sent) > 1 else set()
    )
    assert fed(case.sent, cuts, closes=True) == ("refused",)


tokens = st.sampled_from(
    [
        b"HTTP/1.1 ",
        b"HTTP/1.0 ",
        b"200",
        b" OK",
        b"\r\n",
        b"\r",
        b"\n",
        b"Content-Length",
        b": ",
        b"5",
        b"0",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\r\n\r\n",
        b"hello",
        b"100",
        b"101",
        b"204",
        b"Upgrade: x\r\nConnection: upgrade\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b" ",
        b"\t",
        b"\0",
        b"\xff",
    ]
)


@given(st.lists(tokens | st.binary(max_size=5), min_size=1, max_size=40), st.data())
def test_nothing_but_an_answer_or_a_refusal(parts: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(parts) or b"\0"
    assert fed(sent, set(), closes=True)[0] != "waits"
    cuts = data.draw(st.sets(st.integers(1, len(sent)), max_size=10)) - {len(sent)}
    assert fed(sent, cuts, closes=True)[0] != "waits"


def test_no_circle_is_left_behind() -> None:
    """Garbage of a request that only the collector finds would be hundreds of objects a second."""
    gc.collect()
    gc.disable()
    try:
        for case in GOOD:
            framing = Framing()
            framing.feed(memoryview(case.sent))
            assert framing.complete or case.closes
            del framing
        assert not [each for each in gc.get_objects() if isinstance(each, Framing)]
    finally:
        gc.enable()
