"""The block cache against a model written as two plain lists."""

from __future__ import annotations

import weakref

from hypothesis import given, settings
from hypothesis import strategies as st

from voxofs.audio.blocks import _OVERHEAD_BYTES, BlockCache, Slab
from voxofs.model import BLOCK_BYTES, BlockKey, Edition, RecordingKey, Version


def edition(number: int) -> Edition:
    """A new object each time: keys are equal by what they name."""
    return Edition(RecordingKey("office", str(number), "2024-03-05 10:00:00"), Version(400_000, None, None))


KEYS = st.tuples(st.integers(1, 3).map(edition), st.integers(0, 5))
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
    hits = ahead = misses = 0
    for what, key, size in steps:
        if what == "take":
            block = cache.take(key)
            known = any(each == key for each, _ in model.read.blocks)
            assert block == model.take(key)
            hits, misses = hits + known, misses + (block is None)
            ahead += block is not None and not known
        else:
            block = (
                bytes([int(key[0].recording.unique_id) * 16 + key[1]]) * size
            )  # a key's bytes: immutable, whatever their number
            cache.put(key, block, awaited=what == "await")
            model.put(key, block, what == "await")
        held = {*(each for each, _ in model.unread.blocks), *(each for each, _ in model.read.blocks)}
        assert cache.used_bytes == model.unread.weight() + model.read.weight() <= limit
        assert len(cache) == len(model.unread.blocks) + len(model.read.blocks)
        assert all(
            ((edition(number), index) in cache) == ((edition(number), index) in held)
            for number in (1, 2, 3)
            for index in range(6)
        )
        assert (cache.hits, cache.ahead, cache.misses) == (hits, ahead, misses)


def test_a_sweep_of_blocks_nobody_reads_leaves_those_that_are_read() -> None:
    cache = BlockCache(80_000)
    for index in range(20):
        cache.put((edition(1), index), bytes(1_000), awaited=True)
    for index in range(1_000):
        cache.put((edition(2), index), bytes(1_000), awaited=False)
    assert all(cache.take((edition(1), index)) is not None for index in range(20))
    assert cache.used_bytes <= 80_000
    assert (edition(2), 999) in cache
    assert (edition(2), 0) not in cache


def test_what_was_used_last_stays() -> None:
    cache = BlockCache(8_000)
    for index in range(5):
        cache.put((edition(1), index), bytes(1_000), awaited=True)
    assert cache.take((edition(1), 0)) is not None
    cache.put((edition(1), 5), bytes(1_000), awaited=True)
    assert (edition(1), 0) in cache
    assert (edition(1), 1) not in cache


FETCHED = 8
"""Blocks that the transfers below bring, in slabs of three."""
BLOCKS_IN_SLAB = 3

TRANSFERS = st.lists(
    st.tuples(
        st.integers(1, 3),  # which recording
        st.integers(0, FETCHED - 1),  # from which block on
        st.integers(1, FETCHED),  # how many
        st.booleans(),  # whether a reader waits
        st.integers(0, FETCHED - 1),  # which block is taken then
    ),
    max_size=30,
)


@given(TRANSFERS, st.sampled_from([600_000, 2_000_000, 8_000_000]))
@settings(max_examples=100, deadline=None)
def test_a_slab_is_counted_whole_for_as_long_as_a_block_of_it_is_here(
    transfers: list[tuple[int, int, int, bool, int]], limit: int
) -> None:
    cache = BlockCache(limit)
    made: list[weakref.ref[Slab]] = []
    for number, first, count, awaited, taken in transfers:
        size = BLOCK_BYTES * FETCHED
        of = Edition(RecordingKey("office", str(number), "2024-03-05 10:00:00"), Version(size, None, None))
        slab = None
        for index in range(first, min(first + count, FETCHED)):
            begin = index * BLOCK_BYTES
            if slab is None or begin == slab.end:
                slab = Slab(begin, min(begin + BLOCKS_IN_SLAB * BLOCK_BYTES, size))
                made.append(weakref.ref(slab))
            slab.room(begin)[:BLOCK_BYTES] = bytes([number * 16 + index]) * BLOCK_BYTES
            cache.put((of, index), slab.view(begin, begin + BLOCK_BYTES), awaited=awaited, slab=slab)
        del slab
        block = cache.take((of, taken))
        assert block is None or block == bytes([number * 16 + taken]) * BLOCK_BYTES
        for index in range(FETCHED - 1):
            held = cache.holding(of, index, index + 2)
            if held is not None:
                both = held.view(index * BLOCK_BYTES, (index + 2) * BLOCK_BYTES)
                assert both[0] == number * 16 + index
                assert both[-1] == number * 16 + index + 1
        living = [slab for slab in (each() for each in made) if slab is not None]
        assert cache.used_bytes == sum(slab.weight for slab in living) <= limit, "counted is what is held"
        del living, held


def test_a_block_alone_shows_its_own_bytes_wherever_in_the_recording_it_lies() -> None:
    """As blocks come from the disk: a read within one of them once found nothing, which is an end of file."""
    cache, block = BlockCache(8 << 20), bytes(range(256)) * 256
    for index in (0, 1, 7):
        cache.put((edition(1), index), block, awaited=True)
        slab = cache.holding(edition(1), index, index + 1)
        assert slab is not None
        begin = index * 65_536
        assert slab.view(begin + 300, begin + 1_000) == block[300:1_000]


def test_of_a_very_long_recording_what_was_read_last_is_kept() -> None:
    """Whoever plays one throws out no other, and the process grows by a share of the memory only."""
    cache, block = BlockCache(320 << 20), bytes(BLOCK_BYTES)
    other = edition(1)
    cache.put((other, 0), block, awaited=True)
    long = Edition(RecordingKey("office", "long", "2024-03-05 10:00:00"), Version(300 << 20, None, None))
    share = 40 << 20
    for begin in range(0, long.blocks, 8):
        slab = Slab(begin * BLOCK_BYTES, (begin + 8) * BLOCK_BYTES)
        for index in range(begin, begin + 8):
            cache.put(
                (long, index),
                slab.view(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES),
                awaited=False,
                slab=slab,
            )
        assert cache.take((long, begin)) is not None
        assert cache.used_bytes <= share + BLOCK_BYTES + _OVERHEAD_BYTES
    kept = [index for index in range(long.blocks) if (long, index) in cache]
    assert kept == list(range(long.blocks - len(kept), long.blocks))
    assert len(kept) * BLOCK_BYTES > share * 0.95
    assert cache.take((other, 0)) is block
    assert cache.take((long, 0)) is None
    cache.put((long, 0), block, awaited=True)
    assert cache.take((long, 0)) is block, "whatever was thrown out may come again"


def test_what_one_recording_may_hold_of_a_small_memory_is_all_of_it() -> None:
    cache, block = BlockCache(32 << 20), bytes(BLOCK_BYTES)
    long = Edition(RecordingKey("office", "long", "2024-03-05 10:00:00"), Version(100 << 20, None, None))
    for index in range(long.blocks):
        cache.put((long, index), block, awaited=True)
    assert sum((long, index) in cache for index in range(long.blocks)) * BLOCK_BYTES > 27 << 20
