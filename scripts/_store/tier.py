"""What the tier costs: `python scripts/_store/tier.py FOLDER` (needs root, to drop the kernel's caches).

Wall and CPU seconds of this process: the benchmark's hour (200 recordings, 58 MB) and 256 MiB written, both
read cold and warm, a window and the versions of 24,000 calls, and the memory that 70,000 pieces take.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from voxofs.clock import Clock
from voxofs.model import BLOCK_BYTES, Edition, Record, RecordingKey, Version, packed_details
from voxofs.store.settings import DiskSettings
from voxofs.store.tier import DiskTier, open_tier

DETAILS = (1, "inbound", "ANSWERED", 33, 0.1, 0.0, 4.4, None, "12345678", "Bob Miller", "5551212", "Ann")


def edition(number: int, size: int) -> Edition:
    key = RecordingKey("acme", f"atl-ast2-{1628901419 + number}.{number}", "2021-08-13 19:36:59")
    return Edition(key, Version(size, f'"{number:032x}"', "Fri, 13 Aug 2021 19:40:00 GMT"))


@contextmanager
def timed(what: str) -> Iterator[None]:
    begin, cpu = time.perf_counter(), time.process_time()
    yield
    wall, spent = time.perf_counter() - begin, time.process_time() - cpu
    print(f"{what:32} {wall:6.3f} s wall {spent:6.3f} s CPU", flush=True)


def drop_caches() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def rss_mib() -> float:
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) / 1024


async def write(tier: DiskTier, editions: list[Edition], data: bytes) -> None:
    for each in editions:
        for index in range(each.blocks):
            if index % 128 == 127:
                await tier.settle()
            tier.offer(each, index, data[: min(BLOCK_BYTES, each.size - index * BLOCK_BYTES)], read=True)
        tier.keep_version(each.recording, each.version)
        if each.recording.unique_id.endswith("25"):
            await tier.settle()
    await tier.settle()


async def read(tier: DiskTier, editions: list[Edition]) -> None:
    for each in editions:
        for first in range(0, each.blocks, 16):
            assert None not in await tier.read(each, first, min(first + 16, each.blocks))


async def main(path: Path) -> None:
    settings = DiskSettings(path=path, key=bytes(32), patience_s=10)
    hour, big = [edition(number, 290_000) for number in range(200)], [edition(1000, 256 << 20)]
    calls = [edition(10_000 + number, 290_000) for number in range(24_000)]
    records = [
        Record(each.recording.unique_id, "2021-08-13 19:36:59", 1628901419, packed_details(DETAILS))
        for each in calls
    ]
    data = os.urandom(BLOCK_BYTES)
    async with trio.open_nursery() as nursery:
        async with open_tier(settings, Clock(), nursery) as tier:
            with timed("200 recordings, written"):
                await write(tier, hour, data)
            with timed("256 MiB, written"):
                await write(tier, big, data)
            for each in calls:
                tier.keep_version(each.recording, each.version)
            await tier.settle()
            tier.keep_window("acme", 7, records, time.time())
            await tier.settle()
        for how in ("cold", "warm"):
            if how == "cold":
                drop_caches()
            async with open_tier(settings, Clock(), nursery) as tier:
                with timed(f"200 recordings, {how}"):
                    await read(tier, hour)
                with timed(f"256 MiB, {how}"):
                    await read(tier, big)
                with timed(f"window of 24,000, {how}"):
                    assert await tier.window("acme", 7) is not None
                with timed(f"versions of 24,000, {how}"):
                    assert len(await tier.versions([each.recording for each in calls])) == 24_000
        async with open_tier(settings, Clock(), nursery) as tier:
            await write(tier, [edition(100_000 + number, 1) for number in range(70_000)], data)
        before = rss_mib()
        async with open_tier(settings, Clock(), nursery) as tier:
            with timed("70,000 pieces, compared"):
                await tier.settle()
        print(f"memory after that: {rss_mib():.1f} MiB, before: {before:.1f} MiB", flush=True)
    shutil.rmtree(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    trio.run(main, parser.parse_args().folder / "tier")
