"""Central Time: the wall clock that names the folders.

The API speaks in local times without an offset ("Returned timestamps are Central Time", the vendor's page),
daylight saving included. Folders follow that wall clock; an mtime must be a true instant. The two meet here.

Windows: a report covers two days at most, so the calendar is cut into aligned windows of two days. Aligned
means that every day belongs to exactly one window, whoever asks: neighbouring days share one request.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache

from dateutil import tz

WINDOW_DAYS = 2
"""The longest report the API gives (the vendor's page)."""

_API_FORMAT = "%Y-%m-%d %H:%M:%S"
_EPOCH_IN_UNIQUE_ID = re.compile(r"(?:^|-)(\d{9,11})\.\d+$")


class CentralTime:
    """Conversions between the wall clock of one time zone and instants.

    Raises `ValueError` for a zone that does not exist.
    """

    def __init__(self, zone_name: str = "America/Chicago") -> None:
        zone = tz.gettz(zone_name) if zone_name else None
        if zone is None:
            raise ValueError(f"no time zone is called {zone_name!r}")
        self._zone = zone
        self._half_hour_s = lru_cache(maxsize=4096)(self._find_half_hour_s)

    def today(self, wall_s: float) -> date:
        """The day at this instant."""
        return self.wall_clock(wall_s).date()

    def wall_clock(self, instant_s: float) -> datetime:
        """What clocks on the wall show at this instant, without an offset."""
        return datetime.fromtimestamp(instant_s, self._zone).replace(tzinfo=None)

    def midnight_s(self, day: date) -> float:
        """The instant at which this day begins."""
        return self.instant_s(datetime(day.year, day.month, day.day))

    def parse_start(self, text: str) -> datetime:
        """The wall clock of a record's `start` (`2021-08-13 19:36:59`) or of its later form, `time`
        (`08/13/21 19:36:59`). A string that carries an offset is converted. Raises `ValueError`."""
        if len(text) < 17:
            raise ValueError("too short for a date and a time")
        if text[2] == "/" and text[5] == "/":
            text = f"20{text[6:8]}-{text[0:2]}-{text[3:5]}T{text[9:]}"
        elif text[4] != "-" or text[10] not in " T":
            raise ValueError("neither YYYY-MM-DD HH:MM:SS nor MM/DD/YY HH:MM:SS")
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(self._zone).replace(tzinfo=None)
        return moment

    def instant_s(self, moment: datetime, unique_id: str = "") -> float:
        """The instant (seconds since the epoch) that a wall-clock time means.

        An hour that occurs twice is settled by the epoch second in an Asterisk uniqueId, where it has one;
        otherwise the first is taken. A time that daylight saving skipped counts as the moment after.
        """
        half_hour = moment.minute // 30
        first_s, second_s = self._half_hour_s(moment.toordinal(), moment.hour, half_hour)
        past_s = (moment.minute - 30 * half_hour) * 60 + moment.second
        if first_s != second_s:
            said = _EPOCH_IN_UNIQUE_ID.search(unique_id)
            if said is not None:
                told_s = int(said[1])
                if abs(second_s + past_s - told_s) < abs(first_s + past_s - told_s):
                    return second_s + past_s
        return first_s + past_s

    def _find_half_hour_s(self, ordinal: int, hour: int, half: int) -> tuple[float, float]:
        """Both instants at which this half hour may begin (one and the same but once a year). Zones change
        on half hours, so that one look-up of the slow library serves 1,800 seconds of calls."""
        day = date.fromordinal(ordinal)
        moment = datetime(day.year, day.month, day.day, hour, 30 * half, tzinfo=self._zone)
        if not tz.datetime_exists(moment):
            resolved_s = tz.resolve_imaginary(moment).timestamp()
            return resolved_s, resolved_s
        return tz.enfold(moment, 0).timestamp(), tz.enfold(moment, 1).timestamp()


def window_of(day: date) -> int:
    """The number of the aligned window that holds a day."""
    return day.toordinal() // WINDOW_DAYS


def window_days(window: int) -> tuple[date, ...]:
    """The days of a window."""
    first = window * WINDOW_DAYS
    return tuple(date.fromordinal(first + n) for n in range(WINDOW_DAYS) if first + n > 0)


def window_bounds(window: int) -> tuple[datetime, datetime]:
    """Begin and end by the wall clock of a window: half-open, whatever the server makes of `end`."""
    first = window_days(window)[0]
    begin = datetime(first.year, first.month, first.day)
    return begin, begin + timedelta(days=WINDOW_DAYS)


def api_text(moment: datetime) -> str:
    """A moment as the API's `start` and `end` parameters want it."""
    return moment.strftime(_API_FORMAT)
