"""The catalog: which recordings exist, window by window.

A window (two aligned days of one tenant) is asked once, however many folders, processes and readers want it
at the same time. A settled window is kept until the catalog, bounded in records, needs its room; one that
reaches the present is asked again after `live_ttl_s`. When that fails, what was known is still shown, and
said to be stale; a refusal is not an outage and is passed on.

Whoever walks windows in order (`find`, `du`) waits for the first two: from the second on, the windows up to
the end of that month are asked together while the walk goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import trio
from cachetools import Cache as TableWithoutOrder
from cachetools import LRUCache

from .api import VoxoApi
from .central import CentralTime, window_bounds, window_days, window_of
from .clock import Clock
from .config import Cache
from .errors import BadAnswer, DeadlineExceeded, Unavailable, VoxofsError
from .flight import SingleFlight
from .gate import Demand, Priority
from .record import Record, accept, decode_report

_EMPTY_WINDOW_WEIGHT = 50
_YIELD_EVERY = 2_000
_WALKS = 4
_AHEAD_WINDOWS = 16


@dataclass(frozen=True)
class TenantKey:
    """A tenant as the tree and the API know it."""

    name: str
    id: int
    since: date


class Hour:
    """The recordings of one hour folder, sorted by name."""

    __slots__ = ("_by_start", "names", "records")

    def __init__(self, records: dict[str, Record]) -> None:
        self.names: Sequence[str] = sorted(records)
        self.records: Sequence[Record] = [records[name] for name in self.names]
        self._by_start: tuple[list[int], list[int]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int | None:
        """Where a name stands in the listing, or None."""
        place = bisect_left(self.names, name)
        return place if place < len(self.names) and self.names[place] == name else None

    def by_start(self) -> tuple[Sequence[int], Sequence[int]]:
        """The listing in the order of the calls' starts: which index is at each place, and the reverse."""
        if self._by_start is None:
            order = sorted(range(len(self.records)), key=lambda index: self.records[index].instant_s)
            rank = [0] * len(order)
            for place, index in enumerate(order):
                rank[index] = place
            self._by_start = order, rank
        return self._by_start

    def place(self, name: str) -> int:
        """Where a name stands or would stand."""
        return bisect_left(self.names, name)


@dataclass
class Window:
    """Two days of one tenant. `fresh_until_s` is monotonic; infinite for a settled window."""

    hours: dict[tuple[date, str], Hour]
    count: int
    settled: bool
    fresh_until_s: float
    skipped: Counter[str] = field(default_factory=Counter)
    stale: VoxofsError | None = None
    """Why the last refresh failed, while what is shown is older than it should be."""

    def hours_of(self, day: date) -> list[str]:
        """The names of the hours of a day that hold a recording, in order."""
        return sorted(hour for its_day, hour in self.hours if its_day == day)


class _Walk:
    """Somebody going from window to window."""

    def __init__(self, window: int, day: date) -> None:
        self.window = window
        self.began = (day.year, day.month)
        self.steps = 0
        self.direction = 1

    def follows(self, window: int) -> bool:
        """Whether this is the next window of the walk; moves on if it is."""
        step = window - self.window
        if abs(step) != 1 or (self.steps and step != self.direction):
            return False
        self.window, self.direction, self.steps = window, step, self.steps + 1
        return True


class Catalog:
    """Windows in memory; requests for those that are not."""

    def __init__(
        self,
        api: VoxoApi,
        central: CentralTime,
        config: Cache,
        clock: Clock,
        nursery: trio.Nursery,
        *,
        deadline_s: float,
        on_skipped: Callable[[TenantKey, int, Counter[str]], None],
        on_stale: Callable[[TenantKey, int, VoxofsError, float], None],
        on_fresh: Callable[[TenantKey, int], None],
    ) -> None:
        self._api = api
        self._central = central
        self._config = config
        self._clock = clock
        self._deadline_s = deadline_s
        self._on_skipped = on_skipped
        self._on_stale = on_stale
        self._on_fresh = on_fresh
        self._flights: SingleFlight[tuple[str, int], Window] = SingleFlight(nursery)
        self._windows: LRUCache[tuple[str, int], Window] = LRUCache(config.records, self._weight)
        self._walks: dict[str, deque[_Walk]] = {}
        self.read_ahead = True

    @property
    def records(self) -> int:
        """Records in memory."""
        return max(0, int(self._windows.currsize) - _EMPTY_WINDOW_WEIGHT * len(self._windows))

    @property
    def windows(self) -> int:
        """Windows in memory."""
        return len(self._windows)

    def today(self) -> date:
        """The day it is now in Central Time."""
        return self._central.today(self._clock.wall_s())

    async def window(self, tenant: TenantKey, day: date, priority: Priority = Priority.READER) -> Window:
        """The window that holds a day. Raises what the API call raises, and `DeadlineExceeded`."""
        number = window_of(day)
        if priority is Priority.READER:
            self._note_step(tenant, number, day)
        window = self._windows.get((tenant.name, number))
        if window is None or window.fresh_until_s <= self._clock.monotonic_s():
            window = await self._begin(tenant, number, priority)
        return window

    def known(self, tenant: TenantKey, day: date) -> Window | None:
        """The window that holds a day, as far as it is in memory; does not count as use."""
        key = (tenant.name, window_of(day))
        return TableWithoutOrder.__getitem__(self._windows, key) if key in self._windows else None

    def drop_live(self) -> None:
        """Ask for every window that is not settled when it is next wanted (SIGHUP)."""
        for window in self._windows.values():
            if not window.settled:
                window.fresh_until_s = float("-inf")

    async def _begin(self, tenant: TenantKey, number: int, priority: Priority) -> Window:
        flight = self._flights.begin(
            (tenant.name, number), tenant.name, priority, lambda demand: self._ask(tenant, number, demand)
        )
        return await flight.wait(priority)

    async def _ask(self, tenant: TenantKey, number: int, demand: Demand) -> Window:
        """Ask for a window; fall back to what is known where the other side is out of reach."""
        key = (tenant.name, number)
        known = self._windows.get(key)
        # What is known must come while somebody still waits for it.
        patience_s = self._deadline_s if known is None else self._deadline_s / 2
        try:
            with trio.fail_after(patience_s):
                window = await self._request(tenant, number, demand)
        except (Unavailable, BadAnswer, trio.TooSlowError) as error:
            failure = _too_slow(tenant, patience_s) if isinstance(error, trio.TooSlowError) else error
            if known is None:
                raise failure from None
            known.stale = failure
            known.fresh_until_s = self._clock.monotonic_s() + self._config.live_ttl_s
            self._on_stale(tenant, number, failure, self._config.live_ttl_s)
            return known
        self._windows[key] = window
        self._on_fresh(tenant, number)
        return window

    async def _request(self, tenant: TenantKey, number: int, demand: Demand) -> Window:
        begin, end = window_bounds(number)
        asked_wall_s = self._clock.wall_s()
        asked_s = self._clock.monotonic_s()
        body = await self._api.report(tenant.id, begin, end, demand)
        records, not_objects = decode_report(body)
        del body
        skipped: Counter[str] = Counter()
        if not_objects:
            skipped["not an object"] = not_objects
        hours: dict[tuple[date, str], dict[str, Record]] = {}
        for done, (moment, record) in enumerate(accept(records, self._central, skipped)):
            if done % _YIELD_EVERY == 0:
                await trio.lowlevel.checkpoint()  # tens of thousands of records must not hold up readers
            if begin <= moment < end:
                self._file(hours, moment, record)
        if skipped:
            self._on_skipped(tenant, number, skipped)
        settled = asked_wall_s >= self._central.midnight_s(end.date()) + self._config.settle_s
        sorted_hours = {}
        for place, found in hours.items():
            sorted_hours[place] = Hour(found)
            await trio.lowlevel.checkpoint()
        return Window(
            sorted_hours,
            sum(map(len, sorted_hours.values())),
            settled,
            float("inf") if settled else asked_s + self._config.live_ttl_s,
            skipped,
        )

    @staticmethod
    def _file(hours: dict[tuple[date, str], dict[str, Record]], moment: datetime, record: Record) -> None:
        """The same uniqueId twice in an hour is one file: the later record stands."""
        folder = hours.setdefault((moment.date(), f"{moment.hour:02}"), {})
        name = record.name
        other = folder.get(name)
        if other is None or record.instant_s >= other.instant_s:
            folder[name] = record

    def _weight(self, window: Window) -> int:
        """A window that alone exceeds the limit is still kept, alone."""
        return min(window.count + _EMPTY_WINDOW_WEIGHT, self._config.records)

    def _note_step(self, tenant: TenantKey, number: int, day: date) -> None:
        """Recognise a walk; ask for what comes next."""
        if not self.read_ahead:
            return
        walks = self._walks.setdefault(tenant.name, deque(maxlen=_WALKS))
        if any(walk.window == number for walk in walks):
            return
        walk = next((walk for walk in walks if walk.follows(number)), None)
        if walk is None:
            walks.append(_Walk(number, day))
            return
        for ahead in self._ahead(tenant, walk, day):
            if (tenant.name, ahead) not in self._windows:
                self._flights.begin(
                    (tenant.name, ahead),
                    tenant.name,
                    Priority.PREFETCH,
                    lambda demand, ahead=ahead: self._ask(tenant, ahead, demand),  # type: ignore[misc]
                )

    def _ahead(self, tenant: TenantKey, walk: _Walk, day: date) -> range:
        """The windows worth asking for: to the end of the month, and beyond it only for a walk that has
        already crossed from one month to the next. Never more than half of the catalog's room."""
        mean = max((window.count for window in self._recent(tenant, walk)), default=0) + _EMPTY_WINDOW_WEIGHT
        most = min(_AHEAD_WINDOWS, self._config.records // (2 * mean))
        crossed = walk.began != (day.year, day.month)
        first, last = window_of(tenant.since), window_of(self.today())
        if not crossed:
            first = max(first, window_of(day.replace(day=1)))
            last = min(last, window_of(day.replace(day=monthrange(day.year, day.month)[1])))
        if walk.direction > 0:
            return range(walk.window + 1, min(last, walk.window + most) + 1)
        return range(walk.window - 1, max(first, walk.window - most) - 1, -1)

    def _recent(self, tenant: TenantKey, walk: _Walk) -> list[Window]:
        days = (window_days(walk.window - step * walk.direction)[0] for step in range(3))
        return [window for day in days if (window := self.known(tenant, day)) is not None]


def _too_slow(tenant: TenantKey, deadline_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the report of {tenant.name} did not come within {deadline_s:g} s: check the network"
    )
