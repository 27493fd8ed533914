"""Which calls exist, and what their recordings are."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from voxofs.simulator.audio import BYTES_PER_S
from voxofs.simulator.server import Simulator
from voxofs.simulator.tenants import ACME, BENCH, BIG, DEMO, FLOOD

from .asking import DAY, Clock


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("tenant", [37, 9])
async def test_the_end_is_inclusive_only_on_request(sim: Simulator, tenant: int, inclusive: bool) -> None:
    sim.inclusive_end = inclusive
    records = [record for record in sim.records(tenant, *DAY) if record != 17 and record["start"]]
    newest = max(record["start"] for record in records)
    parts = sim.world.tenants[tenant].report(DAY[0], newest, inclusive, False, sim.now())
    assert (newest.encode() in b",".join(parts)) is inclusive


async def test_daylight_saving_days(sim: Simulator) -> None:
    fall = sim.records(37, "2023-11-05 00:00:00", "2023-11-06 00:00:00")
    hours = {record["start"][11:13] for record in fall if record["recorded"]}
    assert hours == {f"{hour:02d}" for hour in range(24)}
    epochs = [int(r["uniqueId"][9:].split(".")[0]) for r in fall if r["start"][11:13] == "01"]
    assert {epoch // 3_600 for epoch in epochs} == {1699164000 // 3_600, 1699167600 // 3_600}
    spring = sim.records(37, "2024-03-10 00:00:00", "2024-03-11 00:00:00")
    assert {r["start"][11:13] for r in spring} == {f"{hour:02d}" for hour in range(24)} - {"02"}


async def test_calls_keep_arriving_and_are_reported_when_they_have_ended(
    sim: Simulator, clock: Clock
) -> None:
    window = ("2026-03-04 11:00:00", "2026-03-04 14:00:00")  # now is noon, Central
    seen = {record["uniqueId"] for record in sim.records(37, *window)}
    began = clock.now_s
    for _ in range(30):
        clock.now_s += 20
        now = sim.records(37, *window)
        for record in now:
            epoch = int(record["uniqueId"][9:].split(".")[0])
            assert epoch + record["duration"] <= clock.now_s
        assert seen <= {record["uniqueId"] for record in now}
        seen = {record["uniqueId"] for record in now}
    arrived = [uid for uid in seen if int(uid[9:].split(".")[0]) >= began]
    assert 25 <= len(arrived) <= 30


async def test_the_same_seed_gives_the_same_world(clock: Clock) -> None:
    def picture(seed: int) -> list[Any]:
        sim = Simulator([DEMO, ACME], seed=seed, clock=clock)
        records = sim.records(432, *DAY)
        first = next(record for record in records if record["recorded"])
        return [records, hashlib.sha256(sim.audio_bytes(432, first["start"], first["uniqueId"])).digest()]

    assert picture(1) == picture(1)
    assert picture(1) != picture(2)


async def test_the_ready_made_worlds(sim: Simulator) -> None:
    hour = [r for r in sim.records(BENCH.id, *DAY) if r["start"][11:13] == "10"]
    names = sim.world.tenants[BENCH.id].names("2024-03-05 10", sim.now())
    assert len(hour) == len(names) == 200
    assert sum(size for _, size, _ in names) == pytest.approx(58_000_000, rel=0.03)
    assert all(abs(size - record["duration"] * BYTES_PER_S) < 3_000 for (_, size, _), record in zip(
        names, reversed(hour), strict=True))  # fmt: skip
    assert len(sim.records(BENCH.id, "2024-03-31 00:00:00", "2024-04-01 00:00:00")) >= 3
    sizes = [size for _, size, _ in sim.world.tenants[BIG.id].names("2024-03-05 10", sim.now())]
    assert sorted(sizes) == [20 << 20, 256 << 20]
    began = time.perf_counter()
    assert len(sim.records(FLOOD.id, *DAY)) == 24_000
    assert time.perf_counter() - began < 3
    foreign = [r for r in sim.records(ACME.id, *DAY) if not r["uniqueId"].startswith("atl-ast2-")]
    assert foreign


async def test_any_range_of_a_computed_recording_is_the_same_bytes(sim: Simulator) -> None:
    tenant = sim.world.tenants[BENCH.id]
    for name, size, _ in tenant.names("2024-03-05 10", sim.now())[:3]:
        audio = tenant.audio("2024-03-05 10", name, 0, sim.now())
        assert audio is not None
        whole = sim.audio_bytes(BENCH.id, "2024-03-05 10", name)
        assert len(whole) == size == audio.size
        for start, stop in ((0, 10), (500, 700), (511, 513), (size - 3, size + 9), (40_000, 200_000), (7, 7)):
            assert audio.read(start, stop) == whole[start:stop]


async def test_recordings_are_mp3_that_names_its_call(sim: Simulator, tmp_path: Path) -> None:
    record = next(r for r in sim.records(ACME.id, *DAY) if r["recorded"])
    file = tmp_path / "call.mp3"
    file.write_bytes(sim.audio_bytes(ACME.id, record["start"], record["uniqueId"]))
    probe = ["ffprobe", "-v", "error", "-show_entries", "format=format_name,duration:format_tags", str(file)]
    said = await trio.run_process(probe, capture_stdout=True, capture_stderr=True)
    assert said.stderr == b""
    text = said.stdout.decode()
    assert "format_name=mp3" in text
    assert f"TAG:title={record['uniqueId']}" in text
    assert f"{record['callerIdNumber']} → {record['dialedNum']}" in text
    assert f"TAG:date={record['start'].replace(' ', 'T')}" in text
    duration_s = float(text.partition("duration=")[2].split()[0])
    assert duration_s == pytest.approx(record["duration"], abs=0.5)
    decode = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "null", "-"]
    assert (await trio.run_process(decode, capture_stderr=True, stdin=subprocess.DEVNULL)).stderr == b""
