"""Who goes from window to window, and which windows are worth asking for ahead of them.

Whoever has just listed a month and begins with its first day (`find`, `du`, `cp -r`) is going through it: the
windows up to its end are asked together, as soon as the first one has told how large they are. Everybody
else who walks windows in order at a program's pace earns it: one window ahead, then two, four and so on. A
person who looks at one day and then at the next does not want the month.
"""

from __future__ import annotations

from calendar import monthrange
from collections import deque
from datetime import date

from voxofs.model import Tenant

from .grid import Grid

_TRAILS = 4
"""Trails of a tenant that are followed at once: a few shells and a backup. A rule of thumb."""
_PAUSE_S = 1.0
"""Between two looks, for a program's pace: programs take milliseconds, people type or click for longer. A
rule of thumb."""
_AHEAD_WINDOWS = 16
"""A month of windows of two days: `find` over a month asks for it whole."""


class Trail:
    """Somebody going from window to window."""

    def __init__(self, window: int, day: date, now_s: float, *, through: bool) -> None:
        self.window = window
        self.began = (day.year, day.month)
        self.through = through
        """Whether somebody goes through the month for certain."""
        self.seen_s = now_s
        """When somebody last looked into its window."""
        self.steps = 0
        self.direction = 1

    @property
    def earned(self) -> int:
        """How many windows may be asked for ahead of it."""
        return _AHEAD_WINDOWS if self.through else min(_AHEAD_WINDOWS, 2 ** max(0, self.steps - 1))

    def follows(self, window: int, now_s: float, pause_s: float) -> bool:
        """Whether this is the next window of the trail, come to without a pause; moves on if it is."""
        step = window - self.window
        if abs(step) != 1 or (self.steps and step != self.direction) or now_s - self.seen_s > pause_s:
            return False
        self.window, self.direction, self.steps = window, step, self.steps + 1
        self.seen_s = now_s
        return True


class Trails:
    """The trails of all tenants."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._by_tenant: dict[str, deque[Trail]] = {}

    def step(
        self, tenant: Tenant, window: int, day: date, now_s: float, *, took_s: float, through: bool
    ) -> Trail | None:
        """Somebody looks into a window: the trail that this begins or goes on with, where something is to be
        asked for ahead of it. `took_s`: how long a report takes, for which they may have waited; `through`:
        they have just listed the month."""
        trails = self._by_tenant.setdefault(tenant.name, deque(maxlen=_TRAILS))
        here = next((trail for trail in trails if trail.window == window), None)
        if here is not None:
            here.seen_s = now_s
            return None
        pause_s = _PAUSE_S + took_s
        trail = next((trail for trail in trails if trail.follows(window, now_s, pause_s)), None)
        if trail is not None:
            trail.through |= through
            return trail
        trails.append(Trail(window, day, now_s, through=through))
        return trails[-1] if through and day == max(day.replace(day=1), tenant.since) else None

    def ahead(self, trail: Trail, tenant: Tenant, day: date, today: date, most: int) -> range:
        """The windows worth asking for, `most` at the most: to the end of the month, and beyond it only for a
        trail that has already crossed from one month to the next."""
        most = min(trail.earned, most)
        first, last = self._grid.window_of(tenant.since), self._grid.window_of(today)
        if trail.began == (day.year, day.month):
            first = max(first, self._grid.window_of(day.replace(day=1)))
            last = min(last, self._grid.window_of(day.replace(day=monthrange(day.year, day.month)[1])))
        if trail.direction > 0:
            return range(trail.window + 1, min(last, trail.window + most) + 1)
        return range(trail.window - 1, max(first, trail.window - most) - 1, -1)
