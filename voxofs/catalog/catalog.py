"""The catalog: which recordings exist, window by window.

A window (some aligned days of one tenant) is asked once, however many folders, processes and readers want it
at the same time. A settled window is kept until the catalog, bounded in records, needs its room; one that
reaches the present is asked again after `live_ttl_s`. When that fails, what was known is still shown, and
said to be stale; a refusal is not an outage and is passed on.

Where there is a disk tier, every window is kept there, too. One that was settled when it was asked for is
shown without a request, and asked again behind it when it is old; another one is what is shown where the
source cannot be asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta

import trio
from cachetools import Cache as TableWithoutOrder
from cachetools import LRUCache

from voxofs.central import CentralTime, Starts
from voxofs.clock import Clock
from voxofs.config.sections import CacheSection
from voxofs.errors import BadAnswer, DeadlineExceeded, Unavailable, VoxofsError
from voxofs.model import Record, Tenant
from voxofs.source.interface import Source
from voxofs.store.tier import DiskTier
from voxofs.traffic.demand import Demand, Priority
from voxofs.traffic.flight import Flight, SingleFlight

from .grid import Grid
from .memory import LARGE_RECORDS, give_back
from .trails import Trail, Trails
from .window import Window, hours_in

_EMPTY_WINDOW_WEIGHT = 50
"""What a window costs beside its records, in records: about 50 KB of tables, by tracemalloc."""
_AHEAD_SHARE = 1 / 3
"""Of the deadline: what is asked for ahead is answered within it even by an API that answers one report after
another, and long before the API counts as silent."""


_CLOCKS_AGREE_S = 60.0
"""Clocks that differ by less are both right: a Date header has whole seconds and takes a while to come. A
rule of thumb, and nothing beside the hours of `settle_s`."""

_CHUNK_RECORDS = 500
"""Of a window from the disk, between two turns of others: less than a millisecond."""
_MOST_AHEAD = 16
"""A month of windows of two days: half of the connections that the API has by default."""
_UNSEEN_AHEAD = 2
"""The same as long as nobody knows how many records a window has. A rule of thumb: 24,000 calls a day, the
largest office that was simulated, still leave room."""


class Catalog:
    """Windows in memory; requests for those that are not."""

    def __init__(
        self,
        source: Source,
        central: CentralTime,
        config: CacheSection,
        clock: Clock,
        nursery: trio.Nursery,
        *,
        deadline_s: float,
        disk: DiskTier | None = None,
        recheck_s: float = float("inf"),
        on_skipped: Callable[[Tenant, tuple[date, ...], Counter[str]], None],
        on_stale: Callable[[Tenant, tuple[date, ...], VoxofsError, float], None],
        on_fresh: Callable[[Tenant, tuple[date, ...]], None],
    ) -> None:
        self._source = source
        self._central = central
        self._config = config
        self._clock = clock
        self._deadline_s = deadline_s
        self._disk = disk
        self._recheck_s = recheck_s
        self._on_skipped = on_skipped
        self._on_stale = on_stale
        self._on_fresh = on_fresh
        self._server_ahead_s: float | None = None
        """The source's clock, as it was last told, less our monotonic one."""
        self._grid = Grid(source.span_days)
        self._trails = Trails(self._grid)
        self._flights: SingleFlight[tuple[str, int, int], Window] = SingleFlight(nursery)
        self._rechecks: SingleFlight[tuple[str, int], Window] = SingleFlight(nursery)
        self._drops = 0
        """How often `drop_live` was called: an answer that was asked for before may be old by now."""
        self._took_s: dict[str, float] = {}
        """How long the last report of a tenant took."""
        self._windows: LRUCache[tuple[str, int], Window] = LRUCache(config.records, self._weight)

    @property
    def records(self) -> int:
        """Records in memory."""
        return max(0, int(self._windows.currsize) - _EMPTY_WINDOW_WEIGHT * len(self._windows))

    @property
    def windows(self) -> int:
        """Windows in memory."""
        return len(self._windows)

    @property
    def asked(self) -> int:
        """Windows that are being asked for."""
        return len(self._flights) + len(self._rechecks)

    def today(self) -> date:
        """The day it is now in Central Time."""
        return self._central.today(self._clock.wall_s())

    async def window(
        self,
        tenant: Tenant,
        day: date,
        priority: Priority = Priority.READER,
        *,
        walks: bool = True,
        through: bool = False,
    ) -> Window:
        """The window that holds a day. Raises what the source raises, and `DeadlineExceeded`. `walks`:
        whether this may be a step of a walk, ahead of which windows are asked for; `through`: by somebody who
        has just listed its month."""
        known = self.at_hand(tenant, day, priority, walks=walks, through=through)
        return await self._fresh(tenant, self._grid.window_of(day), priority) if known is None else known

    def at_hand(
        self,
        tenant: Tenant,
        day: date,
        priority: Priority = Priority.READER,
        *,
        walks: bool = True,
        through: bool = False,
    ) -> Window | None:
        """The same where it is in memory and fresh; None where somebody has to be asked."""
        number = self._grid.window_of(day)
        if walks and priority is Priority.READER:
            self._step(tenant, number, day, through=through)
        known = self._windows.get((tenant.name, number))
        if known is not None and known.settled and not self._still_settled(known):
            known.settled, known.fresh_until_s = False, float("-inf")
        if known is not None and known.fresh_until_s > self._clock.monotonic_s():
            return known
        return None

    def ask_ahead(self, tenant: Tenant, day: date, stop: date) -> None:
        """Ask for the windows between the one that holds a day and `stop` (exclusive), as many as there is
        room for. For whoever goes through a period in order and says so; what fails is asked again when it is
        wanted."""
        number = self._grid.window_of(day)
        last = self._grid.window_of(stop - timedelta(days=1))
        for each in range(number + 1, min(last, number + self._room(tenant, number, 1)) + 1):
            if self._known(tenant, each) is None:
                self._begin(tenant, each, Priority.READAHEAD)

    def known(self, tenant: Tenant, day: date) -> Window | None:
        """The window that holds a day, as far as it is in memory; does not count as use."""
        return self._known(tenant, self._grid.window_of(day))

    def _known(self, tenant: Tenant, number: int) -> Window | None:
        key = (tenant.name, number)
        return TableWithoutOrder.__getitem__(self._windows, key) if key in self._windows else None

    def drop_live(self) -> None:
        """Ask for every window that is not settled by the source's own clock when it is next wanted (SIGHUP),
        whatever is already being asked for it."""
        self._drops += 1
        for window in self._windows.values():
            if not window.settled or window.server_s is None:
                window.fresh_until_s = float("-inf")

    def _begin(self, tenant: Tenant, number: int, priority: Priority) -> Flight[Window]:
        # A report that comes too late for those who waited is there for them when they try again.
        return self._flights.begin(
            (tenant.name, number, self._drops),
            Demand(tenant.name, priority, linger_s=self._deadline_s),
            lambda demand: self._load(tenant, number, demand),
            f"the report of {tenant.name}",
        )

    async def _fresh(self, tenant: Tenant, number: int, priority: Priority) -> Window:
        """A newer window; what is known where the other side is out of reach or slow. That must come while
        somebody still waits for it."""
        flight = self._begin(tenant, number, priority)
        failure: VoxofsError
        try:
            with trio.move_on_at((trio.current_time() + trio.current_effective_deadline()) / 2):
                return await flight.wait_as(priority)
            if self._known(tenant, number) is None:
                return await flight.wait_as(priority)
            failure = _too_slow(tenant)
        except (Unavailable, BadAnswer) as error:
            failure = error
        known = self._known(tenant, number)
        if known is None:
            raise failure
        known.fresh_until_s = self._clock.monotonic_s() + self._config.live_ttl_s
        self._on_stale(tenant, self._grid.days_of(number), failure, self._config.live_ttl_s)
        return known

    async def _load(self, tenant: Tenant, number: int, demand: Demand) -> Window:
        """A window from the disk, where it is kept and settled, else from the source."""
        if self._disk is not None and self._known(tenant, number) is None:
            kept = await self._recall(tenant, number, self._disk)
            if kept is not None and kept.settled:
                return kept
        return await self._request(tenant, number, demand)

    async def _recall(self, tenant: Tenant, number: int, disk: DiskTier) -> Window | None:
        """What the disk holds of a window. One that was not settled then is stale."""
        kept = await disk.window(tenant.name, number)
        if kept is None:
            return None
        begin, end = self._grid.bounds(number)
        hours = await hours_in(self._told_again(kept.records), begin, end)
        settles_s = self._settles_s(end)
        settled = kept.asked_s >= settles_s
        fresh_until_s = float("inf") if settled else float("-inf")
        count = sum(map(len, hours.values()))
        asked_s = self._clock.monotonic_s() - (self._clock.wall_s() - kept.asked_s)
        window = Window(hours, count, settled, fresh_until_s, asked_s, settles_s, kept.asked_s)
        self._windows[tenant.name, number] = window
        if settled and self._clock.wall_s() - kept.asked_s > self._recheck_s:
            demand = Demand(tenant.name, Priority.PREFETCH)
            what = f"asking again for the report of {tenant.name}"
            self._rechecks.begin(
                (tenant.name, number), demand, lambda demand: self._request(tenant, number, demand), what
            )
        return window

    def _told_again(self, records: Sequence[Record]) -> Iterator[list[tuple[datetime, Record]]]:
        """Records from the disk as a report tells them."""
        starts = Starts(self._central)
        for at in range(0, len(records), _CHUNK_RECORDS):
            some = records[at : at + _CHUNK_RECORDS]
            yield [(starts.read(each.start_text, each.unique_id)[0], each) for each in some]

    def _settles_s(self, end: datetime) -> float:
        """The instant from which a window that ends then has all its calls."""
        return self._central.midnight_s(end.date()) + self._config.settle_s

    def _still_settled(self, window: Window) -> bool:
        """Whether a window had settled when it was asked for, by the best clock there is now: the source's,
        as it was last told, else this machine's. Both may have been wrong then and be right now; how long ago
        that was is known for sure."""
        ahead_s = self._server_ahead_s
        if ahead_s is None:
            ahead_s = self._clock.wall_s() - self._clock.monotonic_s()
        return window.asked_s + ahead_s >= window.settles_s - _CLOCKS_AGREE_S

    async def _request(self, tenant: Tenant, number: int, demand: Demand) -> Window:
        begin, end = self._grid.bounds(number)
        key, drops, before = (tenant.name, number), self._drops, self._known(tenant, number)
        asked_wall_s = self._clock.wall_s()
        asked_s = self._clock.monotonic_s()
        report = await self._source.records(tenant, begin, end, demand)
        self._took_s[tenant.name] = self._clock.monotonic_s() - asked_s
        hours = await hours_in(report.chunks, begin, end)
        if sum(map(len, hours.values())) >= LARGE_RECORDS:
            give_back()
        if report.skipped:
            self._on_skipped(tenant, self._grid.days_of(number), report.skipped)
        if report.server_s is not None:
            self._server_ahead_s = report.server_s - self._clock.monotonic_s()
        told_s = asked_wall_s if report.server_s is None else report.server_s
        settles_s = self._settles_s(end)
        settled = told_s >= settles_s
        fresh_until_s = float("inf") if settled else asked_s + self._config.live_ttl_s
        count = sum(map(len, hours.values()))
        window = Window(hours, count, settled, fresh_until_s, asked_s, settles_s, report.server_s)
        if drops != self._drops and not settled:
            if self._known(tenant, number) is not before:
                return window  # somebody has asked since, and has a newer answer
            window.fresh_until_s = float("-inf")
        self._windows[key] = window
        if self._disk is not None:
            # By this machine's clock alone nothing has settled for good: it may have been ahead.
            kept_s = told_s if report.server_s is not None else min(told_s, settles_s - 1)
            self._disk.keep_window(tenant.name, number, window.records, kept_s)
        self._on_fresh(tenant, self._grid.days_of(number))
        return window

    def _weight(self, window: Window) -> int:
        """A window that alone exceeds the limit is still kept, alone."""
        return min(window.count + _EMPTY_WINDOW_WEIGHT, self._config.records)

    def _step(self, tenant: Tenant, number: int, day: date, *, through: bool) -> None:
        now_s, took_s = self._clock.monotonic_s(), self._took_s.get(tenant.name, 0.0)
        trail = self._trails.step(tenant, number, day, now_s, took_s=took_s, through=through)
        if trail is not None:
            self._look_ahead(tenant, trail, day)

    def _look_ahead(self, tenant: Tenant, trail: Trail, day: date) -> None:
        """Ask for the windows that a trail leads to next, never for more than half of the catalog's room, nor
        for more than the API seems to be able to answer soon."""
        most = self._room(tenant, trail.window, trail.direction)
        for number in self._trails.ahead(trail, tenant, day, self.today(), most):
            if (tenant.name, number) not in self._windows:
                self._begin(tenant, number, Priority.PREFETCH)

    def _room(self, tenant: Tenant, number: int, direction: int) -> int:
        """How many windows may be asked for ahead of one, judged by those that were last come to, and by how
        soon the API answers."""
        recent = [self._known(tenant, number - step * direction) for step in range(3)]
        known = [each.count for each in recent if each]
        most = self._config.records // (2 * (max(known, default=0) + _EMPTY_WINDOW_WEIGHT))
        took_s = self._took_s.get(tenant.name, self._deadline_s)
        soon = int(self._deadline_s * _AHEAD_SHARE / took_s) if took_s else self._config.records
        return min(_MOST_AHEAD if known else _UNSEEN_AHEAD, most, max(1, soon))


def _too_slow(tenant: Tenant) -> DeadlineExceeded:
    return DeadlineExceeded(f"the report of {tenant.name} takes long: check the network")
