"""The calendar cut into windows: which days one report tells of.

A report covers a few days at most, so the calendar is cut into aligned windows of as many days. Aligned means
that every day belongs to exactly one window, whoever asks: neighbouring days share one request.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta


class Grid:
    """Windows of `days` days each, numbered from the beginning of the calendar."""

    def __init__(self, days: int) -> None:
        self.days = days

    def window_of(self, day: date) -> int:
        """The number of the window that holds a day."""
        return day.toordinal() // self.days

    def days_of(self, window: int) -> tuple[date, ...]:
        """The days of a window."""
        first = window * self.days
        return tuple(date.fromordinal(first + n) for n in range(self.days) if first + n > 0)

    def bounds(self, window: int) -> tuple[datetime, datetime]:
        """Begin and end by the wall clock of a window: half-open, whatever the source makes of `end`."""
        first = self.days_of(window)[0]
        begin = datetime(first.year, first.month, first.day)
        return begin, begin + timedelta(days=self.days)
