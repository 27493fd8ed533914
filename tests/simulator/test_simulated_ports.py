"""Ports, the log, and controls from another process."""

from __future__ import annotations

import socket
from functools import partial

import httpx
import pytest
import trio

from voxofs.simulator.process import start_process
from voxofs.simulator.server import Simulator
from voxofs.simulator.tenants import BIG

from .asking import Clock, link


async def test_a_refused_port_comes_back_in_the_same_place(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    await client.get(uri)
    await sim.refuse(storage=True)
    with pytest.raises(httpx.NetworkError):  # the connection that was kept has been reset
        await client.get(uri)
    with pytest.raises(httpx.ConnectError):
        await client.get(uri)
    await sim.refuse(storage=False)
    assert (await client.get(uri)).status_code == 200


async def test_a_refused_port_is_nobody_elses(sim: Simulator) -> None:
    """Else the simulator of another test might be given it, and answer where nobody should."""
    number = sim.storage_door.number
    await sim.refuse(storage=True)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", number))
    await sim.refuse(storage=False)
    assert sim.storage_door.number == number


async def test_a_stalled_reader_does_not_hold_the_simulator_up(clock: Clock) -> None:
    with trio.fail_after(5):
        async with Simulator([BIG], clock=clock) as sim:
            stream = await trio.open_tcp_stream("127.0.0.1", sim.storage_door.number)
            name = sim.world.tenants[BIG.id].names("2024-03-05 10", sim.now())[-1][0]
            await stream.send_all(
                f"GET /plain/big/2024/03/05/10/{name}.mp3 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            assert (await stream.receive_some(15)).startswith(b"HTTP/1.1 200")
            assert sim.log.in_flight["storage"] == 1
        assert sim.log.in_flight["storage"] == 0
        await stream.aclose()


async def test_a_client_that_leaves_ends_its_transfer(sim: Simulator, client: httpx.AsyncClient) -> None:
    name, size, _ = sim.world.tenants[BIG.id].names("2024-03-05 10", sim.now())[-1]
    async with client.stream("GET", f"{sim.storage_url}/plain/big/2024/03/05/10/{name}.mp3") as answer:
        assert answer.status_code == 200
    with trio.fail_after(5):
        while sim.log.in_flight["storage"]:
            await trio.lowlevel.checkpoint()
    assert sim.requests("plain")[0].bytes_sent < size


async def test_the_log_tells_what_was_asked(sim: Simulator, client: httpx.AsyncClient) -> None:
    uri = await link(sim, client)
    sim.storage_delay_s = 0.05
    async with trio.open_nursery() as nursery:
        for at in range(4):
            headers = {"Range": f"bytes={at}-99"}
            nursery.start_soon(partial(client.get, uri, headers=headers))
    entries = sim.requests("audio")
    assert {entry.range for entry in entries} == {f"bytes={at}-99" for at in range(4)}
    assert sum(entry.bytes_sent for entry in entries) == 100 + 99 + 98 + 97 == sim.log.bytes["audio"]
    assert all(entry.t_end is not None and entry.t_end - entry.t_start >= 0.05 for entry in entries)
    assert sim.log.peak == {"api": 1, "storage": 4}
    assert sim.log.requests == {"link": 1, "audio": 4}
    sim.reset_log()
    assert sim.log.stats()["requests"] == {}


async def test_another_process_and_its_controls() -> None:
    def steer() -> None:
        with start_process(world="demo", seed=3, api_delay_s=0.0) as sim:
            root = f"{sim.api_url}/tenants/37"
            assert sim.tenants == {"demo": 37, "acme": 432}
            with httpx.Client(headers={"Authorization": f"Bearer {sim.token}"}) as client:
                assert client.get(root).status_code == 200
                sim.add_faults({"kind": "status", "match": {"route": "tenant"}, "status": 500})
                assert client.get(root).status_code == 500
                assert sim.stats()["faults"][0]["hits"] == 1
                sim.clear_faults()
                sim.rotate_token()
                assert client.get(root).status_code == 401
                assert [entry["status"] for entry in sim.log("tenant")] == [200, 500, 401]
                assert sim.stats()["requests"] == {"tenant": 3}
                sim.reset_log()
                assert sim.stats()["requests"] == {}
                sim.settings(refuse_storage=True)
                with pytest.raises(httpx.ConnectError):
                    client.get(f"{sim.storage_url}/plain/")
                sim.settings(refuse_storage=False, storage_delay_s=0.001)
                assert client.get(f"{sim.storage_url}/plain/").status_code == 200
                sim.replace_audio(37, "x", b"y")
                sim.remove_audio(37, "x")

    await trio.to_thread.run_sync(steer)
