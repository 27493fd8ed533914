"""One request for a reader that goes on: held back when it pauses, ended when it leaves, taken up after a
break."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from harness.rig import PATIENCE_S, check_at_rest, config_for
from harness.world import call, epoch_s, noise
from trials.virtual import jumping_clock, open_trial
from trio.testing import MockClock

from voxofs.clock import Clock
from voxofs.core.build import Core, open_core
from voxofs.core.handles import Handle
from voxofs.errors import VoxofsError
from voxofs.simulator.faults import Fault, Kind
from voxofs.simulator.server import Simulator
from voxofs.simulator.world import FixedTenant
from voxofs.store.key import make_key_file

SIZE = 8_000_000
STEP = 131_072
"""What the kernel reads at once."""
DATA = noise("a long call", SIZE)
PATH = ("office", "2024", "03", "05", "10", "long.mp3")
MEMORY = {"cache": {"memory_bytes": 32 * 2**20}}
"""An eighth of it is for what is read ahead: half of the recording."""


TRANSPORTS = pytest.mark.parametrize("transport", ["direct", "stock"])


@pytest.fixture
def jumping() -> MockClock:
    """Time jumps where everybody waits."""
    return jumping_clock()


def office() -> FixedTenant:
    """One long call."""
    return FixedTenant(9, "office", "Office", [call("long", "2024-03-05 10:00:00")], {"long": DATA})


async def read(handle: Handle, begin: int, end: int) -> None:
    """Read on as the kernel does, and look at every byte."""
    for at in range(begin, end, STEP):
        assert await handle.read(at, STEP) == DATA[at : at + STEP], at


@TRANSPORTS
async def test_who_reads_on_needs_one_request(transport: str, jumping: MockClock) -> None:
    async with open_trial([office()], sections=MEMORY | {"http": {"transport": transport}}) as trial:
        handle = await trial.core.fs.open(PATH)
        await read(handle, 0, SIZE)
        handle.close()
        ranges = [entry.range for entry in trial.sim.requests("audio")]
        assert len(ranges) == 3, ranges  # the size, the first window, and all the rest
        assert sum(entry.bytes_sent for entry in trial.sim.requests("audio")) <= SIZE
        assert await trial.at_rest() == []


@TRANSPORTS
async def test_who_pauses_holds_no_place_and_who_comes_back_reads_on(
    transport: str, jumping: MockClock
) -> None:
    async with open_trial([office()], sections=MEMORY | {"http": {"transport": transport}}) as trial:
        storage = trial.core.gates[1]
        handle = await trial.core.fs.open(PATH)
        await read(handle, 0, 3_000_000)
        await trio.sleep(0.5)
        assert storage.in_use == 1, "it is held back"
        await trio.sleep(2)
        assert storage.in_use == 0, "the place is somebody else's"
        fetched = trial.core.cache.used_bytes
        await trio.sleep(3_600)
        assert trial.core.cache.used_bytes == fetched, "nothing comes that nobody reads"
        await read(handle, 3_000_000 // STEP * STEP, SIZE)
        handle.close()
        assert await trial.at_rest() == []


@TRANSPORTS
async def test_who_leaves_ends_it(transport: str, jumping: MockClock) -> None:
    async with open_trial([office()], sections=MEMORY | {"http": {"transport": transport}}) as trial:
        handle = await trial.core.fs.open(PATH)
        await read(handle, 0, 3_000_000)
        await trio.sleep(0.5)
        assert trial.core.gates[1].in_use == 1
        handle.close()
        await trio.sleep(0.01)
        assert trial.core.gates[1].in_use == 0
        check_at_rest(trial.core)


async def test_two_readers_of_one_recording_share_a_flow(jumping: MockClock) -> None:
    async with open_trial([office()], sections=MEMORY) as trial:
        one, other = [await trial.core.fs.open(PATH) for _ in range(2)]
        for at in range(0, SIZE, STEP):
            for handle in (one, other):
                assert await handle.read(at, STEP) == DATA[at : at + STEP]
        one.close()
        other.close()
        assert len(trial.sim.requests("audio")) == 3
        assert await trial.at_rest() == []


async def test_four_readers_elsewhere_each_have_their_flow(jumping: MockClock) -> None:
    async with open_trial([office()], sections=MEMORY) as trial:
        quarter = SIZE // 4 // STEP * STEP
        handles = [await trial.core.fs.open(PATH) for _ in range(4)]
        async with trio.open_nursery() as nursery:
            for number, handle in enumerate(handles):
                nursery.start_soon(read, handle, number * quarter, (number + 1) * quarter)
        for handle in handles:
            handle.close()
        assert len(trial.sim.requests("audio")) <= 4 * 6
        assert await trial.at_rest() == []


@pytest.mark.parametrize("kind", ["reset_body", "truncate", "stall_body"])
async def test_a_flow_that_breaks_is_taken_up(kind: Kind, jumping: MockClock) -> None:
    async with open_trial([office()], sections=MEMORY) as trial:
        trial.sim.add_fault(Fault(kind, {"route": "audio"}, nth=3, times=3, after_bytes=1_111_111))
        handle = await trial.core.fs.open(PATH)
        at = 0
        while at < SIZE:
            try:
                await read(handle, at, min(at + STEP, SIZE))
            except VoxofsError:
                assert kind == "stall_body"  # whoever waited was told when the other side fell silent
                continue
            at += STEP
        handle.close()
        begins = [
            int((entry.range or "").removeprefix("bytes=").split("-")[0])
            for entry in trial.sim.requests("audio")
        ]
        assert begins == sorted(begins), "nothing is asked for twice"
        assert await trial.at_rest() == []


@asynccontextmanager
async def core_on(disk: dict[str, object], sim: Simulator) -> AsyncIterator[Core]:
    """A new process, as it were; what it was offered is on the disk afterwards. Requests count from here."""
    clock = Clock(time.monotonic, lambda: epoch_s("2024-04-20 12:00:00"))
    async with open_core(config_for(sim, sections=MEMORY | {"disk": disk}), clock) as core:
        sim.log.reset()
        yield core
        assert core.disk is not None
        await core.disk.settle()
        check_at_rest(core)


async def through(core: Core, begin: int = 0) -> None:
    """Read on from there to the end."""
    handle = await core.fs.open(PATH)
    await read(handle, begin, SIZE)
    handle.close()
    with trio.fail_after(PATIENCE_S):
        while core.library.fetches:  # noqa: ASYNC110 (nobody announces it)
            await trio.sleep(0.002)


async def test_with_a_disk_tier_it_flows_where_nothing_is_held_and_nothing_is_fetched_twice(
    tmp_path: Path,
) -> None:
    make_key_file(tmp_path / "key")
    disk: dict[str, object] = {"path": tmp_path / "kept", "key_file": tmp_path / "key", "keep_free_bytes": 0}
    async with Simulator([office()]) as sim:
        async with core_on(disk, sim) as core:
            await through(core)
            assert len(sim.requests("audio")) == 3
        async with core_on(disk, sim) as core:
            await through(core)
            assert sim.requests("audio") == []


async def test_what_the_disk_holds_of_the_rest_is_not_fetched_by_a_flow(tmp_path: Path) -> None:
    make_key_file(tmp_path / "key")
    disk: dict[str, object] = {"path": tmp_path / "kept", "key_file": tmp_path / "key", "keep_free_bytes": 0}
    async with Simulator([office()]) as sim:
        async with core_on(disk, sim) as core:
            await through(core, 5_000_000 // STEP * STEP)
            kept = sum(entry.bytes_sent for entry in sim.requests("audio"))
            assert kept > 2_000_000
        async with core_on(disk, sim) as core:
            await through(core)
            fetched = sum(entry.bytes_sent for entry in sim.requests("audio"))
            assert fetched <= SIZE - kept
