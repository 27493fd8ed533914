"""Trouble that stays with one tenant or one origin, as the table in `faults` says it is had."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx
import pytest
import trio
from trio.testing import MockClock

from voxofs.simulator.faults import Fault
from voxofs.simulator.process import start_process
from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant

from .asking import DAY, FIXED, Clock, bearer, link, report

OTHER = FixedTenant(10, "other", "By another hand", FIXED.records, FIXED.audio)
SICK = {"tenant": 9}
JUMPS_AFTER_S = 0.01
"""Loopback delivers at once; this is for the scheduler's whims."""


@pytest.fixture
def time() -> MockClock:
    """Waits cost nothing: pytest-trio runs the test by this clock, which jumps when nobody has work."""
    return MockClock(autojump_threshold=JUMPS_AFTER_S)


@pytest.fixture
async def sim(clock: Clock) -> AsyncIterator[Simulator]:
    async with Simulator([FIXED, OTHER], clock=clock) as running:
        yield running


async def both_well(sim: Simulator, client: httpx.AsyncClient, tenant: int) -> None:
    """Report and recording of a tenant come as they are stored."""
    assert (await report(sim, client, tenant, *DAY)).json() == [*FIXED.records]
    assert (await client.get(await link(sim, client, tenant=tenant))).content == FIXED.audio["a"]


@pytest.mark.parametrize("origin", ["api", "storage"])
async def test_one_origin_hangs_for_one_tenant_for_good(
    sim: Simulator, client: httpx.AsyncClient, time: MockClock, origin: str
) -> None:
    uri = await link(sim, client)
    sim.add_fault(Fault("stall", SICK | {"origin": origin}, times=None))
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            await (report(sim, client, 9, *DAY) if origin == "api" else client.get(uri))
        await both_well(sim, client, 10)
    if origin == "api":
        assert (await client.get(uri)).status_code == 200
    else:
        assert (await report(sim, client, 9, *DAY)).status_code == 200
    sim.faults.clear()
    await both_well(sim, client, 9)


async def test_a_body_drips(sim: Simulator, client: httpx.AsyncClient, time: MockClock) -> None:
    uri = await link(sim, client, "b")
    sim.add_fault(Fault("trickle", SICK | {"origin": "storage"}, bytes_per_s=1, times=None))
    began_s = trio.current_time()
    arrived: list[tuple[bytes, int]] = []
    async with client.stream("GET", uri) as answer:
        assert trio.current_time() - began_s < 0.5  # the head does not wait for the body
        arrived.extend([(piece, round(trio.current_time() - began_s)) async for piece in answer.aiter_raw()])
    assert arrived == [(b"b", 1), (b"e", 2), (b"e", 3)]


async def test_reports_are_answered_one_at_a_time(
    sim: Simulator, client: httpx.AsyncClient, time: MockClock
) -> None:
    sim.add_fault(Fault("queue", {"route": "reports"}, delay_s=3, times=None))
    began_s = trio.current_time()
    answered = []

    async def ask(tenant: int) -> None:
        assert (await report(sim, client, tenant, *DAY)).status_code == 200
        answered.append(round(trio.current_time() - began_s))

    client.timeout = httpx.Timeout(60)
    async with trio.open_nursery() as nursery:
        for tenant in (9, 10, 9):
            nursery.start_soon(ask, tenant)
    assert answered == [3, 6, 9]
    await link(sim, client)
    assert trio.current_time() - began_s < 10, "links do not stand in that line"


async def test_a_link_leads_elsewhere(sim: Simulator, client: httpx.AsyncClient) -> None:
    sim.add_fault(Fault("elsewhere", SICK, times=None))
    with pytest.raises(httpx.ConnectError):
        await client.get(await link(sim, client))
    await both_well(sim, client, 10)
    sim.faults.clear()
    sim.add_fault(Fault("elsewhere", SICK, host="x" * 60_000))
    assert (await link(sim, client)).startswith(f"http://{'x' * 60_000}/global-recordings/fixed/")


async def test_a_bomb_is_small_valid_and_large(sim: Simulator, client: httpx.AsyncClient) -> None:
    size = 64 << 20
    sim.add_fault(Fault("gzip_bomb", {"route": "reports"}, size=size))
    query = {"recordType": "recordings", "start": DAY[0], "end": DAY[1], "tenantId": "9"}
    url = f"{sim.api_url}/call-reports"
    async with client.stream("GET", url, params=query, headers=bearer(sim)) as answer:
        body = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert len(body) < size / 500
    inflated = gzip.decompress(body)  # checks sum and length, too
    assert len(inflated) == size + 2
    assert inflated.strip(b" []") == b""
    # one member: a decoder that inflates step by step meets all of it
    assert zlib.decompressobj(wbits=31).decompress(body, 1 << 20).startswith(b"[  ")


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (Fault("date", {"origin": "api"}, skew_s=21_600), 21_600),
        (Fault("date", {"origin": "api"}, date="the day before"), "the day before"),
        (Fault("date", {"origin": "api"}, date=""), None),
    ],
)
async def test_a_date_header_is_wrong(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock, fault: Fault, shown: object
) -> None:
    sim.add_fault(fault)
    answer = await report(sim, client, 9, *DAY)
    assert answer.json() == [*FIXED.records]
    said: object = answer.headers.get("date")
    if isinstance(shown, int):
        said = parsedate_to_datetime(answer.headers["date"]).timestamp() - clock.now_s
    assert said == shown
    right = parsedate_to_datetime((await report(sim, client, 9, *DAY)).headers["date"])
    assert right.timestamp() == clock.now_s


async def test_each_origin_has_a_clock_of_its_own(
    sim: Simulator, client: httpx.AsyncClient, clock: Clock
) -> None:
    sim.api_skew_s, sim.skew_s = 3_600, -7_200
    answers = [await report(sim, client, 9, *DAY), await client.get(await link(sim, client))]
    ahead = [parsedate_to_datetime(each.headers["date"]).timestamp() - clock.now_s for each in answers]
    assert ahead == [3_600, -7_200]


async def test_the_api_of_another_process_goes_down_and_comes_back() -> None:
    def steer() -> None:
        with (
            start_process() as sim,
            httpx.Client(headers={"Authorization": f"Bearer {sim.token}"}) as client,
        ):
            url = f"{sim.api_url}/tenants/37"
            sim.settings(refuse_api=True)
            with pytest.raises(httpx.ConnectError):
                client.get(url)
            assert sim.stats()["connections"]["api"] == {"open": 0, "accepted": 0}
            sim.settings(refuse_api=False, api_skew_s=3_600)
            here = client.get(f"{sim.storage_url}/plain/").headers["date"]
            there = client.get(url).headers["date"]
            ahead = parsedate_to_datetime(there) - parsedate_to_datetime(here)
            assert ahead.total_seconds() == pytest.approx(3_600, abs=10)

    await trio.to_thread.run_sync(steer)
