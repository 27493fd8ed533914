"""Central wall-clock hours, and which UTC hours they are.

Chicago's offset is a whole number of hours, so the calls of one UTC hour all lie in one wall-clock hour:
hours since the epoch are the simulator's unit. On the day daylight saving ends two of them share the wall
clock's one o'clock; on the day it begins none is two o'clock.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from dateutil.tz import gettz

HOUR_S = 3_600
_CHICAGO = gettz("America/Chicago")


@lru_cache(maxsize=100_000)
def wall_hour(hour: int) -> str:
    """The wall clock's `YYYY-MM-DD HH` during that hour since the epoch."""
    return local(hour * HOUR_S).strftime("%Y-%m-%d %H")


@lru_cache(maxsize=10_000)
def hours_of(wall: str) -> tuple[int, ...]:
    """The hours since the epoch during which the wall clock shows `YYYY-MM-DD HH`: one, two or none."""
    try:
        naive = datetime.strptime(wall, "%Y-%m-%d %H")
    except ValueError:
        return ()
    guess = int(naive.replace(tzinfo=UTC).timestamp()) // HOUR_S
    return tuple(hour for hour in (guess + 5, guess + 6) if wall_hour(hour) == wall)


@lru_cache(maxsize=10_000)
def is_switch_day(day: date) -> bool:
    """Whether the clocks change on that day."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=_CHICAGO)
    return noon.utcoffset() != (noon - timedelta(hours=12)).utcoffset()


def local(epoch_s: float) -> datetime:
    """The Central wall-clock time at that epoch second."""
    return datetime.fromtimestamp(epoch_s, _CHICAGO)
