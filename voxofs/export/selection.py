"""Which part of the tree is meant: paths and ranges in, recordings out.

    demo   demo/2021   demo/2021/08   demo/2021/08/13   demo/2021/08/13/19   demo/2021/08/13/19/x.mp3
    demo/2021-08-13   demo/2021-08-01..2021-08-14   demo/2021-07..2021-08   /

A range has both its ends in it. What overlaps is meant once. Days before a tenant's first and after today are
left out of what reaches beyond them; a path that has nothing else is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from voxofs.central import CentralTime
from voxofs.clock import Clock
from voxofs.config.settings import Config
from voxofs.config.values import did_you_mean
from voxofs.core.tree import DAY_DEPTH, HOUR_DEPTH, RECORDING_DEPTH, Calendar, Names, NoSuchName
from voxofs.errors import Exit, VoxofsError
from voxofs.model import Tenant

from .fields import printable

_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)
_FORMS = "TENANT, TENANT/YYYY/MM/DD/HH or any part of it, TENANT/YYYY-MM-DD..YYYY-MM-DD"
_ONE_DAY = timedelta(days=1)


class PathError(VoxofsError):
    """A path of the command line means nothing; the message says why."""

    exit_code = Exit.USAGE


@dataclass
class Days:
    """What is meant of one tenant: whole days, and of others some hours or recordings."""

    tenant: Tenant
    spans: list[tuple[date, date]] = field(default_factory=list)
    """First day and first day after, in order, with gaps between them."""
    hours: dict[date, set[str]] = field(default_factory=dict)
    names: dict[date, set[tuple[str, str]]] = field(default_factory=dict)
    """Single recordings: hour and name."""

    def add(self, begin: date, end: date) -> None:
        """These days, whole."""
        spans: list[tuple[date, date]] = []
        for first, stop in sorted([*self.spans, (begin, end)]):
            if spans and first <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(stop, spans[-1][1])
            else:
                spans.append((first, stop))
        self.spans = spans

    def periods(self) -> list[tuple[date, date]]:
        """Every day of which something is meant, in order and without overlap."""
        every = Days(self.tenant, list(self.spans))
        for day in sorted({*self.hours, *self.names}):
            every.add(day, day + _ONE_DAY)
        return every.spans

    def whole(self, day: date) -> bool:
        """Whether the whole day is meant."""
        return any(begin <= day < end for begin, end in self.spans)

    def holds(self, day: date, hour: str, name: str) -> bool:
        """Whether a recording is meant whose day is among the periods."""
        return self.whole(day) or hour in self.hours.get(day, ()) or (hour, name) in self.names.get(day, ())


def calendar_of(config: Config, clock: Clock) -> Calendar:
    """The calendar that a configuration describes, without a core."""
    tenants = {name: Tenant(name, each.id, each.since) for name, each in config.tenants.items()}
    return Calendar(tenants, CentralTime(config.api.timezone), clock)


def selected(paths: Sequence[str], calendar: Calendar) -> list[Days]:
    """What the paths mean, by tenant. Raises `PathError` for one that means nothing."""
    found: dict[str, Days] = {}
    for path in paths:
        for tenant in _tenants(path, calendar.tenants):
            _add(path, found.setdefault(tenant.name, Days(tenant)), calendar)
    return list(found.values())


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _tenants(path: str, tenants: Mapping[str, Tenant]) -> Iterable[Tenant]:
    parts = _parts(path)
    if not parts:
        if path.startswith(("/", ".")):
            return tenants.values()
        raise PathError(f"an empty path means nothing: it is {_FORMS}")
    if parts[0] not in tenants:
        hint = did_you_mean(parts[0], tenants) or f"; there are {', '.join(tenants)}"
        raise PathError(f"{printable(path)}: no tenant is called {printable(parts[0])}{hint}")
    return [tenants[parts[0]]]


def _add(path: str, days: Days, calendar: Calendar) -> None:
    names = tuple(_parts(path)) or (days.tenant.name,)
    shown = printable(path)
    if len(names) == 2 and (_DATE.fullmatch(names[1]) is None or "-" in names[1] or ".." in names[1]):
        begin, end = _range(shown, names[1])
    elif len(names) > RECORDING_DEPTH:
        raise PathError(f"{shown}: is deeper than the tree, {_FORMS}")
    elif len(names) == 1:
        begin, end = days.tenant.since, calendar.today() + _ONE_DAY
    else:
        begin, end = _period(shown, names, calendar)
    begin, end = max(begin, days.tenant.since), min(end, calendar.today() + _ONE_DAY)
    if begin >= end:
        raise PathError(
            f"{shown}: has no day that is shown: {days.tenant.name} begins on {days.tenant.since} "
            f"and ends with today, {calendar.today()}"
        )
    if len(names) == RECORDING_DEPTH:
        days.names.setdefault(begin, set()).add((names[4], names[5]))
    elif len(names) == HOUR_DEPTH:
        days.hours.setdefault(begin, set()).add(names[4])
    else:
        days.add(begin, end)


def _period(shown: str, names: Names, calendar: Calendar) -> tuple[date, date]:
    try:
        calendar.check_leaf(names)
        return calendar.period(names[:DAY_DEPTH])
    except NoSuchName:
        tenant = calendar.tenants[names[0]]
        raise PathError(
            f"{shown}: does not exist; a path is {_FORMS}, from {tenant.since} to today"
        ) from None


def _range(shown: str, text: str) -> tuple[date, date]:
    """First day and first day after of `A..B` or `A`."""
    first, dots, last = text.partition("..")
    begin, end = _dates(shown, first)[0], _dates(shown, last if dots else first)[1]
    if begin >= end:
        raise PathError(f"{shown}: the range ends before it begins")
    return begin, end


def _dates(shown: str, text: str) -> tuple[date, date]:
    """First day and first day after of `YYYY`, `YYYY-MM` or `YYYY-MM-DD`."""
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        numbers = [int(part) for part in text.split("-")]
        begin = date(*[*numbers, 1, 1][:3])
        if len(numbers) == 3:
            return begin, begin + _ONE_DAY
        if len(numbers) == 2:
            return begin, date(begin.year + begin.month // 12, begin.month % 12 + 1, 1)
        return begin, date(begin.year + 1, 1, 1)
    except (ValueError, OverflowError):
        raise PathError(
            f"{shown}: “{text}” is no date: a range is YYYY-MM-DD..YYYY-MM-DD, both days in it"
        ) from None


def holds(selection: Sequence[Days], path: str) -> bool:
    """Whether a recording's path, as a manifest has it, is in a selection."""
    names = path.split("/")
    try:
        tenant, year, month, day, hour, name = names
        on = date(int(year), int(month), int(day))
    except ValueError:
        return False
    return any(days.tenant.name == tenant and days.holds(on, hour, name) for days in selection)
