"""Central Time: the wall clock that names the folders.

The API speaks in local times without an offset ("Returned timestamps are Central Time", the vendor's page),
daylight saving included. Folders follow that wall clock; an mtime must be a true instant. The two meet here.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import lru_cache

from dateutil import tz

_EPOCH_IN_UNIQUE_ID = re.compile(r"(?:^|-)(\d{9,11})\.\d+$")


_DAY_STEP_S = 900
"""A day begins on a quarter of an hour everywhere: offsets are multiples of it (tz database, since 1972)."""


_DAYS_KEPT = 4_096
"""Days whose offset is remembered: eleven years of them."""
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class CentralTime:
    """Conversions between the wall clock of one time zone and instants.

    Raises `ValueError` for a zone that does not exist.
    """

    def __init__(self, zone_name: str = "America/Chicago") -> None:
        zone = tz.gettz(zone_name) if zone_name else None
        if zone is None:
            raise ValueError(f"no time zone is called {zone_name!r}")
        self._zone = zone
        self._day = lru_cache(maxsize=4)(self._find_day)
        self._offset_s = lru_cache(maxsize=_DAYS_KEPT)(self._find_offset_s)
        self._half_hour_s = lru_cache(maxsize=4096)(self._find_half_hour_s)

    def today(self, wall_s: float) -> date:
        """The day at this instant."""
        return self._day(int(wall_s // _DAY_STEP_S))

    def _find_day(self, step: int) -> date:
        return self.wall_clock(step * _DAY_STEP_S).date()

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
        offset_s = self.offset_s(moment)
        if offset_s is not None:
            days = moment.toordinal() - _EPOCH_ORDINAL
            past_s = moment.hour * 3_600 + moment.minute * 60 + moment.second
            return days * 86_400 + past_s - offset_s
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

    def offset_s(self, moment: datetime) -> int | None:
        """How far the wall clock is ahead of UTC; None on a day on which that changes."""
        return self._offset_s(moment.toordinal())

    def _find_offset_s(self, ordinal: int) -> int | None:
        """The zone is asked at five times of the day: no zone changes twice within six hours. Nothing is said
        of a day whose midnight is skipped or comes twice, nor of the calendar's first and last."""
        if not date.min.toordinal() < ordinal < date.max.toordinal():
            return None
        day = date.fromordinal(ordinal)
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._zone)
        if not tz.datetime_exists(midnight) or tz.datetime_ambiguous(midnight):
            return None
        offsets = {(midnight + timedelta(hours=hours)).utcoffset() for hours in (0, 6, 12, 18, 24)}
        offset = offsets.pop()
        return None if offsets or offset is None else int(offset.total_seconds())

    def _find_half_hour_s(self, ordinal: int, hour: int, half: int) -> tuple[float, float]:
        """Both instants at which this half hour may begin (one and the same but once a year). Zones change
        on half hours, so that one look-up of the slow library serves 1,800 seconds of calls."""
        day = date.fromordinal(ordinal)
        moment = datetime(day.year, day.month, day.day, hour, 30 * half, tzinfo=self._zone)
        if not tz.datetime_exists(moment):
            resolved_s = tz.resolve_imaginary(moment).timestamp()
            return resolved_s, resolved_s
        return tz.enfold(moment, 0).timestamp(), tz.enfold(moment, 1).timestamp()


_SIXTY = {f"{number:02}": number for number in range(60)}


class Starts:
    """Reads the starts of many records, most of which share their hour with others."""

    def __init__(self, central: CentralTime) -> None:
        self._central = central
        self._hours: dict[str, tuple[datetime, int]] = {}
        """By what stands before the minutes: the hour, and the instant at which it begins."""

    def read(self, text: str, unique_id: str) -> tuple[datetime, int]:
        """The hour by the wall clock, and the instant. Raises `ValueError`, `OverflowError`."""
        known = self._hours.get(text[:-5])
        if known is not None and text[-3] == ":":
            minute, second = _SIXTY.get(text[-5:-3]), _SIXTY.get(text[-2:])
            if minute is not None and second is not None:
                return known[0], known[1] + minute * 60 + second
        moment = self._central.parse_start(text)
        instant_s = int(self._central.instant_s(moment, unique_id))
        hour = moment.replace(minute=0, second=0, microsecond=0)
        if _ends_with_seconds(text) and self._central.offset_s(moment) is not None:
            self._hours[text[:-5]] = hour, instant_s - moment.minute * 60 - moment.second
        return hour, instant_s


def _ends_with_seconds(text: str) -> bool:
    """Whether a start ends with its minutes and seconds, and not with an offset."""
    return len(text) == (17 if text[2] == "/" else 19) and text[-3] == text[-6] == ":"
