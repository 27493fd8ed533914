"""The grammar of paths and the calendar: what exists without asking anybody.

A path is a tuple of names: () is the root, ("demo",) a tenant, ("demo", "2021", "08", "13", "19") an hour.
Down to the days everything follows from the configuration and from what day it is in Central Time. Hours
and recordings are the catalog's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache

from dateutil.relativedelta import relativedelta

from voxofs.central import CentralTime
from voxofs.clock import Clock
from voxofs.errors import NotFound
from voxofs.model import SUFFIX, Tenant

Names = tuple[str, ...]

MONTH_DEPTH = 3
DAY_DEPTH = 4
HOUR_DEPTH = 5
RECORDING_DEPTH = 6

STATUS_FOLDER = ".voxofs"
STATUS_FILE = "status"

_NEVER_TTL_S = 3_600.0
"""How long the kernel may remember that a name is outside the grammar: only a remount changes that."""
_NOT_YET_TTL_S = 30.0
"""The same for a day that has not begun: at midnight it may come this late."""


class NoSuchName(NotFound):
    """A name that cannot exist, or does not yet. `ttl_s`: how long that is certain."""

    def __init__(self, path: Names, ttl_s: float = _NEVER_TTL_S) -> None:
        super().__init__(f"{shown(path)} does not exist")
        self.ttl_s = ttl_s


def shown(path: Names) -> str:
    """A path as people write it."""
    return "/" + "/".join(path)


class Calendar:
    """Which tenants, years, months and days there are."""

    def __init__(self, tenants: Mapping[str, Tenant], central: CentralTime, clock: Clock) -> None:
        self.tenants = tenants
        self._central = central
        self._clock = clock

    def today(self) -> date:
        """The last day shown."""
        return self._central.today(self._clock.wall_s())

    def tenant(self, path: Names) -> Tenant:
        """The tenant a path lies under. Raises `NoSuchName`."""
        tenant = self.tenants.get(path[0])
        if tenant is None:
            raise NoSuchName(path)
        return tenant

    def names(self, path: Names) -> list[str]:
        """The folders in a folder above the days: tenants, years, months or days."""
        if not path:
            return sorted(self.tenants)
        tenant, today = self.tenant(path), self.today()
        if len(path) == 1:
            return [f"{year:04}" for year in range(tenant.since.year, today.year + 1)]
        begin, end = self.period(path)
        begin, end = max(begin, tenant.since), min(end, today + timedelta(days=1))
        if len(path) == 2:
            return [f"{month:02}" for month in range(begin.month, (end - timedelta(days=1)).month + 1)]
        return [f"{day:02}" for day in range(begin.day, (end - timedelta(days=1)).day + 1)]

    def period(self, path: Names) -> tuple[date, date]:
        """First day and first day after of a year, a month or a day that exists (deeper names are ignored).

        Raises `NoSuchName` outside the grammar, before `since` and in the future.
        """
        tenant, today = self.tenant(path), self.today()
        begin, end = _span(path[:DAY_DEPTH])
        if end <= tenant.since:
            raise NoSuchName(path)
        if begin > today:
            raise NoSuchName(path, _NOT_YET_TTL_S)
        return begin, end

    def day(self, path: Names) -> date:
        """The day that a path names or lies under. Raises `NoSuchName`."""
        return self.period(path[:DAY_DEPTH])[0]

    def ends_s(self, path: Names) -> float:
        """The instant at which a folder's period is over: its mtime, once that is past."""
        if len(path) == HOUR_DEPTH:
            day = self.day(path)
            begin = datetime(day.year, day.month, day.day, int(path[4]))
            return self._central.instant_s(begin + timedelta(hours=1))
        return self._central.midnight_s(self.period(path)[1])

    @staticmethod
    def check_leaf(path: Names) -> None:
        """Whether an hour's or a recording's name has the right form at all. Raises `NoSuchName`."""
        if len(path) > RECORDING_DEPTH:
            raise NoSuchName(path)
        if len(path) >= HOUR_DEPTH and not (_is_number(path[4], 2) and int(path[4]) < 24):
            raise NoSuchName(path)
        if len(path) == RECORDING_DEPTH and not path[5].endswith(SUFFIX):
            raise NoSuchName(path)


@lru_cache(maxsize=1024)
def _span(path: Names) -> tuple[date, date]:
    """The days that the year, month and day in a path cover. Raises `NoSuchName`."""
    numbers = path[1:]
    if not all(_is_number(name, width) for name, width in zip(numbers, (4, 2, 2), strict=False)):
        raise NoSuchName(path)
    try:
        begin = date(*(int(name) for name in numbers), *((1,) * (3 - len(numbers))))
        step = (relativedelta(years=1), relativedelta(months=1), relativedelta(days=1))[len(numbers) - 1]
        return begin, begin + step
    except (ValueError, OverflowError):
        raise NoSuchName(path) from None


def _is_number(name: str, width: int) -> bool:
    return len(name) == width and name.isascii() and name.isdigit()
