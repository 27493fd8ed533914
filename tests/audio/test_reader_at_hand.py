"""Reads that are answered from memory: all of what was asked for, or nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from voxofs.audio.blocks import BlockCache
from voxofs.audio.reader import Reader
from voxofs.model import BLOCK_BYTES, Edition, RecordingKey, Version

WEIGHT = BLOCK_BYTES + 350
"""A block's, in the cache."""


def edition(number: int) -> Edition:
    return Edition(
        RecordingKey("office", f"call-{number}", "2024-03-05 10:00:00"), Version(10 * BLOCK_BYTES, "e", None)
    )


def reader(cache: BlockCache, of: Edition) -> Reader:
    library: Any = SimpleNamespace(cache=cache, fetch=lambda *_, **__: [])
    recording: Any = SimpleNamespace(users=0)
    return Reader(library, recording, of, whole=False)


def test_a_block_that_is_pushed_out_by_its_neighbour_is_not_left_out() -> None:
    """A slab that was fetched ahead becomes a read one, and the oldest of those has to go: the very one that
    has the rest. An answer without it would be short, which is an end of file to the kernel."""
    cache = BlockCache(8 * WEIGHT)
    wanted = edition(1)
    block = bytes(BLOCK_BYTES)
    cache.put((wanted, 1), block, awaited=True)  # the oldest of those that were read
    for index in range(6):
        cache.put((edition(2), index), block, awaited=True)
    cache.put((wanted, 0), block, awaited=False)
    assert (wanted, 0) in cache
    assert (wanted, 1) in cache
    data = reader(cache, wanted).take(0, 2 * BLOCK_BYTES)
    assert data is None or len(data) == 2 * BLOCK_BYTES
    assert (wanted, 1) not in cache, "the trial is one"
