"""Reading one open recording: which blocks to wait for, and which to fetch ahead of the reader.

Readahead follows the pattern of the reads, not a setting:

* a read that starts where the last one ended is sequential; with every fetch that a sequential reader
  needs, the run that is asked for doubles, up to `window_limit` blocks, and the next one is begun when half
  of the present one is used, at full size already while one and a half lie ahead. From the second run on it
  is one transfer that flows (`recording`), and a run only says how far;
* a read elsewhere fetches the blocks that it touches and nothing more; so does a first read, and what
  follows it grows with the reads for half a megabyte: a look at head and tail (`exiftool`, `mediainfo`,
  thumbnailers) is not a reading through, and what comes after it is the kernel's own readahead;
* a recording of up to a megabyte is fetched with one GET, as soon as it looks like being read whole: the
  first request is larger than the kernel makes one of a small read, or the recordings before it in its folder
  were read whole.
"""

from __future__ import annotations

from voxofs.errors import Replaced
from voxofs.model import BLOCK_BYTES, Block, Edition
from voxofs.traffic.demand import Priority

from .blocks import Slab
from .library import WHOLE_BYTES, Library
from .recording import Fetch, Recording

EAGER_READ_BYTES = 131_072
"""The kernel's readahead where nobody has widened it (VM_READAHEAD_PAGES): a first read as large as that
comes from a reader that takes all it can get."""
NEVER_EAGER = 1 << 62
"""No read is as large: where the kernel reads 128 KiB at once at most, a program's 64 become those, too."""
_LOOK_BYTES = 524_288
"""What a sequential reader has read before runs are made of what it reads: the kernel makes 224 KiB of a
program's first 64 KiB in small reads, and 480 KiB of 100 (`get_next_ra_size`: 32, 64, 128, 256 KiB)."""
_SLACK_BYTES = 262_144
"""The kernel's asynchronous readahead may overtake the read before it."""
_FIRST_WINDOW_BLOCKS = WHOLE_BYTES // BLOCK_BYTES
_THROUGH_SHARE = 0.75
"""Of a recording's bytes, for having been read through: players skip silence and tails. A rule of thumb."""


_MOST_WINDOW_BLOCKS = 512
"""32 MiB: at 30 ms a request that is 1 GB/s, more than the daemon can hand on."""


class Readahead:
    """How far ahead of its reader a handle fetches. Pure arithmetic over block numbers. `eager_bytes`: a
    first read as large as that comes from a reader that takes all it can get."""

    __slots__ = (
        "_blocks",
        "_consumed",
        "_eager_bytes",
        "_front",
        "_limit",
        "_next_byte",
        "_whole",
        "_window",
    )

    def __init__(
        self, edition: Edition, window_limit: int, *, whole: bool, eager_bytes: int = EAGER_READ_BYTES
    ) -> None:
        self._blocks = edition.blocks
        self._limit = window_limit
        self._whole = whole
        self._eager_bytes = eager_bytes
        self._next_byte = 0
        self._consumed = 0
        self._front = 0
        self._window = 0

    def advance(self, offset: int, end: int) -> None:
        """A reader asks for these bytes now."""
        if abs(offset - self._next_byte) > _SLACK_BYTES or (offset and not self._consumed):
            self._window = 0
            self._consumed = 0
            self._whole = False
            self._front = 0
        elif offset == 0 and end - offset >= self._eager_bytes:
            self._whole = True
        self._consumed += end - offset
        self._next_byte = end

    @property
    def goes_on(self) -> bool:
        """Whether the reader has used one window, and is going through the next."""
        return self._window > _FIRST_WINDOW_BLOCKS

    def extent(self, first_missing: int, stop: int) -> int:
        """Where to stop fetching when the block `first_missing` is wanted and not there."""
        sequential = self._consumed > (stop - first_missing) * BLOCK_BYTES or self._whole
        if not sequential:
            self._window = 0
            self._front = stop
        elif self._window == 0 and not self._whole:
            self._window = stop - first_missing
            self._front = stop
        elif self._consumed <= _LOOK_BYTES and not self._whole:
            self._front = min(max(stop, first_missing + 2 * self._window), self._blocks)
            self._window = min(self._front - first_missing, _FIRST_WINDOW_BLOCKS - 1)
        else:
            self._window = min(max(2 * self._window, _FIRST_WINDOW_BLOCKS), self._limit)
            self._front = min(max(stop, first_missing + self._window), self._blocks)
        return self._front

    def next_run(self, stop: int, readers: int) -> tuple[int, int] | None:
        """The run to begin now, in the background, for a reader that has come as far as block `stop`, where
        so many readers share what is kept for it."""
        if self._window < _FIRST_WINDOW_BLOCKS or self._front >= self._blocks:
            return None
        limit = min(self._limit, max(_FIRST_WINDOW_BLOCKS + 1, self._limit // readers))
        full = self._window >= limit
        if self._front - stop > min(self._window, limit) * (3 if full else 1) // 2:
            return None
        first = max(self._front, stop)
        self._window = min(2 * self._window, limit)
        self._front = min(first + self._window, self._blocks)
        return first, self._front


class Reader:
    """One open handle. It belongs to one edition, and fails when that has ended."""

    def __init__(
        self,
        library: Library,
        recording: Recording,
        edition: Edition,
        *,
        whole: bool,
        eager_bytes: int = EAGER_READ_BYTES,
        priority: Priority = Priority.READER,
    ) -> None:
        self._library = library
        self._recording = recording
        self.edition = edition
        self._priority = priority
        window_limit = library.cache.unread_limit_bytes // 3 // BLOCK_BYTES
        self._readahead = Readahead(
            edition, max(2, min(_MOST_WINDOW_BLOCKS, window_limit)), whole=whole, eager_bytes=eager_bytes
        )
        self._delivered = 0
        self._flow: Fetch | None = None
        recording.users += 1

    def __repr__(self) -> str:
        return f"<Reader {self._recording!r}>"

    @property
    def read_through(self) -> bool | None:
        """Whether the recording was read (nearly) whole. None where that says nothing: it was not read at
        all, or is so short that its head is all of it."""
        if not self._delivered or self.edition.blocks < 2:
            return None
        return self._delivered >= _THROUGH_SHARE * self.edition.size

    def take(self, offset: int, size: int) -> Block | None:
        """What `read` returns, where all of it is in memory; None where something is missing: that counts as
        no use."""
        end = min(offset + size, self.edition.size)
        if offset >= end:
            return b""
        first, stop = offset // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        cache, edition = self._library.cache, self.edition
        slab = cache.holding(edition, first, stop)
        blocks: list[Block | None] = []
        if slab is not None:
            cache.use(slab, first, stop)
        else:
            for index in range(first, stop):
                if (edition, index) not in cache:
                    return None
            blocks = [cache.take((edition, index)) for index in range(first, stop)]
            if None in blocks:  # to use one that was fetched ahead may push another out
                return None
        self._readahead.advance(offset, end)
        return self._handed_on(slab, blocks, offset, end)

    async def read(self, offset: int, size: int) -> Block:
        """Bytes from `offset`; fewer than `size` only at the end of the recording.

        Raises `Replaced` where the recording is another one by now, `DeadlineExceeded`, and what the
        fetch raises.
        """
        end = min(offset + size, self.edition.size)
        if offset >= end:
            return b""
        first, stop = offset // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        edition = self.edition
        blocks = [self._library.cache.take((edition, index)) for index in range(first, stop)]
        self._readahead.advance(offset, end)
        if None in blocks:
            await self._fill(blocks, first, stop)
        return self._handed_on(self._library.cache.holding(edition, first, stop), blocks, offset, end)

    def _handed_on(self, slab: Slab | None, blocks: list[Block | None], offset: int, end: int) -> Block:
        """The bytes from `offset` to `end` of the slab or the blocks that they lie in; the next run is
        begun."""
        self._run_ahead(-(-end // BLOCK_BYTES))
        self._delivered += end - offset
        if slab is not None:
            return slab.view(offset, end)
        skip = offset // BLOCK_BYTES * BLOCK_BYTES
        return _join(blocks, offset - skip, end - skip)

    def close(self) -> None:
        """The handle is no longer used."""
        self._recording.users -= 1
        self._leave_flow()

    async def _fill(self, blocks: list[Block | None], first: int, stop: int) -> None:
        """Wait for the blocks that are not there yet, having asked for those that nobody asked for."""
        recording, edition = self._recording, self.edition
        if recording.edition is not None and recording.edition != edition:
            raise Replaced("the recording was replaced while it was open: open it again to read the new one")
        missing = first + blocks.index(None)
        extent = self._readahead.extent(missing, stop) if self._unasked(missing, stop) else stop
        self._fetch(missing, extent, self._priority)
        self._run_ahead(stop)  # now, not when this is there: the next run's delay passes meanwhile
        what = f"reading the audio of {recording.record.unique_id}"
        with self._library.patience.limited(what):
            for place, block in enumerate(blocks):
                if block is None:
                    blocks[place] = await self._block(first + place)

    def _unasked(self, first: int, stop: int) -> bool:
        """Whether a fetch is needed at all, or everything is under way already."""
        return any((self.edition, index) not in self._recording.owed for index in range(first, stop))

    async def _block(self, index: int) -> Block:
        key = (self.edition, index)
        block = self._library.cache.take_awaited(key)
        if block is None:
            # Not there: under way, or so long under way that it has been pushed out again.
            self._library.fetch(self._recording, self.edition, index, index + 1, self._priority)
            return await self._recording.owed[key].wait_as(self._priority)
        return block

    def _run_ahead(self, stop: int) -> None:
        run = self._readahead.next_run(stop, max(1, self._library.flows))
        if run is not None:
            self._fetch(*run, Priority.READAHEAD)

    def _fetch(self, first: int, stop: int, priority: Priority) -> None:
        flows = self._readahead.goes_on
        brought = self._library.fetch(self._recording, self.edition, first, stop, priority, flows=flows)
        if brought and brought[-1] is not self._flow:
            self._leave_flow()
            self._flow = brought[-1] if brought[-1].flows else None

    def _leave_flow(self) -> None:
        """This reader is elsewhere, or gone. Another one that comes the same way asks again."""
        if self._flow is not None and not self._flow.demand.waiters:
            self._flow.cut()
        self._flow = None


def _join(blocks: list[Block | None], begin: int, end: int) -> Block:
    """The bytes from `begin` to `end` of these adjacent blocks, copied once at most."""
    if len(blocks) == 1:
        only = blocks[0]
        assert only is not None
        return only if begin == 0 and end == len(only) else only[begin:end]
    parts: list[memoryview | bytes] = [block for block in blocks if block is not None]
    assert len(parts) == len(blocks), "fewer bytes than were asked for look like an end of file"
    parts[-1] = memoryview(parts[-1])[: end - (len(parts) - 1) * BLOCK_BYTES]
    parts[0] = memoryview(parts[0])[begin:]
    return b"".join(parts)
