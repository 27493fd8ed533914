"""A vendor far away: what a round trip costs, and that nothing else is changed by it."""

from __future__ import annotations

import os
import select
from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from voxofs.simulator.faults import Fault
from voxofs.simulator.process import start_process
from voxofs.simulator.server import Simulator
from voxofs.simulator.tenants import BIG

from .asking import DAY, FIXED, Clock, bearer, link, report

ROUND_TRIP_S = 0.25
"""Long beside what a request costs here, so that one more or less is seen on a busy machine."""
HOUR = "2024-03-05 10"


@pytest.fixture
async def sim(clock: Clock) -> AsyncIterator[Simulator]:
    async with Simulator([FIXED, BIG], clock=clock, round_trip_s=ROUND_TRIP_S) as running:
        yield running


async def timed(sim: Simulator, client: httpx.AsyncClient) -> float:
    began_s = trio.current_time()
    answer = await client.get(f"{sim.api_url}/tenants/9", headers=bearer(sim))
    assert answer.status_code == 200
    return trio.current_time() - began_s


async def test_a_connection_costs_a_round_trip_and_so_does_every_request(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    assert 2 * ROUND_TRIP_S <= await timed(sim, client) < 3 * ROUND_TRIP_S
    assert ROUND_TRIP_S <= await timed(sim, client) < 2 * ROUND_TRIP_S
    [entry, _] = sim.requests("tenant")
    assert entry.t_end is not None
    assert entry.t_end - entry.t_start < ROUND_TRIP_S / 2  # the vendor itself is as quick as ever


async def test_connections_do_not_wait_for_each_other(sim: Simulator) -> None:
    """Twenty at once take two round trips and their own work; one after another they would take forty."""
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery, httpx.AsyncClient() as client:
        for _ in range(20):
            nursery.start_soon(report, sim, client, 9, *DAY)
        while len(sim.requests("reports")) < 20:  # noqa: ASYNC110 (the log has no event)
            await trio.sleep(0.005)
        assert trio.current_time() - began_s < 20 * ROUND_TRIP_S
        nursery.cancel_scope.cancel()
    assert sim.connections()["api"]["accepted"] == 20


async def test_a_long_recording_comes_whole_and_at_loopbacks_rate(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    name, size, _ = sim.world.tenants[BIG.id].names(HOUR, sim.now())[0]
    began_s = trio.current_time()
    answer = await client.get(f"{sim.storage_url}/plain/big/2024/03/05/10/{name}.mp3")
    assert answer.content == sim.audio_bytes(BIG.id, HOUR, name)
    # 20 MiB in pieces of 64 KiB that waited for each other's round trip would take 32 s
    assert trio.current_time() - began_s < 4
    assert len(answer.content) == size


async def test_a_reader_that_stops_stops_the_vendor(sim: Simulator, client: httpx.AsyncClient) -> None:
    name, size, _ = sim.world.tenants[BIG.id].names(HOUR, sim.now())[-1]
    async with client.stream("GET", f"{sim.storage_url}/plain/big/2024/03/05/10/{name}.mp3"):
        [entry] = sim.requests("plain")
        sent = -1
        while sent < entry.bytes_sent:
            sent = entry.bytes_sent
            await trio.sleep(2 * ROUND_TRIP_S)
        assert sent < size / 4
    with trio.fail_after(5):
        while sim.log.in_flight["storage"]:  # noqa: ASYNC110 (the reader's leaving travels, too)
            await trio.sleep(0.005)
    assert entry.bytes_sent < size / 4


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset_before", httpx.ReadError),
        ("reset_body", httpx.ReadError),
        ("truncate", httpx.RemoteProtocolError),
        ("stall_body", httpx.ReadTimeout),
    ],
)
async def test_ends_and_resets_travel(
    sim: Simulator, client: httpx.AsyncClient, kind: str, error: type[Exception]
) -> None:
    uri = await link(sim, client)
    sim.add_fault(Fault(kind, {"route": "audio"}, after_bytes=100))  # type: ignore[arg-type]
    got = bytearray()

    async def read() -> None:
        async with client.stream("GET", uri, timeout=3 * ROUND_TRIP_S) as answer:
            async for piece in answer.aiter_raw():
                got.extend(piece)

    with pytest.raises(error):
        await read()
    assert got == (FIXED.audio["a"][:100] if kind != "reset_before" else b"")
    assert (await client.get(uri)).content == FIXED.audio["a"]


async def test_a_vendor_that_is_down_resets_and_comes_back_in_the_same_place(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    await timed(sim, client)
    await sim.refuse(api=True)
    for _ in range(2):  # the connection that was kept, and a new one
        with pytest.raises(httpx.NetworkError):
            await timed(sim, client)
    await sim.refuse(api=False)
    await timed(sim, client)


async def test_the_relay_is_a_process_that_ends_with_its_simulator() -> None:
    def steer() -> None:
        with start_process(round_trip_s=ROUND_TRIP_S) as sim:
            pid = sim.relay_pid
            assert pid is not None
            assert pid != sim.pid
            with httpx.Client(headers={"Authorization": f"Bearer {sim.token}"}) as client:
                answer = client.get(f"{sim.api_url}/tenants/37")
            assert answer.elapsed.total_seconds() >= 2 * ROUND_TRIP_S
            sim.settings(refuse_api=True)
            with pytest.raises(httpx.NetworkError):
                httpx.get(f"{sim.api_url}/tenants/37")
            gone = os.pidfd_open(pid)
        assert select.select([gone], [], [], 5)[0], "the relay has outlived its simulator"
        os.close(gone)

    await trio.to_thread.run_sync(steer)
