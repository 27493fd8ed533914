"""The block cache against a model written as two plain lists."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from voxofs.cache import _OVERHEAD_BYTES, BlockCache, BlockKey

KEYS = st.tuples(st.integers(1, 3), st.integers(0, 5))
SIZES = st.sampled_from([0, 1, 700, 1_000, 1_000, 2_000, 5_000, 50_000])
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "await", "take", "take"]), KEYS, SIZES), max_size=80
)


class Segment:
    """Least recently used last, the oldest out: as slow and as plain as it gets."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.blocks: list[tuple[BlockKey, bytes]] = []

    def get(self, key: BlockKey) -> bytes | None:
        return next((block for each, block in self.blocks if each == key), None)

    def drop(self, key: BlockKey) -> None:
        self.blocks = [(each, block) for each, block in self.blocks if each != key]

    def keep(self, key: BlockKey, block: bytes) -> None:
        if len(block) + _OVERHEAD_BYTES > self.limit:
            return
        self.drop(key)
        self.blocks.append((key, block))
        while self.weight() > self.limit:
            del self.blocks[0]

    def weight(self) -> int:
        return sum(len(block) + _OVERHEAD_BYTES for _, block in self.blocks)


class Model:
    """What the cache's docstring says."""

    def __init__(self, limit: int) -> None:
        self.unread, self.read = Segment(limit // 8), Segment(limit - limit // 8)

    def take(self, key: BlockKey) -> bytes | None:
        block = self.read.get(key)
        if block is None:
            block = self.unread.get(key)
            self.unread.drop(key)
        if block is not None:
            self.read.keep(key, block)
        return block

    def put(self, key: BlockKey, block: bytes, awaited: bool) -> None:
        if awaited:
            self.unread.drop(key)
            self.read.keep(key, block)
        elif self.read.get(key) is None:
            self.unread.keep(key, block)


@given(STEPS, st.sampled_from([8_000, 16_000, 40_000]))
@settings(max_examples=300, deadline=None)
def test_the_cache_does_what_the_model_does(steps: list[tuple[str, BlockKey, int]], limit: int) -> None:
    cache, model = BlockCache(limit), Model(limit)
    hits = misses = 0
    for what, key, size in steps:
        if what == "take":
            block = cache.take(key)
            assert block == model.take(key)
            hits, misses = hits + (block is not None), misses + (block is None)
        else:
            block = bytes([key[0] * 16 + key[1]]) * size  # a key's bytes: immutable, whatever their number
            cache.put(key, block, awaited=what == "await")
            model.put(key, block, what == "await")
        held = {*(each for each, _ in model.unread.blocks), *(each for each, _ in model.read.blocks)}
        assert cache.used_bytes == model.unread.weight() + model.read.weight() <= limit
        assert len(cache) == len(model.unread.blocks) + len(model.read.blocks)
        assert all(
            ((serial, index) in cache) == ((serial, index) in held)
            for serial in (1, 2, 3)
            for index in range(6)
        )
        assert (cache.hits, cache.misses) == (hits, misses)


def test_a_sweep_of_blocks_nobody_reads_leaves_those_that_are_read() -> None:
    cache = BlockCache(80_000)
    for index in range(20):
        cache.put((1, index), bytes(1_000), awaited=True)
    for index in range(1_000):
        cache.put((2, index), bytes(1_000), awaited=False)
    assert all(cache.take((1, index)) is not None for index in range(20))
    assert cache.used_bytes <= 80_000
    assert (2, 999) in cache
    assert (2, 0) not in cache


def test_what_was_used_last_stays() -> None:
    cache = BlockCache(8_000)
    for index in range(5):
        cache.put((1, index), bytes(1_000), awaited=True)
    assert cache.take((1, 0)) is not None
    cache.put((1, 5), bytes(1_000), awaited=True)
    assert (1, 0) in cache
    assert (1, 1) not in cache
