"""Chosen requests are spoilt in the chosen way, and only those."""

from __future__ import annotations

import httpx
import pytest
import trio

from voxofs.simulator.faults import Fault
from voxofs.simulator.server import Simulator

from .asking import DAY, FIXED, link, report

AUDIO = {"route": "audio"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("reset_before", AUDIO), httpx.ReadError),
        (Fault("reset_body", AUDIO, after_bytes=100), httpx.ReadError),
        (Fault("truncate", AUDIO, after_bytes=100), httpx.RemoteProtocolError),
        (Fault("truncate", AUDIO, after_bytes=0), httpx.RemoteProtocolError),
        (Fault("stall", AUDIO), httpx.ReadTimeout),
        (Fault("stall_body", AUDIO, after_bytes=100), httpx.ReadTimeout),
        (Fault("replace_midway", AUDIO, after_bytes=100), httpx.RemoteProtocolError),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_a_broken_transfer_and_the_next_request_is_well(
    sim: Simulator, client: httpx.AsyncClient, fault: Fault, error: type[Exception]
) -> None:
    uri = await link(sim, client)
    sim.add_fault(fault)
    got = bytearray()

    async def read() -> None:
        async with client.stream("GET", uri, timeout=0.2) as answer:
            async for piece in answer.aiter_raw():
                got.extend(piece)

    with pytest.raises(error):
        await read()
    assert got == FIXED.audio["a"][: fault.after_bytes or 0]
    assert (await client.get(uri)).status_code == 200
    with trio.fail_after(5):
        while sim.log.in_flight["storage"]:
            await trio.lowlevel.checkpoint()
    assert [entry.fault for entry in sim.requests("audio")] == [fault.kind, None]
    assert [hits for _, hits in sim.faults.hits()] == [1]


async def test_a_replaced_object_is_seen_by_the_next_range(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    etag = (await client.get(uri)).headers["etag"]
    sim.add_fault(Fault("replace_midway", AUDIO))
    assert (await client.get(uri, headers={"If-Match": etag})).status_code == 412
    assert (await client.get(uri)).headers["etag"] != etag


@pytest.mark.parametrize(
    ("fault", "status", "header", "part"),
    [
        (Fault("status", {"route": "reports"}, status=429), 429, None, '"className":"too-many-requests"'),
        (Fault("status", {"tenant": 9}, status=429, retry_after="7"), 429, "7", "TooManyRequests"),
        (Fault("status", {"route": "reports"}, status=502, body="html"), 502, None, "<h1>502</h1>"),
        (Fault("status", {}, status=200, body="null"), 200, None, "null"),
        (Fault("garbage_json", {"route": "reports"}), 200, None, '[{"id"'),
        (Fault("delay", {"route": "reports"}, delay_s=0.01), 200, None, "uniqueId"),
    ],
)
async def test_spoilt_answers_of_the_api(
    sim: Simulator, client: httpx.AsyncClient, fault: Fault, status: int, header: str | None, part: str
) -> None:
    sim.add_fault(fault)
    answer = await report(sim, client, 9, *DAY)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, header)
    assert part in answer.text
    assert (await report(sim, client, 9, *DAY)).json() == [*FIXED.records]


async def test_spoilt_answers_of_the_storage(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    sim.add_fault(Fault("status", AUDIO, status=503), Fault("expired", AUDIO), Fault("ignore_range", AUDIO))
    slow = await client.get(uri)
    assert (slow.status_code, "<Code>SlowDown</Code>" in slow.text) == (503, True)
    # every matching rule counts every request, so the others have let their first one pass
    assert (await client.get(uri)).status_code == 200
    sim.faults.clear()
    sim.add_fault(Fault("ignore_range", AUDIO | {"unique_id": "a"}, times=None))
    answer = await client.get(uri, headers={"Range": "bytes=0-0"})
    assert (answer.status_code, len(answer.content)) == (200, 1024)
    sim.faults.clear()
    sim.add_fault(Fault("expired", AUDIO))
    assert "Request has expired" in (await client.get(uri)).text
    sim.add_fault(Fault("expired", {"route": "link"}))
    assert "Request has expired" in (await client.get(await link(sim, client))).text


async def test_the_kth_request_and_a_rate(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    sim.add_fault(Fault("status", AUDIO, nth=2, times=2))
    assert [(await client.get(uri)).status_code for _ in range(4)] == [200, 503, 503, 200]
    sim.faults.clear()
    sim.add_fault(Fault("status", AUDIO, rate=0.5))
    statuses = [(await client.get(uri)).status_code for _ in range(40)]
    assert 5 < statuses.count(503) < 35


async def test_an_api_that_is_crowded_refuses_who_is_too_many(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    sim.api_delay_s = 0.2
    sim.add_fault(Fault("crowded", {"origin": "api"}, most=3, status=429, times=None))
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await report(sim, client, 9, *DAY)).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert statuses == [429, 429, 200, 200, 200], "at once, and those who were there are served"
    statuses.clear()
    await ask()
    assert statuses == [200]


def test_a_fault_that_could_never_act_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault kind"):
        Fault("explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown match keys"):
        Fault("stall", {"uniqueId": "a"})
    with pytest.raises(ValueError, match="unknown route 'recording'"):
        Fault("stall", {"route": "recording"})
    with pytest.raises(ValueError, match="unknown origin"):
        Fault("stall", {"origin": "s3"})
    with pytest.raises(ValueError, match="stall_body"):
        Fault("trickle", bytes_per_s=0)
