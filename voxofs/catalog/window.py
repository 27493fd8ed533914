"""What one report tells: a window of days, cut into the hours that are folders."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import trio

from voxofs.model import Record, Tenant
from voxofs.traffic.flight import Promise

from .calls import Calls, Rows, Together

FolderKey = tuple[str, date, str]
"""Tenant, day, hour: which folder, whatever its listing is at the moment."""


class Hour:
    """The recordings of one hour folder, sorted by name."""

    __slots__ = ("_by_start", "day", "label", "names", "recalled", "records")

    def __init__(self, day: date, label: str, rows: Rows) -> None:
        self.day = day
        self.label = label
        """The folder's name, "00" to "23"."""
        self.records = Calls(rows)
        self.names = self.records.names
        self._by_start: tuple[Sequence[int], Sequence[int]] | None = None
        self.recalled: Promise[None] | None = None
        """Of having learned from the disk tier what these recordings consist of."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_recalled(self) -> bool:
        """Whether the disk tier has told what it knows of these recordings, or there is none."""
        return self.recalled is not None and self.recalled.settled

    def index(self, name: str) -> int | None:
        """Where a name stands in the listing, or None."""
        index = self.position(name)
        return index if index < len(self.names) and self.names[index] == name else None

    def by_start(self) -> tuple[Sequence[int], Sequence[int]]:
        """The listing in the order of the calls' starts: which index is at each position, and the reverse."""
        if self._by_start is None:
            order = array("I", sorted(range(len(self)), key=self.records.starts_s.__getitem__))
            rank = array("I", bytes(order.itemsize * len(order)))
            for position, index in enumerate(order):
                rank[index] = position
            self._by_start = order, rank
        return self._by_start

    def position(self, name: str) -> int:
        """Where a name stands or would stand."""
        return bisect_left(self.names, name)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recording stands: whose, in which hour, and at which index of that hour's listing."""

    tenant: Tenant
    hour: Hour
    index: int

    @property
    def folder(self) -> FolderKey:
        """The folder that it stands in."""
        return self.tenant.name, self.hour.day, self.hour.label

    @property
    def record(self) -> Record:
        """The record that stands there."""
        return self.hour.records[self.index]


@dataclass
class Window:
    """Some days of one tenant. `fresh_until_s` is monotonic; infinite for a settled window.

    `asked_s` (monotonic) is when it was asked for, `settles_s` (since the epoch) from when on nothing is
    added, `server_s` the source's clock in that very answer, None where it did not tell.
    """

    hours: dict[tuple[date, str], Hour]
    count: int
    settled: bool
    fresh_until_s: float
    asked_s: float
    settles_s: float
    server_s: float | None

    @property
    def records(self) -> Together:
        """All of them, hour by hour."""
        return Together([hour.records for hour in self.hours.values()])

    def hours_of(self, day: date) -> list[str]:
        """The names of the hours of a day that hold a recording, in order."""
        return sorted(hour for its_day, hour in self.hours if its_day == day)


async def hours_in(
    chunks: Iterable[Iterable[tuple[datetime, Record]]], begin: datetime, end: datetime
) -> dict[tuple[date, str], Hour]:
    """The records of the hours from `begin` to `end` (exclusive, whole hours by the wall clock), by day and
    hour. Others have a turn after each chunk and each hour: tens of thousands of records take a while."""
    found: dict[datetime, Rows] = {}
    for chunk in chunks:
        for hour, record in chunk:
            rows = found.get(hour)
            if rows is None:
                if not begin <= hour < end:
                    continue
                rows = found[hour] = Rows()
            rows.add(record)
        await trio.lowlevel.checkpoint()
    hours = {}
    while found:
        moment, rows = found.popitem()
        day, label = moment.date(), f"{moment.hour:02}"
        hours[day, label] = Hour(day, label, rows)
        await trio.lowlevel.checkpoint()
    return hours
