"""What is known of one recording, and what is under way for it.

A recording is one *edition*: the version (size, ETag) that its first answer named. All blocks in the cache
carry the edition's serial number, every later range asks for the same ETag, and a replaced object ends the
edition: its handles fail, the next probe begins another. So bytes of two versions never meet.

A block that is under way is *owed*: nobody asks for it twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from .cache import BLOCK_BYTES, BlockKey
from .catalog import TenantKey
from .errors import NotFound, VoxofsError
from .gate import Demand, Priority
from .record import Record
from .storage import Version


@dataclass(frozen=True, eq=False)
class Edition:
    """One version of one recording, with the number under which the cache knows its blocks."""

    version: Version
    serial: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.version.size

    @property
    def blocks(self) -> int:
        """Blocks, the last of which may be short."""
        return -(-self.version.size // BLOCK_BYTES)


class Owed:
    """A block that is under way, and who waits for it."""

    __slots__ = ("awaited", "block", "error", "fetch", "ready")

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self.ready = trio.Event()
        self.awaited = False
        self.block: bytes | None = None
        self.error: VoxofsError | None = None

    async def wait(self, priority: Priority) -> bytes:
        """The block, as soon as it is complete. Raises what the fetch ended with."""
        self.awaited = True
        with self.fetch.demand.waited_for(priority):
            await self.ready.wait()
        if self.error is not None:
            raise self.error.with_traceback(None)
        assert self.block is not None
        return self.block


class Fetch:
    """A run of bytes under way. `edition` is None in a probe until its headers are there."""

    __slots__ = ("demand", "edition", "error", "next_byte", "opened", "parts", "recording", "stop_byte")

    def __init__(
        self, recording: Recording, edition: Edition | None, first: int, stop_byte: int, demand: Demand
    ) -> None:
        self.recording = recording
        self.edition = edition
        self.next_byte = first
        self.stop_byte = stop_byte
        self.demand = demand
        self.parts: list[memoryview] = []
        self.opened = trio.Event()
        self.error: VoxofsError | None = None


class Recording:
    """What is known of one recording. `users`: handles and fetches that must find it here."""

    __slots__ = ("edition", "lease", "leasing", "missing", "owed", "probing", "record", "tenant", "users")

    def __init__(self, tenant: TenantKey, record: Record) -> None:
        self.tenant = tenant
        self.record = record
        self.edition: Edition | None = None
        self.lease: tuple[str, float] | None = None
        self.leasing: tuple[Demand, trio.Event] | None = None
        self.missing: tuple[NotFound, float] | None = None
        self.owed: dict[BlockKey, Owed] = {}
        self.probing: Fetch | None = None
        self.users = 0

    def __repr__(self) -> str:
        return f"<Recording {self.tenant.name} {self.record.unique_id} {self.edition} {len(self.owed)} owed>"
