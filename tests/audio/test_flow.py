"""One request for a reader that goes on: held back when it pauses, ended when it leaves, taken up after a
break."""

from __future__ import annotations

import pytest
import trio
from harness.rig import check_at_rest
from harness.world import call, noise
from trials.virtual import jumping_clock, open_trial
from trio.testing import MockClock

from voxofs.core.handles import Handle
from voxofs.errors import VoxofsError
from voxofs.simulator.faults import Fault, Kind
from voxofs.simulator.world import FixedTenant

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
