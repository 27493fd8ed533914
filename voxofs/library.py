"""Recordings and their bytes: sizes, leases on links, and fetches into the block cache.

    reader, stat-ahead, prefetch → Library.probe, .fetch → Fetch (a task) → lease → ranged GET → blocks

A *fetch* brings a run of blocks with one GET, which goes on with another where the transfer stops short. It
runs in a task of the library's own; readers wait for single blocks, and get each as it is complete. A block
that is under way is *owed*: nobody asks for it twice. A *probe* is the fetch that starts before the size is
known, at byte 0; whoever waits for the size is woken by the headers, not by the body.

A *lease* is a link and the moment from which it is no longer used. One resolution at a time per recording.

No await lies between reading these tables and changing them: recordings, owed blocks, the running probe.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import aclosing
from itertools import count

import trio

from .api import VoxoApi
from .cache import BLOCK_BYTES, BlockCache
from .catalog import TenantKey
from .clock import Clock
from .errors import BadAnswer, NotFound, Replaced, Unavailable, VoxofsError
from .gate import Abandoned, Demand, Priority
from .record import Record
from .recording import Edition, Fetch, Owed, Recording
from .retry import persistently
from .storage import LinkRefused, Storage, Transfer, Version

log = logging.getLogger(__name__)

HEAD_BYTES = BLOCK_BYTES
"""What a probe asks for when only the size is wanted: the part that every tool reads next comes with it."""

WHOLE_BYTES = 16 * BLOCK_BYTES
"""A recording up to this size (1 MiB) is fetched with one GET where it is going to be read."""

_LEASE_MARGIN = 0.1
_MISSING_TTL_S = 30.0
_DRAIN_BYTES = 262_144


class Library:
    """All recordings in use, and the sizes of many more."""

    def __init__(
        self,
        api: VoxoApi,
        storage: Storage,
        cache: BlockCache,
        clock: Clock,
        nursery: trio.Nursery,
        *,
        link_lifetime_s: float,
        deadline_s: float,
        known_sizes: int,
    ) -> None:
        self._api = api
        self._storage = storage
        self.cache = cache
        self._clock = clock
        self._nursery = nursery
        self._lease_s = link_lifetime_s * (1 - _LEASE_MARGIN)
        self._deadline_s = deadline_s
        self._known_sizes = known_sizes
        self._recordings: OrderedDict[tuple[str, str, str], Recording] = OrderedDict()
        self._serials = count(1)
        self.fetches = 0
        """Fetches under way."""

    def __len__(self) -> int:
        return len(self._recordings)

    def recordings(self) -> Iterator[Recording]:
        """Everything in memory; for tests and statistics."""
        return iter(self._recordings.values())

    def recording(self, tenant: TenantKey, record: Record) -> Recording:
        """The recording that a record names. Same uniqueId, same start: same recording."""
        key = (tenant.name, record.unique_id, record.start_text)
        found = self._recordings.get(key)
        if found is None:
            found = self._recordings[key] = Recording(tenant, record)
            self._evict()
        else:
            self._recordings.move_to_end(key)
        return found

    def peek(self, tenant: TenantKey, record: Record) -> Edition | None:
        """The edition, where it is known; costs nothing and counts as nothing."""
        found = self._recordings.get((tenant.name, record.unique_id, record.start_text))
        return None if found is None else found.edition

    async def probe(
        self,
        recording: Recording,
        *,
        extent_bytes: int = HEAD_BYTES,
        priority: Priority = Priority.READER,
    ) -> Edition:
        """The recording's edition, from a ranged GET that brings `extent_bytes` into the cache with it.

        Raises `NotFound`, `AccessDenied`, `Unavailable`, `BadAnswer`.
        """
        while recording.edition is None:
            fetch = self.begin_probe(recording, priority, extent_bytes)
            with fetch.demand.waited_for(priority):
                await fetch.opened.wait()
            if fetch.error is not None:
                raise fetch.error.with_traceback(None)
        return recording.edition

    def begin_probe(self, recording: Recording, priority: Priority, extent_bytes: int) -> Fetch:
        """The probe of this recording, begun now unless it is under way. Raises `NotFound` where that was
        the answer a moment ago."""
        if recording.missing is not None:
            error, until_s = recording.missing
            if self._clock.monotonic_s() < until_s:
                raise error.with_traceback(None)
            recording.missing = None
        if recording.probing is None:
            demand = Demand(recording.tenant.name, priority)
            recording.probing = self._start(Fetch(recording, None, 0, extent_bytes, demand))
        return recording.probing

    def fetch(
        self, recording: Recording, edition: Edition, first: int, stop: int, priority: Priority
    ) -> list[Fetch]:
        """Begin to fetch whatever of the blocks `first` to `stop` (exclusive) is neither in the cache nor
        under way; adjacent blocks share a GET."""
        begun = []
        missing = [
            i for i in range(first, min(stop, edition.blocks)) if not self._have(recording, edition, i)
        ]
        for begin, end in _runs(missing):
            stop_byte = min(end * BLOCK_BYTES, edition.size)
            demand = Demand(recording.tenant.name, priority)
            fetch = Fetch(recording, edition, begin * BLOCK_BYTES, stop_byte, demand)
            self._owe(fetch, edition, begin, end)
            begun.append(self._start(fetch))
        return begun

    def _have(self, recording: Recording, edition: Edition, index: int) -> bool:
        key = (edition.serial, index)
        return key in recording.owed or key in self.cache

    def _evict(self) -> None:
        """Forget what was not used for longest; never what somebody uses."""
        surplus = len(self._recordings) - self._known_sizes
        if surplus <= 0:
            return
        idle = (key for key, each in self._recordings.items() if not each.users)
        for key in [key for _, key in zip(range(surplus), idle, strict=False)]:
            del self._recordings[key]

    # A fetch, from its start to its end.

    def _start(self, fetch: Fetch) -> Fetch:
        fetch.recording.users += 1
        self.fetches += 1
        self._nursery.start_soon(self._run, fetch)
        return fetch

    def _owe(self, fetch: Fetch, edition: Edition, first: int, stop: int) -> None:
        for index in range(first, stop):
            fetch.recording.owed[edition.serial, index] = Owed(fetch)

    async def _run(self, fetch: Fetch) -> None:
        """Fetch until nothing is owed. A round of tries that made progress earns another."""
        try:
            while True:
                reached = fetch.next_byte
                try:
                    await persistently(
                        lambda: self._transfer(fetch), fetch.demand, self._deadline_s, self._clock.monotonic_s
                    )
                    break
                except Unavailable:
                    if fetch.next_byte == reached or not fetch.demand.waiters:
                        raise
            self._end(fetch, None)
        except VoxofsError as error:
            self._end(fetch, error)
        except Abandoned:
            self._end(fetch, Unavailable("the request was given up before it was sent: try again"))
        except Exception as error:
            log.exception("a defect in voxofs ended a fetch of %s", fetch.recording.record.unique_id)
            told = f"voxofs could not handle an answer ({type(error).__name__}): see its log"
            self._end(fetch, BadAnswer(told))
        except BaseException:
            self._end(fetch, Unavailable("voxofs is being unmounted"))
            raise

    def _end(self, fetch: Fetch, error: VoxofsError | None) -> None:
        """Settle every table; whoever still waits learns why."""
        recording = fetch.recording
        fetch.error = error
        if recording.probing is fetch:
            recording.probing = None
        if isinstance(error, Replaced) and recording.edition is fetch.edition:
            recording.edition = None
        if isinstance(error, NotFound) and fetch.edition is None:
            recording.missing = (error, self._clock.monotonic_s() + _MISSING_TTL_S)
        for key in [key for key, owed in recording.owed.items() if owed.fetch is fetch]:
            owed = recording.owed.pop(key)
            owed.error = error or Unavailable("the transfer ended early: try again")
            owed.ready.set()
        fetch.opened.set()
        fetch.parts.clear()
        recording.users -= 1
        self.fetches -= 1

    async def _transfer(self, fetch: Fetch) -> None:
        """GETs until nothing is owed: one that brought something and broke is continued at once, as long as
        somebody waits. Raises `Unavailable` where one brought nothing."""
        while True:
            reached = fetch.next_byte
            try:
                await self._transfer_once(fetch)
                if fetch.next_byte >= fetch.stop_byte:
                    return
                raise Unavailable(
                    f"the transfer of {fetch.recording.record.unique_id} stopped short: try again"
                )
            except Unavailable:
                if fetch.next_byte == reached or not fetch.demand.waiters:
                    raise

    async def _transfer_once(self, fetch: Fetch) -> None:
        """One GET, or two where the link turned out to be dead."""
        version = None if fetch.edition is None else fetch.edition.version
        for renewed in (False, True):
            link = await self._lease(fetch.recording, fetch.demand)
            try:
                async with self._storage.get(
                    link, fetch.next_byte, fetch.stop_byte - 1, version, fetch.demand
                ) as transfer:
                    await self._receive(fetch, transfer)
                break
            except LinkRefused:
                lease = fetch.recording.lease
                if lease is not None and lease[0] == link:
                    fetch.recording.lease = None
                if renewed:
                    raise

    async def _receive(self, fetch: Fetch, transfer: Transfer) -> None:
        """Cut the bytes into blocks as they arrive."""
        if fetch.edition is None:
            self._open(fetch, transfer.version)
        skip = fetch.next_byte - transfer.begins  # a server that ignores ranges begins at 0
        # Read to the end of the body even when every block is complete: only then is the connection free for
        # the next request. A body that was not asked for is cut off instead, by cancellation, which unlike
        # `break` ends every generator down to the socket.
        with trio.CancelScope() as enough:
            async with aclosing(transfer.pieces()) as pieces:
                async for piece in pieces:
                    if skip >= len(piece):
                        skip -= len(piece)
                        continue
                    self._cut(fetch, memoryview(piece)[skip:])
                    skip = 0
                    if fetch.next_byte >= fetch.stop_byte and transfer.ends - fetch.stop_byte > _DRAIN_BYTES:
                        enough.cancel()

    def _open(self, fetch: Fetch, version: Version) -> None:
        """A probe has learned what the recording consists of."""
        edition = Edition(version, next(self._serials))
        fetch.edition = fetch.recording.edition = edition
        fetch.recording.probing = None
        fetch.stop_byte = min(fetch.stop_byte, edition.size)
        whole = fetch.stop_byte == edition.size
        self._owe(fetch, edition, 0, edition.blocks if whole else fetch.stop_byte // BLOCK_BYTES)
        fetch.opened.set()

    def _cut(self, fetch: Fetch, piece: memoryview) -> None:
        """Put a piece's bytes where they belong; complete blocks go to the cache and to their waiters."""
        assert fetch.edition is not None
        while len(piece) and fetch.next_byte < fetch.stop_byte:
            index = fetch.next_byte // BLOCK_BYTES
            block_end = min((index + 1) * BLOCK_BYTES, fetch.edition.size)
            part = piece[: block_end - fetch.next_byte]
            piece = piece[len(part) :]
            fetch.next_byte += len(part)
            fetch.parts.append(part)
            if fetch.next_byte == block_end:
                block = b"".join(fetch.parts)
                fetch.parts.clear()
                key = (fetch.edition.serial, index)
                owed = fetch.recording.owed.pop(key)
                self.cache.put(key, block, awaited=owed.awaited)
                owed.block = block
                owed.ready.set()

    async def _lease(self, recording: Recording, demand: Demand) -> str:
        """A link that is good for a while yet; resolved by one fetch while the others wait."""
        while True:
            lease = recording.lease
            if lease is not None and self._clock.monotonic_s() < lease[1]:
                return lease[0]
            if recording.leasing is None:
                return await self._resolve(recording, demand)
            leader, resolved = recording.leasing
            leader.raise_to(demand.priority)
            await resolved.wait()

    async def _resolve(self, recording: Recording, demand: Demand) -> str:
        resolved = trio.Event()
        recording.leasing = (demand, resolved)
        try:
            asked_s = self._clock.monotonic_s()
            record = recording.record
            link = await self._api.link(recording.tenant.id, record.unique_id, record.start_text, demand)
            recording.lease = (link, asked_s + self._lease_s)
            return link
        finally:
            recording.leasing = None
            resolved.set()


def _runs(indexes: list[int]) -> Iterator[tuple[int, int]]:
    """Adjacent numbers as half-open ranges."""
    begin = 0
    for i in range(1, len(indexes) + 1):
        if i == len(indexes) or indexes[i] != indexes[i - 1] + 1:
            yield indexes[begin], indexes[i - 1] + 1
            begin = i
