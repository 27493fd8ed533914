"""Blocks in memory: pieces of recordings, bounded in bytes, shared by all handles.

Blocks lie in *slabs*: up to eight adjacent ones that a transfer is received into, or one alone that came from
the disk. A slab is one unit of memory, and nothing of it is free before all of it is. So it is counted whole
from its first block on, used whole, and thrown out whole: what is counted here is what is held. A view keeps
its slab's memory beyond that for as long as it lives. Views leave this room in two ways: in a read's answer,
which goes to the kernel or is copied at once, and as what waits to be written to the disk, all blocks of a
slab one after another and bounded there. Nobody else may keep one.

Two LRU segments, so that crawling a thousand headers does not throw out the recording somebody listens to:

* *unread*: slabs that were fetched ahead and that no reader has asked for yet; an eighth of the memory.
  What is prefetched must fit in here, or it pushes itself out;
* *read*: slabs move here when a reader takes something of them.

Of a very long recording no more than a share is kept, what was read last: else whoever plays one throws out
all others, and each of its slabs is memory that the process has never touched before.

Together they never exceed the configured limit. A block is immutable, and its key names recording and
version, so that nothing is ever invalidated: blocks of a replaced recording are no longer asked for and age
away. What is being received is counted with its first complete block; before, it is bounded by the
connections.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from voxofs.model import BLOCK_BYTES, Block, BlockKey, Edition

_OVERHEAD_BYTES = 350
"""A block's share of dictionaries, keys and object headers, by tracemalloc: `memory` means memory."""

_UNREAD_SHARE = 8
"""Of the default 256 MiB, 32 are for what is fetched ahead: 110 recordings of the typical 300 KB. A rule of
thumb."""

_LONG_SHARE = 8
_LONG_LEAST_BYTES = 32 << 20
"""What one recording may hold of the memory once it is read, and what it may hold of a small one. A call of
three hours at 24 kbit/s is 32 MiB, an eighth of the default; hardly a call is bounded. Rules of thumb."""

_SLAB_BLOCKS = 8
"""Half a mebibyte: the largest read that the kernel makes of us (`mount.kernel`), so that most of them are
answered without a copy."""
_LEAST_SLABS = 8
"""Slabs that fit among the unread ones of a small cache. A rule of thumb."""


class Slab:
    """The bytes of a recording from `begin` to `end` (exclusive), as far as they have come.

    `alone`: it is this one block, which came whole.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_bytes",
        "_read_only",
        "begin",
        "blocks",
        "end",
        "segment",
        "weight",
    )

    def __init__(self, begin: int, end: int, alone: Block | None = None) -> None:
        self.begin = begin
        self.end = end
        self._bytes: bytearray | Block = bytearray(end - begin) if alone is None else alone
        self._read_only = memoryview(self._bytes).toreadonly()
        self.blocks: dict[BlockKey, Block] = {}
        """Those that are complete and in the cache."""
        self.weight = end - begin + _OVERHEAD_BYTES * max(1, -(-(end - begin) // BLOCK_BYTES))
        self.segment: _Segment | None = None
        """Where it is counted."""
        self._asked = 0

    def __repr__(self) -> str:
        return f"<Slab {self.begin}-{self.end}, {len(self.blocks)} blocks>"

    def room(self, position: int) -> memoryview:
        """Where the bytes from a position on belong."""
        return memoryview(self._bytes)[position - self.begin :]

    def view(self, begin: int, end: int) -> memoryview:
        """Bytes that have come."""
        return self._read_only[begin - self.begin : end - self.begin]

    def first_asked(self, first: int, stop: int) -> int:
        """How many of these blocks (numbers in the recording) no reader had asked for until now."""
        asked = ((1 << stop - first) - 1) << first  # a bit for each block
        fresh = asked & ~self._asked
        self._asked |= asked
        return fresh.bit_count()


class _Segment:
    """Slabs, the one that was used last at the end."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.slabs: OrderedDict[Slab, None] = OrderedDict()

    @property
    def oldest(self) -> Slab:
        """The one that was used longest ago, or added first."""
        return next(iter(self.slabs))

    def add(self, slab: Slab) -> None:
        """It is counted here from now on."""
        self.slabs[slab] = None
        self.used_bytes += slab.weight

    def drop(self, slab: Slab) -> None:
        """It is not any more."""
        del self.slabs[slab]
        self.used_bytes -= slab.weight


class BlockCache:
    """Least recently used slabs leave first."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.unread_limit_bytes = limit_bytes // _UNREAD_SHARE
        self._unread = _Segment(self.unread_limit_bytes)
        self._read = _Segment(limit_bytes - self.unread_limit_bytes)
        self._slabs: dict[BlockKey, Slab] = {}
        self._long_bytes = max(_LONG_LEAST_BYTES, limit_bytes // _LONG_SHARE)
        self._long: dict[Edition, _Segment] = {}
        """Slabs that were read of recordings longer than that, the one that was read first before others."""
        self.slab_bytes = BLOCK_BYTES * max(
            1, min(_SLAB_BLOCKS, self.unread_limit_bytes // (_LEAST_SLABS * BLOCK_BYTES))
        )
        """What a slab has at the most."""
        self.hits = 0
        """Blocks that a reader had asked for before."""
        self.ahead = 0
        """Blocks that had been fetched ahead, of their first reader."""
        self.misses = 0
        """Blocks that a reader had to wait for."""

    def __repr__(self) -> str:
        unread = len(self._unread.slabs)
        return f"<BlockCache {self.used_bytes}/{self.limit_bytes} bytes, {unread} slabs unread>"

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._slabs

    def __len__(self) -> int:
        return len(self._slabs)

    @property
    def used_bytes(self) -> int:
        """Bytes held, bookkeeping included."""
        return self._unread.used_bytes + self._read.used_bytes

    def take(self, key: BlockKey) -> Block | None:
        """A block for a reader; counts as use."""
        slab = self._slabs.get(key)
        if slab is None:
            self.misses += 1
            return None
        self.use(slab, key[1], key[1] + 1)
        return slab.blocks[key]

    def take_awaited(self, key: BlockKey) -> Block | None:
        """The same for a reader that was counted when it asked, and has waited since."""
        slab = self._slabs.get(key)
        if slab is None:
            return None
        slab.first_asked(key[1], key[1] + 1)
        self._used(slab)
        return slab.blocks[key]

    def holding(self, edition: Edition, first: int, stop: int) -> Slab | None:
        """The slab that holds all of the blocks `first` to `stop` (exclusive), where one does. No use yet."""
        slab = self._slabs.get((edition, first))
        return slab if slab is not None and self._slabs.get((edition, stop - 1)) is slab else None

    def use(self, slab: Slab, first: int, stop: int) -> None:
        """A reader takes the blocks `first` to `stop` (exclusive) of a slab that is here."""
        fresh = slab.first_asked(first, stop)
        self.ahead += fresh
        self.hits += stop - first - fresh
        self._used(slab)

    def _used(self, slab: Slab) -> None:
        if slab.segment is self._read:
            self._read.slabs.move_to_end(slab)
        else:
            self._keep(self._read, slab)

    def put(self, key: BlockKey, block: Block, *, awaited: bool, slab: Slab | None = None) -> None:
        """Store a block, which is a part of this slab, or alone; `awaited` where a reader is about to take
        it."""
        begin = key[1] * BLOCK_BYTES
        slab = slab or Slab(begin, begin + len(block), alone=block)
        known = self._slabs.get(key)
        segment = self._read if awaited or slab.segment is self._read else self._unread
        fits = slab.weight <= segment.limit_bytes
        if known is not None:
            if known.segment is self._read and not (awaited and fits):
                return
            if awaited or fits:
                self._forget(key, known)
        if not fits:
            return
        self._slabs[key] = slab
        slab.blocks[key] = block
        if awaited:
            slab.first_asked(key[1], key[1] + 1)
        if slab.segment is not segment:
            self._keep(segment, slab)

    def _forget(self, key: BlockKey, slab: Slab) -> None:
        """This block is another one now; with its last block a slab goes."""
        if len(slab.blocks) == 1:
            self._throw_out(slab)
            return
        del self._slabs[key]
        del slab.blocks[key]

    def _keep(self, segment: _Segment, slab: Slab) -> None:
        """Count a slab here, as the one that was used last; those that were not used for longest leave."""
        if slab.segment is not None:
            slab.segment.drop(slab)
        segment.add(slab)
        slab.segment = segment
        while segment.used_bytes > segment.limit_bytes:
            self._throw_out(segment.oldest)
        edition = next(iter(slab.blocks))[0]
        if edition.size > self._long_bytes and segment is self._read:
            long = self._long.setdefault(edition, _Segment(self._long_bytes))
            long.add(slab)
            while long.used_bytes > long.limit_bytes:
                self._throw_out(long.oldest)

    def _throw_out(self, slab: Slab) -> None:
        """With all of its blocks."""
        edition = next(iter(slab.blocks))[0]
        if slab.segment is not None:
            slab.segment.drop(slab)
            slab.segment = None
        if (long := self._long.get(edition)) is not None and slab in long.slabs:
            long.drop(slab)
            if not long.slabs:
                del self._long[edition]
        for key in slab.blocks:
            del self._slabs[key]
        slab.blocks.clear()


def runs_of(indexes: list[int]) -> Iterator[tuple[int, int]]:
    """Adjacent numbers as half-open ranges."""
    begin = 0
    for i in range(1, len(indexes) + 1):
        if i == len(indexes) or indexes[i] != indexes[i - 1] + 1:
            yield indexes[begin], indexes[i - 1] + 1
            begin = i
