"""The block cache: pieces of recordings in memory, bounded in bytes, shared by all handles.

Two LRU segments, so that crawling a thousand headers does not throw out the recording somebody listens to:

* *unread*: blocks that were fetched ahead and that no reader has asked for yet; an eighth of the memory.
  What is prefetched must fit in here, or it pushes itself out;
* *read*: blocks move here when a reader takes them.

Together they never exceed the configured limit. A block is immutable, and its key names the version that it
belongs to, so that nothing is ever invalidated: blocks of a replaced recording are no longer asked for and
age away.
"""

from __future__ import annotations

from cachetools import LRUCache

BLOCK_BYTES = 65_536
"""The unit of caching. The head of a recording is one block: it brings the size, and tags and first frames
for whoever looks at headers only."""

BlockKey = tuple[int, int]
"""The version's serial number and the block's index."""

_OVERHEAD_BYTES = 350
"""A block's share of dictionaries, keys and object headers, by tracemalloc: `memory` means memory."""

_UNREAD_SHARE = 8


def _weight(block: bytes) -> int:
    return len(block) + _OVERHEAD_BYTES


class BlockCache:
    """Least recently used blocks leave first."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.unread_limit_bytes = limit_bytes // _UNREAD_SHARE
        self._unread: LRUCache[BlockKey, bytes] = LRUCache(self.unread_limit_bytes, _weight)
        self._read: LRUCache[BlockKey, bytes] = LRUCache(limit_bytes - self.unread_limit_bytes, _weight)
        self.hits = 0
        self.misses = 0

    def __repr__(self) -> str:
        return f"<BlockCache {self.used_bytes}/{self.limit_bytes} bytes, {len(self._unread)} blocks unread>"

    def __contains__(self, key: BlockKey) -> bool:
        return key in self._read or key in self._unread

    def __len__(self) -> int:
        return len(self._read) + len(self._unread)

    @property
    def used_bytes(self) -> int:
        """Bytes held, bookkeeping included."""
        return int(self._unread.currsize + self._read.currsize)

    def take(self, key: BlockKey) -> bytes | None:
        """A block for a reader; counts as use."""
        block = self._read.get(key)
        if block is None:
            block = self._unread.pop(key, None)
            if block is not None:
                self._keep(self._read, key, block)
        if block is None:
            self.misses += 1
        else:
            self.hits += 1
        return block

    def put(self, key: BlockKey, block: bytes, *, awaited: bool) -> None:
        """Store a block; `awaited` where a reader is about to take it."""
        if awaited:
            self._unread.pop(key, None)
            self._keep(self._read, key, block)
        elif key not in self._read:
            self._keep(self._unread, key, block)

    @staticmethod
    def _keep(segment: LRUCache[BlockKey, bytes], key: BlockKey, block: bytes) -> None:
        if _weight(block) <= segment.maxsize:
            segment[key] = block
