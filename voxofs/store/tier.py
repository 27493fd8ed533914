"""The disk tier as the core sees it: ask, and be answered soon; offer, and never wait.

    reader → read, versions, window → a worker thread: index, one file, unseal → blocks, or None
    fetch  → offer, keep_version, keep_window → what is pending → one lane: `Keeper`, a batch at a time

The event loop never waits for the disk: everything that does runs in threads of the tier's own, four to
read and one for the lane. A reader for whom nothing has moved for `patience_s` goes to the network, and after
a few of those the tier rests; `readers` says what moving is. What is offered is gathered for a moment, so
that whole runs are written, and bounded: what the disk cannot take is dropped and counted. Nothing here
raises into whoever asks; what was not found and what went wrong look the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from voxofs.clock import Clock
from voxofs.model import Block, Edition, Record, RecordingKey, Version

from .health import DiskState, Rest
from .keeper import Batch, Keeper
from .lookup import KeptWindow, Lookup, Seen
from .names import Names
from .pending import Pending
from .readers import Readers, TooSlow
from .settings import DiskSettings

T = TypeVar("T")

_GATHER_S = 0.25
_GATHER_MOST_S = 2.0
"""Offers are gathered until none has come for as long, but not for longer than the second: most recordings
are complete by then (they take 0.1 s), and whoever fetches has the processor first. Rules of thumb; a cold
copy of an hour, which takes one second, was slowed by a tenth when writing began at once."""

_TICK_S = 1.0
"""How often age and room are looked at."""

_SLOW_READS = 3
"""So many readers in a row had to go to the network instead: the tier rests."""

_CLOSE_S = 5.0
"""What the last batch gets at the end; what is not written then is asked for again some day."""

_OPEN_S = 2.0
"""How long a mount waits for the directory to open; it takes 0.02 s."""

_STUCK_S = 5.0
"""A batch that takes longer is the disk's fault: a full one takes 0.1 s."""


class DiskTier:
    """Made by `open_tier`. All methods are for the event loop's thread."""

    def __init__(self, settings: DiskSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keeper = keeper = Keeper(settings, clock)
        self._names = Names(keeper.seal)
        self._lookup = Lookup(keeper.index, keeper.ledger, keeper.shelves, self._names, clock)
        self._pending = Pending(self._names, settings.pending_bytes)
        self._readers = Readers(settings.patience_s)
        self._lane = trio.CapacityLimiter(1)
        self._running = trio.CancelScope()
        self._opened = trio.Event()
        self._wanted = trio.Event()
        self._hurry = trio.Event()
        self._settlers: list[trio.Event] = []
        self._slow = 0
        self._began_s: float | None = None
        self._tidied_s = float("-inf")

    def __repr__(self) -> str:
        return (
            f"<DiskTier {self._settings.path}, {self.state.value}, {self._pending.used_bytes} bytes pending>"
        )

    # What it is doing.

    @property
    def state(self) -> DiskState:
        """Working or resting."""
        return DiskState.RESTING if self._stuck else self._keeper.health.state

    @property
    def reason(self) -> str | None:
        """Why it rests, and what to do."""
        return "that disk does not take what is written to it" if self._stuck else self._keeper.health.reason

    @property
    def _stuck(self) -> bool:
        return self._began_s is not None and self._clock.monotonic_s() - self._began_s > _STUCK_S

    @property
    def counts(self) -> Counter[str]:
        """What happened so far: blocks hit, missed, written, dropped; pieces expired, evicted, damaged;
        slow reads; rests."""
        return self._keeper.health.counts

    @property
    def audio_bytes(self) -> int:
        """What all audio in the directory took a moment ago."""
        return self._keeper.health.audio_bytes

    # Asking.

    async def read(self, edition: Edition, first: int, stop: int) -> list[bytes | None]:
        """The blocks `first` to `stop` (exclusive) of an edition; None for each that is not held."""
        blocks = await self._ask(lambda: self._lookup.read(edition, first, stop))
        if blocks is None:
            return [None] * (stop - first)
        misses = blocks.count(None)
        self.counts["hits"] += len(blocks) - misses
        self.counts["misses"] += misses
        return blocks

    async def version(self, recording: RecordingKey) -> Version | None:
        """Which bytes a recording consisted of when it was last asked for."""
        return (await self.versions([recording])).get(recording)

    async def versions(self, recordings: Sequence[RecordingKey]) -> dict[RecordingKey, Version]:
        """The same for many at once, a folder's or a window's; what is not kept is not in the answer."""
        return await self._ask(lambda: self._lookup.versions(recordings)) or {}

    async def window(self, tenant: str, number: int) -> KeptWindow | None:
        """The records of a window."""
        return await self._ask(lambda: self._lookup.window(tenant, number))

    async def _ask(self, work: Callable[[], tuple[T, Seen]]) -> T | None:
        """Look something up in a thread, but wait for it no longer than a reader should."""
        if not self._keeper.health.readable:
            await trio.lowlevel.checkpoint()
            return None
        try:
            answer, seen = await self._readers.run(work)
        except TooSlow:
            self._note_slow()
            return None
        self._slow = 0
        self._pending.batch.note(seen)
        if seen.urgent:
            self._wanted.set()
        return answer

    def _note_slow(self) -> None:
        self.counts["slow"] += 1
        self._slow += 1
        if self._slow >= _SLOW_READS and self._keeper.health.readable:
            self._slow = 0
            self._keeper.health.rest(
                Rest(f"that disk does not answer within {self._settings.patience_s:g} s")
            )

    # Offering.

    def offer(self, edition: Edition, index: int, block: Block, *, read: bool = False) -> None:
        """A block that was fetched; `read` where a reader waited for it. Never waits."""
        if not self._keeper.health.writable or not self._pending.add_block(edition, index, block, read):
            self.counts["dropped"] += 1
            return
        self._wanted.set()
        if self._pending.full:
            self._hurry.set()

    def keep_version(self, recording: RecordingKey, version: Version) -> None:
        """What a recording consists of. Never waits."""
        self._kept(self._keeper.health.writable and self._pending.add_version(recording, version))

    def keep_window(self, tenant: str, number: int, records: Collection[Record], asked_s: float) -> None:
        """The records of a settled window, asked for at `asked_s` (seconds since the epoch). Never waits."""
        writable = self._keeper.health.writable
        self._kept(writable and self._pending.add_window(tenant, number, records, asked_s))

    def _kept(self, taken: bool) -> None:
        if taken:
            self._wanted.set()
        else:
            self.counts["rows dropped"] += 1

    def forget(self, edition: Edition) -> None:
        """This edition was replaced: its version and its blocks are not wanted any more. Never waits."""
        self._pending.forget(edition)
        self._wanted.set()

    async def settle(self) -> None:
        """Wait until everything that was offered is written and visible, or dropped; age and room are
        looked at."""
        done = trio.Event()
        self._settlers.append(done)
        self._wanted.set()
        self._hurry.set()
        await done.wait()

    # The lane.

    async def _run(self) -> None:
        """Open the directory, and write what is offered until it is closed."""
        with self._running:
            await self._in_lane(self._keeper.open)
            self._opened.set()
            while True:
                with trio.move_on_after(_TICK_S):
                    await self._wanted.wait()
                if self._wanted.is_set():
                    await self._gather()
                await self._round()

    async def _gather(self) -> None:
        """Wait until nothing more is offered, or until it is time."""
        with trio.move_on_after(_GATHER_MOST_S):
            offered = -1
            while not self._hurry.is_set() and offered != self._pending.used_bytes:
                offered = self._pending.used_bytes
                with trio.move_on_after(_GATHER_S):
                    await self._hurry.wait()

    async def _round(self) -> None:
        settlers, self._settlers = self._settlers, []
        self._wanted, self._hurry = trio.Event(), trio.Event()
        batch = self._pending.take(self._clock.wall_s())
        now_s = self._clock.monotonic_s()
        tidy = bool(settlers) or now_s - self._tidied_s >= _TICK_S
        if tidy:
            self._tidied_s = now_s
        try:
            await self._in_lane(lambda: self._work(batch, tidy))
        finally:
            for each in settlers:
                each.set()

    def _work(self, batch: Batch, tidy: bool) -> None:
        """In the lane's thread."""
        if batch:
            self._keeper.bring(batch)
        if not self._pending.full:  # else the next batch does it in its own transaction
            self._keeper.publish()
        if tidy:
            self._keeper.tidy()

    async def _in_lane(self, work: Callable[[], None]) -> None:
        self._began_s = self._clock.monotonic_s()
        await trio.to_thread.run_sync(work, limiter=self._lane, abandon_on_cancel=True)
        self._began_s = None

    async def open(self, nursery: trio.Nursery) -> None:
        """Begin; wait for the directory, but not for long."""
        nursery.start_soon(self._run)
        with trio.move_on_after(_OPEN_S):
            await self._opened.wait()

    async def close(self) -> None:
        """Write what is pending, within a few seconds, and let go of the directory."""
        self._running.cancel()
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self._round()
            await self._in_lane(self._keeper.close)


@asynccontextmanager
async def open_tier(settings: DiskSettings, clock: Clock, nursery: trio.Nursery) -> AsyncIterator[DiskTier]:
    """A tier that is open, unless the disk is slow or does not let itself be used: then it opens later. Its
    lane runs in the nursery."""
    tier = DiskTier(settings, clock)
    await tier.open(nursery)
    try:
        yield tier
    finally:
        await tier.close()
