"""One tenant hangs, and all its users with it: what is scarce stays for the others.

Every test goes through the kernel; the API and the storage hang for one tenant for as long as it lasts.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import trio
from harness.fronts import MountFront, mount_front
from harness.rig import until
from harness.world import noise, sized_hour, tenant
from trials.programs import MANY, in_thread, program, python, timed

from voxofs.simulator.faults import Fault

ILL, WELL = 37, 9
READERS = 60
STUCK_LOOKUPS = 1_060
SIZE = 400_000
HOUR = "2024/03/05/10"
AT_ONCE_S = 1.5
"""For one read or look-up that nothing holds up: some 20 ms, on two cores shared with other tests."""
PAUSE_S = 2.0
"""Until the daemon knows which tenant hangs, with as much again to spare."""


@asynccontextmanager
async def two_tenants(**sections: dict[str, Any]) -> AsyncIterator[MountFront]:
    """One will hang; gates so wide that only the kernel and the daemon can be short of places."""
    calls = [sized_hour([SIZE] * READERS), sized_hour([SIZE] * 12)]
    tenants = [tenant(calls[0], ILL, "ill"), tenant(calls[1], WELL, "well")]
    given: dict[str, dict[str, Any]] = {
        "mount": {"deadline_s": 60.0},
        "api": {"connections": 256},
        "storage": {"connections": 256},
        **sections,
    }
    async with mount_front(tenants, sections=given) as front:
        assert isinstance(front, MountFront)
        yield front


def paths(front: MountFront, code: str) -> list[Path]:
    """The recordings of a tenant; their sizes are known and their heads in memory afterwards."""
    found = sorted(Path(front.daemon.path(f"/{code}/{HOUR}")).iterdir())
    for path in found:
        assert path.stat().st_size == SIZE
    return found


def max_background(front: MountFront) -> Path:
    """The kernel's limit for this mount."""
    return Path(f"/sys/fs/fuse/connections/{os.minor(os.stat(front.daemon.directory).st_dev)}/max_background")


async def test_readers_that_hang_do_not_delay_another_tenants() -> None:
    async with two_tenants() as front:
        ill = await in_thread(lambda: paths(front, "ill"))
        well = await in_thread(lambda: paths(front, "well"))
        front.sim.add_fault(Fault("stall", {"route": "audio", "tenant": ILL}, times=None))
        read = MANY.format(work="open(path, 'rb').read()")
        async with program(*python(read), said="\n".join(map(str, ill))) as readers:
            assert readers.stdout is not None
            await in_thread(readers.stdout.readline)
            await until(lambda: front.sim.log.in_flight["storage"] >= READERS // 2)
            for path in well:
                took_s, data = await timed(path.read_bytes)
                assert data == noise(path.stem, SIZE)
                assert took_s < AT_ONCE_S, f"{path.name} took {took_s:.1f} s"


async def test_an_unprivileged_mount_is_held_up_for_seconds_and_not_for_the_deadline() -> None:
    """With the kernel's own 12 background requests: the tenant that hangs gives half of them back, and its
    readers get what they wait for all the same."""
    async with two_tenants() as front:
        ill = await in_thread(lambda: paths(front, "ill"))
        well = await in_thread(lambda: paths(front, "well"))
        setting = max_background(front)
        await in_thread(lambda: setting.write_text("12"))
        front.sim.add_fault(Fault("stall", {"route": "audio", "tenant": ILL}, times=None))
        read = MANY.format(work="print(len(open(path, 'rb').read()), flush=True)")
        async with program(*python(read), said="\n".join(map(str, ill))) as readers:
            assert readers.stdout is not None
            await in_thread(readers.stdout.readline)
            await trio.sleep(PAUSE_S)
            took_s, _ = await timed(lambda: [path.read_bytes() for path in well])
            assert took_s < 10.0, took_s
            front.sim.faults.clear()


async def test_the_kernel_is_asked_for_room() -> None:
    async with two_tenants() as front:
        limit = max_background(front)
        await until(lambda: int(limit.read_text()) == 512)
        assert int(limit.with_name("congestion_threshold").read_text()) == 384


async def test_the_root_answers_whatever_hangs() -> None:
    async with two_tenants() as front:
        well = await in_thread(lambda: paths(front, "well"))
        front.sim.add_fault(Fault("stall", {"route": "reports", "tenant": ILL}, times=None))
        first = date(2023, 1, 1)
        days = [first + timedelta(days=number) for number in range(STUCK_LOOKUPS)]
        hours = [front.daemon.path(f"/ill/{day:%Y/%m/%d}/10") for day in days]
        look = "import os\n" + MANY.format(work="os.stat(path)")
        async with program(*python(look), said="\n".join(hours)) as lookups:
            assert lookups.stdout is not None
            await in_thread(lookups.stdout.readline)
            ends_s = time.monotonic() + PAUSE_S
            while time.monotonic() < ends_s:
                for work in (os.statvfs, os.stat, os.listdir):
                    took_s, _ = await timed(lambda work=work: work(front.daemon.directory))  # type: ignore[misc]
                    assert took_s < AT_ONCE_S, f"{work.__name__} of the root took {took_s:.1f} s"
            took_s, data = await timed(well[0].read_bytes)
            assert data == noise(well[0].stem, SIZE)
            assert took_s < AT_ONCE_S
