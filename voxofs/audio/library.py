"""Recordings and their bytes: sizes, and fetches into the block cache.

    reader, stat-ahead, prefetch → Library.probe, .fetch → Fetch (a task) → lease → ranged GET → blocks

A *fetch* brings a run of blocks with one GET, which goes on with another where the transfer stops short. It
runs in a task of the library's own; readers wait for single blocks, and get each as it is complete. A block
that is under way is *owed*: nobody asks for it twice. Bytes are received into what the blocks are views of
(`Slab`), without a copy. A *probe* is the fetch that starts before the size is known, at byte 0; whoever
waits for the size is woken by the headers, not by the body.

Where there is a disk tier, a fetch looks there first, and what came from the network is offered to it. What
recordings consist of is asked of it an hour at a time (`recall`).

No await lies between reading these tables and changing them: recordings, owed blocks, the running probe.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import trio

from voxofs.clock import Clock
from voxofs.errors import NotFound, Replaced, Unavailable, VoxofsError
from voxofs.model import BLOCK_BYTES, Block, Edition, Record, RecordingKey, Tenant, Version
from voxofs.source.interface import Source
from voxofs.source.storage import LinkRefused, Storage, Transfer
from voxofs.store.tier import DiskTier
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.flight import failure_of
from voxofs.traffic.patience import Patience
from voxofs.traffic.retry import persistently

from .blocks import BlockCache, Slab, runs_of
from .leases import LINGER_S, Leases
from .recording import Fetch, Owed, Recording

HEAD_BYTES = BLOCK_BYTES
"""What a probe asks for when only the size is wanted: the part that every tool reads next comes with it."""

WHOLE_BYTES = 16 * BLOCK_BYTES
"""A recording up to this size (1 MiB) is fetched with one GET where it is going to be read."""

_MISSING_TTL_S = 30.0
"""How long a 404 is believed: a recording is stored within seconds of its call's end. A rule of thumb."""
_DISK_READ_BLOCKS = 16
_DISK_READ_MOST_BLOCKS = 64
"""A piece of the disk tier at first, because the first block waits for the last; then twice as much each
time, up to four pieces: a read is a thread's turn, and those took a tenth of a long recording's CPU time."""
_SMOOTHING = 1 / 8  # weight of the last probe's time, as for TCP's round trips (RFC 6298)
_DRAIN_BYTES = 262_144
"""Up to here it is cheaper to read on than to open another connection: 4 pieces of a body."""
_WASTE_BYTES = 65_536
"""As much as a system call brings from an ordinary socket's buffer. A rule of thumb."""


class Library:
    """All recordings in use, and the sizes of many more."""

    def __init__(
        self,
        source: Source,
        storage: Storage,
        cache: BlockCache,
        clock: Clock,
        nursery: trio.Nursery,
        *,
        patience: Patience,
        known_sizes: int,
        disk: DiskTier | None = None,
    ) -> None:
        self.leases = Leases(source, storage.http, clock, nursery)
        self._storage = storage
        self.cache = cache
        self.clock = clock
        self._nursery = nursery
        self.patience = patience
        self._known_sizes = known_sizes
        self._disk = disk
        self._recordings: OrderedDict[RecordingKey, Recording] = OrderedDict()
        self.fetches = 0
        """Fetches under way."""
        self.flows = 0
        """Of those, the ones that flow, or did."""
        self._waste = memoryview(bytearray(_WASTE_BYTES))
        """Where bytes go that nobody wants. One for all, as nobody reads it."""
        self.probe_s = 0.0
        """From the beginning of a probe to the size, on average; 0 before there was one."""
        self.forgetful = False
        """Whether what was known of a recording has ever been dropped for want of room."""

    def __len__(self) -> int:
        return len(self._recordings)

    def recordings(self) -> Iterator[Recording]:
        """Everything in memory; for tests and statistics."""
        return iter(self._recordings.values())

    def recording(self, tenant: Tenant, record: Record) -> Recording:
        """The recording that a record names. Same uniqueId, same start: same recording."""
        key = RecordingKey(tenant.name, record.unique_id, record.start_text)
        found = self._recordings.get(key)
        if found is None:
            found = self._recordings[key] = Recording(tenant, record)
            self._evict()
        else:
            self._recordings.move_to_end(key)
        return found

    async def recall(self, tenant: Tenant, records: Sequence[Record]) -> None:
        """Learn from the disk what these recordings consist of, as far as it was ever known."""
        if self._disk is None:
            return
        unknown = {
            RecordingKey(tenant.name, record.unique_id, record.start_text): record
            for record in records
            if self.peek(tenant, record) is None
        }
        for key, version in (await self._disk.versions(list(unknown))).items():
            recording = self.recording(tenant, unknown[key])
            if recording.edition is None and recording.probing is None:
                recording.edition = Edition(key, version)

    def peek(self, tenant: Tenant, record: Record) -> Edition | None:
        """The edition, where it is known; costs nothing and counts as nothing."""
        return self.known(RecordingKey(tenant.name, record.unique_id, record.start_text))

    def known(self, key: RecordingKey) -> Edition | None:
        """The same for whoever has no record at hand."""
        found = self._recordings.get(key)
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
            await self.begin_probe(recording, priority, extent_bytes).wait_opened(priority)
        return recording.edition

    def begin_probe(self, recording: Recording, priority: Priority, extent_bytes: int) -> Fetch:
        """The probe of this recording, begun now unless it is under way. Raises `NotFound` where that was
        the answer a moment ago."""
        if recording.missing is not None:
            error, until_s = recording.missing
            if self.clock.monotonic_s() < until_s:
                raise error.with_traceback(None)
            recording.missing = None
        if recording.probing is None:
            demand = Demand(recording.tenant.name, priority, LINGER_S)
            recording.probing = fetch = Fetch(recording, None, 0, extent_bytes, demand)
            fetch.began_s = self.clock.monotonic_s()
            self._start(fetch)
        return recording.probing

    def fetch(
        self,
        recording: Recording,
        edition: Edition,
        first: int,
        stop: int,
        priority: Priority,
        *,
        flows: bool = False,
    ) -> list[Fetch]:
        """Begin to fetch whatever of the blocks `first` to `stop` (exclusive) is neither in the cache nor
        under way; adjacent blocks share a GET. Returns what brings it. `flows`: the reader is likely to want
        what follows, too."""
        begun = []
        stop = min(stop, edition.blocks)
        missing = [i for i in range(first, stop) if not self._have(recording, edition, i)]
        for begin, end in runs_of(missing):
            stop_byte = min(end * BLOCK_BYTES, edition.size)
            flow = recording.flow_at(edition, begin * BLOCK_BYTES)
            gate = self._storage.gate
            if flow is not None and gate.waiting and gate.in_use >= gate.limit:
                flow.cut()  # who goes on stands in line again, behind those who have waited
            elif flow is not None:
                self._owe(flow, edition, begin, end)
                flow.extend(stop_byte)
                begun.append(flow)
                continue
            demand = Demand(recording.tenant.name, priority, LINGER_S)
            fetch = Fetch(recording, edition, begin * BLOCK_BYTES, stop_byte, demand)
            self._owe(fetch, edition, begin, end)
            if flows and end == stop and self._may_flow(recording, edition, stop):
                fetch.flows = True
                recording.flows.append(fetch)
                self.flows += 1
            begun.append(self._start(fetch))
        return begun

    def _may_flow(self, recording: Recording, edition: Edition, stop: int) -> bool:
        """Whether what follows has to come from the network, and may come as fast as it does. (Behind a disk
        tier it may be there; and a flow of 256 MiB outran the disk, which then kept a part of it.)"""
        return self._disk is None and stop < edition.blocks and not self._have(recording, edition, stop)

    def _have(self, recording: Recording, edition: Edition, index: int) -> bool:
        key = (edition, index)
        return key in recording.owed or key in self.cache

    def _evict(self) -> None:
        """Forget what was not used for longest; never what somebody uses."""
        surplus = len(self._recordings) - self._known_sizes
        if surplus <= 0:
            return
        idle = (key for key, each in self._recordings.items() if not each.users)
        for key in [key for _, key in zip(range(surplus), idle, strict=False)]:
            del self._recordings[key]
            self.forgetful = True

    # A fetch, from its start to its end.

    def _start(self, fetch: Fetch) -> Fetch:
        fetch.recording.users += 1
        self.fetches += 1
        self._nursery.start_soon(self._run, fetch)
        return fetch

    def _owe(self, fetch: Fetch, edition: Edition, first: int, stop: int) -> None:
        for index in range(first, stop):
            fetch.recording.owed[edition, index] = Owed(fetch)

    async def _run(self, fetch: Fetch) -> None:
        """A fetch's whole life."""
        try:
            with fetch.demand.limited():
                await self._fetch_all(fetch)
        except BaseException as error:
            self._end(fetch, failure_of(error, f"a fetch of {fetch.recording.record.unique_id}"))
            if not isinstance(error, Exception):
                raise
        else:
            self._end(fetch, None)

    async def _fetch_all(self, fetch: Fetch) -> None:
        """Fetch until nothing is owed: from the disk what is there, from the network the rest."""
        if self._disk is None or fetch.edition is None:
            await self._fetch_run(fetch)
            return
        first, stop = fetch.next_byte // BLOCK_BYTES, -(-fetch.stop_byte // BLOCK_BYTES)
        missing: list[int] = []
        begin, most = first, _DISK_READ_BLOCKS
        while begin < stop:
            end = min(begin + most, stop)
            blocks = await self._disk.read(fetch.edition, begin, end)
            for index, block in enumerate(blocks, begin):
                if block is None:
                    missing.append(index)
                else:
                    self._deliver(fetch, fetch.edition, index, block)
            begin, most = end, min(2 * most, _DISK_READ_MOST_BLOCKS)
        for begin, end in runs_of(missing):
            fetch.next_byte, fetch.stop_byte = begin * BLOCK_BYTES, min(end * BLOCK_BYTES, fetch.edition.size)
            fetch.slab = None
            await self._fetch_run(fetch)

    def _deliver(
        self, fetch: Fetch, edition: Edition, index: int, block: Block, slab: Slab | None = None
    ) -> bool:
        """Put a complete block where readers find it; whether one has waited for it."""
        owed = fetch.recording.owed.pop((edition, index))
        self.cache.put((edition, index), block, awaited=owed.awaited, slab=slab)
        owed.keep(block)
        return owed.awaited

    async def _fetch_run(self, fetch: Fetch) -> None:
        """Fetch adjacent bytes from the network. A round of tries that made progress earns another."""
        while True:
            reached = fetch.next_byte
            try:
                return await persistently(lambda: self._transfer(fetch), fetch.demand)
            except Unavailable:
                if fetch.next_byte == reached or not fetch.demand.waiters:
                    raise

    def _end(self, fetch: Fetch, error: VoxofsError | None) -> None:
        """Settle every table; whoever still waits learns why."""
        recording = fetch.recording
        if recording.probing is fetch:
            recording.probing = None
        if isinstance(error, Replaced) and recording.edition == fetch.edition:
            recording.edition = None
            if self._disk is not None and fetch.edition is not None:
                self._disk.forget(fetch.edition)
        if isinstance(error, NotFound) and fetch.edition is None:
            recording.missing = (error, self.clock.monotonic_s() + _MISSING_TTL_S)
        unkept = [key for key, owed in recording.owed.items() if owed.fetch is fetch]
        if unkept or not fetch.opened.settled:
            failure = error or Unavailable("the transfer ended early: try again")
            for key in unkept:
                recording.owed.pop(key).fail(failure)
            fetch.opened.fail(failure)
        fetch.slab = None
        if fetch in recording.flows:
            recording.flows.remove(fetch)
            self.flows -= 1
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
            reached, lease = fetch.next_byte, await self.leases.lease(fetch.recording, fetch.demand)
            try:
                async with self._storage.get(
                    lease.link.url, fetch.next_byte, fetch.asked_byte - 1, version, fetch.demand
                ) as transfer:
                    await self._receive(fetch, transfer)
                break
            except Unavailable as error:
                if error.status is None and fetch.next_byte == reached:
                    self.leases.doubt(fetch.recording, lease)
                raise
            except LinkRefused:
                if fetch.recording.lease is lease:
                    fetch.recording.lease = None
                if renewed:
                    raise

    async def _receive(self, fetch: Fetch, transfer: Transfer) -> None:
        """Receive the bytes into blocks."""
        if fetch.edition is None:
            self._open(fetch, transfer.version)
        skip = fetch.next_byte - transfer.begins  # a server that ignores ranges begins at 0
        while skip:
            skip -= (count := await transfer.read_into(self._waste[:skip]))
            if not count:
                return
        while fetch.next_byte < fetch.stop_byte or await fetch.goes_on(self._storage.gate):
            count = await transfer.read_into(fetch.room(self.cache.slab_bytes))
            if not count:
                return
            self._received(fetch, count)
        # Read to the end of the body: only then is the connection free for the next request. A long body that
        # was not asked for is cut off instead, by cancellation, which ends everything down to the socket.
        if transfer.ends - fetch.stop_byte > _DRAIN_BYTES:
            with trio.CancelScope() as enough:
                enough.cancel()
                while await transfer.read_into(self._waste):
                    pass
        else:
            while await transfer.read_into(self._waste):
                pass

    def _received(self, fetch: Fetch, count: int) -> None:
        """Blocks that are complete now go to the cache and to their waiters."""
        edition, slab = fetch.edition, fetch.slab
        assert edition is not None
        assert slab is not None
        index = fetch.next_byte // BLOCK_BYTES
        fetch.next_byte += count
        while index < edition.blocks:
            end = min((index + 1) * BLOCK_BYTES, edition.size)
            if end > fetch.next_byte:
                break
            block = slab.view(index * BLOCK_BYTES, end)
            awaited = self._deliver(fetch, edition, index, block, slab)
            if self._disk is not None:
                self._disk.offer(edition, index, block, read=awaited)
            index += 1

    def _open(self, fetch: Fetch, version: Version) -> None:
        """A probe has learned what the recording consists of."""
        edition = Edition(fetch.recording.key, version)
        fetch.edition = fetch.recording.edition = edition
        took_s = self.clock.monotonic_s() - fetch.began_s
        self.probe_s += (took_s - self.probe_s) * (_SMOOTHING if self.probe_s else 1.0)
        fetch.recording.probing = None
        fetch.stop_byte = min(fetch.stop_byte, edition.size)
        whole = fetch.stop_byte == edition.size
        self._owe(fetch, edition, 0, edition.blocks if whole else fetch.stop_byte // BLOCK_BYTES)
        fetch.opened.keep(edition)
        if self._disk is not None:
            self._disk.keep_version(edition.recording, version)
