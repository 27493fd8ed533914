"""Over TLS the simulator is what it is without, links included."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from voxofs.simulator.faults import Fault
from voxofs.simulator.process import start_process
from voxofs.simulator.server import Simulator
from voxofs.simulator.tenants import BIG

from .asking import DAY, FIXED, Clock, link, report

AUTHORITY = trustme.CA()
AUDIO = {"route": "audio"}


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the authority, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


@pytest.fixture
async def sim(clock: Clock) -> AsyncIterator[Simulator]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    async with Simulator([FIXED, BIG], clock=clock, tls=context) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5, verify=trusting()) as running:
        yield running


async def test_reports_links_and_recordings(sim: Simulator, client: httpx.AsyncClient) -> None:
    assert sim.api_url.startswith("https://")
    assert (await report(sim, client, 9, *DAY)).json() == [*FIXED.records]
    for signature in ("v2", "v4"):
        sim.signature = signature
        uri = await link(sim, client)
        assert uri.startswith(f"{sim.storage_url}/")
        assert uri.startswith("https://")
        assert (await client.get(uri)).content == FIXED.audio["a"]
    assert sim.connections()["storage"] == {"open": 1, "accepted": 1}


async def test_a_long_recording(sim: Simulator, client: httpx.AsyncClient) -> None:
    name, size, _ = sim.world.tenants[BIG.id].names("2024-03-05 10", sim.now())[0]
    answer = await client.get(f"{sim.storage_url}/plain/big/2024/03/05/10/{name}.mp3")
    assert len(answer.content) == size
    assert answer.content == sim.audio_bytes(BIG.id, "2024-03-05 10", name)


async def test_a_client_that_does_not_trust_us_leaves_and_the_next_is_served(
    sim: Simulator, client: httpx.AsyncClient
) -> None:
    async with httpx.AsyncClient(verify=ssl.create_default_context()) as stranger:
        with pytest.raises(httpx.ConnectError):
            await stranger.get(f"{sim.api_url}/tenants/9")
    async with await trio.open_tcp_stream("127.0.0.1", sim.api_door.number) as plain:
        await plain.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in await plain.receive_some()
    assert (await report(sim, client, 9, *DAY)).status_code == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("reset_before", AUDIO), httpx.ReadError),
        (Fault("reset_body", AUDIO, after_bytes=100), httpx.ReadError),
        (Fault("truncate", AUDIO, after_bytes=100), httpx.RemoteProtocolError),
        (Fault("stall", AUDIO), httpx.ReadTimeout),
        (Fault("stall_body", AUDIO, after_bytes=100), httpx.ReadTimeout),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_faults_break_the_connection_under_it(
    sim: Simulator, client: httpx.AsyncClient, fault: Fault, error: type[Exception]
) -> None:
    uri = await link(sim, client)
    sim.add_fault(fault)
    with pytest.raises(error):
        await client.get(uri, timeout=0.3)
    assert (await client.get(uri)).content == FIXED.audio["a"]
    await sim.refuse(storage=True)
    with pytest.raises(httpx.NetworkError):
        await client.get(uri)
    await sim.refuse(storage=False)
    assert (await client.get(uri)).status_code == 200


async def test_a_process_serves_it_from_files(tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    made = AUTHORITY.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(key)
    for part in made.cert_chain_pems:
        part.write_to_path(chain, append=True)

    def steer() -> None:
        with (
            start_process(tls_cert=chain, tls_key=key) as sim,
            httpx.Client(headers={"Authorization": f"Bearer {sim.token}"}, verify=trusting()) as client,
        ):
            assert client.get(f"{sim.api_url}/tenants/37").json()["tenantCode"] == "demo"
            assert sim.stats()["requests"] == {"tenant": 1}

    await trio.to_thread.run_sync(steer)
