"""Reading one open recording: which blocks to wait for, and which to fetch ahead of the reader.

Readahead follows the pattern of the reads, not a setting:

* a read that starts where the last one ended is sequential; with every fetch that a sequential reader
  needs, the run that is asked for doubles, up to `window_limit` blocks, and the next one is begun when half
  of the present one is used, at full size already while one and a half lie ahead: one flowing transfer, with
  another behind it that has begun before the reader needs it;
* a read elsewhere fetches the blocks that it touches and nothing more;
* a recording of up to a megabyte is fetched with one GET, as soon as it looks like being read whole: the
  first request is as large as the kernel's own readahead, or the recordings before it in its folder were.
  Otherwise (`ffprobe`, `file`, thumbnailers) the first steps are small.
"""

from __future__ import annotations

import trio

from .cache import BLOCK_BYTES
from .errors import DeadlineExceeded, Replaced
from .gate import Priority
from .library import WHOLE_BYTES, Library
from .recording import Edition, Recording

_EAGER_READ_BYTES = 131_072
_SLACK_BYTES = 262_144
"""The kernel's asynchronous readahead may overtake the read before it."""
_FIRST_WINDOW_BLOCKS = WHOLE_BYTES // BLOCK_BYTES
_THROUGH_SHARE = 0.75


class Readahead:
    """How far ahead of its reader a handle fetches. Pure arithmetic over block numbers."""

    __slots__ = ("_blocks", "_consumed", "_front", "_limit", "_next_byte", "_whole", "_window")

    def __init__(self, edition: Edition, window_limit: int, *, whole: bool) -> None:
        self._blocks = edition.blocks
        self._limit = window_limit
        self._whole = whole
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
        elif end - offset >= _EAGER_READ_BYTES and offset == 0:
            self._whole = True
        self._consumed += end - offset
        self._next_byte = end

    def extent(self, first_missing: int, stop: int) -> int:
        """Where to stop fetching when the block `first_missing` is wanted and not there."""
        sequential = self._consumed > (stop - first_missing) * BLOCK_BYTES or self._whole
        if not sequential:
            self._window = 0
            self._front = stop
        elif self._window == 0 and not self._whole:
            self._window = stop - first_missing
            self._front = stop
        else:
            self._window = min(max(2 * self._window, _FIRST_WINDOW_BLOCKS), self._limit)
            self._front = min(max(stop, first_missing + self._window), self._blocks)
        return self._front

    def next_run(self, stop: int) -> tuple[int, int] | None:
        """The run to begin now, in the background, for a reader that has come as far as block `stop`."""
        if self._window < _FIRST_WINDOW_BLOCKS or self._front >= self._blocks:
            return None
        full = self._window == self._limit
        if self._front - stop > self._window * (3 if full else 1) // 2:
            return None
        first = max(self._front, stop)
        self._window = min(2 * self._window, self._limit)
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
        deadline_s: float,
        priority: Priority = Priority.READER,
    ) -> None:
        self._library = library
        self._recording = recording
        self.edition = edition
        self._deadline_s = deadline_s
        self._priority = priority
        window_limit = library.cache.unread_limit_bytes // 3 // BLOCK_BYTES
        self._readahead = Readahead(edition, max(2, min(512, window_limit)), whole=whole)
        self._delivered = 0
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

    async def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset`; fewer than `size` only at the end of the recording.

        Raises `Replaced` where the recording is another one by now, `DeadlineExceeded`, and what the
        fetch raises.
        """
        end = min(offset + size, self.edition.size)
        if offset >= end:
            return b""
        first, stop = offset // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        serial = self.edition.serial
        blocks = [self._library.cache.take((serial, index)) for index in range(first, stop)]
        self._readahead.advance(offset, end)
        if None in blocks:
            await self._fill(blocks, first, stop)
        self._run_ahead(stop)
        self._delivered += end - offset
        return _join(blocks, offset - first * BLOCK_BYTES, end - first * BLOCK_BYTES)

    def close(self) -> None:
        """The handle is no longer used."""
        self._recording.users -= 1

    async def _fill(self, blocks: list[bytes | None], first: int, stop: int) -> None:
        """Wait for the blocks that are not there yet, having asked for those that nobody asked for."""
        recording, edition = self._recording, self.edition
        if recording.edition is not None and recording.edition is not edition:
            raise Replaced("the recording was replaced while it was open: open it again to read the new one")
        missing = first + blocks.index(None)
        extent = self._readahead.extent(missing, stop) if self._unasked(missing, stop) else stop
        self._library.fetch(recording, edition, missing, extent, self._priority)
        try:
            with trio.fail_after(self._deadline_s):
                for place, block in enumerate(blocks):
                    if block is None:
                        blocks[place] = await self._block(first + place)
        except trio.TooSlowError:
            raise DeadlineExceeded(
                f"the audio of {recording.record.unique_id} did not come within {self._deadline_s:g} s: "
                "check the network, then try again"
            ) from None

    def _unasked(self, first: int, stop: int) -> bool:
        """Whether a fetch is needed at all, or everything is under way already."""
        return any((self.edition.serial, index) not in self._recording.owed for index in range(first, stop))

    async def _block(self, index: int) -> bytes:
        key = (self.edition.serial, index)
        block = self._library.cache.take(key)
        if block is None:
            # Not there: under way, or so long under way that it has been pushed out again.
            self._library.fetch(self._recording, self.edition, index, index + 1, self._priority)
            return await self._recording.owed[key].wait(self._priority)
        return block

    def _run_ahead(self, stop: int) -> None:
        run = self._readahead.next_run(stop)
        if run is not None:
            self._library.fetch(self._recording, self.edition, *run, Priority.READAHEAD)


def _join(blocks: list[bytes | None], begin: int, end: int) -> bytes:
    """The bytes from `begin` to `end` of these adjacent blocks, copied once at most."""
    if len(blocks) == 1:
        only = blocks[0]
        assert only is not None
        return only if begin == 0 and end == len(only) else only[begin:end]
    parts: list[memoryview | bytes] = [block for block in blocks if block is not None]
    parts[-1] = memoryview(parts[-1])[: end - (len(parts) - 1) * BLOCK_BYTES]
    parts[0] = memoryview(parts[0])[begin:]
    return b"".join(parts)
