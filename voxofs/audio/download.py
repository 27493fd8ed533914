"""A recording from its first byte to its last, past the block cache: for whoever keeps it somewhere else.

    link → one ranged GET to the end → pieces to a sink

It costs one request pair, however long the recording is. A transfer that breaks goes on where it stopped,
with the ETag of the first answer; where the recording was replaced meanwhile, everything begins again. The
deadline is for the first byte and for every silence after it, not for the whole: a long recording takes as
long as it takes.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import trio

from voxofs.clock import Clock
from voxofs.errors import BadAnswer, DeadlineExceeded, Replaced, Unavailable, VoxofsError
from voxofs.model import Record, Tenant, Version
from voxofs.source.interface import Source
from voxofs.source.storage import LinkRefused, Storage, Transfer
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.patience import Patience
from voxofs.traffic.retry import persistently

from .leases import LEASE_MARGIN, doubted
from .recording import Lease

_TO_THE_END = 2**48
"""A last byte beyond any recording; the answer ends with what there is (RFC 9110, 14.1.2)."""
_REPLACED_AT_MOST = 3
"""Times that a recording may be replaced under one download. A rule of thumb: once is an accident."""


class Sink(Protocol):
    """Where the bytes go. What it raises ends the download."""

    async def begin(self, version: Version) -> None:
        """Bytes follow from the first one on; what was taken before is void."""

    async def take(self, piece: bytes | memoryview) -> None:
        """The next bytes."""


@dataclass
class _Progress:
    """How far one download has come."""

    tenant: Tenant
    record: Record
    sink: Sink
    demand: Demand
    version: Version | None = None
    received: int = 0
    lease: Lease | None = None


class Downloads:
    """Whole recordings, any number at once; the gates decide how many requests are under way."""

    def __init__(self, source: Source, storage: Storage, clock: Clock, patience: Patience) -> None:
        self._source = source
        self._storage = storage
        self._clock = clock
        self._patience = patience

    async def fetch(self, tenant: Tenant, record: Record, sink: Sink) -> Version:
        """Bring a recording to the sink. Raises `NotFound`, `AccessDenied`, `Unavailable`, `BadAnswer`,
        `Replaced`, `DeadlineExceeded`, and what the sink raises."""
        progress = _Progress(tenant, record, sink, Demand(tenant.name, Priority.READER))
        replaced = 0
        while True:
            before = progress.version, progress.received
            try:
                return await self._round(progress)
            except (Unavailable, DeadlineExceeded):
                if (progress.version, progress.received) == before:
                    raise
            except Replaced:
                replaced += 1
                if replaced > _REPLACED_AT_MOST:
                    raise
                progress.version, progress.received = None, 0

    async def _round(self, progress: _Progress) -> Version:
        """Tries for as long as the deadline allows; every byte puts it off."""
        what = f"fetching {progress.record.unique_id}"
        with (
            self._patience.limited(what) as scope,
            progress.demand.waited_for(Priority.READER),
        ):
            return await persistently(lambda: self._try(progress, scope), progress.demand)
        raise AssertionError("unreachable: a deadline that passes raises")

    async def _try(self, progress: _Progress, scope: trio.CancelScope) -> Version:
        """One GET, or two where the link turned out to be dead."""
        for renewed in (False, True):
            reached, lease = progress.received, await self._lease(progress)
            try:
                async with self._storage.get(
                    lease.link.url, progress.received, _TO_THE_END, progress.version, progress.demand
                ) as transfer:
                    return await self._receive(progress, transfer, scope)
            except Unavailable as error:
                if error.status is None and progress.received == reached:
                    progress.lease = doubted(lease, self._clock.monotonic_s())
                raise
            except LinkRefused:
                progress.lease = None
                if renewed:
                    raise
        raise AssertionError("unreachable: the second try returns or raises")

    async def _lease(self, progress: _Progress) -> Lease:
        now_s = self._clock.monotonic_s()
        if progress.lease is None or now_s >= progress.lease.until_s:
            link = await self._source.link(progress.tenant, progress.record, progress.demand)
            progress.lease = Lease(link, now_s + link.lifetime_s * (1 - LEASE_MARGIN))
        return progress.lease

    async def _receive(self, progress: _Progress, transfer: Transfer, scope: trio.CancelScope) -> Version:
        version = transfer.version
        if progress.version is None:
            await progress.sink.begin(version)
            progress.version = version
        failure: VoxofsError | None = None
        skip = progress.received - transfer.begins  # a server that ignores ranges begins at 0
        # What is not wanted any more is cut off by cancellation, which unlike an exception or `break` ends
        # every generator down to the socket.
        with trio.CancelScope() as enough:
            async with aclosing(transfer.pieces()) as pieces:
                async for piece in pieces:
                    rest = memoryview(piece)[skip:]
                    skip = max(0, skip - len(piece))
                    if not rest or not version.size:  # a 416 about an empty recording has a body, too
                        continue
                    try:
                        await self._hand_on(progress, rest, version.size)
                    except VoxofsError as error:
                        failure = error
                        enough.cancel()
                    scope.deadline = trio.current_time() + self._patience.deadline_s
        if failure is not None:
            raise failure
        if progress.received < version.size:
            raise Unavailable(f"the transfer of {progress.record.unique_id} stopped short: try again")
        return version

    @staticmethod
    async def _hand_on(progress: _Progress, piece: memoryview, size: int) -> None:
        if progress.received + len(piece) > size:
            what = progress.record.unique_id
            raise BadAnswer(f"the storage sent more of {what} than it said: tell its operator")
        await progress.sink.take(piece)
        progress.received += len(piece)
