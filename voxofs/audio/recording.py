"""What is known of one recording, and what is under way for it.

A recording is one *edition* at a time: the version (size, ETag) that its first answer named. Blocks are kept
under the edition's name, every later range asks for the same ETag, and a replaced object ends the edition:
its handles fail, the next probe begins another. So bytes of two versions never meet.

A block that is under way is *owed*: nobody asks for it twice.

A fetch may *flow*: its request asks for everything up to the end, but only what its reader has come near to
is owed and received. Where the reader pauses, nothing is received, and TCP holds the other side back; where
it leaves, or pauses for long, the transfer is cut off.
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from voxofs.errors import NotFound
from voxofs.model import Block, BlockKey, Edition, Record, RecordingKey, Tenant
from voxofs.source.interface import Link
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.flight import Flight, Promise
from voxofs.traffic.gate import Gate

from .blocks import Slab

_HELD_S = 1.0
"""How long a transfer waits for a reader that pauses: to ask again costs a tenth of it. A rule of thumb."""


class Owed(Promise[Block]):
    """A block that is under way."""

    __slots__ = ("awaited", "fetch")

    def __init__(self, fetch: Fetch) -> None:
        super().__init__()
        self.fetch = fetch
        self.awaited = False
        """Whether a reader waits for it, or did."""

    async def wait_as(self, priority: Priority) -> Block:
        """The block, as soon as it is complete. Raises what the fetch ended with."""
        self.awaited = True
        with self.fetch.demand.waited_for(priority):
            return await self.wait()


class Fetch:
    """A run of bytes under way. `edition` is None in a probe until its headers are there; `opened` is the
    promise of it. `flows`: there will be more of it, as long as somebody says so in time."""

    __slots__ = (
        "_more",
        "began_s",
        "demand",
        "edition",
        "flows",
        "next_byte",
        "opened",
        "recording",
        "slab",
        "stop_byte",
    )

    def __init__(
        self, recording: Recording, edition: Edition | None, first: int, stop_byte: int, demand: Demand
    ) -> None:
        self.recording = recording
        self.edition = edition
        self.next_byte = first
        self.stop_byte = stop_byte
        self.began_s = 0.0
        """When a probe was begun (monotonic)."""
        self.demand = demand
        self.slab: Slab | None = None
        """Where `next_byte` belongs, once something has come."""
        self.opened: Promise[Edition] = Promise()
        self.flows = False
        self._more: trio.Event | None = None

    @property
    def asked_byte(self) -> int:
        """One past the last byte that a request has to ask for."""
        return self.edition.size if self.flows and self.edition is not None else self.stop_byte

    def room(self, most_bytes: int) -> memoryview:
        """Where the next bytes belong, in a slab of `most_bytes` at the most. Slabs end at multiples of that,
        as the kernel's reads do: so most of those lie in one."""
        slab = self.slab
        if slab is None or self.next_byte == slab.end:
            end = min((self.next_byte // most_bytes + 1) * most_bytes, self.asked_byte)
            slab = self.slab = Slab(self.next_byte, end)
        return slab.room(self.next_byte)[: self.stop_byte - self.next_byte]

    def extend(self, stop_byte: int) -> None:
        """More of it is wanted."""
        self.flows = stop_byte < self.asked_byte
        self.stop_byte = stop_byte
        self.demand.linger()
        if self._more is not None:
            self._more.set()

    def cut(self) -> None:
        """No more of it is wanted than what is owed."""
        self.flows = False
        if self._more is not None:
            self._more.set()

    async def goes_on(self, gate: Gate) -> bool:
        """Whether there is more to receive, once everything that was owed has come. Nothing is received while
        this waits, until somebody wants its place at the gate."""
        if self.flows and self.next_byte >= self.stop_byte:
            self._more = more = trio.Event()
            gate.idle.add(more.set)
            try:
                with trio.move_on_after(0.0 if gate.waiting else _HELD_S):
                    await more.wait()
            finally:
                gate.idle.discard(more.set)
                self._more = None
        if self.next_byte < self.stop_byte:
            return True
        self.flows = False
        return False

    async def wait_opened(self, priority: Priority) -> Edition:
        """The edition, as soon as the headers are there. Raises what the fetch ended with."""
        with self.demand.waited_for(priority):
            return await self.opened.wait()


class Lease(NamedTuple):
    """A link, and the moment from which it is no longer used, by the monotonic clock."""

    link: Link
    until_s: float


class Recording:
    """What is known of one recording. `users`: handles and fetches that must find it here."""

    __slots__ = (
        "edition",
        "flows",
        "lease",
        "leasing",
        "missing",
        "owed",
        "probing",
        "record",
        "tenant",
        "users",
    )

    def __init__(self, tenant: Tenant, record: Record) -> None:
        self.tenant = tenant
        self.record = record
        self.edition: Edition | None = None
        self.lease: Lease | None = None
        self.leasing: Flight[None] | None = None
        self.missing: tuple[NotFound, float] | None = None
        self.owed: dict[BlockKey, Owed] = {}
        self.probing: Fetch | None = None
        self.flows: list[Fetch] = []
        """Fetches that flow, or did."""
        self.users = 0

    @property
    def key(self) -> RecordingKey:
        """Its name, in every process."""
        return RecordingKey(self.tenant.name, self.record.unique_id, self.record.start_text)

    def flow_at(self, edition: Edition, position: int) -> Fetch | None:
        """What flows and would come to this position next."""
        return next(
            (f for f in self.flows if f.flows and f.stop_byte == position and f.edition == edition), None
        )

    def __repr__(self) -> str:
        return f"<Recording {self.tenant.name} {self.record.unique_id} {self.edition} {len(self.owed)} owed>"
