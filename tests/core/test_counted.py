"""What the status counts: blocks that were there before they were asked for, and those fetched ahead."""

from __future__ import annotations

from harness.fronts import CoreFront, cat
from harness.rig import Rig
from harness.world import HOUR, NAMES

from voxofs.model import Edition


async def test_a_cold_copy_has_no_hits(rig: Rig) -> None:
    front, cache = CoreFront(rig.sim, rig.core.fs), rig.core.cache
    for name in NAMES:
        await cat(front, f"{HOUR}/{name}")
    assert cache.hits == 0
    asked = cache.ahead + cache.misses
    assert asked == sum(edition.blocks for edition in _editions(rig))
    for name in NAMES:
        await cat(front, f"{HOUR}/{name}")
    assert (cache.hits, cache.ahead + cache.misses) == (asked, asked)


def _editions(rig: Rig) -> list[Edition]:
    return [each.edition for each in rig.core.library.recordings() if each.edition is not None]
