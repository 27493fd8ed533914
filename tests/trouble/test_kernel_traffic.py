"""Slowness and silence, through the kernel: what one tenant's trouble costs it, and that it costs nobody
else anything.

The daemon's clocks are the real ones, so that the numbers of a user's life are scaled down: a deadline of
some seconds in place of thirty.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from harness.fronts import MountFront, mount_front, settle
from harness.programs import Ended, program, together
from harness.world import BLOCK, HOUR, call, noise, sized_hour, tenant

from voxofs.simulator.faults import Fault
from voxofs.simulator.world import FixedTenant

pytestmark = pytest.mark.mounts

BRANCH_HOUR = HOUR.replace("office", "branch")
HANGS = Fault("stall", {"origin": "storage", "tenant": 9}, times=None)


def two_tenants(sizes: list[int]) -> list[FixedTenant]:
    """The office and its branch, with one hour each."""
    calls = sized_hour(sizes)
    return [tenant(calls), tenant(calls, 10, "branch")]


async def paths(front: MountFront, hour: str) -> list[str]:
    """Every recording of an hour, where the kernel finds it."""
    return [front.daemon.path(f"{hour}/{name}") for name in sorted(await front.listdir(hour))]


# --- the gate


@pytest.mark.parametrize("origin", ["storage", "api"])
async def test_a_tenant_that_hangs_does_not_halve_the_gate_of_another(origin: str) -> None:
    """A limit of one, and readers of one tenant whose requests hang until their deadlines: the other tenant's
    recordings are read as fast as ever, and the limit of two that the other origin has stays."""
    limits = {"api": 2, "storage": 2, origin: 1}
    sections = {name: {"connections": limit} for name, limit in limits.items()}
    sections["mount"] = {"deadline_s": 3, "prefetch": False}  # each read asks, and may have to wait
    async with mount_front(two_tenants([BLOCK] * 12), sections=sections) as front:
        assert isinstance(front, MountFront)
        hanging, well = await paths(front, HOUR), await paths(front, BRANCH_HOUR)
        front.sim.faults.add(Fault("stall", {"origin": origin, "tenant": 9}, times=None))
        async with trio.open_nursery() as nursery:

            async def read_in_vain() -> None:
                ended = await together([("cat", path) for path in hanging[:8]])
                assert all(each.code for each in ended)

            nursery.start_soon(read_in_vain)
            slowest_s = 0.0
            for path in well:  # some of them while the others hang, some when their tries have failed
                read = await program("cat", path)
                assert (read.code, read.errors) == (0, "")
                slowest_s = max(slowest_s, read.took_s)
                await trio.sleep(0.4)
        assert slowest_s < 0.6, "two requests, and a busy machine"
        status = json.loads(await trio.Path(front.daemon.path("/.voxofs/status")).read_text())
        assert {name: gate["limit"] for name, gate in status["in_flight"].items()} == limits


# --- transfers that are as good as dead


async def test_a_storage_that_drips_holds_nothing_after_its_readers_have_left() -> None:
    """Ten readers of a storage that sends a byte a second: told in time; soon after they have left nothing is
    under way any more, and a new recording is read at once."""
    sizes = [BLOCK] * 10 + [BLOCK]
    async with mount_front(two_tenants(sizes), sections={"mount": {"deadline_s": 3}}) as front:
        assert isinstance(front, MountFront)
        files = await paths(front, HOUR)
        front.sim.faults.add(Fault("trickle", {"origin": "storage", "tenant": 9}, bytes_per_s=1, times=None))
        ended = await together([("cat", path) for path in files[:10]])
        assert all(each.code for each in ended)
        assert max(each.took_s for each in ended) < 3 + 1
        assert front.sim.log.requests["audio"]
        front.sim.faults.clear()
        left_s = time.monotonic()
        await settle(front)
        assert time.monotonic() - left_s < 7, "5 s of linger, and some for the machine"
        new = await program("cat", files[10])
        assert (new.code, new.errors) == (0, "")
        assert new.took_s < 1


async def test_a_slow_transfer_that_makes_progress_is_not_ended() -> None:
    """Half of what playing needs, and longer than every time-out of a request: it is slow, not dead."""
    async with mount_front(two_tenants([18_000]), sections={"mount": {"deadline_s": 6}}) as front:
        assert isinstance(front, MountFront)
        front.sim.faults.add(Fault("trickle", {"origin": "storage"}, bytes_per_s=6_000, times=None))
        [path] = await paths(front, HOUR)
        read = await program("cmp", path, "/dev/null")
        assert "EOF on /dev/null" in read.errors
        assert 2.5 < read.took_s < 6, "longer than a third of the deadline"


# --- deadlines


async def test_a_walk_through_a_slow_api_misses_no_folder() -> None:
    """A month at an API that answers one report at a time: windows that are asked ahead stand in line for
    longer than a deadline, and whoever comes to one has all of theirs."""
    days = [f"2024-03-{day:02}" for day in range(1, 32)]
    office = FixedTenant(
        9,
        "office",
        "Office",
        records=[call(day, f"{day} 10:00:00") for day in days],
        audio={day: noise(day, 10) for day in days},
    )
    async with mount_front([office], sections={"mount": {"deadline_s": 4}}) as front:
        assert isinstance(front, MountFront)
        front.sim.faults.add(Fault("queue", {"route": "reports"}, delay_s=0.4, times=None))
        found = await program("find", front.daemon.path("/office/2024/03"), "-mindepth", "2", "-name", "10")
        assert (found.code, found.errors) == (0, "")
        assert len(found.lines) == 31
        assert front.sim.log.requests["reports"] <= 20, "nothing is asked twice"


async def test_who_joins_late_has_a_deadline_of_their_own() -> None:
    """A report that comes after the deadline of those who asked first is there for those who joined them,
    and nobody has to ask for it again."""
    async with mount_front(two_tenants([10] * 600), sections={"mount": {"deadline_s": 3}}) as front:
        assert isinstance(front, MountFront)
        await front.listdir(BRANCH_HOUR)
        [report] = front.sim.requests("reports")
        front.sim.log.reset()
        front.sim.faults.add(
            Fault("trickle", {"route": "reports"}, bytes_per_s=report.bytes_sent / 4, times=None)
        )
        ended: dict[str, Ended] = {}

        async def look(name: str, after_s: float) -> None:
            await trio.sleep(after_s)
            ended[name] = await program("ls", front.daemon.path(HOUR))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, "first", 0)
            nursery.start_soon(look, "late", 2.5)
        assert os.strerror(errno.ETIMEDOUT) in ended["first"].errors
        assert 2.5 < ended["first"].took_s < 4
        assert (ended["late"].code, len(ended["late"].lines)) == (0, 600)
        assert ended["late"].took_s > 1, "it came after the first one's deadline"
        assert front.sim.log.requests["reports"] == 1


@asynccontextmanager
async def recording_that_hangs() -> AsyncIterator[str]:
    """One whose size is known and whose audio never comes; readers wait 3 s."""
    async with mount_front(two_tenants([40 * BLOCK]), sections={"mount": {"deadline_s": 3}}) as front:
        assert isinstance(front, MountFront)
        [path] = await paths(front, HOUR)
        assert (await program("stat", path)).code == 0
        await settle(front)
        front.sim.faults.add(HANGS)
        yield path


async def test_a_read_that_hangs_ends_with_its_deadline_and_etimedout() -> None:
    """What the kernel asks for again, page by page, after its readahead failed is one read for the user."""
    async with recording_that_hangs() as path:
        read = await program("dd", f"if={path}", "of=/dev/null", "bs=64k", "skip=20", "count=1")
        assert read.code != 0
        assert os.strerror(errno.ETIMEDOUT) in read.errors
        assert 2.5 < read.took_s < 3 + 1
        copied = await program("cp", path, "/dev/null")
        assert os.strerror(errno.ETIMEDOUT) in copied.errors
        assert copied.took_s < 3 + 1


async def test_readers_that_stand_behind_each_other_at_a_page_wait_one_deadline() -> None:
    """The kernel locks a page while it is read, and whoever waited for it has it read anew: ten readers of
    the same bytes would be told one after another, a deadline each."""
    async with recording_that_hangs() as path:
        read = ("dd", f"if={path}", "of=/dev/null", "bs=256k", "skip=5", "count=1")
        for each in await together([read] * 10):
            assert os.strerror(errno.ETIMEDOUT) in each.errors, each.errors
            assert each.took_s < 3 + 1.5, each.took_s
