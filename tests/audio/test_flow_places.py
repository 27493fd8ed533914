"""The place of a flow that is held back is for whoever wants it."""

from __future__ import annotations

import pytest
import trio
from harness.world import call, noise
from trials.virtual import jumping_clock, open_trial
from trio.testing import MockClock

from voxofs.simulator.world import FixedTenant

LONG, SHORT = noise("a long call", 8_000_000), noise("a short call", 50_000)
STEP = 131_072
HOUR = ("office", "2024", "03", "05", "10")
ONE_PLACE = {"cache": {"memory_bytes": 32 * 2**20}, "storage": {"connections": 1}}


@pytest.fixture
def jumping() -> MockClock:
    """Time jumps where everybody waits."""
    return jumping_clock()


@pytest.mark.parametrize("after_s", [0.1, 0.9])
async def test_who_comes_later_has_the_place_at_once(after_s: float, jumping: MockClock) -> None:
    calls = [call("long", "2024-03-05 10:00:00"), call("short", "2024-03-05 10:30:00")]
    office = FixedTenant(9, "office", "Office", calls, {"long": LONG, "short": SHORT})
    async with open_trial([office], sections=ONE_PLACE) as trial:
        storage = trial.core.gates[1]
        player = await trial.core.fs.open((*HOUR, "long.mp3"))
        for at in range(0, 3_000_000, STEP):
            assert await player.read(at, STEP) == LONG[at : at + STEP]
        await trio.sleep(after_s)
        assert storage.in_use == 1, "a guard: it is held back, and holds the only place"
        begun_s = trio.current_time()
        other = await trial.core.fs.open((*HOUR, "short.mp3"))
        assert await other.read(0, STEP) == SHORT
        assert trio.current_time() - begun_s < 0.05
        for at in range(3_000_000 // STEP * STEP, len(LONG), STEP):
            assert await player.read(at, STEP) == LONG[at : at + STEP]
        player.close()
        other.close()
        assert storage.idle == set()
        assert await trial.at_rest() == []
