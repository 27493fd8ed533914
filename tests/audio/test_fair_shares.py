"""Readers at once, where the storage gives at a limited rate: none is left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from harness.world import call, noise
from trials.virtual import jumping_clock, open_trial
from trio.testing import MockClock

from voxofs.core.handles import Handle
from voxofs.simulator.exchange import Exchange, Headers
from voxofs.simulator.world import FixedTenant

READERS = 4
STEP = 131_072
"""What the kernel reads at once."""
PART = 32 * STEP
"""What each reads: four times the first window, so that most of it comes by a flow."""
RATE = 1_000_000
"""Bytes a second of the whole storage. Any rate does, as time jumps: at this one nobody waits for long."""
DATA = noise("a call for four", READERS * PART)
HOUR = ("office", "2024", "03", "05", "10")


@pytest.fixture
def jumping() -> MockClock:
    """Time jumps where everybody waits."""
    return jumping_clock()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for everything that the storage sends: the answers under way take turns on it."""
    send, line = Exchange.stream, trio.Lock()

    async def stream(
        exchange: Exchange,
        status: int,
        headers: Headers,
        start: int,
        stop: int,
        read: Callable[[int, int], Awaitable[bytes]],
    ) -> None:
        async def in_turn(at: int, end: int) -> bytes:
            end = min(end, at + STEP)
            async with line:
                await trio.sleep((end - at) / RATE)
            return await read(at, end)

        await send(exchange, status, headers, start, stop, in_turn)

    monkeypatch.setattr(Exchange, "stream", stream)


@pytest.mark.parametrize("connections", [2, 3, 6])
@pytest.mark.parametrize("recordings", [1, READERS])
async def test_four_readers_share_what_the_storage_gives(
    recordings: int, connections: int, jumping: MockClock, narrow: None
) -> None:
    """Of one recording, each elsewhere, or of one recording each; and where there are fewer connections than
    readers, so that they take turns."""
    size = len(DATA) // recordings
    audio = {f"long-{n}": DATA[n * size : (n + 1) * size] for n in range(recordings)}
    office = FixedTenant(9, "office", "Office", [call(each, "2024-03-05 10:00:00") for each in audio], audio)
    read = [0] * READERS
    when_one_was_done: list[int] = []

    async def reader(number: int, handle: Handle) -> None:
        begin = number * PART
        while read[number] < PART:
            at = begin + read[number]
            assert await handle.read(at % size, STEP) == DATA[at : at + STEP], at
            read[number] += STEP
        when_one_was_done[:] = when_one_was_done or read

    async with open_trial([office], connections=connections) as trial:
        handles = [await trial.core.fs.open((*HOUR, f"long-{n * PART // size}.mp3")) for n in range(READERS)]
        async with trio.open_nursery() as nursery:
            for number, handle in enumerate(handles):
                nursery.start_soon(reader, number, handle)
        for handle in handles:
            handle.close()
        least = PART / (2 if connections >= READERS else 4)  # a turn is a window: half of a part
        assert min(when_one_was_done) >= least, when_one_was_done
        assert await trial.at_rest() == []
