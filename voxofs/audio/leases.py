"""Leases on links: a link and the moment from which it is no longer used.

One resolution at a time per recording: whoever needs a link that is being asked for waits for that one. A
link may be asked for ahead, before anybody knows which bytes will be wanted; then a connection to where it
leads is opened, too, because that takes as long as an answer.
"""

from __future__ import annotations

import trio

from voxofs.clock import Clock
from voxofs.errors import Unavailable
from voxofs.source.interface import Source
from voxofs.traffic.demand import Demand, Priority, following
from voxofs.traffic.flight import Flight, failure_of
from voxofs.traffic.http import HttpClient, origin_of

from .recording import Lease, Recording

LEASE_MARGIN = 0.1
"""Of a link's life: 6 s of 60 are for the request to reach the storage, which looks at its clock then."""
LINGER_S = 5.0
"""How long a request goes on that nobody waits for any more. Whoever pressed Ctrl-C often tries again; and a
storage that drips must not hold connections for longer. A rule of thumb."""

_DOUBTED_S = 2.0
"""How long a link that led to nobody may be used on: where the storage has moved, nobody waits for longer
than until a second try; where it is out of reach, a recording that is tried again and again costs a link as
often. A rule of thumb."""
_CONNECTIONS_AHEAD = 16
"""Idle connections at most that links asked for ahead have opened: half of what one origin has at first, so
that the first lookups find some while the others are still shaking hands. A rule of thumb."""


def doubted(lease: Lease, now_s: float) -> Lease:
    """A lease on a link that has led to nobody."""
    return lease._replace(until_s=min(lease.until_s, now_s + _DOUBTED_S))


class Leases:
    """Links of recordings, from a source."""

    def __init__(self, source: Source, http: HttpClient, clock: Clock, nursery: trio.Nursery) -> None:
        self._source = source
        self._http = http
        self._clock = clock
        self._nursery = nursery
        self.ahead = 0
        """Links that are being asked for ahead."""
        self.leads_to: str | None = None
        """The origin that the last link led to."""

    async def lease(self, recording: Recording, demand: Demand) -> Lease:
        """A link that is good for a while yet; resolved by one fetch while the others wait."""
        while True:
            lease = self._known(recording)
            if lease is not None:
                return lease
            if recording.leasing is None:
                return await self._resolve(recording, demand)
            with following(demand, recording.leasing.demand):
                await recording.leasing.wait_as(demand.priority, demand)

    def begin(self, recording: Recording, priority: Priority, batch: list[Demand]) -> None:
        """Ask for a link ahead of the first fetch, as one more of a batch, unless there is one or it is asked
        for. What fails is asked again when it is wanted. Where one finds the source out of reach, those of
        its batch that were not sent are given up."""
        if (
            self._known(recording) is not None
            or recording.leasing is not None
            or recording.probing is not None
        ):
            return
        demand = Demand(recording.tenant.name, priority, LINGER_S)
        recording.users += 1
        self.ahead += 1
        batch.append(demand)
        self._nursery.start_soon(self._ask_ahead, recording, demand, batch)

    async def _ask_ahead(self, recording: Recording, demand: Demand, batch: list[Demand]) -> None:
        try:
            with demand.limited():
                lease = await self.lease(recording, demand)
                await self._http.warm(origin_of(lease.link.url), _CONNECTIONS_AHEAD)
        except Unavailable:
            for other in batch:
                other.abandon()
        except BaseException as error:
            failure_of(error, f"asking for a link of {recording.record.unique_id}")  # tells of a defect
            if not isinstance(error, Exception):
                raise
        finally:
            recording.users -= 1
            self.ahead -= 1

    def doubt(self, recording: Recording, lease: Lease) -> None:
        """Nothing answers where this link leads: perhaps another one leads elsewhere."""
        if recording.lease is lease:
            recording.lease = doubted(lease, self._clock.monotonic_s())

    def _known(self, recording: Recording) -> Lease | None:
        lease = recording.lease
        return lease if lease is not None and self._clock.monotonic_s() < lease.until_s else None

    async def _resolve(self, recording: Recording, demand: Demand) -> Lease:
        """Ask for a link. Followers that find no lease afterwards ask by themselves."""
        resolving: Flight[None] = Flight(demand)
        recording.leasing = resolving
        try:
            asked_s = self._clock.monotonic_s()
            link = await self._source.link(recording.tenant, recording.record, demand)
            self.leads_to = origin_of(link.url)
            lease = recording.lease = Lease(link, asked_s + link.lifetime_s * (1 - LEASE_MARGIN))
            return lease
        finally:
            recording.leasing = None
            resolving.keep(None)
